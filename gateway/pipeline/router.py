"""Which carrier is a message's at the moment: its plan, and what stands against each way of it.

The plan of a message (`gateway.routing`) comes from its attributes and the configuration; which of its ways is the
first that can be gone depends on links, switches, circuit breakers and hours. A message that has waited for its first
carrier for longer than its category has patience may go by any other that can take it.
"""

from __future__ import annotations

import logging
import zoneinfo
from collections import Counter
from collections.abc import Callable, Container, Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import NamedTuple

from carrier.contract import Outcome, SubmitResult
from carrier.statuses import Action
from gateway.pipeline.attempts import has_answered_parts
from gateway.pipeline.berths import Berth, by_carrier, freest
from gateway.pipeline.breakers import Breakers
from gateway.pipeline.lanes import Lanes, Offers, Pick, Waits
from gateway.pipeline.outcomes import CARRIER_BUSY, FAILED_OVER, OUTCOME_UNKNOWN, REFUSED_BY_ONE
from gateway.pipeline.switches import CarrierSwitches
from gateway.policy.requests import Calendar
from gateway.routing.breaker import BreakerRules, BreakerState
from gateway.routing.explaining import Hindrance
from gateway.routing.hours import hours_text, open_at
from gateway.routing.plans import Plan
from gateway.routing.routes import Route, Target
from gateway.routing.table import RouteTable
from gateway.states import Category
from gateway.store.contract import Waiting
from gateway.store.nodes import ways_of

log = logging.getLogger(__name__)

_MINUTE = 60_000_000
_NO_LIMIT = 1 << 30
_AFTER = frozenset({FAILED_OVER, OUTCOME_UNKNOWN, REFUSED_BY_ONE})  # reasons for which the next carrier is tried

# Opens the envelope of a message: its recipient's number. Raises StoreCorrupt or Unavailable.
NumberOf = Callable[[Waiting], str]


class Routing(NamedTuple):
    """What the router is built with. `patience`: by category, for how many microseconds a message waits for a carrier
    that has no room before it may go by another; a category that is not there waits without end."""

    routes: Sequence[Route]
    number_of: NumberOf
    carriers: Sequence[str] = ()  # all that there are, the preferred one first: the order where there are no routes
    patience: Mapping[int, int] = MappingProxyType({})
    breakers: Mapping[str, BreakerRules] = MappingProxyType({})  # by carrier
    actions: Mapping[str, Mapping[int, Action]] = MappingProxyType({})  # what statuses mean, by carrier


class Router:
    """Finds plans, and the first way of each that can be gone now."""

    def __init__(self, routing: Routing, switches: CarrierSwitches) -> None:
        self._routes = tuple(routing.routes)
        self._number_of = routing.number_of
        self._carriers = tuple(routing.carriers)
        self._patience = routing.patience
        self._switches = switches
        # By the carrier that did not get them, and why: it was "away" (link, switch, breaker, hours), or they "waited".
        self.passed_over: Counter[tuple[str, str]] = Counter()
        self.breakers = Breakers(routing.breakers, routing.actions)
        self._berths: Mapping[str, Sequence[Berth]] = {}
        self.table = RouteTable(self._routes, self._carriers)
        self._usable: frozenset[str] = frozenset()
        self._minute = -1
        self._first: dict[Plan, str] = {}  # "" for a plan none of whose ways can be gone; as of `_usable` and `_minute`
        self._calendars: dict[str, Calendar] = {}

    def serve(self, berths: Sequence[Berth]) -> bool:
        """Work with these berths from now on; True when messages may have other plans than before."""
        before = self._all_carriers()
        self._berths = by_carrier(berths)
        self._forget()
        if self._routes or self._all_carriers() == before:
            return False
        self.table = RouteTable((), self._all_carriers())
        return True

    def _all_carriers(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys((*self._carriers, *self._berths)))

    def use(self, routing: Routing) -> None:
        """Work with this from now on: every message that waits may have another plan."""
        self._routes = tuple(routing.routes)
        self._number_of = routing.number_of
        self._carriers = tuple(routing.carriers)
        self._patience = routing.patience
        self.breakers.use(routing.breakers, routing.actions)
        self.table = RouteTable(self._routes, self._all_carriers())
        self._forget()

    def plan(self, message: Waiting, number: str = "") -> Plan | None:
        """Return the plan of a message, None when no route is for it. `number`, its recipient's, where it is at hand.

        Raises StoreCorrupt or Unavailable when the number is needed, and its envelope cannot be opened.
        """
        table = self.table
        prefix = table.prefix_of(number or self._number_of(message)) if table.by_prefix else ""
        plan = table.plan(message.tenant, message.sender, message.category, message.country, prefix, message.id)
        return plan if plan is None or not message.attempts else _resumed(plan, message)

    def offers(self, lanes: Lanes, now: int) -> Iterator[tuple[str, Offers]]:
        """Yield the carriers that have room, each with what waits for it."""
        roomy = [carrier for carrier, berths in self._berths.items() if freest(berths) is not None]
        if not roomy:
            return
        self.look(now)
        offered = lanes.offers(self.first, Waits(self.others, {c: now - p for c, p in self._patience.items()}))
        for carrier in roomy:
            if carrier in offered:
                yield carrier, offered[carrier]

    def allowance(self, carrier: str, now: int) -> int:
        """Return how many messages the breaker of a carrier lets go now."""
        state = self.breakers.state(carrier)
        if state is BreakerState.CLOSED:
            return _NO_LIMIT
        if state is BreakerState.OPEN:
            return 0
        berths = self._berths.get(carrier, ())
        return self.breakers.of(carrier).probes(now, sum(berth.slots for berth in berths))

    def took(self, berth: Berth, picks: Sequence[Pick], now: int) -> None:
        """Note that messages go by this link; count those for which its carrier is not the first of their plans."""
        carrier = berth.carrier
        if not berth.slots:
            berth.moved_at = now
        if self.breakers.state(carrier) is not BreakerState.CLOSED:
            self.breakers.of(carrier).took(now)
        for _, plan in picks:
            if plan.ways[0].carrier != carrier:
                why = "away" if self.first(plan) == carrier else "waited"
                self.passed_over[plan.ways[0].carrier, why] += 1

    def note(self, berth: Berth, results: Sequence[SubmitResult], now: int) -> None:
        """Take what a link has reported. When the breaker opens, what the carrier's links hold back goes elsewhere."""
        if results and results[0].outcome is not Outcome.NOT_WRITTEN:  # what was given back says nothing of the carrier
            berth.moved_at = now
        if self.breakers.note(berth.carrier, berth.link.state, results, now):
            self._forget()
            if self.breakers.state(berth.carrier) is BreakerState.OPEN:
                for each in self._berths.get(berth.carrier, ()):
                    each.link.withdraw()

    def relieve(self, now: int) -> None:
        """Take back what waits on links whose window is full and that answer nothing for as long as an OTP waits."""
        patience = self._patience.get(Category.OTP)
        if patience is None:
            return
        for berths in self._berths.values():
            for berth in berths:
                if berth.look(now, patience):
                    log.warning("link_stalled", extra={"link": berth.link.name, "staged": berth.link.staged})
                    berth.link.withdraw()

    def berth(self, carrier: str) -> Berth | None:
        """Return the freest bind of a carrier, None while none has room."""
        return freest(self._berths.get(carrier, ()))

    def first(self, plan: Plan) -> str:
        """Return the carrier that the plan's messages are for at the moment, "" for none (hot)."""
        try:
            return self._first[plan]
        except KeyError:
            found = self._first[plan] = next((way.carrier for way in _meant(plan) if self.goes(way)), "")
            return found

    def reachable(self, plan: Plan) -> bool:
        """Say whether any carrier of the plan can be used at the moment, first or not."""
        return any(self.goes(way) for way in plan.ways)

    def others(self, plan: Plan) -> list[str]:
        """Return the carriers that messages of the plan may go by once they have waited for too long."""
        first = self.first(plan)
        return [way.carrier for way in plan.ways if way.carrier != first and self.goes(way)]

    def usable(self, now: int) -> frozenset[str]:
        """Return the carriers that can be used now, whatever their hours."""
        self.look(now)
        return self._usable

    def served(self, plan: Plan, but: frozenset[str] = frozenset()) -> bool:
        """Say whether a carrier that messages of the plan are for can be used, whatever its hours, `but` these."""
        return any(way.carrier in self._usable and way.carrier not in but for way in _meant(plan))

    def work_of(self, carrier: str, seconds: float) -> int:
        """Return how many PDUs are enough for a carrier's links here for so long, with what they hold themselves."""
        links = [berth.link for berth in self._berths.get(carrier, ()) if berth.usable]
        pace = max((link.pace for link in links), default=0.0)  # that of all of them together
        return sum(2 * link.window for link in links) + int(pace * seconds)

    def ways_of(self, plan: Plan) -> str:
        """Return by which carriers messages of the plan may go, as the store knows them."""
        return ways_of(way.carrier for way in _meant(plan))

    def destined(
        self,
        tenant: str,
        sender: str,
        category: int,
        country: str,
        number: str,
        message_id: bytes,
        now: int,
        busy: frozenset[str],
    ) -> tuple[bool, str]:
        """Say of a new message whether a carrier here that is not `busy` can serve it, and by which ways it can go."""
        table = self.table
        prefix = table.prefix_of(number) if table.by_prefix else ""
        plan = table.plan(tenant, sender, category, country, prefix, message_id)
        self.look(now)
        if plan is None:  # to be refused, by a node that has carriers
            return bool(self._all_carriers()), ""
        return self.served(plan, busy), self.ways_of(plan)

    def goes(self, way: Target) -> bool:
        """Say whether a way can be gone at the moment, room or not."""
        return way.carrier in self._usable and (not way.hours or open_at(way.hours, *self._moment(way.timezone)))

    def hindrances(self, way: Target, now: int, *, links: bool = True) -> Iterator[Hindrance]:
        """Yield what stands against a way at the moment; of links, switches and breakers only with `links`."""
        self.look(now)
        if way.hours and not open_at(way.hours, *self._moment(way.timezone)):
            hours = ", ".join(map(hours_text, way.hours))
            yield Hindrance("OUTSIDE_HOURS", f"it is outside {hours} ({way.timezone})")
        if not links:
            return
        if way.carrier in self._switches.closed:
            yield Hindrance("SWITCHED_OFF", "an operator has paused or drained it")
        if not any(berth.usable for berth in self._berths.get(way.carrier, ())):
            yield Hindrance("NOT_BOUND", "none of its links is up")
        breaker = self.breakers.of(way.carrier)
        if breaker.state is BreakerState.OPEN:
            wait_s = max(0.0, (breaker.until - now) * 1e-6)
            yield Hindrance("BREAKER_OPEN", f"it has failed too often: probes go in {wait_s:.1f} s")
        elif breaker.state is BreakerState.HALF_OPEN and not self.allowance(way.carrier, now):
            yield Hindrance("BREAKER_HALF_OPEN", "it has failed too often, and its probes are not answered yet")

    def notes(self, way: Target) -> Iterator[str]:
        """Yield what else is to be said of a way."""
        berths = self._berths.get(way.carrier, ())
        bound = sum(berth.usable for berth in berths)
        room = sum(max(0, berth.room().otp) for berth in berths)
        breaker = self.breakers.state(way.carrier).value
        yield f"{bound} of {len(berths)} links up, room for {room} PDUs, breaker {breaker}"

    def choose_among(self, plan: Plan, carriers: Container[str], category: int, slots: int, now: int) -> Berth | None:
        """Return where a message of so many slots may go instead, None while none of these carriers has room."""
        self.look(now)
        for way in plan.ways:
            if way.carrier in carriers and self.goes(way):
                for berth in self._berths[way.carrier]:
                    if berth.takes(category, slots):
                        return berth
        return None

    def look(self, now: int) -> None:
        """See which carriers can be used, and the time; what was found under others is forgotten."""
        self.breakers.look(now)
        usable = frozenset(
            carrier
            for carrier, berths in self._berths.items()
            if carrier not in self._switches.closed
            and self.allowance(carrier, now) > 0  # what may not go as a probe goes by another carrier
            and any(berth.usable for berth in berths)
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


def _meant(plan: Plan) -> Sequence[Target]:
    """Return the ways that a message of the plan waits for."""
    return plan.ways[:1] if plan.loyal else plan.ways


def _resumed(plan: Plan, message: Waiting) -> Plan:
    """Return the plan of a message that has been tried before.

    One of which a part has been taken waits for the carrier that has it: to go by another, all of it is sent there.
    """
    if has_answered_parts(message) and message.reason != REFUSED_BY_ONE:
        return plan.kept(message.carrier)
    if message.reason in _AFTER:
        return plan.after(message.carrier)
    return plan.at(message.carrier) if message.reason == CARRIER_BUSY else plan
