"""How many PDUs a carrier account may send now: a token bucket in whole nanoseconds, shared by the account's binds.

Pure: time is an argument. The bucket holds 100 ms worth of PDUs, so that the carrier sees a smooth rate; a fifth of it
is kept for lane 1, so that a one-time password never waits for the promotions before it. Carriers count PDUs, not
messages: a text of three segments costs three.
"""

from __future__ import annotations

_SECOND_NS = 1_000_000_000
SMOOTH_NS = 100_000_000  # the bucket's depth
_KEPT_SHARE = 5  # one in five is kept for lane 1


class Pacer:
    """A token bucket whose level is time: one PDU costs the nanoseconds that the rate gives it."""

    def __init__(self, rate_pdus_s: float, *, now_ns: int) -> None:
        """`rate_pdus_s`: PDUs per second, above 0. `now_ns`: monotonic nanoseconds. The bucket starts full."""
        if not rate_pdus_s > 0:
            raise ValueError(f"rate_pdus_s is above 0, not {rate_pdus_s}")
        self._cost_ns = max(1, -int(-_SECOND_NS // rate_pdus_s))  # rounded up: never faster than the rate
        # At low rates the bucket must hold one PDU beside the share that is kept.
        self._depth_ns = max(SMOOTH_NS, self._cost_ns + self._cost_ns // (_KEPT_SHARE - 1) + 1)
        self._kept_ns = self._depth_ns // _KEPT_SHARE
        self._level_ns = self._depth_ns
        self._filled_ns = now_ns

    def available(self, lane: int, now_ns: int) -> int:
        """Return how many PDUs `lane` may send now (1 has the whole bucket, others leave it a fifth)."""
        self._fill(now_ns)
        usable = self._level_ns if lane == 1 else self._level_ns - self._kept_ns
        return max(0, usable // self._cost_ns)

    def take(self, count: int, now_ns: int) -> None:
        """Spend `count` PDUs that `available` has allowed at `now_ns`."""
        self._fill(now_ns)
        self._level_ns -= count * self._cost_ns

    def ready_at(self, lane: int, now_ns: int) -> int:
        """Return when `lane` may send its next PDU: `now_ns` or later."""
        self._fill(now_ns)
        needed = self._cost_ns if lane == 1 else self._cost_ns + self._kept_ns
        return now_ns + max(0, needed - self._level_ns)

    def _fill(self, now_ns: int) -> None:
        elapsed = now_ns - self._filled_ns
        if elapsed > 0:
            self._level_ns = min(self._depth_ns, self._level_ns + elapsed)
            self._filled_ns = now_ns
