"""From the links back to the store: outcomes, receipts and inbound messages, in batches.

Whatever arrives while one round of commits runs goes together into the next. Outcomes are handed to the store before
receipts, as the carrier sent them. A delivery is answered after its effect is on disk; when the store cannot take it,
the carrier is asked to deliver it again later. Outcomes are kept here until the store takes them: their number is
bounded by the links' windows.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Callable, Sequence
from functools import partial
from typing import NamedTuple

from carrier.contract import Delivery, Link, SubmitResult
from gateway.errors import GatewayError, Overloaded, Unavailable
from gateway.pipeline.carrier_ids import CarrierIds
from gateway.pipeline.deliveries import DeliveryReader
from gateway.pipeline.late import settle_late
from gateway.pipeline.outcomes import Attempt, RetryRules, settle
from gateway.store.contract import NewInboundPart, Settlement, Store, Waiting
from gateway.store.receipts import NewReceipt, ReceiptVerdict
from gateway.telemetry.journey import AttemptTrace
from gateway.telemetry.meters import Meters

log = logging.getLogger(__name__)

ESME_ROK = 0x00000000
ESME_RX_T_APPN = 0x00000064  # temporary application error: deliver it again later
_RETRY_STORE_S = 0.5


class _Record(NamedTuple):
    """A settlement on its way, what to call when it is on disk, the message, and the trace of one that is sampled."""

    settlement: Settlement
    released: Callable[[], None]
    message: Waiting
    trace: AttemptTrace | None


class _Answer(NamedTuple):
    link: Link
    ticket: object


class Settler:
    """Gathers what links report and records it; `run` is its task."""

    def __init__(
        self,
        *,
        store: Store,
        reader: DeliveryReader,
        rules: RetryRules,
        now: Callable[[], int],
        on_waiting: Callable[[int, int], None],
        meters: Meters,
        carrier_ids: CarrierIds,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        """`on_waiting(queue, due_at)` is told of each message that goes back to wait in the store."""
        self._store = store
        self._reader = reader
        self._rules = rules
        self._now = now
        self._on_waiting = on_waiting
        self._meters = meters
        self._carrier_ids = carrier_ids
        self._jitter = jitter
        self._records: list[_Record] = []
        self._receipts: list[tuple[NewReceipt, _Answer]] = []
        self._inbound: list[tuple[NewInboundPart, _Answer]] = []
        self._work = asyncio.Event()
        self._idle = asyncio.Event()
        self._idle.set()

    def results(self, results: Sequence[SubmitResult], release: Callable[[Attempt], None]) -> None:
        """Take outcomes from a link; `release` is called with each attempt when it is on disk."""
        now = 0
        for result in results:
            attempt = result.key
            if isinstance(attempt, Attempt) and attempt.note(result):
                now = now or self._now()
                settlement = settle(attempt, self._rules, now, self._jitter())
                if attempt.message.part_states:  # receipts may have come before this attempt
                    rule = self._reader.terms.of(attempt.carrier).parts_rule
                    settlement = settlement._replace(parts_rule=rule)
                if attempt.trace is not None:
                    attempt.trace.answered(*attempt.deciding())
                self._records.append(_Record(settlement, partial(release, attempt), attempt.message, attempt.trace))
        if now:
            self._wake()

    def late(self, results: Sequence[SubmitResult]) -> None:
        """Take answers to submissions that were in doubt."""
        now = self._now()
        for result in results:
            attempt = result.key
            if not isinstance(attempt, Attempt):
                continue
            settlement = settle_late(attempt, result, self._rules, now)
            if settlement is not None:
                self._records.append(_Record(settlement, _nothing, attempt.message, None))
        self._wake()

    def settle(
        self,
        message: Waiting,
        settlement: Settlement,
        released: Callable[[], None],
        trace: AttemptTrace | None = None,
    ) -> None:
        """Record one settlement of `message`; `released` is called when it is on disk."""
        self._records.append(_Record(settlement, released, message, trace))
        self._wake()

    def deliveries(self, link: Link, deliveries: Sequence[Delivery]) -> None:
        """Take receipts and inbound messages from a link; what cannot be used is answered at once."""
        refused: list[tuple[object, int]] = []
        now = self._now()
        for delivery in deliveries:
            try:
                read = self._reader.read(link, delivery, now)
            except Unavailable as error:
                log.warning("delivery_not_read", extra={"link": link.name, "why": str(error)})
                read = ESME_RX_T_APPN
            if isinstance(read, NewReceipt):
                self._receipts.append((read, _Answer(link, delivery.ticket)))
            elif isinstance(read, NewInboundPart):
                self._inbound.append((read, _Answer(link, delivery.ticket)))
            else:
                refused.append((delivery.ticket, read))
        if refused:
            link.answer(refused)
        self._wake()

    def use_rules(self, rules: RetryRules) -> None:
        """Settle by these rules from now on."""
        self._rules = rules

    async def drained(self) -> None:
        """Return when everything taken so far has been recorded."""
        await self._idle.wait()

    def _wake(self) -> None:
        if self._records or self._receipts or self._inbound:
            self._idle.clear()
            self._work.set()

    async def run(self) -> None:
        """Record what comes in, until cancelled."""
        while True:
            await self._work.wait()
            self._work.clear()
            records, self._records = self._records, []
            receipts, self._receipts = self._receipts, []
            inbound, self._inbound = self._inbound, []
            await asyncio.gather(self._record(records), self._apply_receipts(receipts), self._store_inbound(inbound))
            if not self._work.is_set():
                self._idle.set()

    async def _record(self, records: list[_Record]) -> None:
        settlements = self._carrier_ids.refer([record.settlement for record in records])
        while records:
            try:
                states = await self._store.settle(settlements)
            except GatewayError as error:
                log.warning("outcomes_not_recorded", extra={"outcomes": len(records), "why": str(error)})
                await asyncio.sleep(_RETRY_STORE_S)
                continue
            self._meters.settled(records, states)
            for settlement, released, _, trace in records:
                if settlement.queue is not None:
                    self._on_waiting(settlement.queue, settlement.due_at)
                if trace is not None:
                    trace.recorded(settlement, len(records))
                released()
            return

    async def _apply_receipts(self, receipts: list[tuple[NewReceipt, _Answer]]) -> None:
        if not receipts:
            return
        try:
            verdicts = await self._store.receipts([receipt for receipt, _ in receipts])
        except GatewayError as error:
            self._refuse([answer for _, answer in receipts], error)
            return
        refused = [n for n, verdict in enumerate(verdicts) if verdict is ReceiptVerdict.REFUSED]
        if refused:
            _answer_all([receipts[n][1] for n in refused], ESME_RX_T_APPN)
            receipts = [each for n, each in enumerate(receipts) if verdicts[n] is not ReceiptVerdict.REFUSED]
        _answer_all([answer for _, answer in receipts], ESME_ROK)

    async def _store_inbound(self, parts: list[tuple[NewInboundPart, _Answer]]) -> None:
        if not parts:
            return
        try:
            await self._store.inbound([part for part, _ in parts])
        except GatewayError as error:
            self._refuse([answer for _, answer in parts], error)
        else:
            _answer_all([answer for _, answer in parts], ESME_ROK)

    def _refuse(self, answers: list[_Answer], error: GatewayError) -> None:
        level = logging.INFO if isinstance(error, Overloaded) else logging.WARNING
        log.log(level, "deliveries_not_recorded", extra={"deliveries": len(answers), "why": str(error)})
        _answer_all(answers, ESME_RX_T_APPN)


def _nothing() -> None:
    """Nothing is held by an attempt that has been settled before."""


def _answer_all(answers: Sequence[_Answer], status: int) -> None:
    """Answer with one status; neighbours mostly came over the same link (hot)."""
    of_link: Link | None = None
    tickets: list[tuple[object, int]] = []
    for link, ticket in answers:
        if link is not of_link:
            if of_link is not None:
                of_link.answer(tickets)
            of_link, tickets = link, []
        tickets.append((ticket, status))
    if of_link is not None:
        of_link.answer(tickets)
