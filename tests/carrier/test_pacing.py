"""The token bucket, with whole nanoseconds."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from carrier.congestion import Sign
from carrier.pacing import Pacer

MS = 1_000_000
SECOND = 1_000_000_000


def test_the_bucket_holds_a_tenth_of_a_second() -> None:
    """At 500/s fifty PDUs may go at once; lanes 2 and 3 leave a fifth of them."""
    pacer = Pacer(500, now_ns=0)
    assert [pacer.available(lane, 0) for lane in (1, 2, 3)] == [50, 40, 40]


def test_it_refills_at_the_rate() -> None:
    """An empty bucket gives one PDU every two milliseconds at 500/s."""
    pacer = Pacer(500, now_ns=0)
    pacer.take(50, 0)
    assert [pacer.available(1, n * MS) for n in (0, 1, 2, 3, 4, 10)] == [0, 0, 1, 1, 2, 5]
    assert pacer.available(1, 3600 * SECOND) == 50


def test_the_kept_fifth_is_lane_1s() -> None:
    """When the others have taken all they may, lane 1 still sends at once; they wait for the fifth to fill."""
    pacer = Pacer(500, now_ns=0)
    pacer.take(pacer.available(2, 0), 0)
    assert (pacer.available(2, 0), pacer.available(1, 0)) == (0, 10)
    assert (pacer.ready_at(1, 0), pacer.ready_at(2, 0)) == (0, 2 * MS)
    pacer.take(10, 0)
    assert (pacer.ready_at(1, 0), pacer.ready_at(2, 0)) == (2 * MS, 22 * MS)


def test_ready_at_is_exact() -> None:
    """At the moment that ready_at names a PDU may go, a nanosecond before it may not."""
    pacer = Pacer(7, now_ns=5)
    pacer.take(pacer.available(2, 5), 5)
    ready = pacer.ready_at(2, 5)
    assert (pacer.available(2, ready - 1), pacer.available(2, ready)) == (0, 1)


@pytest.mark.parametrize("rate", [0.1, 1, 5, 9.9, 10, 11])
def test_a_low_rate_starves_nobody(rate: float) -> None:
    """Below ten a second the bucket still holds one PDU for every lane."""
    assert [Pacer(rate, now_ns=0).available(lane, 0) for lane in (1, 2, 3)] == [1, 1, 1]


def test_time_that_goes_back_gives_nothing() -> None:
    """A clock that steps back neither fills nor empties."""
    pacer = Pacer(500, now_ns=SECOND)
    pacer.take(50, SECOND)
    assert pacer.available(1, 0) == 0
    assert pacer.available(1, SECOND + 2 * MS) == 1


@given(
    st.floats(0.5, 50_000),
    st.lists(st.tuples(st.integers(1, 3), st.integers(0, 50 * MS)), min_size=1, max_size=60),
)
def test_the_rate_is_never_exceeded(rate: float, steps: list[tuple[int, int]]) -> None:
    """However greedily the lanes ask, any span of time carries its rate and one bucket at most."""
    pacer, now, sent = Pacer(rate, now_ns=0), 0, 0
    depth = max(0.1 * rate, 1.25)
    for lane, wait in steps:
        now += wait
        count = pacer.available(lane, now)
        pacer.take(count, now)
        sent += count
        assert sent <= depth + rate * now / SECOND + 1e-6


def test_a_shared_bucket_is_one_rate() -> None:
    """Two binds that draw from one bucket get the account's rate together."""
    pacer, sent = Pacer(1000, now_ns=0), [0, 0]
    for step in range(1000):
        for bind in (step % 2, 1 - step % 2):
            count = min(1, pacer.available(1, step * MS))
            pacer.take(count, step * MS)
            sent[bind] += count
    assert sum(sent) == 1099  # a second's worth, and the full bucket at its start
    assert min(sent) > 500


@pytest.mark.parametrize("rate", [0, -1, float("nan")])
def test_a_rate_is_above_zero(rate: float) -> None:
    """A rate that would never send is a mistake of the configuration."""
    with pytest.raises(ValueError, match="rate_pdus_s"):
        Pacer(rate, now_ns=0)


def test_a_throttled_account_slows_down_and_recovers() -> None:
    """Half the rate after a cut, the bucket with it; the full rate again after half a minute of quiet."""
    pacer = Pacer(1000, now_ns=0)
    assert pacer.slow_down(Sign.TOO_MUCH, 0)
    assert (pacer.slow_factor, pacer.rate_pdus_s, pacer.available(1, 0), pacer.cuts) == (0.5, 500, 50, 1)
    pacer.take(50, 0)
    assert pacer.available(1, 10 * MS) == 5
    later = 40 * SECOND
    assert (pacer.available(1, later), pacer.slow_factor, pacer.rate_pdus_s) == (50, 1.0, 1000)
    assert pacer.available(1, later + SECOND) == 100


def test_growth_gives_no_burst() -> None:
    """A full bucket of the slow pace stays the same number of PDUs when the pace grows: nothing comes at once."""
    pacer = Pacer(1000, now_ns=0)
    pacer.slow_down(Sign.TOO_MUCH, 0)
    before = pacer.available(1, SECOND)
    assert pacer.available(1, SECOND + 100 * MS) <= before + 1


@given(st.integers(1, 50_000), st.integers(1, 200), st.integers(1, 40))
def test_a_throttled_rate_is_never_exceeded_and_never_nothing(rate: int, cuts: int, seconds: int) -> None:
    """However often it is cut, a PDU goes at last, and never more than the configured rate."""
    pacer, now, sent = Pacer(rate, now_ns=0), 0, 0
    for _ in range(cuts):
        pacer.slow_down(Sign.TOO_MUCH, now)
        now += SECOND
    start = now
    while now < start + seconds * SECOND:
        count = pacer.available(1, now)
        pacer.take(count, now)
        sent += count
        now = max(now + 10 * MS, pacer.ready_at(1, now))
    assert sent <= 0.1 * rate + 1.25 + rate * seconds
    assert pacer.available(1, pacer.ready_at(1, now)) == 1 or sent
    assert pacer.ready_at(1, now) - now <= 100 * SECOND // rate + SECOND


def test_a_part_of_the_rate() -> None:
    """Who has a part of the account's binds sends at that part of its rate, and at all of it when it has them all."""
    pacer = Pacer(100, now_ns=0)
    pacer.take(pacer.available(1, 0), 0)
    pacer.share(0.25)
    assert pacer.rate_pdus_s == 25
    sent, now = 0, 0
    for now in range(0, 4 * 10**9, 10**7):
        count = pacer.available(1, now)
        pacer.take(count, now)
        sent += count
    assert 95 <= sent <= 101
    pacer.share(1.0)
    assert pacer.rate_pdus_s == 100
    assert pacer.available(1, now) == 0  # no burst
