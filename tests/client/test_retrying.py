"""Retries: which, when, and how many."""

from __future__ import annotations

import grpc
import pytest

from smsgw.client.errors import CallFailed, Denied, RateLimited, TimedOut, Unavailable
from smsgw.client.retrying import Attempts, RetryBudget, RetryPolicy

POLICY = RetryPolicy(attempts=4, backoff_min_s=0.1, backoff_max_s=1.0, retry_after_max_s=10.0, budget=10)


def attempts(*, deadline: float = 100.0, repeatable: bool = True, budget: RetryBudget | None = None) -> Attempts:
    """Return the attempts of a call that begins at 0."""
    return Attempts(POLICY, budget or RetryBudget(1000), deadline=deadline, repeatable=repeatable)


def unreached() -> Unavailable:
    """Return the failure of a call that reached no node."""
    return Unavailable(grpc.StatusCode.UNAVAILABLE, "", "x")


def refused(retry_after_s: float | None = None) -> Unavailable:
    """Return the failure of a call that a node would not serve now."""
    return Unavailable(grpc.StatusCode.UNAVAILABLE, "STORE_UNAVAILABLE", "x", retry_after_s=retry_after_s)


def limited(retry_after_s: float | None) -> RateLimited:
    """Return the failure of a call that was one too many."""
    return RateLimited(grpc.StatusCode.RESOURCE_EXHAUSTED, "RATE", "x", retry_after_s=retry_after_s)


def test_pauses_grow_with_chance() -> None:
    """Pauses double up to the longest, each between its half and its whole; what reached no node has no other bound."""
    low, high = attempts(), attempts()
    assert [low.pause_s(unreached(), 0, 0.0) for _ in range(6)] == pytest.approx([0.05, 0.1, 0.2, 0.4, 0.5, 0.5])
    assert [high.pause_s(unreached(), 0, 1.0) for _ in range(6)] == pytest.approx([0.1, 0.2, 0.4, 0.8, 1.0, 1.0])


def test_retry_info_is_the_least() -> None:
    """A pause is never shorter than RetryInfo, and a little longer by chance."""
    assert attempts().pause_s(limited(2.0), 0, 0.0) == 2.0
    assert 2.0 < attempts().pause_s(limited(2.0), 0, 0.9) <= 2.5


@pytest.mark.parametrize(
    ("failed", "repeatable"),
    [
        (unreached(), False),
        (Denied(grpc.StatusCode.PERMISSION_DENIED, "NO", "x"), True),
        (TimedOut(grpc.StatusCode.DEADLINE_EXCEEDED, "", "x"), False),
        (limited(None), True),
        (limited(10.1), True),
    ],
)
def test_what_is_not_retried(failed: CallFailed, repeatable: bool) -> None:
    """What could be done twice, what waiting does not change, and what is too long to wait for."""
    with pytest.raises(type(failed)):
        attempts(repeatable=repeatable).pause_s(failed, 0, 0.5)


def test_a_silent_stream_is_opened_anew() -> None:
    """A stream that owes an answer for too long is opened anew, within the time that the caller has."""
    silent = TimedOut(grpc.StatusCode.DEADLINE_EXCEEDED, "", "x")
    assert attempts().pause_s(silent, 30, 0.0) > 0
    with pytest.raises(TimedOut):
        attempts(deadline=30).pause_s(silent, 30, 0.0)


def test_a_refused_call_that_did_nothing_may_be_repeated() -> None:
    """A rate limit with RetryInfo did nothing: also a call without a key is made again."""
    assert attempts(repeatable=False).pause_s(limited(1.0), 0, 0.0) == 1.0


def test_the_deadline_ends_it() -> None:
    """There is no pause beyond the deadline."""
    with pytest.raises(RateLimited):
        attempts(deadline=2.0).pause_s(limited(2.0), 0.1, 0.0)


def test_a_node_is_asked_so_many_times() -> None:
    """What a node refuses is bounded by the number of attempts."""
    call = attempts()
    assert [call.pause_s(refused(), 0, 0.0) > 0 for _ in range(3)] == [True] * 3
    with pytest.raises(Unavailable):
        call.pause_s(refused(), 0, 0.0)


def test_a_node_that_ends_costs_nothing() -> None:
    """A node that is going down refuses each call until it is gone: it takes no attempt, and nothing of the budget."""
    going = Unavailable(grpc.StatusCode.UNAVAILABLE, "SHUTTING_DOWN", "x", retry_after_s=1.0)
    call = attempts(budget=RetryBudget(2))
    assert [call.pause_s(going, 0, 0.0) for _ in range(10)] == [1.0] * 10


def test_no_retry_at_all() -> None:
    """A policy of one attempt retries nothing."""
    policy = RetryPolicy(attempts=1)
    with pytest.raises(Unavailable):
        Attempts(policy, RetryBudget(10), deadline=10, repeatable=True).pause_s(unreached(), 0, 0.0)


def test_the_budget() -> None:
    """When most calls are refused, retries stop; successes bring them back; unreached nodes take nothing."""
    budget = RetryBudget(10)
    for _ in range(50):
        attempts(budget=budget).pause_s(unreached(), 0, 0.0)
    for _ in range(4):
        attempts(budget=budget).pause_s(refused(), 0, 0.0)
    with pytest.raises(Unavailable):
        attempts(budget=budget).pause_s(refused(), 0, 0.0)
    for _ in range(11):
        budget.succeeded()
    attempts(budget=budget).pause_s(refused(), 0, 0.0)


def test_policies_that_make_no_sense() -> None:
    """A policy is checked when it is made."""
    with pytest.raises(ValueError, match="at least"):
        RetryPolicy(attempts=0)
    with pytest.raises(ValueError, match="positive"):
        RetryPolicy(backoff_min_s=0)
