"""When a failed call is made again: sans-IO, with the time and the randomness as arguments.

A call is repeated only when repeating cannot do it twice (its messages have idempotency keys, or it only reads), within
its deadline, and no sooner than the node's RetryInfo says. An attempt that reached no node loads none, so such ones go
on until the deadline, and so do those that met a node at its end. Those that a node refused are bounded: by their
number, and by a budget of all calls together, so that a node in trouble is not given several times the load (gRFC A6).
"""

from __future__ import annotations

import threading
from dataclasses import dataclass

from smsgw.client.errors import CallFailed, RateLimited, TimedOut, Unavailable

_GOING_DOWN = "SHUTTING_DOWN"


@dataclass(frozen=True, slots=True, kw_only=True)
class RetryPolicy:
    """How a client retries. Times in seconds.

    Attributes:
        attempts: how often a node may be asked for one call, the first time included; 1 for no retry at all.
        backoff_min_s: the pause before the second attempt where the node names none; doubled each time.
        backoff_max_s: the longest pause of our own.
        retry_after_max_s: a RetryInfo beyond this is not waited for: the caller is told instead.
        budget: tokens of the retry budget. A node's refusal takes one, a success gives a tenth back, and there are
            retries while more than half of them are left.
    """

    attempts: int = 6
    backoff_min_s: float = 0.1
    backoff_max_s: float = 5.0
    retry_after_max_s: float = 30.0
    budget: int = 100

    def __post_init__(self) -> None:
        if self.attempts < 1 or self.budget < 1 or not 0 < self.backoff_min_s <= self.backoff_max_s:
            raise ValueError("attempts and budget are 1 at least; pauses are positive, the longest the largest")


class RetryBudget:
    """What all calls of one client may retry together. Thread-safe."""

    _RETURN = 0.1

    def __init__(self, tokens: int) -> None:
        self._size = float(tokens)
        self._tokens = float(tokens)
        self._lock = threading.Lock()

    def succeeded(self) -> None:
        """A call succeeded."""
        if self._tokens < self._size:
            with self._lock:
                self._tokens = min(self._size, self._tokens + self._RETURN)

    def failed(self) -> bool:
        """A node refused a call for now; says whether a retry is within the budget."""
        with self._lock:
            self._tokens = max(0.0, self._tokens - 1)
            return self._tokens > self._size / 2


class Attempts:
    """The attempts of one call."""

    def __init__(self, policy: RetryPolicy, budget: RetryBudget, *, deadline: float, repeatable: bool) -> None:
        """`deadline`: monotonic seconds. `repeatable`: whether the call may be made twice without doing harm."""
        self._policy, self._budget = policy, budget
        self._deadline, self._repeatable = deadline, repeatable
        self._answered = 0
        self._pauses = 0

    def pause_s(self, failed: CallFailed, now: float, chance: float) -> float:
        """Return the seconds to wait before the next attempt; raises `failed` when there is to be none.

        `now`: monotonic seconds. `chance`: a random number in [0, 1).
        """
        if self._policy.attempts == 1 or not self._may_repeat(failed):
            raise failed
        if failed.reason and failed.reason != _GOING_DOWN:  # a node has answered, and is there for more
            self._answered += 1
            if not self._budget.failed() or self._answered >= self._policy.attempts:
                raise failed
        pause_s = self._pause_s(failed, chance)
        if now + pause_s >= self._deadline:
            raise failed
        self._pauses += 1
        return pause_s

    def _may_repeat(self, failed: CallFailed) -> bool:
        if isinstance(failed, RateLimited):  # without RetryInfo it is a bound that waiting does not change
            return failed.retry_after_s is not None and failed.retry_after_s <= self._policy.retry_after_max_s
        return self._repeatable and isinstance(failed, Unavailable | TimedOut)

    def _pause_s(self, failed: CallFailed, chance: float) -> float:
        """Return RetryInfo with up to a fifth more, or a doubled pause of our own, all of it but a half by chance."""
        policy = self._policy
        if failed.retry_after_s is not None and failed.retry_after_s <= policy.retry_after_max_s:
            return failed.retry_after_s * (1 + 0.2 * chance) + policy.backoff_min_s * chance
        longest = min(policy.backoff_max_s, policy.backoff_min_s * 2.0 ** min(self._pauses, 16))
        return longest * (0.5 + 0.5 * chance)
