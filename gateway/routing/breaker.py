"""A circuit breaker for one carrier: stops giving it messages while it fails, and finds out when it is well again.

    CLOSED     everything goes. So many failures in a row, or too large a share of them within a window, open it.
    OPEN       nothing goes, for a while that doubles each time it opens again before it has closed.
    HALF_OPEN  a few messages go, as probes. So many good answers close it, one failure opens it. When the probes bring
               no verdict in the time that it was open, further ones go.

A failure is an answer that says that the carrier is ill, or no answer at all; what the carrier says of one message (an
invalid number) is a good answer, and what it says of our pace is none of either. Pure: whole microseconds come in as
arguments.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass

_SECOND = 1_000_000
_SLICES = 10  # of the window
MOST_DOUBLINGS = 4


class BreakerState(enum.Enum):
    """Where a breaker stands."""

    CLOSED = "closed"
    OPEN = "open"
    HALF_OPEN = "half-open"


@dataclass(frozen=True, slots=True, kw_only=True)
class BreakerRules:
    """When it opens and closes. Times in microseconds."""

    failures: int = 20  # in a row
    percent: int = 50  # of the answers within `window`
    least: int = 50  # answers there have to be before the share counts
    window: int = 30 * _SECOND
    open_for: int = 10 * _SECOND
    probes: int = 3


class Breaker:
    """The breaker of one carrier (mutable)."""

    __slots__ = (
        "_doublings", "_failed", "_good", "_in_a_row", "_passed", "_rules", "_slice", "_until", "opened", "state",

    )  # fmt: skip

    def __init__(self, rules: BreakerRules) -> None:
        self._rules = rules
        self.state = BreakerState.CLOSED
        self.opened = 0  # how often, for the counters
        self._in_a_row = 0
        self._good = [0] * _SLICES
        self._failed = [0] * _SLICES
        self._slice = 0  # the number of the newest slice since the epoch
        self._until = 0  # of OPEN, and of a round of probes
        self._doublings = 0
        self._passed = 0  # HALF_OPEN: good answers to probes

    def look(self, now: int) -> bool:
        """Let time pass; True when the state changed."""
        if self.state is BreakerState.OPEN and now >= self._until:
            self._enter(BreakerState.HALF_OPEN, now)
            return True
        return False

    def probes(self, now: int, under_way: int) -> int:
        """Return how many messages HALF_OPEN allows now, while so many PDUs of the carrier are under way."""
        if now >= self._until:  # the last round brought no verdict
            return self._rules.probes
        return max(0, self._rules.probes - self._passed - under_way)

    def took(self, now: int) -> None:
        """Messages went: a round of probes begins if the last one is over."""
        if self.state is BreakerState.HALF_OPEN and now >= self._until:
            self._until = now + self._pause()

    @property
    def until(self) -> int:
        """When OPEN ends; 0 in other states."""
        return self._until if self.state is BreakerState.OPEN else 0

    def succeeded(self, count: int, now: int) -> bool:
        """Take good answers; True when the state changed (hot, once a batch)."""
        self._in_a_row = 0
        self._advance(now)
        self._good[self._slice % _SLICES] += count
        if self.state is not BreakerState.HALF_OPEN:
            return False
        self._passed += count
        if self._passed < self._rules.probes:
            return False
        self._enter(BreakerState.CLOSED, now)
        return True

    def failed(self, now: int) -> bool:
        """Take one failure; True when the state changed."""
        self._in_a_row += 1
        self._advance(now)
        self._failed[self._slice % _SLICES] += 1
        ill = self.state is BreakerState.CLOSED and (
            self._in_a_row >= self._rules.failures or self._share_is_too_large()
        )
        if not ill and self.state is not BreakerState.HALF_OPEN:
            return False  # what was under way when it opened tells nothing new
        self._enter(BreakerState.OPEN, now)
        return True

    def _share_is_too_large(self) -> bool:
        failed = sum(self._failed)
        total = failed + sum(self._good)
        return total >= self._rules.least and failed * 100 >= total * self._rules.percent

    def _advance(self, now: int) -> None:
        """Make the slice of `now` the newest one, and forget those that have left the window."""
        newest = now * _SLICES // self._rules.window
        for gone in range(self._slice + 1, min(newest, self._slice + _SLICES) + 1):
            self._good[gone % _SLICES] = self._failed[gone % _SLICES] = 0
        self._slice = max(self._slice, newest)

    def _pause(self) -> int:
        return self._rules.open_for << min(max(self._doublings - 1, 0), MOST_DOUBLINGS)

    def _enter(self, state: BreakerState, now: int) -> None:
        self.state = state
        self._passed = self._in_a_row = 0
        if state is BreakerState.CLOSED:
            self._doublings = 0
            self._good = [0] * _SLICES
            self._failed = [0] * _SLICES
        elif state is BreakerState.OPEN:
            self.opened += 1
            self._doublings += 1
            self._until = now + self._pause()
        else:
            self._until = now + self._pause()
