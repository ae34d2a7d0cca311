"""The task that lets go of what is old enough, a few hundred rows at a time, beside everything else.

A step is one small transaction. After each the task rests for as long as the step took, so that it never takes more
than half of the writer's time, and calls that came meanwhile are committed first.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import TypeVar

from gateway.errors import GatewayError
from gateway.privacy.periods import Periods
from gateway.store.retention import RefPlace, RetentionStore
from visibility.alerts import NOBODY, AlertSink
from visibility.catalogue import RETENTION_LATE

T = TypeVar("T")

log = logging.getLogger(__name__)

STEP = 500  # rows
LATE = 6 * 3600 * 1_000_000  # microseconds: so late is worth an alert
_ROUND_S = 60.0
_RETRY_S = 5.0
_LEAST_REST_S = 0.005
_RULES = 300  # that one look-up asks for
_REF_STEPS = 20  # of a round


class Retention:
    """Runs in one event loop; `run` is its task. `now` gives microseconds since the Unix epoch."""

    def __init__(
        self,
        store: RetentionStore,
        periods: Periods,
        now: Callable[[], int],
        alerts: AlertSink = NOBODY,
        *,
        round_s: float = _ROUND_S,
        step: int = STEP,
    ) -> None:
        self._store = store
        self._periods = periods
        self._now = now
        self._alerts = alerts
        self._round_s = round_s
        self._step = step
        self._changed = asyncio.Event()
        self._refs: RefPlace | None = None
        self.late = 0  # microseconds: for how long the oldest of what waits could have been let go of already

    @property
    def periods(self) -> Periods:
        """Those in force."""
        return self._periods

    def use(self, periods: Periods) -> None:
        """Keep to these periods from now on."""
        self._periods = periods
        self._changed.set()

    async def run(self) -> None:
        """Work until cancelled."""
        while True:
            pause_s = self._round_s
            try:
                await self.round()
            except GatewayError as error:  # the next round goes on where this one ended
                log.warning("retention_interrupted", extra={"why": str(error)})
                pause_s = min(_RETRY_S, self._round_s)
            self._changed.clear()
            try:
                async with asyncio.timeout(pause_s):
                    await self._changed.wait()
            except TimeoutError:
                continue

    async def round(self) -> None:
        """Let go of all that is due now. Raises what the store raises."""
        tenants = await self._store.stored_tenants()
        periods = self._periods
        await self._messages(periods, tenants)
        keeps = periods.keeps(tenants)
        while (await self._timed(self._store.retain_left(keeps, self._now(), self._step))).looked == self._step:
            pass
        for tenant in tenants:
            await self._old(tenant, periods)
        for _ in range(_REF_STEPS):
            _, self._refs = await self._timed(self._store.retain_refs(self._refs, self._step))
            if self._refs is None:
                break

    async def _messages(self, periods: Periods, tenants: Sequence[str]) -> None:
        """Step through all messages that the rules have not come to yet, the latest rule first."""
        rules = periods.rules(tenants)
        while True:
            due = []
            for at in range(0, len(rules), _RULES):
                due += await self._store.retention_due(rules[at : at + _RULES], self._now())
            self._tell(max((each.late(self._now()) for each in due), default=0))
            if not due:
                return
            due.sort(key=lambda each: each.late(self._now()), reverse=True)
            for each in due:
                await self._timed(self._store.retain(each.rule, self._now(), self._step))
            rules = [each.rule for each in due]

    async def _old(self, tenant: str, periods: Periods) -> None:
        own = periods.of(tenant)
        for delete, keep in (
            (self._store.retain_events, own.events),
            (self._store.retain_inbound, own.inbound),
            (self._store.retain_usage, own.usage),
        ):
            while await self._timed(delete(tenant, self._now() - keep, self._step)) >= self._step:
                pass

    async def _timed(self, step: Awaitable[T]) -> T:
        """Do a step, and rest for as long."""
        began = time.monotonic()
        done = await step
        await asyncio.sleep(max(_LEAST_REST_S, time.monotonic() - began))
        return done

    def _tell(self, late: int) -> None:
        self.late = late
        if late > LATE:
            why = f"what should have gone {late / 3_600_000_000:.0f} hours ago is still kept"
            self._alerts.raise_alert(RETENTION_LATE, why=why)
        else:
            self._alerts.resolve(RETENTION_LATE)
