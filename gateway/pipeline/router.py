"""Which carrier is a message's at the moment: its plan, and what stands against each way of it.

The plan of a message (`gateway.routing`) comes from its attributes and the configuration; which of its ways is the
first that can be gone depends on links, switches and hours. The dispatcher asks for both.
"""

from __future__ import annotations

import zoneinfo
from collections.abc import Callable, Container, Iterator, Mapping, Sequence
from typing import NamedTuple

from gateway.pipeline.berths import Berth, by_carrier, freest
from gateway.pipeline.lanes import Lanes, Offers
from gateway.pipeline.switches import CarrierSwitches
from gateway.policy.requests import Calendar
from gateway.routing.hours import open_at
from gateway.routing.plans import Plan
from gateway.routing.routes import Route, Target
from gateway.routing.table import RouteTable
from gateway.store.contract import Waiting

_MINUTE = 60_000_000

# Opens the envelope of a message: its recipient's number. Raises StoreCorrupt or Unavailable.
NumberOf = Callable[[Waiting], str]


class Routing(NamedTuple):
    """What the router is built with: the configured routes, and how to see a recipient's number."""

    routes: Sequence[Route]
    number_of: NumberOf


class Router:
    """Finds plans, and the first way of each that can be gone now."""

    def __init__(self, routing: Routing, switches: CarrierSwitches) -> None:
        self._routes = tuple(routing.routes)
        self._number_of = routing.number_of
        self._switches = switches
        self._berths: Mapping[str, Sequence[Berth]] = {}
        self._table = RouteTable(self._routes, ())
        self._usable: frozenset[str] = frozenset()
        self._minute = -1
        self._first: dict[Plan, str] = {}  # "" for a plan none of whose ways can be gone; as of `_usable` and `_minute`
        self._calendars: dict[str, Calendar] = {}

    def serve(self, berths: Sequence[Berth]) -> bool:
        """Work with these berths from now on; True when messages may have other plans than before."""
        before = tuple(self._berths)
        self._berths = by_carrier(berths)
        self._forget()
        if self._routes or tuple(self._berths) == before:
            return False
        self._table = RouteTable((), tuple(self._berths))
        return True

    def use(self, routes: Sequence[Route]) -> None:
        """Work with these routes from now on: every message that waits may have another plan."""
        self._routes = tuple(routes)
        self._table = RouteTable(self._routes, tuple(self._berths))
        self._forget()

    def plan(self, message: Waiting, number: str = "") -> Plan | None:
        """Return the plan of a message, None when no route is for it. `number`, its recipient's, where it is at hand.

        Raises StoreCorrupt or Unavailable when the number is needed, and its envelope cannot be opened.
        """
        table = self._table
        prefix = table.prefix_of(number or self._number_of(message)) if table.by_prefix else ""
        return table.plan(message.tenant, message.sender, message.category, message.country, prefix, message.id)

    def offers(self, lanes: Lanes, now: int) -> Iterator[tuple[str, Offers]]:
        """Yield the carriers that have room, each with what waits for it."""
        roomy = {carrier for carrier, berths in self._berths.items() if freest(berths) is not None}
        if not roomy:
            return
        self._look(now)
        offered = lanes.offers(self.first)
        for carrier in roomy:
            if carrier in offered:
                yield carrier, offered[carrier]

    def berth(self, carrier: str) -> Berth | None:
        """Return the freest bind of a carrier, None while none has room."""
        return freest(self._berths.get(carrier, ()))

    def first(self, plan: Plan) -> str:
        """Return the carrier that the plan's messages are for at the moment, "" for none (hot)."""
        try:
            return self._first[plan]
        except KeyError:
            found = next((way.carrier for way in plan.ways if self.goes(way)), "")
            self._first[plan] = found
            return found

    def goes(self, way: Target) -> bool:
        """Say whether a way can be gone at the moment, room or not."""
        return way.carrier in self._usable and (not way.hours or open_at(way.hours, *self._moment(way.timezone)))

    def choose_among(self, plan: Plan, carriers: Container[str], category: int, slots: int, now: int) -> Berth | None:
        """Return where a message of so many slots may go instead, None while none of these carriers has room."""
        self._look(now)
        for way in plan.ways:
            if way.carrier in carriers and self.goes(way):
                for berth in self._berths[way.carrier]:
                    if berth.takes(category, slots):
                        return berth
        return None

    def _look(self, now: int) -> None:
        """See which carriers can be used, and the time; what was found under others is forgotten."""
        usable = frozenset(
            carrier
            for carrier, berths in self._berths.items()
            if carrier not in self._switches.closed and any(berth.usable for berth in berths)
        )
        minute = now // _MINUTE
        if usable != self._usable or minute != self._minute:
            self._usable, self._minute = usable, minute
            self._first.clear()

    def _forget(self) -> None:
        self._minute = -1
        self._first.clear()

    def _moment(self, zone: str) -> tuple[int, int]:
        calendar = self._calendars.get(zone)
        if calendar is None:
            calendar = self._calendars[zone] = Calendar(zoneinfo.ZoneInfo(zone))
        return calendar.moment(self._minute * _MINUTE)
