"""The links as the dispatcher sees them: how many PDUs are in doubt on each, and what more it can take."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from carrier.contract import Link, LinkState
from gateway.states import Category

COMMITS_AHEAD = 2  # of one link at a time: what becomes possible meanwhile goes together into the next


class Room(NamedTuple):
    """How many PDUs a link can take: for OTP, and for everything else (a fifth less)."""

    otp: int
    others: int


_NO_ROOM = Room(0, 0)


class Berth:
    """A link, and the slots that its messages occupy. One that is `leaving` gets nothing more."""

    __slots__ = ("carrier", "commits", "leaving", "link", "slots")

    def __init__(self, link: Link) -> None:
        self.link = link
        self.carrier = link.carrier
        self.leaving = False
        self.slots = 0
        self.commits = 0

    @property
    def usable(self) -> bool:
        """Whether messages may go this way, room or not."""
        return self.link.state is LinkState.BOUND and not self.leaving

    def room(self) -> Room:
        """Return the free slots."""
        if not self.usable or self.commits >= COMMITS_AHEAD:
            return _NO_ROOM
        slots = 2 * self.link.window
        return Room(slots - self.slots, slots - slots // 5 - self.slots)

    def takes(self, category: int, slots: int) -> bool:
        """Say whether a message of so many PDUs may go now; one larger than the slots goes alone."""
        room = self.room()
        fits = slots <= (room.otp if category == Category.OTP else room.others)
        return fits or (room.otp > 0 and self.slots == 0)


def freest(berths: Iterable[Berth]) -> Berth | None:
    """Return the berth with the most room, None when none has any."""
    best, most = None, 0
    for berth in berths:
        room = berth.room().otp
        if room > most:
            best, most = berth, room
    return best


def by_carrier(berths: Iterable[Berth]) -> dict[str, Sequence[Berth]]:
    """Return the berths of each carrier, in order."""
    found: dict[str, list[Berth]] = {}
    for berth in berths:
        found.setdefault(berth.carrier, []).append(berth)
    return {carrier: tuple(group) for carrier, group in found.items()}
