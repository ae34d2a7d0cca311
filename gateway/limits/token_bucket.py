"""A token bucket in whole numbers: what the calls of one identity are drawn from.

Pure: time is an argument, in microseconds. The bucket begins full. Whatever the calls, no more than
`rate * t + burst` tokens leave it in any time `t`. A clock that goes back fills nothing.
"""

# ruff: noqa: FURB136 -- a call of min or max costs three times as much as the comparison

from __future__ import annotations

from gateway.limits.rate import Rate


class TokenBucket:
    """One bucket. Mutable: it is the state of one key."""

    __slots__ = ("_cost", "_depth", "_filled_at", "_level", "_per_us")

    def __init__(self, rate: Rate, now: int) -> None:
        exact = rate.lowest()
        self._per_us = exact.count  # ticks that a microsecond fills in
        self._cost = exact.period_us  # ticks that a token takes
        self._depth = exact.burst * exact.period_us
        self._level = self._depth
        self._filled_at = now

    def take(self, tokens: int, now: int) -> int:
        """Take `tokens` (1 or more) and return 0; or take none and return in how many µs they will be there.

        More than the burst are never there: then the time until the bucket is full, 1 µs at least.
        """
        elapsed = now - self._filled_at
        if elapsed > 0:
            self._filled_at = now
            level = self._level + elapsed * self._per_us
            self._level = level if level < self._depth else self._depth
        short = tokens * self._cost - self._level
        if short <= 0:
            self._level = -short
            return 0
        wanted = min(short, self._depth - self._level)
        return max(1, -(-wanted // self._per_us))

    def idle(self, now: int) -> bool:
        """Say whether the bucket is full: it may be forgotten, and made anew, without any difference."""
        return self._level + max(0, now - self._filled_at) * self._per_us >= self._depth
