"""A candidate set of policies, asked beside the one in force: what it would decide otherwise is counted and kept.

What is asked goes into a queue as it was asked, with the decision that counts; the candidate is asked later (`look`),
off the way of calls and messages, by a judge and a cache of its own. Nothing of it reaches a decision: the queue is all
that the authorizer knows. Everything is bounded, and what does not fit is counted as not compared, so that the numbers
say how much of the traffic they stand for.

No recipient, sender or address is kept: an example says who asked, what for, and the country.
"""

from __future__ import annotations

import logging
from collections import Counter, deque
from dataclasses import dataclass
from typing import Any, NamedTuple

from gateway.policy.engine import Decision, Reason
from gateway.policy.judge import Judge
from gateway.policy.requests import Question

log = logging.getLogger(__name__)

MOST_WAITING = 20_000  # questions: about a second of the fastest traffic, 5 MB
MOST_UNKNOWN = 5_000  # different questions that the candidate has not been asked yet
MOST_ROWS = 200  # sorts of differences
ALLOW, DENY, ERROR = "allow", "deny", "error"


class Asked(NamedTuple):
    """A question whole, whatever the set in force reads of it. A plain tuple in this order is as good."""

    action: str
    spiffe_id: str
    tenant: str
    carrier: str
    sender: str
    category: int
    country: str
    address: str
    now: int  # microseconds since the Unix epoch
    segments: int  # 0 for content that the caller has sealed
    batch: int
    live: Decision  # that counts


@dataclass(slots=True)
class Difference:
    """One sort of difference: the same action, outcomes and policies. Times are microseconds since the Unix epoch."""

    action: str
    live: str
    live_policies: tuple[str, ...]
    shadow: str
    shadow_policies: tuple[str, ...]
    count: int
    first_at: int
    last_at: int
    spiffe_id: str  # of the first who asked
    tenant: str
    country: str
    carrier: str


_Row = tuple[str, str, tuple[str, ...], str, tuple[str, ...]]


@dataclass(slots=True)
class _Waiting:
    """Equal questions that the candidate has not been asked yet."""

    first: Asked
    count: int
    last_at: int


class Shadow:
    """One candidate beside one set in force. Belongs to one event loop."""

    def __init__(self, judge: Judge, since: int) -> None:
        """Args:
        judge: decides by the candidate; nothing else uses it.
        since: when it began, in microseconds since the Unix epoch.
        """
        self.epoch = judge.epoch
        self.policies = judge.policies
        self.since = since
        self.counts: Counter[tuple[str, str, str]] = Counter()  # by action, live and shadow: bounded by all three
        self.not_compared = 0
        self.unlisted = 0  # differences of sorts that the table has no room for
        self._judge = judge
        self._queue: deque[tuple[Any, ...]] = deque()  # each an `Asked`: plain tuples, on the hot path
        self._unknown: dict[tuple[Question, Decision], _Waiting] = {}
        self._rows: dict[_Row, Difference] = {}

    def offer(self, asked: tuple[Any, ...]) -> None:
        """Take what was asked (`Asked`) and decided. It costs its caller an append, and raises nothing."""
        if len(self._queue) < MOST_WAITING:
            self._queue.append(asked)
        else:
            self.not_compared += 1

    @property
    def waiting(self) -> int:
        """How many questions have not been looked at."""
        return len(self._queue)

    @property
    def unknown(self) -> int:
        """How many different questions have to be evaluated."""
        return len(self._unknown)

    @property
    def differences(self) -> list[Difference]:
        """What differs, the most frequent first."""
        return sorted(self._rows.values(), key=lambda row: (-row.count, row.first_at))

    def look(self, most: int) -> None:
        """Compare at most so many of the waiting questions with decisions that the candidate has made before; what it
        was never asked is put aside for `evaluate`."""
        queue, judge = self._queue, self._judge
        key_of, of = judge.key, judge.cache.of
        for _ in range(min(most, len(queue))):
            asked = queue.popleft()
            key = key_of(asked)
            partition = of(key[2])
            decision = partition.recent.get(key) or partition.find(key)
            if decision is None:
                self._put_aside(Question._make(key), Asked._make(asked))
            else:
                self._compare(asked, decision, 1)

    def evaluate(self, most: int) -> None:
        """Ask the candidate at most so many of the questions that were put aside."""
        for _ in range(min(most, len(self._unknown))):
            key = next(iter(self._unknown))
            waiting = self._unknown.pop(key)
            question, partition = key[0], self._judge.cache.of(key[0].tenant)
            decision = partition.find(question)
            if decision is None:
                decision = self._judge.engine.decide(question)
                if decision.lasting:
                    partition.keep(question, decision)
            self._compare(waiting.first, decision, waiting.count, waiting.last_at)

    def _put_aside(self, question: Question, asked: Asked) -> None:
        waiting = self._unknown.get((question, asked.live))
        if waiting is not None:
            waiting.count += 1
            waiting.last_at = asked.now
        elif len(self._unknown) < MOST_UNKNOWN:
            self._unknown[question, asked.live] = _Waiting(asked, 1, asked.now)
        else:
            self.not_compared += 1

    def _compare(self, asked: tuple[Any, ...], decision: Decision, times: int, last_at: int = 0) -> None:
        action, live_decision = asked[0], asked[-1]
        live = ALLOW if live_decision.allowed else DENY
        shadow = ALLOW if decision.allowed else ERROR if decision.reason is Reason.EVALUATION_FAILED else DENY
        self.counts[action, live, shadow] += times
        if live != shadow:
            self._differ(Asked._make(asked), live, shadow, decision.policies, times, last_at)

    def _differ(
        self, asked: Asked, live: str, shadow: str, policies: tuple[str, ...], times: int, last_at: int
    ) -> None:
        key = asked.action, live, asked.live.policies, shadow, policies
        at = last_at or asked.now
        row = self._rows.get(key)
        if row is not None:
            row.count += times
            row.last_at = max(row.last_at, at)
        elif len(self._rows) < MOST_ROWS:
            row = self._rows[key] = Difference(
                *key, times, asked.now, at, asked.spiffe_id, asked.tenant, asked.country, asked.carrier
            )
            _tell(row)
        else:
            self.unlisted += times


def _tell(row: Difference) -> None:
    """Log a sort of difference, once: the table is bounded, and the log is with it."""
    log.warning(
        "policy_shadow_differs",
        extra={
            "action": row.action,
            "live": row.live,
            "live_policies": row.live_policies,
            "shadow": row.shadow,
            "shadow_policies": row.shadow_policies,
            "caller": row.spiffe_id,
            "tenant": row.tenant,
        },
    )
