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
_AHEAD_S = 1.0  # of work at the pace of its account: what a link may hold that is not written yet
_LEAST_AHEAD = 5  # PDUs, of which one is kept for OTP


class Berth:
    """A link, and the slots that its messages occupy. One that is `leaving` gets nothing more."""

    __slots__ = ("carrier", "commits", "leaving", "link", "moved_at", "siblings", "slots", "stalled")

    def __init__(self, link: Link) -> None:
        self.link = link
        self.carrier = link.carrier
        self.leaving = False
        self.siblings = 1  # links of the carrier, this one included
        self.slots = 0
        self.commits = 0
        self.moved_at = 0  # when it last had something answered, or was given something while it had nothing
        self.stalled = False  # its window is full, and nothing is answered

    @property
    def usable(self) -> bool:
        """Whether messages may go this way, room or not."""
        return self.link.state is LinkState.BOUND and not self.leaving

    def room(self) -> Room:
        """Return the free slots: two windows at most, and no more that is not written yet than goes in a second, so
        that what a slow carrier cannot take now is still to be had for another one."""
        if self.stalled or not self.usable or self.commits >= COMMITS_AHEAD:
            return _NO_ROOM
        link = self.link
        slots = 2 * link.window
        free, others = slots - self.slots, slots - slots // 5 - self.slots
        ahead = max(_LEAST_AHEAD, int(link.pace * _AHEAD_S) // self.siblings)
        if ahead < slots:
            unwritten = self.slots - link.unanswered
            free, others = min(free, ahead - unwritten), min(others, ahead - ahead // 5 - unwritten)
        return Room(free, others)

    def look(self, now: int, patience: int) -> bool:
        """See whether the link has stalled; True when it holds back what it had better give back. `patience` in
        microseconds."""
        link = self.link
        self.stalled = link.unanswered >= link.window and now - self.moved_at > patience
        return self.stalled and link.staged > 0

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
    for group in found.values():
        for berth in group:
            berth.siblings = len(group)
    return {carrier: tuple(group) for carrier, group in found.items()}
