"""Routes as data: what a route is for, and where it leads. `gateway.routing.table` finds the route of a message.

A message has one route: the one with the longest prefix of its recipient's number; else the one of its country; else
one for any destination. Among those, a route for its sender goes before one for any, then one for its category, then
one for its tenant. Two routes that would stand equal before some message are refused where they are read.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from gateway.routing.hours import Hours

_NO_SENDERS: Mapping[str, str] = MappingProxyType({})


class Strategy(enum.StrEnum):
    """How the targets of one priority share its messages."""

    WEIGHTED = "weighted"  # each gets its weight's share
    LEAST_COST = "least_cost"  # the cheapest that can gets all


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """One carrier of a route."""

    carrier: str
    priority: int = 1  # lower goes first; those of a higher number wait for when none of the lower ones can
    weight: int = 1  # its share among those of its priority
    cost: float = 0.0  # of one segment, in whatever currency all costs are in
    sender: str = ""  # the carrier is told this sender; "": the message's own
    senders: Mapping[str, str] = field(default_factory=lambda: _NO_SENDERS)  # the message's sender → what it is told
    hours: tuple[Hours, ...] = ()  # when it may be used; empty: always
    timezone: str = "UTC"  # of the clock on which `hours` are read

    @property
    def rewrites(self) -> bool:
        """Whether it tells the carrier other senders than the messages' own."""
        return bool(self.sender or self.senders)

    def told(self, sender: str) -> str:
        """Return the sender that the carrier is told for a message of `sender`."""
        return self.senders.get(sender) or self.sender or sender


@dataclass(frozen=True, slots=True, kw_only=True)
class Match:
    """Which messages a route is for: those that fit each condition that is not empty. Prefixes and countries are one
    condition: the recipient's number has one of the prefixes, or is of one of the countries."""

    prefixes: frozenset[str] = frozenset()  # with the plus sign: "+9198"
    countries: frozenset[str] = frozenset()  # ISO 3166-1 alpha-2
    senders: frozenset[str] = frozenset()
    categories: frozenset[int] = frozenset()
    tenants: frozenset[str] = frozenset()

    def fits(self, tenant: str, sender: str, category: int) -> bool:
        """Say whether a message fits, wherever it goes."""
        return (
            (not self.senders or sender in self.senders)
            and (not self.categories or category in self.categories)
            and (not self.tenants or tenant in self.tenants)
        )

    @property
    def rank(self) -> tuple[bool, bool, bool]:
        """How narrow it is beside its destination: of several that fit, the greatest counts."""
        return bool(self.senders), bool(self.categories), bool(self.tenants)


@dataclass(frozen=True, slots=True, kw_only=True)
class Route:
    """One route: a name for people, whom it is for, where it leads."""

    name: str
    match: Match = Match()
    strategy: Strategy = Strategy.WEIGHTED
    targets: tuple[Target, ...]


def in_order(carriers: tuple[str, ...]) -> Route:
    """Return the route of a configuration without routes: every carrier, the first one preferred."""
    targets = (Target(carrier=carrier, priority=at + 1) for at, carrier in enumerate(carriers))
    return Route(name="", targets=tuple(targets))
