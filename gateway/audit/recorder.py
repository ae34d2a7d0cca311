"""What decisions wait for: nobody is told of a decision, and nobody acts on it, that the audit has no record of.

A decision that becomes a record is committed before `record` returns. Of a flood of equal ones only the first few do;
the rest is counted in memory and committed at the end of a window of seconds: so much of a count is lost when the node
is killed. While the audit cannot be written, `record` refuses everything: it fails closed.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Hashable, Sequence
from typing import Protocol

from gateway.audit.aggregation import Aggregator
from gateway.audit.records import Decision, Record
from gateway.audit.reserve import Reserve, Room
from gateway.errors import GatewayError, Overloaded, Unavailable
from visibility.alerts import NOBODY, AlertSink
from visibility.catalogue import AUDIT_FAILING

log = logging.getLogger(__name__)

WINDOW_S = 10.0
DENIALS_EACH = 10  # of one source in a window, each with a record of its own
_RETRY_S = 1.0
_BATCH = 500


class AuditStore(Protocol):
    """The part of the store that is needed here (`gateway.store.contract.Store`)."""

    async def audit(self, batch: Sequence[Record]) -> None:
        """Commit records."""


class Recorder:
    """Belongs to one event loop; `run` is its task, `finish` its end."""

    def __init__(
        self,
        store: AuditStore,
        *,
        window_s: float = WINDOW_S,
        denials_each: int = DENIALS_EACH,
        alerts: AlertSink = NOBODY,
        reserve: Reserve | None = None,
    ) -> None:
        """`reserve`: the room that there is; denials do not use what is kept of it."""
        self._reserve = reserve or Reserve()
        self._store = store
        self._alerts = alerts
        self._window_s = window_s
        window = round(window_s * 1_000_000)
        self._denials = Aggregator(each=denials_each, window=window)
        self._permissions = Aggregator(each=1, window=window)
        self._failing = asyncio.Event()  # set while the audit cannot be written

    async def record(self, decisions: Sequence[Decision]) -> None:
        """Return when these decisions are recorded or counted. Raises Unavailable (AUDIT_UNAVAILABLE): do not act on
        them, and tell nobody what they are."""
        passing = [decision for decision in decisions if self._passes(decision)]
        if self._failing.is_set() or (passing and self._reserve.room is Room.SPENT):
            self._count(passing)
            raise _unavailable()
        if not passing:
            return
        try:
            await self._store.audit(passing)
        except GatewayError as error:
            self._count(passing)
            if not isinstance(error, Overloaded):  # which passes by itself
                self._fails(error)
            log.error("decisions_not_recorded", extra={"decisions": len(passing), "why": str(error)})
            raise _unavailable() from error

    def note(self, decisions: Sequence[Decision]) -> None:
        """Count decisions of a call that is over and that nobody is to be told about: its caller is gone."""
        self._count(decisions)

    async def run(self) -> None:
        """Commit what has been counted at the end of each window, until cancelled."""
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._window_s):
                    await self._failing.wait()
                await asyncio.sleep(_RETRY_S)
            await self._flush()

    async def finish(self) -> None:
        """Commit what has been counted: the last thing before the store closes."""
        await self._flush()

    async def _flush(self) -> None:
        due = self._due()
        for start in range(0, len(due), _BATCH):
            try:
                await self._store.audit(due[start : start + _BATCH])
            except GatewayError as error:
                self._fails(error)
                self._count(due[start:])
                log.error("counted_decisions_not_recorded", extra={"decisions": len(due), "why": str(error)})
                return
        self._failing.clear()
        self._alerts.resolve(AUDIT_FAILING, "decisions")

    def _passes(self, decision: Decision) -> bool:
        """Say whether a decision becomes a record of its own; if not, it has been counted."""
        if not decision.allowed and self._reserve.room is not Room.PLENTY:
            self._denials.count(decision)
            return False
        return self._aggregator(decision).passes(_source(decision), decision)

    def _due(self) -> list[Decision]:
        """Return what is to be recorded of what was counted: of denials one record while there is little room, and none
        while there is none."""
        if self._reserve.room is Room.PLENTY:
            return self._denials.due() + self._permissions.due()
        if self._reserve.room is Room.RESERVED:
            return self._denials.due_as_one() + self._permissions.due()
        return []

    def _fails(self, error: GatewayError) -> None:
        self._failing.set()
        self._alerts.raise_alert(AUDIT_FAILING, "decisions", why=str(error))

    def _count(self, decisions: Sequence[Decision]) -> None:
        for decision in decisions:
            self._aggregator(decision).count(decision)

    def _aggregator(self, decision: Decision) -> Aggregator:
        return self._permissions if decision.allowed else self._denials


def _source(decision: Decision) -> Hashable:
    """Return whose share of records a decision takes: each kind of permission has its own, a denied caller one."""
    if decision.allowed:
        return decision._replace(at=0, since=0)
    return decision.caller or decision.address


def _unavailable() -> Unavailable:
    return Unavailable("the decision about this call could not be recorded: retry", reason="AUDIT_UNAVAILABLE")
