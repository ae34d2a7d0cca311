"""A rate in whole numbers: so many in a period of microseconds.

All arithmetic here and beside it is exact. A duration is counted in *ticks*, of which a microsecond has `count`: then
one event takes `period_us` ticks, and no rate has to be rounded.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

SECOND_US = 1_000_000
MAX_COUNT = 1_000_000
MAX_PERIOD_US = 86_400 * SECOND_US
MAX_BURST = 10_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Rate:
    """`count` (1 to a million) in each `period_us` (1 µs to a day), and `burst` (1 to ten million) at once."""

    count: int
    period_us: int
    burst: int

    def __post_init__(self) -> None:
        for name, value, high in (
            ("count", self.count, MAX_COUNT),
            ("period_us", self.period_us, MAX_PERIOD_US),
            ("burst", self.burst, MAX_BURST),
        ):
            if not 1 <= value <= high:
                raise ValueError(f"the {name} of a rate is 1 to {high}, not {value}")

    @classmethod
    def a_second(cls, count: int, burst: int) -> Rate:
        """Return `count` a second."""
        return cls(count=count, period_us=SECOND_US, burst=burst)

    def lowest(self) -> Rate:
        """Return the same rate in lowest terms: fewer ticks, the same time."""
        divisor = math.gcd(self.count, self.period_us)
        return Rate(count=self.count // divisor, period_us=self.period_us // divisor, burst=self.burst)

    def of_whole_microseconds(self) -> Rate:
        """Return a rate of one in a whole number of microseconds, rounded up: never faster, at most 1 µs slower."""
        return Rate(count=1, period_us=-(-self.period_us // self.count), burst=self.burst)
