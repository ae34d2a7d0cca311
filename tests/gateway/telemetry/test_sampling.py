"""The sampler: everything while there is little, never more than the rate in any second."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.telemetry.sampling import RateSampler, spread

SECOND = 1_000_000

# How long after the last one something comes, and how much of it.
arrivals = st.lists(st.tuples(st.integers(0, 400_000), st.integers(1, 30)), min_size=1, max_size=80)


def granted_at(rate: int, came: list[tuple[int, int]]) -> list[tuple[int, int, int]]:
    """Return (time, wanted, granted) of each arrival."""
    sampler, now, found = RateSampler(rate), 0, []
    for pause, wanted in came:
        now += pause
        found.append((now, wanted, sampler.take(now, wanted)))
    return found


@given(rate=st.integers(0, 40), came=arrivals)
def test_never_more_than_the_rate_in_any_second(rate: int, came: list[tuple[int, int]]) -> None:
    """Whatever comes when: no window of a second, wherever it begins, has more than the rate."""
    found = granted_at(rate, came)
    for start, _, _ in found:
        assert sum(granted for at, _, granted in found if start <= at < start + SECOND) <= rate


@given(rate=st.integers(1, 40), came=arrivals)
def test_everything_at_low_traffic(rate: int, came: list[tuple[int, int]]) -> None:
    """What finds room in the second behind it is granted, all of it; what does not, as far as there is room."""
    found = granted_at(rate, came)
    for index, (at, wanted, granted) in enumerate(found):
        before = sum(other for then, _, other in found[:index] if then > at - SECOND)
        assert granted == min(wanted, rate - before)


def test_a_rate_of_nothing() -> None:
    """A rate of 0 grants nothing, and a negative one is a mistake."""
    assert RateSampler(0).take(0, 100) == 0
    with pytest.raises(ValueError, match="0 or more"):
        RateSampler(-1)


def test_a_clock_set_back() -> None:
    """After the clock went back sampling goes on, at the same rate, instead of waiting for the old time."""
    sampler = RateSampler(2)
    assert sampler.take(3600 * SECOND, 5) == 2
    assert sampler.take(10 * SECOND, 5) == 2
    assert sampler.take(10 * SECOND + 1, 5) == 0
    assert sampler.take(11 * SECOND, 1) == 1


@given(count=st.integers(1, 1000), data=st.data())
def test_spread(count: int, data: st.DataObject) -> None:
    """So many of a batch, each once, in order, from the first on, and evenly."""
    granted = data.draw(st.integers(1, count))
    chosen = spread(count, granted)
    assert len(chosen) == granted
    assert chosen[0] == 0
    gaps = {after - before for before, after in itertools.pairwise(chosen)}
    assert all(count // granted <= gap <= -(-count // granted) for gap in gaps)
    assert chosen[-1] < count
