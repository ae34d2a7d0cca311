"""The circuit breaker, moved by hand through its states."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.routing.breaker import MOST_DOUBLINGS, Breaker, BreakerRules, BreakerState

SECOND = 1_000_000
NOW = 1_790_000_000 * SECOND
RULES = BreakerRules(failures=10, least=20)


def opened(at: int = NOW) -> Breaker:
    """Return a breaker that ten failures in a row have opened."""
    breaker = Breaker(RULES)
    assert [breaker.failed(at) for _ in range(10)] == [False] * 9 + [True]
    return breaker


def test_failures_in_a_row_open_it() -> None:
    """Ten in a row do; a good answer between begins the count anew."""
    assert opened().state is BreakerState.OPEN
    breaker = Breaker(BreakerRules(percent=100, least=1000))
    for _ in range(5):
        for _ in range(9):
            breaker.failed(NOW)
        breaker.succeeded(1, NOW)
    assert breaker.state is BreakerState.CLOSED


def test_a_share_of_failures_within_the_window_opens_it() -> None:
    """Half of at least twenty answers, however they are mixed."""
    breaker = Breaker(BreakerRules(failures=1000, least=20))
    breaker.succeeded(10, NOW)
    assert [breaker.failed(NOW + 1) for _ in range(10)] == [False] * 9 + [True]


def test_what_has_left_the_window_is_forgotten() -> None:
    """Failures of half a minute ago say nothing of now."""
    breaker = Breaker(BreakerRules(failures=1000, least=20))
    for _ in range(9):
        breaker.failed(NOW)
    breaker.succeeded(9, NOW)
    later = NOW + 31 * SECOND
    breaker.succeeded(11, later)
    assert [breaker.failed(later) for _ in range(10)] == [False] * 10
    assert breaker.state is BreakerState.CLOSED


def test_open_becomes_half_open_after_its_time() -> None:
    """Nothing goes for ten seconds, then three probes."""
    breaker = opened()
    assert breaker.until == NOW + 10 * SECOND
    assert not breaker.look(NOW + 10 * SECOND - 1)
    assert breaker.look(NOW + 10 * SECOND)
    assert breaker.state is BreakerState.HALF_OPEN
    assert breaker.probes(NOW + 10 * SECOND, 0) == 3
    assert breaker.probes(NOW + 10 * SECOND, 2) == 1
    assert breaker.probes(NOW + 10 * SECOND, 50) == 0


def test_good_probes_close_it() -> None:
    """Three good answers, and the counts begin anew."""
    breaker = opened()
    breaker.look(NOW + 10 * SECOND)
    assert not breaker.succeeded(2, NOW + 11 * SECOND)
    assert breaker.probes(NOW + 11 * SECOND, 0) == 1
    assert breaker.succeeded(1, NOW + 11 * SECOND)
    assert breaker.state is BreakerState.CLOSED
    assert not breaker.failed(NOW + 11 * SECOND)


def test_a_failed_probe_opens_it_for_twice_as_long() -> None:
    """Doubled each time, sixteen times as long at the most; once it has closed, it begins anew."""
    breaker, now = opened(), NOW
    for doubling in range(1, MOST_DOUBLINGS + 3):
        now = breaker.until
        assert breaker.look(now)
        assert breaker.failed(now)
        assert breaker.until - now == 10 * SECOND << min(doubling, MOST_DOUBLINGS)
    now = breaker.until
    breaker.look(now)
    breaker.succeeded(3, now)
    for _ in range(10):
        breaker.failed(now)
    assert breaker.until - now == 10 * SECOND
    assert breaker.opened == MOST_DOUBLINGS + 4


def test_probes_without_a_verdict_are_followed_by_others() -> None:
    """Probes that were lost, cancelled or denied on their way do not leave it half open for ever."""
    breaker = opened()
    now = breaker.until
    breaker.look(now)
    assert breaker.probes(now + 9 * SECOND, 3) == 0
    assert breaker.probes(now + 10 * SECOND, 3) == 3
    breaker.took(now + 10 * SECOND)
    assert breaker.probes(now + 10 * SECOND, 3) == 0


def test_what_was_under_way_does_not_open_it_again() -> None:
    """Failures of messages that were with the carrier when it opened do not prolong it."""
    breaker = opened()
    until = breaker.until
    assert not breaker.failed(NOW + 5 * SECOND)
    assert not breaker.succeeded(5, NOW + 5 * SECOND)
    assert (breaker.state, breaker.until, breaker.opened) == (BreakerState.OPEN, until, 1)


@settings(deadline=None)
@given(st.lists(st.tuples(st.integers(0, 12 * SECOND), st.sampled_from(["good", "bad", "look"])), max_size=200))
def test_it_never_gets_stuck(steps: list[tuple[int, str]]) -> None:
    """After whatever came, a carrier that answers well again is closed within the longest pause and three answers."""
    breaker, now = Breaker(RULES), NOW
    for pause, what in steps:
        now += pause
        if what == "good":
            breaker.succeeded(1, now)
        elif what == "bad":
            breaker.failed(now)
        else:
            breaker.look(now)
        assert 0 <= max(0, breaker.until - now) <= 10 * SECOND << MOST_DOUBLINGS
    now = max(now, breaker.until)
    breaker.look(now)
    breaker.succeeded(3, now)
    assert breaker.state is BreakerState.CLOSED
