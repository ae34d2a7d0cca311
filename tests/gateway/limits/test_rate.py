"""Rates in whole numbers."""

from __future__ import annotations

import pytest

from gateway.limits.rate import MAX_BURST, MAX_COUNT, MAX_PERIOD_US, Rate


@pytest.mark.parametrize(
    ("count", "period_us", "burst"),
    [(0, 1, 1), (MAX_COUNT + 1, 1, 1), (1, 0, 1), (1, MAX_PERIOD_US + 1, 1), (1, 1, 0), (1, 1, MAX_BURST + 1)],
)
def test_bounds(count: int, period_us: int, burst: int) -> None:
    """A rate outside of its bounds is none."""
    with pytest.raises(ValueError, match="of a rate is 1 to"):
        Rate(count=count, period_us=period_us, burst=burst)


def test_lowest_terms() -> None:
    """Sixty in an hour are one in a minute."""
    rate = Rate(count=60, period_us=3_600_000_000, burst=10).lowest()
    assert rate == Rate(count=1, period_us=60_000_000, burst=10)


@pytest.mark.parametrize(("count", "interval_us"), [(1, 1_000_000), (3, 333_334), (999_999, 2), (1_000_000, 1)])
def test_whole_microseconds(count: int, interval_us: int) -> None:
    """An interval in whole microseconds is never shorter than the exact one."""
    assert Rate.a_second(count, 5).of_whole_microseconds() == Rate(count=1, period_us=interval_us, burst=5)
