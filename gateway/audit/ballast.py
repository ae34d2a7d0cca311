"""Room on the database's disk that is held by tables of nothing, for an engine whose disk is not this machine's.

Nodes that share a database share what is held: each sees how much there is, holds what is missing, and gives a part up
when the disk is full. What follows from that is `gateway.audit.ballast_gauge`'s matter.
"""

from __future__ import annotations

import enum
from typing import NamedTuple, Protocol


class Part(enum.StrEnum):
    """What is held apart, in the order in which it is given up."""

    RESERVE = "reserve"  # first: from then on denials use no more room
    LEAST = "least"  # then: for outcomes of what was accepted


class Held(NamedTuple):
    """Octets that are held; 0: nothing is any more, as after a crash of the server; GONE: it was given up."""

    reserve: int
    least: int


GONE = -1


class Outcome(enum.Enum):
    """What came of an attempt to hold a part."""

    HELD = enum.auto()  # or released, as was asked
    FULL = enum.auto()  # the disk has no room for it
    FORBIDDEN = enum.auto()  # this node's role of the database may not


class BallastStore(Protocol):
    """What a store does for it. Everything raises Unavailable when the database does not answer."""

    @property
    def times_full(self) -> int:
        """How often this node was told that the disk is full, but for its own attempts to hold."""

    async def held(self) -> Held:
        """Return what is held."""

    async def hold(self, part: Part, octets: int) -> Outcome:
        """Hold at least so many octets: all of them or none."""

    async def release(self, part: Part) -> Outcome:
        """Give up what is held; nothing may be. FULL when there is not even room for that."""
