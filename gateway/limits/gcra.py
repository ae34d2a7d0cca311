"""The generic cell rate algorithm (ITU-T I.371 §A.1, the virtual scheduling form) in whole numbers.

Its state is one number, the *horizon*: until when what has been admitted lasts at the rate. A horizon that lies in the
past is like none, and 0 is the horizon of what has never been seen. An event moves the horizon on by one interval, and
fits as long as the horizon stays within a burst of now. So no more than `rate * t + burst` fit into any time `t`.

Pure: time is an argument, in microseconds, 0 or more; horizons are in ticks (see `gateway.limits.rate`).
"""

# ruff: noqa: FURB136 -- a call of min or max costs three times as much as the comparison

from __future__ import annotations

from gateway.limits.rate import Rate


class Gcra:
    """One rate's arithmetic, without any state but which part of the rate it is."""

    __slots__ = ("_exact", "burst", "interval", "per_us", "tolerance")

    def __init__(self, rate: Rate, nodes: int = 1) -> None:
        """`nodes`: how many share the rate, see `share`."""
        self._exact = rate.lowest()
        self.per_us = self._exact.count  # ticks of a microsecond
        self.share(nodes)

    def share(self, nodes: int) -> None:
        """Be one of so many equal slices of the rate from now on: an event costs as many times as much. The horizons
        stay what they are. One event at once fits into any slice."""
        self.interval = self._exact.period_us * nodes  # ticks of an event
        self.tolerance = max(self._exact.burst * self._exact.period_us, self.interval)
        self.burst = self.tolerance // self.interval

    def room(self, horizon: int, now: int) -> int:
        """Return how many events fit now: 0 to the burst."""
        ahead = horizon - now * self.per_us
        return (self.tolerance - ahead if ahead > 0 else self.tolerance) // self.interval

    def after(self, horizon: int, events: int, now: int) -> int:
        """Return the horizon after `events` that fit."""
        at = now * self.per_us
        return (horizon if horizon > at else at) + events * self.interval

    def wait(self, horizon: int, events: int, now: int) -> int:
        """Return in how many µs `events` fit, 0 when they do now. More than the burst never fit: then for the burst."""
        short = horizon + min(events, self.burst) * self.interval - self.tolerance - now * self.per_us
        return -(-short // self.per_us) if short > 0 else 0

    def idle(self, horizon: int, now: int) -> bool:
        """Say whether the horizon lies in the past: it may be forgotten without any difference."""
        return horizon <= now * self.per_us
