"""Which messages this node keeps, where nodes share a database, and which it leaves to others.

A message whose plan none of this node's carriers can serve at the moment is left in the store, named by the carriers
that can; one that came into memory before is given back when it has waited for a moment. Closed hours are no reason:
they are closed at every node.

So is what this node's links could not send within some two seconds: other nodes may have links that are idle. That is
looked at by category, so that one-time passwords do not wait for promotions, and by the carrier that comes first.

A node that is alone keeps everything, until it could use no carrier for some seconds. Then what is in memory goes back
to the store, and comes from there when a carrier is back, in each category first what ends first: memory knows no such
order, and would be sent in that of the arrival. Nothing is claimed meanwhile.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from typing import Protocol

from gateway.errors import GatewayError
from gateway.pipeline.lanes import Lanes
from gateway.pipeline.router import Router
from gateway.pipeline.sharing import Sharing
from gateway.routing.plans import Plan
from gateway.states import Category
from gateway.store.nodes import Carriers, News, Released, can_send

log = logging.getLogger(__name__)

_EVERY_S = 0.25
_PATIENCE = 500_000  # microseconds
_BATCH = 500
_AHEAD_S = 2.0  # of work for the links here: what a node holds beside what is on its links
_LEAST = 200  # messages: however slow its links are
_AWAY = 5_000_000  # microseconds without any carrier, after which a node that is alone keeps nothing in memory


class HandingStore(Protocol):
    """The part of the store that is needed here."""

    async def release(self, batch: list[Released]) -> int:
        """Give claimed messages back to their waiting queue."""


class Handing:
    """Decides who sends; `run` is its task."""

    def __init__(
        self,
        *,
        store: HandingStore,
        sharing: Sharing,
        lanes: Lanes,
        router: Router,
        now: Callable[[], int],
        look: Callable[[], Awaitable[None]],
    ) -> None:
        """`look` looks what waits in the store."""
        self._store = store
        self._sharing = sharing
        self._lanes = lanes
        self._router = router
        self._now = now
        self._look = look
        self._claimed: list[Carriers] = []
        self._busy: dict[int, frozenset[str]] = {category: frozenset() for category in Category}
        self._since: dict[Plan, int] = {}  # plans of messages in memory that no carrier here can serve
        self._returning: list[Released] = []
        self._away_since = 0

    def carriers(self, category: Category) -> Carriers:
        """Return the carriers for which messages are claimed: they can be used here, and have not enough to do; None:
        the node is alone."""
        if self._sharing.alone:
            return None
        held, before = self._held(category), self._busy[category]
        self._busy[category] = frozenset(  # until half of it is gone
            carrier for carrier, count in held.items() if count * (1 + (carrier in before)) >= self._enough(carrier)
        )
        return self._usable(category)

    def most(self, category: Category) -> int:
        """Return how many messages to claim at most."""
        carriers = self.carriers(category)
        if carriers is None:
            return _BATCH if self._router.usable(self._now()) else 0
        held = self._held(category)
        return sum(max(0, self._enough(carrier) - held[carrier]) for carrier in carriers)

    def _usable(self, category: int) -> frozenset[str]:
        return self._router.usable(self._now()) - self._busy[category]

    def _held(self, category: Category) -> Counter[str]:
        """Return how many messages are in memory for each carrier; those under "" can go by none."""
        held: Counter[str] = Counter()
        for plan, queue in self._lanes[category].queues.items():
            held[self._router.first(plan)] += len(queue.messages)
        return held

    def _enough(self, carrier: str) -> int:
        return max(_LEAST, self._router.work_of(carrier, _AHEAD_S))

    def hopeless(self, plan: Plan) -> bool:
        """Say whether messages of a plan are better off at another node."""
        return not self._sharing.alone and not self._router.served(plan)

    def destined(
        self, tenant: str, sender: str, category: int, country: str, number: str, message_id: bytes
    ) -> tuple[bool, str]:
        """Say whether a new message may stay in memory here, and by which ways it can go (hot)."""
        if self._sharing.alone:
            return True, ""
        busy = self._busy[category]
        return self._router.destined(tenant, sender, category, country, number, message_id, self._now(), busy)

    def ours(self, category: int, ways: str) -> bool:
        """Say whether a message that waits may be claimed here."""
        if self._sharing.alone:
            return True
        carriers = self._usable(category)
        return bool(carriers) and can_send(ways, carriers)

    async def run(self) -> None:
        """Work until cancelled."""
        while True:
            await asyncio.sleep(_EVERY_S)
            try:
                if self._sharing.alone and not self._returning:
                    self._since.clear()
                    await self._put_back()
                    continue
                await self._notice_carriers()
                await self._give_back()
            except GatewayError as error:
                log.warning("messages_not_given_back", extra={"why": str(error)})

    async def _notice_carriers(self) -> None:
        claimed = [self.carriers(category) for category in Category]
        if claimed != self._claimed:
            self._claimed = claimed
            await self._look()

    async def _put_back(self) -> None:
        """Give back what a node that is alone has in memory, when no carrier could be used for long."""
        moved = 0
        while self._forsaken() and (stranded := self._stranded()):
            self._returning += stranded
            await self._return()
            moved += len(stranded)
        if moved:
            log.warning("messages_wait_in_store", extra={"messages": moved})
            await self._look()  # a carrier may be back, and a claim have missed them

    def _forsaken(self) -> bool:
        now = self._now()
        if self._router.usable(now):
            self._away_since = 0
            return False
        self._away_since = self._away_since or now
        return now - self._away_since >= _AWAY

    def _stranded(self) -> list[Released]:
        """Take some of what is in memory; what comes from now on waits in the store with it."""
        lane = next((lane for category in Category if (lane := self._lanes[category]).size), None)
        if lane is None:
            return []
        now = self._now()
        lane.note_waiting(now, now)
        plan, queue = next(iter(lane.queues.items()))
        surplus = len(queue.messages) - _BATCH
        taken = lane.cut_plan(plan, surplus) if surplus > 0 else lane.empty_plan(plan)
        return [Released(message.tenant, message.id, "") for message in taken]

    async def _give_back(self) -> None:
        self._returning += self._hopeless()
        self._returning += self._surplus()
        await self._return()

    async def _return(self) -> None:
        while self._returning:
            batch = self._returning[:_BATCH]
            await self._store.release(batch)
            del self._returning[: len(batch)]
            self._sharing.tell(News.WAITING)

    def _hopeless(self) -> Iterator[Released]:
        now, waiting = self._now(), {}
        for category in Category:
            lane = self._lanes[category]
            for plan in [plan for plan in lane.queues if self.hopeless(plan)]:
                since = waiting[plan] = self._since.get(plan, now)
                if now - since >= _PATIENCE:
                    ways = self._router.ways_of(plan)
                    for message in lane.empty_plan(plan):
                        yield Released(message.tenant, message.id, ways)
        self._since = waiting

    def _surplus(self) -> Iterator[Released]:
        """Take out what came at once and is much more than enough for its only carrier."""
        if self._sharing.alone:
            return
        for category in Category:
            lane = self._lanes[category]
            for plan, queue in list(lane.queues.items()):
                ways = self._router.ways_of(plan)
                if ways in self._busy[category] and len(queue.messages) > 2 * self._enough(ways):
                    for message in lane.cut_plan(plan, self._enough(ways)):
                        yield Released(message.tenant, message.id, ways)
