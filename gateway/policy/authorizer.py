"""What API and pipeline ask: may this be done? Questions are made canonical, then looked up, then evaluated.

Canonical: an attribute that no policy can read has one fixed value, in the question and so in its key. No decision can
depend on it, and a set that says nothing of the time is not asked anew each minute.

A decision from the cache costs a fraction of a microsecond, one by the engine a hundred or more: `misses` counts those,
so that a caller of many can give way to others, and each costs its caller tokens (`Spend`).
"""

from __future__ import annotations

import datetime as dt
from collections import Counter
from typing import Protocol

from gateway.identity import Caller
from gateway.policy.cache import DecisionCache
from gateway.policy.engine import Decision, Engine, Reason
from gateway.policy.loader import Policies
from gateway.policy.requests import SEND_ACTIONS, USE_ROUTE, Calendar, Moment, Question
from visibility.alerts import NOBODY, AlertSink

MISS_COST = 5  # tokens: an evaluation takes the time of about five calls of the cheapest kind

_UNREAD = Question("", "", "")
_UNREAD_MOMENT = Moment(_UNREAD.weekday, _UNREAD.minute)


class Spend(Protocol):
    """Takes the price of an evaluation from the caller that caused it."""

    def __call__(self, caller: Caller, tokens: int) -> None:
        """Take `tokens`. Raises Overloaded when the caller has not got them: then nothing is evaluated."""


def spend_nothing(caller: Caller, tokens: int) -> None:
    """Take nothing: for commands and tests, where nobody is limited."""
    del caller, tokens


class Authorizer:
    """Answers for one set of policies. Belongs to one event loop."""

    def __init__(
        self,
        policies: Policies,
        *,
        zone: dt.tzinfo = dt.UTC,
        spend: Spend = spend_nothing,
        cache: DecisionCache[Decision] | None = None,
        alerts: AlertSink = NOBODY,
    ) -> None:
        """Args:
        policies: the set; its digest is the epoch of all decisions made here.
        zone: where weekday and minute of the day are told.
        spend: who pays for evaluations that calls cause.
        cache: an empty one; none is like one of the usual size.
        """
        self.epoch = policies.digest
        self._engine = Engine(policies, alerts)
        self._calendar = Calendar(zone)
        self._spend = spend
        self._cache: DecisionCache[Decision] = DecisionCache() if cache is None else cache
        self._by_address = "address" in policies.reads
        self._by_weekday = "weekday" in policies.reads
        self._by_minute = "minute" in policies.reads
        self.by_sender = "sender" in policies.reads
        self.by_country = "country" in policies.reads
        self.misses = 0
        self.denials: Counter[tuple[str, Reason]] = Counter()  # by action and reason: bounded by both

    def call(self, caller: Caller, action: str, address: str, now: int) -> Decision:
        """Return whether `caller` may make a call; `address` as from `client_address`, `now` in microseconds.

        Raises what `spend` raises.
        """
        weekday, minute = self._moment(now)
        address = address if self._by_address else ""
        # A Question, without the cost of making one.
        key = (action, caller.spiffe_id, caller.tenant, "", "", 0, "", address, weekday, minute)
        found = self._cache.of(caller.tenant).recent.get(key)
        if found is not None:
            return found
        question = Question._make(key)
        return self._known(question) or self._paid(caller, question)

    def sending(self, caller: Caller, address: str, now: int) -> SendingRights:
        """Return what `caller` may send in one batch, to be asked for each message."""
        return SendingRights(self, caller, address if self._by_address else "", self._moment(now))

    def routing(self, carrier: str, now: int) -> RoutingRights:
        """Return what may go by `carrier` at one moment, to be asked for each message."""
        return RoutingRights(self, carrier, self._moment(now))

    def paid_sending(self, caller: Caller, question: Question) -> Decision:
        """Return a decision about a send that the recent ones do not hold. Raises what `spend` raises."""
        return self._known(question) or self._paid(caller, question)

    def routed(self, question: Question) -> Decision:
        """Return a decision about a route that the recent ones do not hold; nobody is there who could pay for it."""
        return self._known(question) or self._evaluated(question)

    def recent(self, tenant: str) -> dict[tuple[object, ...], Decision]:
        """Return the recent decisions of a tenant, by question."""
        return self._cache.of(tenant).recent

    def denied(self, action: str, decision: Decision) -> None:
        """Count a denial that somebody was told."""
        self.denials[action, decision.reason] += 1

    def _moment(self, now: int) -> Moment:
        if not (self._by_weekday or self._by_minute):
            return _UNREAD_MOMENT
        weekday, minute = self._calendar.moment(now)
        return Moment(
            weekday if self._by_weekday else _UNREAD.weekday,
            minute if self._by_minute else _UNREAD.minute,
        )

    def _known(self, question: Question) -> Decision | None:
        return self._cache.of(question.tenant).find(question)

    def _paid(self, caller: Caller, question: Question) -> Decision:
        self._spend(caller, MISS_COST)
        return self._evaluated(question)

    def _evaluated(self, question: Question) -> Decision:
        self.misses += 1
        decision = self._engine.decide(question)
        if decision.lasting:
            self._cache.of(question.tenant).keep(question, decision)
        return decision


class SendingRights:
    """What one caller may send at one moment. Made for each batch, asked for each message: this is the hot path."""

    __slots__ = ("_address", "_authorizer", "_by_country", "_by_sender", "_caller", "_minute", "_recent", "_spiffe_id",
                 "_tenant", "_weekday")  # fmt: skip

    def __init__(self, authorizer: Authorizer, caller: Caller, address: str, moment: Moment) -> None:
        self._authorizer = authorizer
        self._caller = caller
        self._spiffe_id = caller.spiffe_id
        self._tenant = caller.tenant
        self._address = address
        self._weekday, self._minute = moment
        self._by_sender = authorizer.by_sender
        self._by_country = authorizer.by_country
        self._recent = authorizer.recent(caller.tenant)

    def decide(self, category: int, sender: str, country: str) -> Decision:
        """Return whether a message of this category may be sent under `sender` to `country`.

        Raises what `spend` raises.
        """
        key = (  # a Question, without the cost of making one
            SEND_ACTIONS[category],
            self._spiffe_id,
            self._tenant,
            "",
            sender if self._by_sender else "",
            category,
            country if self._by_country else "",
            self._address,
            self._weekday,
            self._minute,
        )
        found = self._recent.get(key)
        return found if found is not None else self._authorizer.paid_sending(self._caller, Question._make(key))


class RoutingRights:
    """What may go by one carrier at one moment. Made for each batch, asked for each message."""

    __slots__ = ("_authorizer", "_by_country", "_by_sender", "_carrier", "_minute", "_weekday")

    def __init__(self, authorizer: Authorizer, carrier: str, moment: Moment) -> None:
        self._authorizer = authorizer
        self._carrier = carrier
        self._weekday, self._minute = moment
        self._by_sender = authorizer.by_sender
        self._by_country = authorizer.by_country

    def decide(self, tenant: str, owner: str, sender: str, category: int, country: str) -> Decision:
        """Return whether a stored message may go this way; `sender` is what the carrier is going to be told."""
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
        )
        found = self._authorizer.recent(tenant).get(key)
        return found if found is not None else self._authorizer.routed(Question._make(key))
