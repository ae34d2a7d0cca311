"""SqliteStore: the contract's coroutines, on the event loop's side.

It hands writes to the writer's thread and look-ups to the reader's, and knows no SQL.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import apsw

from gateway.audit.records import Record
from gateway.errors import Overloaded
from gateway.states import Category
from gateway.store.contract import (
    Accepted,
    AuditCommit,
    CommitListener,
    CommitObserver,
    EventRow,
    Idempotency,
    InboundVerdict,
    ListFilter,
    MessageRow,
    NewInboundPart,
    NewMessage,
    Recovered,
    Sending,
    Settlement,
    Waiting,
    waiting_queue,
)
from gateway.store.sqlite import auditing, reading
from gateway.store.sqlite.accepting import accept, find_replays
from gateway.store.sqlite.auditing import audit_only
from gateway.store.sqlite.claiming import Claim, claim, sending
from gateway.store.sqlite.closing import Cancel, Due, Recover, cancel, close_due, purge, recover
from gateway.store.sqlite.files import NodeLock, prepare
from gateway.store.sqlite.inbound import inbound
from gateway.store.sqlite.operating import OperatingCalls
from gateway.store.sqlite.reader import Reader
from gateway.store.sqlite.receipts import ReceiptCalls
from gateway.store.sqlite.settling import settle
from gateway.store.sqlite.transaction import Transaction
from gateway.store.sqlite.writer import Kind, Operation, Writer

# In the order of a message's life: so they run within one transaction.
_RECOVER = Kind(0, "recover", recover)
_ACCEPT = Kind(1, "accept", accept)
_CANCEL = Kind(2, "cancel", cancel)
_CLAIM = Kind(3, "claim", claim)
_SENDING = Kind(4, "sending", sending)
_SETTLE = Kind(5, "settle", settle)
_INBOUND = Kind(7, "inbound", inbound)
_CLOSE_DUE = Kind(8, "close_due", close_due)
_PURGE = Kind(9, "purge", purge)
_AUDIT = Kind(10, "audit", audit_only)

_HOUR = 3600 * 1_000_000
_RETRY_S = 0.1


def _now_us() -> int:
    return time.time_ns() // 1000


class SqliteStore(OperatingCalls, ReceiptCalls):
    """The embedded engine of `gateway.store.contract.Store`."""

    writer_class = Writer

    def __init__(
        self,
        path: str | Path,
        *,
        queue_limit: int = 20_000,
        vfs: str | None = None,
        receipt_grace: int = 1 * _HOUR,
        seen_for: int = 72 * _HOUR,
        kept_limit: int = 100_000,
        held_limit: int = 100_000,
        held_of_each: int = 10_000,
        read_deadline_s: float = 5.0,
        now: Callable[[], int] = _now_us,
    ) -> None:
        """`queue_limit`: unfinished writes at most, in rows; a quarter of it is kept for what is not new (outcomes,
        receipts). `vfs`: the name of a registered apsw VFS. `receipt_grace`, `seen_for`: microseconds; how long a
        message in doubt waits for a receipt beyond its validity, and how long fingerprints and unmatched receipts are
        kept. `kept_limit`, `held_limit`: unmatched receipts, and inbound parts that wait for others, at most; of these
        `held_of_each` of one tenant. `now`:
        microseconds since the Unix epoch; it dates the commits of the audit."""
        self._path = Path(path)
        self._queue_limit = queue_limit
        self._new_limit = queue_limit - queue_limit // 4
        self._lock = NodeLock(self._path)

        def make(db: apsw.Connection) -> Transaction:
            return Transaction(
                db,
                now=now,
                kept_limit=kept_limit,
                held_limit=held_limit,
                held_of_each=held_of_each,
                grace=receipt_grace,
                seen_for=seen_for,
            )

        self._writer = self.writer_class(self._path, vfs, make)
        self._reader = Reader(self._path, vfs, read_deadline_s)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._opened = False
        self._closed = False

    async def open(self) -> None:
        """Open the database, migrate it forward, start the writer. Raises StoreUnavailable or StoreCorrupt."""
        if self._opened:
            raise self._writer.refuse_closed()
        self._opened = True
        loop = asyncio.get_running_loop()
        try:
            await loop.run_in_executor(None, self._open_files)
        except BaseException:
            self._lock.free()
            raise
        self._loop = loop
        self._writer.start(loop)
        self._reader.start()

    def _open_files(self) -> None:
        prepare(self._path)
        self._lock.take()
        self._writer.open()

    async def close(self) -> None:
        """Finish what has been handed over, then close. Idempotent."""
        if self._closed or self._loop is None:
            return
        self._closed = True
        await self._loop.run_in_executor(None, self._close_files)

    def _close_files(self) -> None:
        self._reader.stop()
        self._writer.stop()
        self._lock.free()

    def on_commit(self, listener: CommitListener) -> None:
        """Call `listener` after each commit that wrote events."""
        self._writer.on_commit(listener)

    def observe(self, observer: CommitObserver) -> None:
        """Tell `observer` of each commit."""
        self._writer.observe(observer)

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
        if self._loop is None or self._closed:
            raise self._writer.refuse_closed()
        if not batch:
            return []
        if self._writer.unfinished >= (self._new_limit if new else self._queue_limit):
            raise Overloaded("too many writes wait for the database", retry_after_s=_RETRY_S)
        future: asyncio.Future[Any] = self._loop.create_future()
        self._writer.submit(Operation(kind, batch, future, single=single, audit=audit))
        return await future

    async def accept(self, batch: Sequence[NewMessage], audit: Sequence[Record] = ()) -> list[Accepted]:
        """Store messages with their idempotency records and first events; an answer for each, in order."""
        answers: list[Accepted] = await self._write(_ACCEPT, batch, new=True, audit=audit)
        return answers

    async def replays(self, batch: Sequence[Idempotency], now: int) -> list[Accepted | None]:
        """Return the answers to messages whose keys others hold, None for a free key; stores nothing."""
        answers: list[Accepted | None] = await self._read(lambda db: find_replays(db, batch, now))
        return answers

    async def claim(self, category: Category, limit: int, now: int) -> list[Waiting]:
        """Move up to `limit` messages whose time has come from their waiting queue to CLAIMED, oldest due first."""
        claimed: list[Waiting] = await self._write(_CLAIM, [Claim(category, limit, now)], single=True)
        return claimed

    async def next_due(self, category: Category) -> int | None:
        """Return the earliest `due_at` that waits in the category's queue, None when nothing waits there."""
        due_at: int | None = await self._read(lambda db: reading.read_next_due(db, waiting_queue(category)))
        return due_at

    async def sending(self, batch: Sequence[Sending]) -> list[bool]:
        """Commit messages to carrier links. False for one that was cancelled or closed meanwhile: do not send it."""
        moved: list[bool] = await self._write(_SENDING, batch)
        return moved

    async def settle(self, batch: Sequence[Settlement]) -> list[int]:
        """Record outcomes, and match kept receipts to the new carrier ids; the state of each message afterwards."""
        states: list[int] = await self._write(_SETTLE, batch)
        return states

    async def inbound(self, batch: Sequence[NewInboundPart]) -> list[InboundVerdict]:
        """Store parts of inbound messages; the part that completes one writes its event.

        Raises ValueError for a part outside of 1 to `total`: such a group would never be complete, or too early.
        """
        if not all(1 <= part.part <= part.total for part in batch):
            raise ValueError("an inbound part has a number outside of 1 to its total")
        verdicts: list[InboundVerdict] = await self._write(_INBOUND, batch)
        return verdicts

    async def cancel(
        self, tenant: str, message_id: bytes, now: int, by: str = "", audit: Sequence[Record] = ()
    ) -> tuple[bool, MessageRow | None]:
        """Cancel a message that has not been SENT: (True, row), or (False, row as it stands); row None: no such id."""
        batch = [Cancel(tenant, message_id, now, by)]
        answer: tuple[bool, MessageRow | None] = await self._write(_CANCEL, batch, single=True, new=True, audit=audit)
        return answer

    async def close_due(self, now: int, limit: int) -> int:
        """End messages whose time is over: waiting beyond expires_at, or awaiting beyond due_at; returns how many."""
        ended: int = await self._write(_CLOSE_DUE, [Due(now, limit)], single=True)
        return ended

    async def recover(self, now: int, resend: frozenset[Category]) -> Recovered:
        """Once after `open`, before any claim: put back what was in memory, doubt what was on its way."""
        found: Recovered = await self._write(_RECOVER, [Recover(now, resend)], single=True)
        return found

    async def purge(self, now: int, limit: int) -> int:
        """Delete expired idempotency records, incomplete inbound groups, old fingerprints and unmatched receipts."""
        deleted: int = await self._write(_PURGE, [Due(now, limit)], single=True)
        return deleted

    async def audit(self, batch: Sequence[Record]) -> None:
        """Commit audit records that belong to no change: denials, reads, what the node does."""
        await self._write(_AUDIT, batch, new=True)

    async def audit_read(self, after_seq: int, limit: int) -> list[AuditCommit]:
        """Return up to `limit` commits of the audit above `after_seq`, in order; fewer when they are large."""
        commits: list[AuditCommit] = await self._read(lambda db: auditing.read_commits(db, after_seq, limit))
        return commits

    async def audit_bounds(self) -> tuple[int, int]:
        """Return (the seq before the oldest commit of the audit, the seq of the newest)."""
        bounds: tuple[int, int] = await self._read(auditing.read_bounds)
        return bounds

    async def _read(self, query: Any) -> Any:
        if self._loop is None or self._closed:
            raise self._writer.refuse_closed()
        return await self._reader.ask(query)

    async def get_message(self, tenant: str, message_id: bytes) -> MessageRow | None:
        """Return one message of the tenant."""
        row: MessageRow | None = await self._read(lambda db: reading.read_message(db, tenant, message_id))
        return row

    async def list_messages(self, tenant: str, where: ListFilter, before: bytes | None, limit: int) -> list[MessageRow]:
        """Return messages of the tenant with ids below `before`, newest first."""
        rows: list[MessageRow] = await self._read(lambda db: reading.read_messages(db, tenant, where, before, limit))
        return rows

    async def events(self, tenant: str, after: int, limit: int) -> list[EventRow]:
        """Return the tenant's events with `seq` above `after`, in order."""
        rows: list[EventRow] = await self._read(lambda db: reading.read_events(db, tenant, after, limit))
        return rows

    async def event_bounds(self, tenant: str) -> tuple[int, int]:
        """Return (the seq before the oldest event kept, the seq of the newest event committed)."""
        bounds: tuple[int, int] = await self._read(lambda db: reading.read_bounds(db, tenant))
        return bounds

    async def counts(self) -> dict[str, int]:
        """Return counters for people: `queue.<NAME>` sizes, `oldest_due_at.<NAME>`, and every counted cause."""
        counts: dict[str, int] = await self._read(reading.read_counts)
        return counts
