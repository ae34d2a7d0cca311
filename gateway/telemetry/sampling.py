"""Head sampling at a bounded rate: everything while there is little, and so many a second when there is much.

Pure. It decides before anything is made: what it refuses costs no span. A caller's own sampled flag is not asked, since
a caller could then fill our collector, or hide from it.
"""

from __future__ import annotations

_SECOND = 1_000_000
_LONG_AGO = -(1 << 62)


class RateSampler:
    """Grants at most `per_s` within any second, and everything while no more is asked for.

    It remembers when it granted the last `per_s`: a new one is granted when the oldest of them is a second old. So
    there is no window at whose edge twice the rate would pass.
    """

    __slots__ = ("_at", "_granted")

    def __init__(self, per_s: int) -> None:
        """`per_s` from 0 (nothing) to as many as there is memory for. Raises ValueError below 0."""
        if per_s < 0:
            raise ValueError(f"a sampling rate is 0 or more a second, not {per_s}")
        self._granted = [_LONG_AGO] * per_s
        self._at = 0

    def take(self, now: int, wanted: int = 1) -> int:
        """Return how many of `wanted` are granted at `now`, microseconds. A clock set back by more than a second frees
        what was granted after its new time: else nothing would be sampled until it has caught up."""
        granted, size = self._granted, len(self._granted)
        taken = 0
        while taken < wanted and taken < size and not -_SECOND < now - granted[self._at] < _SECOND:
            granted[self._at] = now
            self._at = (self._at + 1) % size
            taken += 1
        return taken


def spread(count: int, granted: int) -> list[int]:
    """Return which of `count` messages are traced when `granted` of them are: evenly spaced, from the first on."""
    return [number * count // granted for number in range(granted)]
