"""Engine: the contract's coroutines on the event loop's side, over any database of the port."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from gateway.audit.ballast import BallastStore
from gateway.audit.records import Record
from gateway.errors import Overloaded
from gateway.store.contract import CommitListener, CommitObserver
from gateway.store.engine.counting import Sizes
from gateway.store.engine.database import Database
from gateway.store.engine.erasure import ErasureCalls
from gateway.store.engine.indexing import IndexCalls
from gateway.store.engine.key_use import KeyUseCalls
from gateway.store.engine.messages import MessageCalls
from gateway.store.engine.operating import OperatingCalls
from gateway.store.engine.reader import Reader
from gateway.store.engine.receipts import ReceiptCalls
from gateway.store.engine.retention import RetentionCalls
from gateway.store.engine.sequencing import SequencingCalls
from gateway.store.engine.shared import SharedCalls
from gateway.store.engine.transaction import Transaction
from gateway.store.engine.upkeep import UpkeepCalls
from gateway.store.engine.usage import UsageCalls
from gateway.store.engine.writer import Kind, Operation, Writer
from gateway.store.erasure import Remainder
from visibility.alerts import AlertSink

HOUR = 3600 * 1_000_000
_RETRY_S = 0.1


class Engine(
    MessageCalls,
    OperatingCalls,
    ReceiptCalls,
    SequencingCalls,
    UsageCalls,
    RetentionCalls,
    ErasureCalls,
    KeyUseCalls,
    SharedCalls,
    IndexCalls,
    UpkeepCalls,
):
    """What all engines of `gateway.store.contract.Store` have in common."""

    writer_class = Writer
    ballast: BallastStore | None = None  # where the disk is another machine's

    def __init__(
        self,
        database: Database,
        make: Callable[[Any], Transaction],
        *,
        queue_limit: int,
        readers: int,
        read_deadline_s: float,
    ) -> None:
        """`make` puts a transaction around a connection. `queue_limit`: unfinished writes at most, in rows; a quarter
        of it is kept for what is not new (outcomes, receipts, decisions). `readers`: threads with
        a connection each."""
        self._queue_limit = queue_limit
        self._new_limit = queue_limit - queue_limit // 4
        self._record_limit = queue_limit - queue_limit // 8
        self._database = database
        self._writer = self.writer_class(database, make)
        self._reader = Reader(database, read_deadline_s, readers)
        self._sizes = Sizes(self._read)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._opened = False
        self._closed = False

    async def open(self) -> None:
        """Open the database, migrate it forward, start the threads. Raises StoreUnavailable or StoreCorrupt."""
        if self._opened:
            raise self._writer.refuse_closed()
        self._opened = True
        loop = asyncio.get_running_loop()
        await loop.run_in_executor(None, self._writer.open)
        self._loop = loop
        self._writer.start(loop)
        self._reader.start()

    async def close(self) -> None:
        """Finish what has been handed over, then close. Idempotent."""
        if self._closed or self._loop is None:
            return
        self._closed = True
        await self._loop.run_in_executor(None, self._stop_threads)

    def _stop_threads(self) -> None:
        self._reader.stop()
        self._writer.stop()

    def on_commit(self, listener: CommitListener) -> None:
        """Call `listener` after each commit that wrote events."""
        self._writer.on_commit(listener)

    def alert(self, alerts: AlertSink) -> None:
        """Raise there when the database cannot write, and resolve it when it can again."""
        self._writer.alerts = alerts

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
        record: bool = False,
        audit: Sequence[Record] = (),
    ) -> Any:
        """Hand a batch to the writer and wait for its commit. The last quarter of the queue is not for what is `new`,
        and half of it not for a `record` of the audit alone."""
        if self._loop is None or self._closed:
            raise self._writer.refuse_closed()
        if not batch:
            return []
        limit = self._new_limit if new else self._record_limit if record else self._queue_limit
        if self._writer.unfinished >= limit:
            raise Overloaded("too many writes wait for the database", retry_after_s=_RETRY_S)
        future: asyncio.Future[Any] = self._loop.create_future()
        self._writer.submit(Operation(kind, batch, future, single=single, audit=audit))
        return await future

    async def scrub(self, *, compact: bool = False) -> list[Remainder]:
        """Leave nothing of what was deleted in the files of the database, as far as they are in the engine's hands;
        `compact`: nor in unused space of pages, which writes tables anew. Returns what can be left all the same."""
        if self._loop is None or self._closed:
            raise self._writer.refuse_closed()
        try:
            return await self._loop.run_in_executor(None, partial(self._database.scrub, compact=compact))
        except Exception as error:  # whatever the database raises becomes the gateway's
            translated = self._database.translate(error)
            raise translated from error

    async def _read(self, query: Any) -> Any:
        """Look something up in a reader's thread."""
        if self._loop is None or self._closed:
            raise self._writer.refuse_closed()
        return await self._reader.ask(query)
