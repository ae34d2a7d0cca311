"""query_sm, cancel_sm, replace_sm, submit_multi: nacked, refused, or done with real states, as scripted. Pure."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime

from carrier.simulator.book import Book, Entry
from carrier.simulator.script import Operations
from carrier.smpp.constants import Status
from carrier.smpp.pdu import (
    CancelSm,
    CancelSmResp,
    DataSm,
    DataSmResp,
    Pdu,
    QuerySm,
    QuerySmResp,
    ReplaceSm,
    ReplaceSmResp,
    SubmitMulti,
    SubmitMultiResp,
    printable,
)

Answer = tuple[Pdu, int] | None  # a response and its status; None: a generic_nack

_FAILURES: dict[type[Pdu], tuple[Pdu, int]] = {
    QuerySm: (QuerySmResp(), Status.ESME_RQUERYFAIL),
    CancelSm: (CancelSmResp(), Status.ESME_RCANCELFAIL),
    ReplaceSm: (ReplaceSmResp(), Status.ESME_RREPLACEFAIL),
    SubmitMulti: (SubmitMultiResp(), Status.ESME_RSUBMITFAIL),
    DataSm: (DataSmResp(), Status.ESME_RSYSERR),
}


class Operator:
    """Answers what is not a submit_sm."""

    def __init__(
        self, how: Operations, book: Book, *, wall_offset_s: float, cancelled: Callable[[Entry], None]
    ) -> None:
        """`wall_offset_s` makes Unix time of `now`; `cancelled` is told of each message that is."""
        self._book = book
        self._wall_offset_s = wall_offset_s
        self._cancelled = cancelled
        self._multi = 0
        self._how: dict[type[Pdu], str] = {
            QuerySm: how.query, CancelSm: how.cancel, ReplaceSm: how.replace, SubmitMulti: how.multi, DataSm: how.data,
        }  # fmt: skip

    def how(self, pdu: Pdu) -> str:
        """Say what is done with `pdu`: "nack", "fail" or "answer"."""
        return self._how.get(type(pdu), "nack")

    def answer(self, pdu: Pdu, now: float) -> Answer:
        """Return what answers `pdu`."""
        how = self.how(pdu)
        if how == "answer":
            if isinstance(pdu, QuerySm):
                return self._query(pdu, now)
            if isinstance(pdu, CancelSm):
                return self._cancel(pdu, now)
            if isinstance(pdu, ReplaceSm):
                return self._replace(pdu, now)
            if isinstance(pdu, SubmitMulti):
                self._multi += 1
                return SubmitMultiResp(b"multi-%d" % self._multi), 0
        return _FAILURES.get(type(pdu)) if how == "fail" else None

    def _query(self, pdu: QuerySm, now: float) -> Answer:
        entry = self._book.find(printable(pdu.message_id), pdu.source_addr)
        if entry is None:
            return QuerySmResp(), Status.ESME_RQUERYFAIL
        final = b"" if not entry.final(now) else _time(entry.done_at + self._wall_offset_s)
        error = int(entry.error) if entry.error.isdigit() else 0
        return QuerySmResp(pdu.message_id, final, entry.message_state(now), error & 0xFF), 0

    def _cancel(self, pdu: CancelSm, now: float) -> Answer:
        """By id, or, with an empty one, all of one source to one destination (SMPP 3.4 §4.9)."""
        if pdu.message_id:
            entry = self._book.find(printable(pdu.message_id), pdu.source_addr)
            fits = entry is not None and pdu.destination_addr in (b"", entry.submit.destination_addr)
            found = [entry] if entry is not None and fits else []
        else:
            found = self._book.between(pdu.source_addr, pdu.destination_addr)
        waiting = [entry for entry in found if not entry.final(now)]
        for entry in waiting:
            entry.cancelled, entry.done_at = True, now
            self._cancelled(entry)
        return CancelSmResp(), 0 if waiting else Status.ESME_RCANCELFAIL

    def _replace(self, pdu: ReplaceSm, now: float) -> Answer:
        entry = self._book.find(printable(pdu.message_id), pdu.source_addr)
        if entry is None or entry.final(now):
            return ReplaceSmResp(), Status.ESME_RREPLACEFAIL
        entry.submit = entry.submit._replace(short_message=pdu.short_message)
        return ReplaceSmResp(), 0


def _time(at: float) -> bytes:
    """Return an absolute time in UTC (SMPP 3.4 §7.1.1.1)."""
    return datetime.fromtimestamp(at, UTC).strftime("%y%m%d%H%M%S000+").encode("ascii")
