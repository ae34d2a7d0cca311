"""The room of an audit on a database server's disk, which nobody here can look at: it is what is held there.

    PLENTY     both parts are held
    RESERVED   the server's disk was full, and the first part has been given up for what is accepted; or nothing is
               held any more (the server fell over), or could not be yet
    SPENT      it was full again, and the second part has been given up for outcomes

What was given up is held again as soon as the disk has room for it, which is tried at growing intervals: an attempt
that finds none fills the disk for a moment. Nodes that share a database share what is held, and see what others did.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from gateway.audit.ballast import GONE, BallastStore, Held, Outcome, Part
from gateway.audit.reserve import Reserve, Room
from gateway.errors import GatewayError

_PAUSES_S = (10.0, 600.0)  # before what was given up is held again: at first, and at most
# One refusal may be from the moment in which another node tried: it takes two, within this, to give the last part up.
_DOUBT_S = 60.0
_MIB = 1 << 20
_FORBIDDEN = "nothing is held on the database server's disk: this node's role may not (smsgw db grants)"


class BallastGauge:
    """Of one node."""

    def __init__(
        self,
        store: BallastStore,
        reserve: Reserve,
        *,
        clock: Callable[[], float] = time.monotonic,
        pauses_s: tuple[float, float] = _PAUSES_S,
    ) -> None:
        """`reserve`: what is to be held, by its bounds. `clock` gives seconds."""
        self._store, self._clock, self._pauses_s = store, clock, pauses_s
        self._wanted = {
            Part.LEAST: reserve.bound(Room.SPENT),
            Part.RESERVE: reserve.bound(Room.RESERVED) - reserve.bound(Room.SPENT),
        }
        self._reserve = reserve
        self._held: Held | None = None  # as it was seen last
        self._seen_full = store.times_full
        self._doubted_at: float | None = None
        self._pause_s, self._not_before = pauses_s[0], 0.0
        self._forbidden = False

    async def look(self) -> tuple[Room, str]:
        """Give up, or hold, what is due; return how much room there is, and why. A database that does not answer
        leaves it as it was: it takes nothing anyway."""
        try:
            held = await self._store.held()
            if self._store.times_full > self._seen_full:
                held = await self._met_full(held)
            elif self._missing(held) and self._clock() >= self._not_before:
                held = await self._hold(held)
        except GatewayError as error:
            return self._reserve.room, str(error)
        self._held = held
        return self._room(held)

    async def _met_full(self, held: Held) -> Held:
        """The disk was full: give up the next part, unless somebody just has."""
        self._seen_full = self._store.times_full
        self._not_before = self._clock() + self._pause_s
        if self._held is not None and held != self._held:
            return held
        if held.reserve > 0:
            parts = [Part.RESERVE]
        elif held.least != GONE and not self._doubtful():
            parts = [Part.RESERVE, Part.LEAST]
        else:
            return held
        for part in parts:
            await self._store.release(part)
        self._doubted_at = None
        return await self._store.held()

    def _doubtful(self) -> bool:
        now, since = self._clock(), self._doubted_at
        self._doubted_at = now
        return since is None or now - since > _DOUBT_S

    def _missing(self, held: Held) -> list[Part]:
        """Return what is not held, the last that is given up first."""
        there = {Part.LEAST: held.least, Part.RESERVE: held.reserve}
        return [part for part, octets in self._wanted.items() if there[part] < octets]

    async def _hold(self, held: Held) -> Held:
        outcome = Outcome.HELD
        for part in self._missing(held):
            outcome = await self._store.hold(part, self._wanted[part])
            if outcome is not Outcome.HELD:
                break
        if outcome is Outcome.FULL:
            await self._store.release(part)  # what a server emptied, or what is smaller than is wanted now
        self._forbidden = outcome is Outcome.FORBIDDEN
        first, longest = self._pauses_s
        self._pause_s = first if outcome is Outcome.HELD else min(self._pause_s * 2, longest)
        self._not_before = self._clock() + self._pause_s
        self._seen_full = self._store.times_full  # what others met while it was tried
        return await self._store.held()

    def _room(self, held: Held) -> tuple[Room, str]:
        if not self._missing(held):
            return Room.PLENTY, f"{(held.least + held.reserve) / _MIB:.0f} MiB are held"
        if self._forbidden:
            return Room.RESERVED, _FORBIDDEN
        if held.least == GONE:
            return Room.SPENT, "the database server's disk is full, and all that was held on it is given up"
        return Room.RESERVED, "the database server's disk was full: what was held on it against that is given up"
