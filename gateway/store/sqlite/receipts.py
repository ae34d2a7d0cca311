"""The part of `SqliteStore` for receipts: the coroutines of `gateway.store.receipts.ReceiptStore`, and no SQL."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from typing import Any

from gateway.audit.records import Record
from gateway.store.receipts import NewReceipt, NotedReceipt, ReceiptVerdict, UnmatchedReceipt
from gateway.store.sqlite.keeping import read_unmatched
from gateway.store.sqlite.noting import read_noted
from gateway.store.sqlite.receiving import receipts
from gateway.store.sqlite.writer import Kind

_RECEIPTS = Kind(6, "receipts", receipts)


class ReceiptCalls:
    """Mixed into the engine, which says how its threads are reached."""

    @abstractmethod
    async def _write(
        self,
        kind: Kind,
        batch: Sequence[Any],
        *,
        single: bool = False,
        new: bool = False,
        audit: Sequence[Record] = (),
    ) -> Any:
        """Hand a batch to the writer and wait for its commit."""

    @abstractmethod
    async def _read(self, query: Any) -> Any:
        """Look something up in the reader's thread."""

    async def receipts(self, batch: Sequence[NewReceipt]) -> list[ReceiptVerdict]:
        """Apply receipts in order."""
        verdicts: list[ReceiptVerdict] = await self._write(_RECEIPTS, batch)
        return verdicts

    async def unmatched(self, before: int, limit: int) -> list[UnmatchedReceipt]:
        """Return receipts that match nothing and came before that time, the newest first."""
        rows: list[UnmatchedReceipt] = await self._read(lambda db: read_unmatched(db, before, limit))
        return rows

    async def noted(self, limit: int) -> list[NotedReceipt]:
        """Return receipts that changed nothing and should not have come, the newest first."""
        rows: list[NotedReceipt] = await self._read(lambda db: read_noted(db, limit))
        return rows
