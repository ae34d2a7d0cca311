"""What API and pipeline ask: may this be done? Questions are made canonical, then looked up, then evaluated.

Canonical: an attribute that no policy about the action can read has one fixed value, in the question and so in its key.
No decision can depend on it, and a set that says nothing of the time is not asked anew each minute.

A decision from the cache costs a fraction of a microsecond, one by the engine a hundred or more: `misses` counts those,
so that a caller of many can give way to others, and each costs its caller tokens (`Spend`).

Another set takes over at one moment (`use`): what is asked from then on is decided by it alone, and what is under way,
a batch or a claim, is finished by the set that it was begun with.
"""

from __future__ import annotations

from collections import Counter
from typing import Protocol

from gateway.identity import Caller
from gateway.policy.engine import Decision, Reason
from gateway.policy.judge import Judge, MeasureReads
from gateway.policy.requests import SEND_ACTIONS, UNMEASURED, USE_ROUTE, Question
from gateway.policy.shadow import Shadow

MISS_COST = 5  # tokens: an evaluation takes the time of about five calls of the cheapest kind


class Spend(Protocol):
    """Takes the price of an evaluation from the caller that caused it."""

    def __call__(self, caller: Caller, tokens: int) -> None:
        """Take `tokens`. Raises Overloaded when the caller has not got them: then nothing is evaluated."""


def spend_nothing(caller: Caller, tokens: int) -> None:
    """Take nothing: for commands and tests, where nobody is limited."""
    del caller, tokens


class Authorizer:
    """Answers for the set of policies in force. Belongs to one event loop."""

    def __init__(self, judge: Judge, *, spend: Spend = spend_nothing) -> None:
        """`judge` decides until another one does; `spend`: who pays for evaluations that calls cause."""
        self._judge = judge
        self._shadow: Shadow | None = None
        self._spend = spend
        self.misses = 0
        self.denials: Counter[tuple[str, Reason]] = Counter()  # by action and reason: bounded by both

    @property
    def epoch(self) -> str:
        """The digest of the set in force."""
        return self._judge.epoch

    @property
    def policies(self) -> int:
        """How many policies it has."""
        return self._judge.policies

    def use(self, judge: Judge) -> None:
        """Decide by another set from now on."""
        self._judge = judge

    def watch(self, shadow: Shadow | None) -> None:
        """Tell `shadow` of every decision from now on; None: nobody. It has no say in any."""
        self._shadow = shadow

    def call(self, caller: Caller, action: str, address: str, now: int) -> Decision:
        """Return whether `caller` may make a call; `address` as from `client_address`, `now` in microseconds.

        Raises what `spend` raises.
        """
        judge, caller_id, tenant = self._judge, caller.spiffe_id, caller.tenant
        _, _, by_address, time, _ = judge.reads(action)
        weekday, minute = judge.moment(time, now)
        seen = address if by_address else ""
        # A Question, without the cost of making one.
        key = (action, caller_id, tenant, "", "", 0, "", seen, weekday, minute, UNMEASURED)
        found = judge.cache.of(tenant).recent.get(key)
        if found is None:
            found = self.paid(judge, caller, Question._make(key))
        if self._shadow is not None:
            self._shadow.offer((action, caller_id, tenant, "", "", 0, "", address, now, 0, 0, found))
        return found

    def sending(self, caller: Caller, address: str, now: int, batch: int) -> SendingRights:
        """Return what `caller` may send in one request of `batch` messages, to be asked for each of them."""
        if self._shadow is None:
            return SendingRights(self, self._judge, caller, address, now, batch)
        rights = WatchedSendingRights(self, self._judge, caller, address, now, batch)
        rights.shadow = self._shadow
        return rights

    def routing(self, carrier: str, now: int, *, attempt: bool = False) -> RoutingRights:
        """Return what may go by `carrier` at one moment, to be asked for each message. `attempt`: they are about to go,
        which a shadow is told of."""
        if self._shadow is None or not attempt:
            return RoutingRights(self, self._judge, carrier, now)
        rights = WatchedRoutingRights(self, self._judge, carrier, now)
        rights.now, rights.shadow = now, self._shadow
        return rights

    def paid(self, judge: Judge, caller: Caller, question: Question) -> Decision:
        """Return a decision about a call or a send that the recent ones do not hold. Raises what `spend` raises."""
        partition = judge.cache.of(question.tenant)
        found = partition.find(question)
        if found is not None:
            return found
        self._spend(caller, MISS_COST)
        return self._evaluated(judge, question)

    def routed(self, judge: Judge, question: Question) -> Decision:
        """Return a decision about a route that the recent ones do not hold; nobody is there who could pay for it."""
        found = judge.cache.of(question.tenant).find(question)
        return found if found is not None else self._evaluated(judge, question)

    def denied(self, action: str, decision: Decision) -> None:
        """Count a denial that somebody was told."""
        self.denials[action, decision.reason] += 1

    def _evaluated(self, judge: Judge, question: Question) -> Decision:
        self.misses += 1
        decision = judge.engine.decide(question)
        if decision.lasting:
            judge.cache.of(question.tenant).keep(question, decision)
        return decision


class SendingRights:
    """What one caller may send at one moment. Made for each batch, asked for each message: this is the hot path."""

    __slots__ = ("_address", "_authorizer", "_batch", "_caller", "_heads", "_judge", "_now", "_recent")

    def __init__(
        self, authorizer: Authorizer, judge: Judge, caller: Caller, address: str, now: int, batch: int
    ) -> None:
        self._authorizer = authorizer
        self._judge = judge
        self._caller = caller
        self._address = address
        self._now = now
        self._batch = batch
        self._heads: dict[int, _Head] = {}
        self._recent = judge.cache.of(caller.tenant).recent

    def decide(self, category: int, sender: str, country: str, segments: int) -> Decision:
        """Return whether a message of this category may be sent under `sender` to `country`. `segments` is 0 for
        content that the caller has sealed.

        Raises what `spend` raises.
        """
        action, spiffe_id, tenant, by_sender, by_country, measured, address, weekday, minute = self._heads.get(
            category
        ) or self._head(category)
        key = (  # a Question, without the cost of making one
            action,
            spiffe_id,
            tenant,
            "",
            sender if by_sender else "",
            category,
            country if by_country else "",
            address,
            weekday,
            minute,
            UNMEASURED if measured is None else measured.of(segments, self._batch),
        )
        found = self._recent.get(key)
        return found if found is not None else self._authorizer.paid(self._judge, self._caller, Question._make(key))

    def _head(self, category: int) -> _Head:
        """Return what is the same for all messages of a category."""
        action = SEND_ACTIONS[category]
        judge, caller = self._judge, self._caller
        by_sender, by_country, by_address, time, measured = judge.reads(action)
        weekday, minute = judge.moment(time, self._now)
        address = self._address if by_address else ""
        spiffe_id, tenant = caller.spiffe_id, caller.tenant
        head = self._heads[category] = (
            action, spiffe_id, tenant, by_sender, by_country, measured, address, weekday, minute
        )  # fmt: skip
        return head


# A plain tuple: it is taken apart for every message.
_Head = tuple[str, str, str, bool, bool, MeasureReads | None, str, int, int]


class RoutingRights:
    """What may go by one carrier at one moment. Made for each batch, asked for each message."""

    __slots__ = ("_authorizer", "_by_country", "_by_sender", "_carrier", "_judge", "_measured", "_minute", "_weekday")

    def __init__(self, authorizer: Authorizer, judge: Judge, carrier: str, now: int) -> None:
        self._authorizer = authorizer
        self._judge = judge
        self._carrier = carrier
        self._by_sender, self._by_country, _, time, self._measured = judge.reads(USE_ROUTE)
        self._weekday, self._minute = judge.moment(time, now)

    def decide(self, tenant: str, owner: str, sender: str, category: int, country: str, segments: int) -> Decision:
        """Return whether a stored message may go this way; `sender` is what the carrier is going to be told, `segments`
        0 where its caller has sealed the content."""
        measured = self._measured
        key = (  # a Question, without the cost of making one
            USE_ROUTE,
            owner,
            tenant,
            self._carrier,
            sender if self._by_sender else "",
            category,
            country if self._by_country else "",
            "",
            self._weekday,
            self._minute,
            UNMEASURED if measured is None else measured.of(segments, 0),
        )
        judge = self._judge
        found = judge.cache.of(tenant).recent.get(key)
        return found if found is not None else self._authorizer.routed(judge, Question._make(key))


class WatchedSendingRights(SendingRights):
    """The same, with a shadow that is told of each decision."""

    __slots__ = ("shadow",)

    shadow: Shadow

    def decide(self, category: int, sender: str, country: str, segments: int) -> Decision:
        """Decide, and tell the shadow."""
        decision = super().decide(category, sender, country, segments)
        action, spiffe_id, tenant, *_ = self._heads[category]
        self.shadow.offer(
            (action, spiffe_id, tenant, "", sender, category, country, self._address, self._now, segments, self._batch,
             decision)
        )  # fmt: skip
        return decision


class WatchedRoutingRights(RoutingRights):
    """The same, with a shadow that is told of each decision."""

    __slots__ = ("now", "shadow")

    now: int
    shadow: Shadow

    def decide(self, tenant: str, owner: str, sender: str, category: int, country: str, segments: int) -> Decision:
        """Decide, and tell the shadow."""
        decision = super().decide(tenant, owner, sender, category, country, segments)
        self.shadow.offer(
            (USE_ROUTE, owner, tenant, self._carrier, sender, category, country, "", self.now, segments, 0, decision)
        )
        return decision
