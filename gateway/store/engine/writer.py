"""The writer: one thread, one connection, group commit.

Calls put operations into a bounded queue. The thread takes all that gathered while its last commit ran, up to
`GROUP_ROWS` rows so that no call waits behind a giant transaction, and commits them together: one fsync. Operations of
the same kind are joined into one batch; kinds go in the order of a message's life, calls of a kind in the order they
came. All of them are concurrent (none has been answered), so any order is a right one.

When a group fails, each of its operations is run alone, and only those at fault are refused. When the commit is on
disk, one call into the event loop answers all, and tells the listeners which tenants got events.
"""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from gateway.audit.records import Record
from gateway.errors import StoreCorrupt, StoreUnavailable
from gateway.store.contract import CommitListener, CommitObserver, Committed
from gateway.store.engine.database import Database, Doubtful
from gateway.store.engine.transaction import Transaction
from visibility.alerts import NOBODY, AlertSink
from visibility.catalogue import STORE_FAILING, STORED_DATA_CORRUPT

log = logging.getLogger(__name__)

GROUP_ROWS = 4_000
_PAUSE_S = 0.2  # between attempts to find out what became of a commit


class Kind(NamedTuple):
    """A kind of operation: `run` takes the joined batches and returns a result for each item."""

    order: int
    name: str
    run: Callable[[Transaction, Sequence[Any]], Sequence[Any]]


class Operation:
    """One call: its batch, the future that it waits for, and what the audit is to say of it beside (hot)."""

    __slots__ = ("audit", "batch", "future", "kind", "single")

    def __init__(
        self,
        kind: Kind,
        batch: Sequence[Any],
        future: asyncio.Future[Any],
        *,
        single: bool,
        audit: Sequence[Record] = (),
    ) -> None:
        self.kind = kind
        self.batch = batch
        self.future = future
        self.single = single  # the result is that of the only item
        self.audit = audit


# An operation and what became of it: its result, or an exception.
Outcome = tuple[Operation, Any]


class Writer:
    """Owns the thread. All methods but `_run` and those it calls belong to the event loop."""

    def __init__(self, database: Database, make: Callable[[Any], Transaction]) -> None:
        self._database = database
        self._make = make
        self._listeners: list[CommitListener] = []
        self._observers: list[CommitObserver] = []
        self.alerts: AlertSink = NOBODY
        self._queue: deque[Operation] = deque()
        self._ready = threading.Condition()
        self._stopping = False
        self._rows = 0
        self._loop: asyncio.AbstractEventLoop | None = None
        self._tx: Transaction | None = None
        self._thread = threading.Thread(target=self._run, name="store-writer", daemon=True)

    @property
    def unfinished(self) -> int:
        """How many rows have been handed over and not answered."""
        return self._rows

    def on_commit(self, listener: CommitListener) -> None:
        """Call `listener` after each commit that wrote events."""
        self._listeners.append(listener)

    def observe(self, observer: CommitObserver) -> None:
        """Tell `observer` of each commit."""
        self._observers.append(observer)

    def open(self) -> None:
        """Open and migrate the database. Runs in any thread, before `start`."""
        database = self._database
        try:
            db = database.open()
            try:
                tx = self._make(db)
                tx.reload()
                database.started(db)
            except BaseException:
                database.disconnect(db)
                raise
        except BaseException as error:
            database.stopped()
            database.close()
            translated = database.translate(error)
            if translated is error:
                raise
            raise translated from error
        self._tx = tx

    def start(self, loop: asyncio.AbstractEventLoop) -> None:
        """Begin to write; answers come in `loop`."""
        self._loop = loop
        self._thread.start()

    def submit(self, operation: Operation) -> None:
        """Hand an operation over."""
        self._rows += len(operation.batch)
        with self._ready:
            self._queue.append(operation)
            self._ready.notify()

    def stop(self) -> None:
        """Finish what has been handed over, close the connection, end the thread. Blocks: not for the event loop."""
        with self._ready:
            self._stopping = True
            self._ready.notify()
        if self._thread.ident is not None:
            self._thread.join()
        self._database.stopped()
        tx, self._tx = self._tx, None
        if tx is not None:
            self._database.disconnect(tx.db)
        self._database.close()

    # The thread.

    def _run(self) -> None:
        while True:
            with self._ready:
                while not self._queue and not self._stopping:
                    self._ready.wait()
                if not self._queue:
                    return
                group = self._gather()
            self._write(group)
            if self._tx is not None:
                self._database.after_commit(self._tx.db)

    def _gather(self) -> list[Operation]:
        group = [self._queue.popleft()]
        rows = len(group[0].batch)
        while self._queue and rows + len(self._queue[0].batch) <= GROUP_ROWS:
            rows += len(self._queue[0].batch)
            group.append(self._queue.popleft())
        return group

    def _write(self, group: list[Operation], *, again: bool = True) -> None:
        """Commit a group; when that fails, once more if that may do, and then each operation alone."""
        try:
            self._commit(group)
        except Exception as error:  # the top of a task: whatever it is, it belongs to an operation
            self._roll_back()
            if again and self._database.passing(error):
                self._write(group, again=False)
            elif len(group) > 1 and not self._database.hopeless(error):
                for operation in group:
                    self._write([operation])
            else:
                failure = self._database.translate(error)
                self._publish([(operation, failure) for operation in group], frozenset())

    def _commit(self, group: list[Operation]) -> None:
        began = time.perf_counter()
        tx = self._connected()
        self._database.begin(tx.db)
        outcomes = self._apply(tx, group)
        tx.flush()
        flushed = time.perf_counter()
        try:
            self._database.commit(tx.db)  # returns when it is on disk: the answers may go out
        except Doubtful:
            self._give_up(tx)
            self._require_committed()
        done = time.perf_counter()
        rows = sum(len(operation.batch) for operation in group)
        commit = Committed(rows, done - began, done - flushed, tx.ended, tx.traced, tx.corrections())
        self._publish(outcomes, tx.end(), commit)

    def _require_committed(self) -> None:
        """Find out whether the last commit was done, however long that takes: an answer given before might be wrong.
        What waits meanwhile is refused; nothing of it has begun. Raises StoreUnavailable when it was not done."""
        while True:
            try:
                done = self._database.committed(self._connected().db)
            except Exception as error:  # the top of a task: it is tried until the store is closed
                if self._tx is not None:  # as lost as the one before
                    self._give_up(self._tx)
                failure = self._database.translate(error)
                self._refuse_waiting(failure)
                if self._pause():
                    why = "it was closed before anybody could know whether the last commit was done"
                    raise StoreUnavailable(f"{self._database.name}: {why}", reason="STORE_IN_DOUBT") from error
                continue
            if not done:
                raise StoreUnavailable(f"{self._database.name}: its connection was lost, and nothing of this stored")
            return

    def _refuse_waiting(self, failure: BaseException) -> None:
        with self._ready:
            waiting, self._queue = list(self._queue), deque()
        if waiting:
            self._publish([(operation, failure) for operation in waiting], frozenset())

    def _pause(self) -> bool:
        """Wait a little; returns whether the store is to be closed."""
        with self._ready:
            return self._ready.wait_for(lambda: self._stopping, _PAUSE_S)

    def _apply(self, tx: Transaction, group: list[Operation]) -> list[Outcome]:
        """Run the operations of a group, joined by kind."""
        by_kind: dict[Kind, list[Operation]] = {}
        for operation in group:
            by_kind.setdefault(operation.kind, []).append(operation)
            if operation.audit:  # first what was allowed, then what came of it
                tx.records.add(operation.audit)
        outcomes: list[Outcome] = []
        for kind in sorted(by_kind):
            operations = by_kind[kind]
            if len(operations) == 1:
                outcomes.append((operations[0], kind.run(tx, operations[0].batch)))
                continue
            results = kind.run(tx, [item for operation in operations for item in operation.batch])
            start = 0
            for operation in operations:
                end = start + len(operation.batch)
                outcomes.append((operation, results[start:end]))
                start = end
        return outcomes

    def _connected(self) -> Transaction:
        """Return the transaction, with a new connection when the last one was given up."""
        if self._tx is None:
            db = self._database.connect()
            tx = self._make(db)
            try:
                tx.reload()
            except BaseException:
                self._database.disconnect(db)
                raise
            self._tx = tx
        return self._tx

    def _roll_back(self) -> None:
        """Undo the transaction, and what was noted of it. A connection that cannot do so is given up."""
        tx = self._tx
        if tx is None:
            return
        try:
            self._database.roll_back(tx.db)
            tx.reload()
        except Exception as error:  # whatever it is, the next group begins with a new connection
            log.warning("rollback_failed", extra={"why": str(self._database.translate(error))})
            self._give_up(tx)

    def _give_up(self, tx: Transaction) -> None:
        self._tx = None
        self._database.disconnect(tx.db)

    def _publish(self, outcomes: list[Outcome], told: frozenset[str], commit: Committed | None = None) -> None:
        """Hand results to the event loop: one call for the whole commit."""
        loop = self._loop
        try:
            if loop is not None:
                loop.call_soon_threadsafe(self._answer, outcomes, told, commit)
        except RuntimeError:  # the loop was closed before the store
            log.error("store_not_closed", extra={"unanswered": len(outcomes)})

    # The event loop.

    def _answer(self, outcomes: list[Outcome], told: frozenset[str], commit: Committed | None) -> None:
        for operation, result in outcomes:
            self._rows -= len(operation.batch)
            future = operation.future
            if future.done():  # its caller was cancelled; what it asked for has been done
                continue
            if isinstance(result, BaseException):
                future.set_exception(result)
            else:
                future.set_result(result[0] if operation.single else result)
        if told:
            for listener in self._listeners:
                listener(told)
        if commit is not None:
            self.alerts.resolve(STORE_FAILING)
            for observer in self._observers:
                observer(commit)
        elif outcomes:
            self._tell_of(outcomes[0][1])

    def _tell_of(self, failure: object) -> None:
        """A group could not be committed: `failure` is the same for all of it."""
        if isinstance(failure, StoreUnavailable):
            self.alerts.raise_alert(STORE_FAILING, why=str(failure))
        elif isinstance(failure, StoreCorrupt):
            self.alerts.raise_alert(STORED_DATA_CORRUPT, why=str(failure))

    def refuse_closed(self) -> StoreUnavailable:
        """Return the error for a call outside of open ... close."""
        return StoreUnavailable(f"{self._database.name} is not open")
