"""Makes way in memory: what waits for carriers that are all away must not keep later messages for others in the store.

Messages are claimed by age, whatever their route. When a lane is at least half full while more are due in the store,
those of plans that no carrier can serve at the moment are put away, as those are that an operator holds; they come back
when a carrier of any of these plans can be used again. A lane that has room leaves them where they are. Where no
carrier can be used, they are in nobody's way.
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

    def work(self, now: int) -> None:
        """Do what there is to be done. Cheap when that is nothing: it is called for each batch."""
        crowded = [category for category in Category if self._lanes[category].crowded]
        if not (crowded or self._away):
            return
        usable = self._router.usable(now)
        if any(self._router.reachable(plan) for plan in self._away):
            self.bring_back()
        for category in crowded if usable else ():
            if not self._parking.busy:  # a lane's worth at a time
                for plan in list(self._lanes[category].queues):
                    if not self._router.reachable(plan) and not self._hopeless(plan):
                        self._put_away(category, plan)

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
