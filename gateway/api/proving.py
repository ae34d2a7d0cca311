"""Receipts for callers: what the log proves of a message of theirs.

A search reads the audit as the store has it, a page at a time beside everything else; few run at once, and the rest is
refused for a moment. What is put together of large commits is put together in a thread.
"""

from __future__ import annotations

import asyncio
from typing import Protocol

from gateway.api.reading import RowReader, find_row
from gateway.audit.fields import Malformed
from gateway.errors import KeyDestroyed, NotFound, Overloaded, StoreCorrupt, Unavailable, Unsupported
from gateway.payload import PayloadBox
from gateway.proving.history import HistoryStore, history_of
from gateway.proving.log import ProofLog, not_ready
from gateway.proving.receipts import receipt_of, shown, tiles_for
from gateway.records import decode_envelope
from gateway.store.contract import MessageRow
from gateway.tlog.checkpoints import parse_text
from gateway.tlog.errors import TlogError
from gateway.tlog.notes import parse
from smsgw.v1 import audit_service_pb2 as pb

MAX_SEARCHES = 8  # at once
_RETRY_S = 0.5


class ProofStore(RowReader, HistoryStore, Protocol):
    """The part of the store that is needed here (`gateway.store.contract.Store`)."""

    async def audit_bounds(self) -> tuple[int, int]:
        """Return (the seq before the oldest commit of the audit, the seq of the newest)."""


class Proving:
    """Makes receipts. Without a log it refuses to."""

    def __init__(self, *, store: ProofStore, box: PayloadBox, log: ProofLog | None) -> None:
        self._store = store
        self._box = box
        self._log = log
        self._searches = 0

    async def receipt(self, tenant: str, message_id: str, *, including_lists: bool) -> pb.MessageReceipt:
        """Return the receipt of a message. Raises NotFound, also for another tenant's; Unavailable (PROOF_NOT_READY)
        while the log has not all of its records yet, or the witnesses have not cosigned them; Overloaded; Unsupported
        (LOG_OFF)."""
        row = await find_row(self._store, tenant, message_id)
        if self._log is None:
            raise Unsupported("this node keeps no log that could prove anything", reason="LOG_OFF")
        if self._searches >= MAX_SEARCHES:
            raise Overloaded("too many receipts are being made at the moment", retry_after_s=_RETRY_S)
        self._searches += 1
        try:
            return await self._made(self._log, row, including_lists=including_lists)
        except (Malformed, TlogError) as error:
            raise StoreCorrupt(f"the log cannot prove message {message_id}: {error}") from error
        finally:
            self._searches -= 1

    async def _made(self, log: ProofLog, row: MessageRow, *, including_lists: bool) -> pb.MessageReceipt:
        history = shown(await history_of(self._store, row), including_lists=including_lists)
        if not history:
            raise await self._nothing_found()
        note = await log.checkpoint(history[-1].commit.seq)
        checkpoint = parse_text(parse(note).text)
        tiles = await log.tiles(tiles_for(history, checkpoint.size))
        if row.envelope and self._box.opens:
            await self._box.ready((row.envelope,))
        salt = self._salt(row)
        return await asyncio.to_thread(receipt_of, row.id, history, checkpoint, note, tiles, salt)

    async def _nothing_found(self) -> NotFound | Unavailable:
        """Return why there is no record: the oldest ones have been let go, or the log is not so far."""
        before_oldest, _ = await self._store.audit_bounds()
        if before_oldest:
            return NotFound("the audit has no records of this message any more", reason="RECORDS_GONE")
        return not_ready()

    def _salt(self, row: MessageRow) -> bytes:
        """Return the salt of the message's commitment, none where the message has been erased, or its key destroyed.
        Raises StoreCorrupt."""
        if not row.envelope:
            return b""
        try:
            return decode_envelope(self._box.take(row.tenant, row.id, "envelope", row.envelope)).salt
        except KeyDestroyed:
            return b""
