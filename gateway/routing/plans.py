"""The order in which the targets of a route are tried for one message.

Targets stand in groups by priority. In a group of strategy `least_cost` the cheapest is first. In a weighted group the
message's id decides: its CRC-32 is a point on a line on which each target has a stretch as long as its weight, so that
all parts and all attempts of a message, on every node and after a restart, have the same order. Each stretch is divided
once more, by the weights of the others: when a carrier is away, they share its messages by their weights too.

So a route has few plans, which are made once: a message costs a checksum and a bisection.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from fractions import Fraction
from itertools import groupby
from operator import attrgetter
from zlib import crc32

from gateway.routing.routes import Route, Strategy, Target

_LINE = 1 << 32  # CRC-32 has 32 bits


class Plan:
    """Ways in order of preference. Compared by identity: messages with the same plan are alike to the dispatcher."""

    __slots__ = ("_kept", "_places", "_turned", "loyal", "route", "ways")

    def __init__(self, route: str, ways: Sequence[Target], *, loyal: bool = False) -> None:
        """`loyal`: its messages wait for the first way, though others can be gone."""
        self.route = route
        self.ways = tuple(ways)
        self.loyal = loyal
        self._kept: dict[str, Plan] = {}
        self._places = {way.carrier: place for place, way in enumerate(ways)}
        self._turned: dict[int, Plan] = {}

    def __repr__(self) -> str:
        return f"Plan({self.route!r}, {[way.carrier for way in self.ways]})"

    def way(self, carrier: str) -> Target:
        """Return the way by `carrier`, which is one of the plan's."""
        return self.ways[self._places[carrier]]

    def at(self, carrier: str) -> Plan:
        """Return the plan that begins with `carrier` and goes on from there, around; itself when it has no such way."""
        return self._turn(self._places.get(carrier, 0))

    def kept(self, carrier: str) -> Plan:
        """Return the plan that begins with `carrier` and is loyal to it; itself when it has no such way."""
        if carrier not in self._places:
            return self
        found = self._kept.get(carrier)
        if found is None:
            found = self._kept[carrier] = Plan(self.route, self.at(carrier).ways, loyal=True)
        return found

    def after(self, carrier: str) -> Plan:
        """Return the plan that begins behind `carrier`, which becomes the last; itself when it has no such way."""
        return self._turn(self._places.get(carrier, -1) + 1)

    def _turn(self, start: int) -> Plan:
        """Return the plan that begins with the way at `start`: there are as many as ways, and each is made once."""
        if start in (0, len(self.ways)):
            return self
        found = self._turned.get(start)
        if found is None:
            found = self._turned[start] = Plan(self.route, self.ways[start:] + self.ways[:start])
        return found


class RoutePlans:
    """The plans of one route."""

    __slots__ = ("_cuts", "_plans", "route")

    def __init__(self, route: Route) -> None:
        self.route = route
        self._cuts, self._plans = _compile(route)

    def of(self, message_id: bytes) -> Plan:
        """Return the plan of a message (hot)."""
        plans = self._plans
        return plans[0] if len(plans) == 1 else plans[bisect_right(self._cuts, crc32(message_id))]

    def stretches(self) -> list[tuple[float, Plan]]:
        """Return every plan with the part of all messages that have it, 0 to 1."""
        ends = [*self._cuts, _LINE]
        starts = [0, *self._cuts]
        return [((end - start) / _LINE, plan) for start, end, plan in zip(starts, ends, self._plans, strict=True)]

    def all(self) -> Sequence[Plan]:
        """Return every plan that there is."""
        return self._plans


def _compile(route: Route) -> tuple[list[int], list[Plan]]:
    """Return the points of the line at which the plan changes, and the plan before, between and behind them."""
    groups = [tuple(group) for _, group in groupby(sorted(route.targets, key=_priority), key=_priority)]
    orders = [list(_orders(group, route.strategy)) for group in groups]
    cuts = sorted({end for group in orders for end, _ in group if end < 1})
    plans = []
    for start in (Fraction(0), *cuts):
        ways = [way for group in orders for way in next(order for end, order in group if start < end)]
        plans.append(Plan(route.name, ways))
    return [int(cut * _LINE) for cut in cuts], plans


_priority = attrgetter("priority")


def _orders(group: Sequence[Target], strategy: Strategy) -> Iterator[tuple[Fraction, tuple[Target, ...]]]:
    """Yield the orders of a group, each with the point from 0 to 1 at which its stretch ends."""
    if strategy is Strategy.LEAST_COST:
        yield Fraction(1), tuple(sorted(group, key=attrgetter("cost")))  # stable: the order of the file among equals
        return
    total = sum(target.weight for target in group)
    end = Fraction(0)
    for first in group:
        others = sorted((target for target in group if target is not first), key=lambda target: -target.weight)
        if not others:
            yield Fraction(1), (first,)
            return
        share = Fraction(first.weight, total * sum(target.weight for target in others))
        for second in others:
            end += share * second.weight
            yield end, (first, second, *(target for target in others if target is not second))
