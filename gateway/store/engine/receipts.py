"""The part of an engine for receipts: the coroutines of `gateway.store.receipts.ReceiptStore`, and no SQL."""

from __future__ import annotations

from collections.abc import Sequence

from gateway.audit.records import Record
from gateway.store.engine.awaiting import read_awaiting
from gateway.store.engine.calls import Calls
from gateway.store.engine.keeping import read_unmatched
from gateway.store.engine.noting import read_noted
from gateway.store.engine.receiving import learned, receipts
from gateway.store.engine.writer import Kind
from gateway.store.receipts import Awaiting, Learned, NewReceipt, NotedReceipt, Place, ReceiptVerdict, UnmatchedReceipt

_RECEIPTS = Kind(6, "receipts", receipts)
_LEARNED = Kind(6, "learned", learned)


class ReceiptCalls(Calls):
    """Receipts: applied, noted, awaited."""

    async def receipts(self, batch: Sequence[NewReceipt]) -> list[ReceiptVerdict]:
        """Apply receipts in order."""
        verdicts: list[ReceiptVerdict] = await self._write(_RECEIPTS, batch)
        return verdicts

    async def learned(self, batch: Sequence[Learned], audit: Sequence[Record] = ()) -> list[int]:
        """Record what carriers said when they were asked; the state of each message afterwards."""
        states: list[int] = await self._write(_LEARNED, batch, audit=audit)
        return states

    async def awaiting(self, after: Place | None, sent_before: int, limit: int) -> tuple[list[Awaiting], Place | None]:
        """Look at messages that wait for a receipt; the place to go on from, None at the end."""
        found: tuple[list[Awaiting], Place | None]
        found = await self._read(lambda look: read_awaiting(look, after, sent_before, limit))
        return found

    async def unmatched(self, before: int, limit: int) -> list[UnmatchedReceipt]:
        """Return receipts that match nothing and came before that time, the newest first."""
        rows: list[UnmatchedReceipt] = await self._read(lambda look: read_unmatched(look, before, limit))
        return rows

    async def noted(self, limit: int) -> list[NotedReceipt]:
        """Return receipts that changed nothing and should not have come, the newest first."""
        rows: list[NotedReceipt] = await self._read(lambda look: read_noted(look, limit))
        return rows
