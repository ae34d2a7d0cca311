"""The clockwork of the pipeline: claims from the store when lanes run low, ends what is over, clears what has expired.

Every loop here is bounded: a claim takes at most a lane's free places, a sweep at most `_SWEEP` rows at a time.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable

from gateway.errors import GatewayError
from gateway.pipeline.lanes import Lanes
from gateway.states import Category
from gateway.store.contract import Queue, Store, Waiting
from gateway.store.nodes import Carriers

log = logging.getLogger(__name__)

_TICK_S = 0.05
_CLOSE_EVERY_S = 1.0
_PURGE_EVERY_S = 30.0
_MERGE_EVERY_S = 10.0
_MERGE_REST_S = 0.02  # between two steps, at least; else for twice as long as the last one took: others go between
_CHECK_EVERY_S = 5.0  # how often lanes look for waiting messages that nobody told them of
_REJOIN_EVERY_S = 1.0
_REJOIN_BACK = 120_000_000  # microseconds: longer than any transaction lasts
# Rows of one transaction: who waits for the next commit waits for them. 500 take the writer some 10 ms.
_SWEEP = 500
_CLAIM = 500
_RETRY_STORE_S = 1.0


class Keeper:
    """Runs the periodic work; `run` is its task."""

    def __init__(
        self,
        *,
        store: Store,
        lanes: Lanes,
        now: Callable[[], int],
        add: Callable[[Waiting], None],
        pump: Callable[[], None],
        tick_s: float = _TICK_S,
        carriers: Callable[[Category], Carriers] = lambda _: None,
        most: Callable[[Category], int] = lambda _: _CLAIM,
        alone: Callable[[], bool] = lambda: True,
    ) -> None:
        """`add` takes a claimed message, and `pump` looks for work after that. `carriers` says what for messages are
        claimed, `most` how many at a time, and `alone` whether no other node is there."""
        self._store = store
        self._add = add
        self._lanes = lanes
        self._now = now
        self._pump = pump
        self._tick_s = tick_s
        self._carriers = carriers
        self._most = most
        self._alone = alone
        self._kick = asyncio.Event()

    def note_waiting(self, queue: int, due_at: int) -> None:
        """A message of this queue waits in the store until `due_at`."""
        if queue != Queue.AWAITING:
            self._lanes[queue - 10].note_waiting(due_at, self._now())
            self._kick.set()

    def low(self) -> None:
        """A lane may have run low: look at once instead of at the next tick."""
        self._kick.set()

    async def run(self) -> None:
        """Run all clocks until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._claiming())
            tasks.create_task(self._every(_CLOSE_EVERY_S, self._close_due))
            tasks.create_task(self._every(_PURGE_EVERY_S, self._purge))
            tasks.create_task(self._every(_MERGE_EVERY_S, self._merge))
            tasks.create_task(self._every(_CHECK_EVERY_S, self.look))
            tasks.create_task(self._every(_REJOIN_EVERY_S, self._rejoin))

    async def look(self) -> None:
        """Learn from the store when something is due in each lane."""
        for category in Category:
            due_at = await self._store.next_due(category, self._carriers(category))
            if due_at is not None:
                self._lanes[category].note_waiting(due_at, self._now())
        self._kick.set()

    async def _claiming(self) -> None:
        while True:
            for category in Category:
                await self._claim(category)
            try:
                # Not wait_for: in Python 3.11 it loses a cancellation that comes together with what it waits for.
                async with asyncio.timeout(self._tick_s):
                    await self._kick.wait()
            except TimeoutError:
                self._pump()  # time has passed: what waits may be for another carrier by now
                continue
            self._kick.clear()

    async def _claim(self, category: Category) -> None:
        lane = self._lanes[category]
        wanted = min(lane.wanted(self._now()), _CLAIM)
        wanted = min(wanted, self._most(category)) if wanted else 0
        if not wanted:
            return
        carriers = self._carriers(category)
        lane.begin_claim()
        try:
            messages = await self._store.claim(category, wanted, self._now(), carriers)
        except GatewayError as error:
            lane.end_claim(exhausted=False, next_due=None, now=self._now())
            await self._failed(category, error)
            return
        for message in messages:  # before anything else may fail: they are this node's
            self._add(message)
        if messages:
            self._pump()
        next_due, exhausted = None, len(messages) < wanted
        if exhausted:
            try:
                next_due = await self._store.next_due(category, carriers)
            except GatewayError as error:
                exhausted = False
                await self._failed(category, error)
        lane.end_claim(exhausted=exhausted, next_due=next_due, now=self._now())
        if not exhausted:
            self._kick.set()  # for the rest, in another transaction: others go between

    async def _failed(self, category: Category, error: GatewayError) -> None:
        log.warning("claim_failed", extra={"lane": category.name, "why": str(error)})
        await asyncio.sleep(_RETRY_STORE_S)

    async def _close_due(self) -> None:
        while await self._store.close_due(self._now(), _SWEEP) == _SWEEP:
            pass  # each round waits for its commit: others go between

    async def _rejoin(self) -> None:
        if not self._alone():
            while await self._store.rejoin(self._now() - _REJOIN_BACK, _SWEEP) == _SWEEP:
                pass

    async def _purge(self) -> None:
        while await self._store.purge(self._now(), _SWEEP) >= _SWEEP:
            pass

    async def _merge(self) -> None:
        began = time.monotonic()
        while await self._store.merge():
            await asyncio.sleep(max(_MERGE_REST_S, 2 * (time.monotonic() - began)))
            began = time.monotonic()

    async def _every(self, interval_s: float, work: Callable[[], Awaitable[None]]) -> None:
        while True:
            await asyncio.sleep(interval_s)
            try:
                await work()
            except GatewayError as error:
                log.warning("sweep_failed", extra={"work": getattr(work, "__name__", ""), "why": str(error)})
