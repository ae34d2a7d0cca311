"""GCRA: exact, and never more than rate * t + burst; it agrees with a token bucket."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.limits.gcra import Gcra
from gateway.limits.rate import Rate
from gateway.limits.token_bucket import TokenBucket
from tests.gateway.limits.strategies import arrivals, rates, worst_excess

HOUR_US = 3_600_000_000


def test_by_hand() -> None:
    """Sixty an hour, ten at once: ten fit, the next a minute later, and all ten again after ten minutes."""
    gcra = Gcra(Rate(count=60, period_us=HOUR_US, burst=10))
    assert gcra.room(0, 5) == 10
    horizon = gcra.after(0, 10, 5)
    assert (gcra.room(horizon, 5), gcra.wait(horizon, 1, 5)) == (0, 60_000_000)
    assert gcra.room(horizon, 60_000_004) == 0
    assert gcra.room(horizon, 60_000_005) == 1
    assert gcra.wait(horizon, 10, 5) == gcra.wait(horizon, 11, 5) == 600_000_000
    assert [gcra.idle(horizon, at) for at in (600_000_004, 600_000_005)] == [False, True]


def test_a_rate_that_no_microsecond_divides() -> None:
    """Three a second: after one more the next waits a third of a second, rounded up once and not each time."""
    gcra, horizon = Gcra(Rate.a_second(3, 1)), 0
    times = []
    now = 0
    for _ in range(4):
        now += gcra.wait(horizon, 1, now)
        horizon = gcra.after(horizon, 1, now)
        times.append(now)
    assert times == [0, 333_334, 666_668, 1_000_002]
    assert gcra.after(0, 3, 0) == gcra.after(gcra.after(0, 1, 0), 2, 0)


@settings(max_examples=60)
@given(rates, arrivals)
def test_never_too_many(rate: Rate, arriving: list[tuple[int, int]]) -> None:
    """In no window of time does more get through than the rate and the burst allow."""
    gcra, horizon, now, admitted = Gcra(rate), 0, 0, []
    for pause, wanted in arriving:
        now += pause
        count = min(wanted, gcra.room(horizon, now))
        horizon = gcra.after(horizon, count, now)
        admitted.append((now, count))
    assert worst_excess(rate, admitted) <= 0


@settings(max_examples=60)
@given(rates, arrivals)
def test_agrees_with_the_bucket(rate: Rate, arriving: list[tuple[int, int]]) -> None:
    """It lets through what a token bucket lets through, and tells the same times."""
    gcra, horizon, now = Gcra(rate), 0, 0
    bucket = TokenBucket(rate, 0)
    for pause, wanted in arriving:
        now += pause
        count = min(wanted, rate.burst)
        wait = gcra.wait(horizon, count, now)
        assert bucket.take(count, now) == wait
        assert (gcra.room(horizon, now) >= count) == (wait == 0)
        if not wait:
            horizon = gcra.after(horizon, count, now)


@settings(max_examples=60)
@given(rates, st.integers(0, 10**12), st.integers(0, 10**12), st.integers(1, 50))
def test_wait_is_exact(rate: Rate, now: int, ahead: int, events: int) -> None:
    """After the time that was told the events fit; a microsecond before they do not."""
    gcra = Gcra(rate)
    horizon = now * gcra.per_us + ahead % (gcra.tolerance + 1)
    events = min(events, rate.burst)
    wait = gcra.wait(horizon, events, now)
    assert gcra.room(horizon, now + wait) >= events
    if wait:
        assert gcra.room(horizon, now + wait - 1) < events
