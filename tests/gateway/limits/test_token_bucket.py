"""The token bucket: exact, and never more than rate * t + burst."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.limits.rate import Rate
from gateway.limits.token_bucket import TokenBucket
from tests.gateway.limits.strategies import arrivals, rates, worst_excess


def test_by_hand() -> None:
    """Two a second, three at once: three go, the fourth half a second later, and not a microsecond before."""
    bucket = TokenBucket(Rate.a_second(2, 3), 1000)
    assert [bucket.take(1, 1000) for _ in range(4)] == [0, 0, 0, 500_000]
    assert bucket.take(1, 500_999) == 1
    assert bucket.take(1, 501_000) == 0
    assert bucket.take(1, 501_000) == 500_000


def test_more_than_the_burst() -> None:
    """What never fits is refused, with the time until the bucket is full."""
    bucket = TokenBucket(Rate.a_second(1, 5), 0)
    assert bucket.take(6, 0) == 1
    bucket.take(5, 0)
    assert bucket.take(6, 0) == 5_000_000


def test_a_clock_that_goes_back() -> None:
    """Time that goes back fills nothing, and takes nothing."""
    bucket = TokenBucket(Rate.a_second(1, 2), 10_000_000)
    assert bucket.take(2, 10_000_000) == 0
    assert bucket.take(1, 0) == 1_000_000
    assert bucket.take(1, 11_000_000) == 0


def test_idle() -> None:
    """A bucket is idle when it is full, to the microsecond."""
    bucket = TokenBucket(Rate.a_second(3, 3), 0)
    assert bucket.idle(0)
    bucket.take(1, 0)
    assert [bucket.idle(at) for at in (0, 333_333, 333_334)] == [False, False, True]


@settings(max_examples=60)
@given(rates, arrivals)
def test_never_too_many(rate: Rate, arriving: list[tuple[int, int]]) -> None:
    """In no window of time does more get through than the rate and the burst allow."""
    bucket, now, admitted = TokenBucket(rate, 0), 0, []
    for pause, tokens in arriving:
        now += pause
        if not bucket.take(tokens, now):
            admitted.append((now, tokens))
    assert worst_excess(rate, admitted) <= 0


@settings(max_examples=60)
@given(rates, arrivals, st.integers(1, 50))
def test_wait_is_exact(rate: Rate, arriving: list[tuple[int, int]], tokens: int) -> None:
    """After the time that was told the tokens are there; a microsecond before they are not."""
    tokens = min(tokens, rate.burst)

    def fed() -> tuple[TokenBucket, int]:
        bucket, now = TokenBucket(rate, 0), 0
        for pause, taken in arriving:
            now += pause
            bucket.take(taken, now)
        return bucket, now

    bucket, now = fed()
    wait = bucket.take(tokens, now)
    if wait:
        assert fed()[0].take(tokens, now + wait) == 0
        assert bucket.take(tokens, now + wait - 1) == 1


@settings(max_examples=60)
@given(rates, arrivals, arrivals)
def test_an_idle_bucket_is_like_a_new_one(
    rate: Rate, before: list[tuple[int, int]], after: list[tuple[int, int]]
) -> None:
    """A bucket that is idle may be forgotten without any difference."""
    bucket, now = TokenBucket(rate, 0), 0
    for pause, tokens in before:
        now += pause
        bucket.take(tokens, now)
    now += rate.burst * rate.period_us // rate.count + 1
    assert bucket.idle(now)
    fresh = TokenBucket(rate, now)
    for pause, tokens in after:
        now += pause
        assert bucket.take(tokens, now) == fresh.take(tokens, now)
