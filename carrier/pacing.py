"""How many PDUs a carrier account may send now: a token bucket in whole nanoseconds, shared by the account's binds.

Pure: time is an argument. The bucket holds 100 ms worth of PDUs, so that the carrier sees a smooth rate; a fifth of it
is kept for lane 1, so that a one-time password never waits for the promotions before it. Carriers count PDUs, not
messages: a text of three segments costs three. A carrier that is congested gets less: see `carrier.congestion`.
"""

from __future__ import annotations

from carrier.congestion import FULL, Congestion, Sign

_SECOND_NS = 1_000_000_000
SMOOTH_NS = 100_000_000  # the bucket's depth
_KEPT_SHARE = 5  # one in five is kept for lane 1
_NEVER_NS = 1 << 100


class Pacer:
    """A token bucket whose level is time: one PDU costs the nanoseconds that the rate gives it."""

    def __init__(self, rate_pdus_s: float, *, now_ns: int) -> None:
        """`rate_pdus_s`: PDUs per second, above 0. `now_ns`: monotonic nanoseconds. The bucket starts full."""
        if not rate_pdus_s > 0:
            raise ValueError(f"rate_pdus_s is above 0, not {rate_pdus_s}")
        self._rate_pdus_s = rate_pdus_s
        self._full_cost_ns = max(1, -int(-_SECOND_NS // rate_pdus_s))  # rounded up: never faster than the rate
        self._congestion = Congestion()
        self._grows_at_ns = _NEVER_NS
        self._set_cost(self._full_cost_ns)
        self._level_ns = self._depth_ns
        self._filled_ns = now_ns

    def share(self, part: float) -> None:
        """Keep to this part of the account's rate from now on, above 0 and up to 1: others use the rest."""
        self._full_cost_ns = max(1, -int(-_SECOND_NS // (self._rate_pdus_s * part)))
        self._adapt()

    @property
    def slow_factor(self) -> float:
        """The part of the account's rate that is used now: 1.0 unless the carrier asked for less."""
        return self._congestion.part / FULL

    @property
    def rate_pdus_s(self) -> float:
        """PDUs per second that may go now."""
        return _SECOND_NS / self._cost_ns

    @property
    def cuts(self) -> int:
        """How often the carrier made us slow down."""
        return self._congestion.cuts

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

    def slow_down(self, sign: Sign, now_ns: int, round_trip_ns: int = 0) -> bool:
        """Heed a congested carrier, on all binds of the account; True if the pace was cut."""
        self._fill(now_ns)
        cut = self._congestion.notice(sign, now_ns, round_trip_ns)
        self._adapt()
        return cut

    def _fill(self, now_ns: int) -> None:
        elapsed = now_ns - self._filled_ns
        if elapsed > 0:
            self._level_ns = min(self._depth_ns, self._level_ns + elapsed)
            self._filled_ns = now_ns
        if now_ns >= self._grows_at_ns:
            self._congestion.grow(now_ns)
            self._adapt()

    def _adapt(self) -> None:
        """Put the congestion's part in force. The level stays the same number of PDUs, or less: never a burst."""
        before_ns = self._cost_ns
        self._set_cost(self._full_cost_ns * FULL // self._congestion.part)
        if self._cost_ns < before_ns:
            self._level_ns = self._level_ns * self._cost_ns // before_ns
        self._level_ns = min(self._level_ns, self._depth_ns)
        next_ns = self._congestion.next_growth_ns
        self._grows_at_ns = _NEVER_NS if next_ns is None else next_ns

    def _set_cost(self, cost_ns: int) -> None:
        self._cost_ns = cost_ns
        # At low rates the bucket must hold one PDU beside the share that is kept.
        self._depth_ns = max(SMOOTH_NS, cost_ns + cost_ns // (_KEPT_SHARE - 1) + 1)
        self._kept_ns = self._depth_ns // _KEPT_SHARE
