"""How far an account's pace is cut, and when: additive increase, multiplicative decrease. Pure, in whole numbers.

The carrier says that it is too much by ESME_RTHROTTLED and ESME_RMSGQFUL, or gradually by the TLV congestion_state
(SMPP 5.0 §4.8.4.18: 0 is idle, 80 to 89 the optimum, 90 to 99 nearly congested, 100 congested). A cut takes effect on
what is written after it, so that what was already on its way may not cut again: one cut in a second or a round trip,
whichever is longer. Without cuts the pace grows back by the same amount each step, to where it was.
"""

from __future__ import annotations

import enum

FULL = 1_000_000  # the configured rate, in parts per million
FLOOR = FULL // 100  # never less: a carrier that throttles everything is still asked now and then
STEP_NS = 100_000_000  # how often the pace grows
RECOVERY_NS = 30_000_000_000  # from nothing to the configured rate
_GROWTH = FULL * STEP_NS // RECOVERY_NS
HOLD_NS = 1_000_000_000  # after a cut: neither another cut nor growth

_OPTIMUM, _NEAR, _CONGESTED = 80, 90, 100


class Sign(enum.Enum):
    """What the carrier lets us know; the value is what remains of the pace, in parts per million."""

    HOLD = FULL  # as much as it likes: no growth for now
    NEAR = FULL * 7 // 8
    TOO_MUCH = FULL // 2


def sign_of(congestion_state: int) -> Sign | None:
    """Return what a congestion_state asks for; None below 80, and above 100, which means nothing."""
    if not _OPTIMUM <= congestion_state <= _CONGESTED:
        return None
    if congestion_state < _NEAR:
        return Sign.HOLD
    return Sign.NEAR if congestion_state < _CONGESTED else Sign.TOO_MUCH


class Congestion:
    """The part of its rate that an account uses now."""

    def __init__(self) -> None:
        self.part = FULL
        self.cuts = 0
        self._held_until_ns = 0
        self._grown_at_ns = 0

    @property
    def next_growth_ns(self) -> int | None:
        """When `grow` changes something next; None at the full rate."""
        return None if self.part == FULL else max(self._held_until_ns, self._grown_at_ns + STEP_NS)

    def notice(self, sign: Sign, now_ns: int, round_trip_ns: int = 0) -> bool:
        """Take a sign; True if the pace was cut."""
        if now_ns < self._held_until_ns:
            return False
        if sign is Sign.HOLD:
            self._held_until_ns = now_ns + STEP_NS
            return False
        self.part = max(FLOOR, self.part * sign.value // FULL)
        self.cuts += 1
        self._held_until_ns = self._grown_at_ns = now_ns + max(HOLD_NS, round_trip_ns)
        return True

    def grow(self, now_ns: int) -> None:
        """Grow by the steps that have passed since the last, when nothing holds it."""
        if self.part == FULL or now_ns < self._held_until_ns:
            return
        steps = (now_ns - self._grown_at_ns) // STEP_NS
        if steps > 0:
            self.part = min(FULL, self.part + steps * _GROWTH)
            self._grown_at_ns += steps * STEP_NS
