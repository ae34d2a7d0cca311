"""Makes way in memory: what waits for carriers that are all away must not keep later messages for others in the store.

Messages are claimed whatever their route. Those of plans that no carrier can serve are put away, as those are that an
operator holds: at once when a lane is at least half full while more are due in the store, and else when that has lasted
for some seconds, since memory knows no order but that of the arrival. They come back when a carrier of any of these
plans can be used again, and are claimed in the order of their end. Where no carrier can be used, they are in nobody's
way, and others put them back (`gateway.pipeline.handing`).
"""

from __future__ import annotations

import logging
from collections.abc import Callable

from gateway.pipeline.holds import Parking
from gateway.pipeline.lanes import Lanes
from gateway.pipeline.router import Router
from gateway.routing.plans import Plan
from gateway.states import Category

log = logging.getLogger(__name__)

_LONG = 5_000_000  # microseconds, as a node without any carrier waits


class Clearing:
    """Looks whether there is something to put away, or to bring back. Belongs to one event loop."""

    def __init__(
        self,
        *,
        lanes: Lanes,
        router: Router,
        parking: Parking,
        hopeless: Callable[[Plan], bool] = lambda _: False,
    ) -> None:
        """`hopeless` says which plans are given to other nodes, by others than this."""
        self._lanes = lanes
        self._router = router
        self._parking = parking
        self._hopeless = hopeless
        self._away: set[Plan] = set()  # plans of messages that have been put away
        self._since: dict[Plan, int] = {}  # plans of messages in memory or put away, that none can serve

    def work(self, now: int) -> None:
        """Do what there is to be done. Cheap when that is nothing: it is called for each batch."""
        if not (len(self._lanes) or self._away):
            return
        usable = self._router.usable(now)
        if any(self._router.reachable(plan) for plan in self._away):
            self.bring_back()
        stranded = self._stranded(now)
        for category in Category if usable else ():
            lane = self._lanes[category]
            if not self._parking.busy:  # a lane's worth at a time
                for plan in stranded.intersection(lane.queues):
                    if lane.crowded or now - self._since[plan] >= _LONG:
                        self._put_away(category, plan)

    def _stranded(self, now: int) -> set[Plan]:
        """Return the plans of messages in memory that no carrier can serve here, and that no other node is given."""
        router = self._router
        waiting = {plan for category in Category for plan in self._lanes[category].queues if not router.first(plan)}
        found = {plan for plan in waiting if not router.reachable(plan) and not self._hopeless(plan)}
        self._since = {plan: self._since.get(plan, now) for plan in found | self._away}
        return found

    def bring_back(self) -> None:
        """Bring back what has been put away: it may have another way now."""
        if self._away:
            self._away.clear()
            self._parking.look()

    def _put_away(self, category: Category, plan: Plan) -> None:
        messages = self._lanes[category].empty_plan(plan)
        log.warning("messages_put_away", extra={"lane": category.name, "route": plan.route, "messages": len(messages)})
        self._away.add(plan)
        for message in messages:
            self._parking.park(message)
