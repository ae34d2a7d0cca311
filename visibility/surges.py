"""Many of the same within a minute: counters that grow faster than they may. Pure; time is an argument.

A single refusal is nobody's business at night, ten in a minute for one reason are. Counts are looked at about once a
second; what they were a minute ago is remembered by steps of some seconds.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping

WINDOW = 60_000_000  # microseconds
_STEP = 5_000_000


class Surges:
    """Watches counters that only grow, by name."""

    def __init__(self, least: int, window: int = WINDOW) -> None:
        """`least`: so many more within `window` (microseconds) are a surge."""
        self._least = least
        self._window = window
        self._past: deque[tuple[int, dict[str, int]]] = deque()  # the oldest first; one for each step

    def look(self, counts: Mapping[str, int], now: int) -> dict[str, int]:
        """Return how many more there are than a window ago, of those counters that have grown by `least`.

        `now`: microseconds. A counter that was not there before has been 0.
        """
        if not self._past or now - self._past[-1][0] >= _STEP:
            self._past.append((now, dict(counts)))
        while len(self._past) > 1 and self._past[1][0] <= now - self._window:
            self._past.popleft()
        before = self._past[0][1]
        grown = {name: count - before.get(name, 0) for name, count in counts.items()}
        return {name: more for name, more in grown.items() if more >= self._least}
