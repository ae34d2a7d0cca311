"""One set of policies in force, with all that belongs to it: its engine, its calendar, its decisions.

A judge never changes. Another set gets another judge, with an empty cache, and whoever holds the old one finishes what
it has begun by the old set: no decision is made by parts of two sets, and none is remembered beyond its own.
"""

from __future__ import annotations

import datetime as dt
from typing import Any, NamedTuple

from gateway.policy.cache import DecisionCache
from gateway.policy.engine import Decision, Engine
from gateway.policy.inputs import CONTEXT
from gateway.policy.loader import Policies
from gateway.policy.requests import UNMEASURED, UNREAD, Calendar, Measure
from visibility.alerts import NOBODY, AlertSink


class TimeReads(NamedTuple):
    """How much of the time the policies about one action can read."""

    weekday: bool
    minute: bool


class MeasureReads(NamedTuple):
    """How much of a message's measure the policies about one action can read."""

    segments: bool
    sealed: bool
    batch: bool

    def of(self, segments: int, batch: int) -> Measure:
        """Return the measure of a message as far as it is read; no segments are sealed content."""
        return Measure(
            segments if self.segments else UNREAD.measure.segments,
            not segments if self.sealed else UNREAD.measure.sealed,
            batch if self.batch else UNREAD.measure.batch,
        )


class Reads(NamedTuple):
    """What of a question the policies about one action can read; time and measure are None when nothing of them."""

    sender: bool
    country: bool
    address: bool
    time: TimeReads | None
    measure: MeasureReads | None


def _reads(names: frozenset[str]) -> Reads:
    time = TimeReads(*(name in names for name in TimeReads._fields))
    measure = MeasureReads(*(name in names for name in MeasureReads._fields))
    return Reads(
        "sender" in names,
        "country" in names,
        "address" in names,
        time if any(time) else None,
        measure if any(measure) else None,
    )


class Judge:
    """Decides by one set of policies. Belongs to one event loop."""

    def __init__(
        self,
        policies: Policies,
        *,
        zone: dt.tzinfo = dt.UTC,
        home: str = "",
        cache: DecisionCache[Decision] | None = None,
        alerts: AlertSink = NOBODY,
    ) -> None:
        """Args:
        policies: the set; its digest is the epoch of all decisions made here.
        zone: where weekday and minute of the day are told.
        home: the trust domain of the node; a principal of another one is federated.
        cache: an empty one; none is like one of the usual size.
        alerts: is told of what cannot be evaluated.
        """
        self.epoch = policies.digest
        self.policies = len(policies.policies)
        self.engine = Engine(policies, home, alerts)
        self.cache: DecisionCache[Decision] = DecisionCache() if cache is None else cache
        self._reads = {action: _reads(names) for action, names in policies.reads_of.items()}
        self._calendar = Calendar(zone)

    def reads(self, action: str) -> Reads:
        """Return what decisions about an action can depend on; about one that is not known, on everything."""
        return self._reads.get(action, _ALL)

    def key(self, asked: tuple[Any, ...]) -> tuple[Any, ...]:
        """Return the `Question` that is asked of this set, of one that was asked whole: a plain tuple of action, SPIFFE
        ID, tenant, carrier, sender, category, country, address, time in microseconds, segments, size of the batch, and
        what else may follow. What no policy can read is left out."""
        action, spiffe_id, tenant, carrier, sender, category, country, address, now, segments, batch, *_ = asked
        by_sender, by_country, by_address, time, measured = self.reads(action)
        weekday, minute = self.moment(time, now)
        return (
            action,
            spiffe_id,
            tenant,
            carrier,
            sender if by_sender else "",
            category,
            country if by_country else "",
            address if by_address else "",
            weekday,
            minute,
            UNMEASURED if measured is None else measured.of(segments, batch),
        )

    def moment(self, reads: TimeReads | None, now: int) -> tuple[int, int]:
        """Return weekday and minute as far as they are read; `now` in microseconds since the Unix epoch."""
        if reads is None:
            return _UNREAD_MOMENT
        weekday, minute = self._calendar.moment(now)
        return weekday if reads.weekday else UNREAD.weekday, minute if reads.minute else UNREAD.minute


_ALL = _reads(CONTEXT)
_UNREAD_MOMENT = (UNREAD.weekday, UNREAD.minute)
