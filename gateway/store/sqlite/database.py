"""The embedded engine's database: its connections, its transactions, and who keeps its log short."""

from __future__ import annotations

import contextlib
import time
from dataclasses import replace
from pathlib import Path

import apsw

from gateway.errors import StoreCorrupt, StoreUnavailable
from gateway.store.engine.database import Database
from gateway.store.erasure import Remainder
from gateway.store.sqlite import faults, schema
from gateway.store.sqlite.accepting import with_keys
from gateway.store.sqlite.checkpoint import Checkpointer
from gateway.store.sqlite.files import NodeLock, prepare
from gateway.store.sqlite.keys import Keys
from gateway.store.sqlite.log_tail import require_whole
from gateway.store.sqlite.statements import STATEMENTS

_MOVED = Remainder(
    "masked number and keyed hash, if the page they were in was split at some time",
    "unused space of pages",
    "these pages are written over as messages come; at once by --compact",
)
_SCRUBS = 5  # each waits for readers, two seconds at most
_CHECK_EVERY = 100_000  # steps of SQLite's machine between looks at the clock: about a millisecond


class SqliteDatabase(Database):
    """One file, used by one node."""

    def __init__(self, path: Path, vfs: str | None) -> None:
        """`vfs`: the name of a registered apsw VFS."""
        self.name = f"the database {path}"
        self.keys = Keys()
        self.sql = replace(STATEMENTS, accepting=with_keys(self.keys))
        self._path = path
        self._vfs = vfs
        self._lock = NodeLock(path)
        self._checkpointer = Checkpointer(path, vfs)
        # Idle, and open for as long as the store: were the writer's connection ever the last one to close after a
        # failed commit, the next to open would find the frames of that commit in the log, and take them for good.
        self._anchor: apsw.Connection | None = None

    def open(self) -> apsw.Connection:
        """Lock the file, bring the schema forward, and return the writer's first connection."""
        prepare(self._path)
        self._lock.take()
        db = schema.connect(self._path, self._vfs)
        try:
            self._look_behind_the_log(db)
            schema.migrate(db, self._path, schema.migrations())
        except BaseException:
            db.close()
            raise
        return db

    def _look_behind_the_log(self, db: apsw.Connection) -> None:
        """Refuse a log of which SQLite has left out what was acknowledged, and leave it as it is."""
        try:
            require_whole(self._path)
        except StoreCorrupt:
            db.config(apsw.SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1)  # the last to close would move it into the database
            raise

    def started(self, db: apsw.Connection) -> None:
        """Begin to watch over the log."""
        self._anchor = schema.connect_reader(self._path, self._vfs)
        self._checkpointer.start(db)

    def connect(self) -> apsw.Connection:
        """Return another connection that writes, after one was given up."""
        db = schema.connect(self._path, self._vfs)
        self._checkpointer.watch(db)
        return db

    def connect_reader(self, deadline_s: float) -> apsw.Connection:
        """Return a connection that only reads."""
        del deadline_s  # each query's own: see `limit`
        return schema.connect_reader(self._path, self._vfs)

    def limit(self, db: apsw.Connection, deadline: float | None) -> None:
        """Stop a query when its time is over."""
        late = None if deadline is None else lambda: time.monotonic() > deadline
        db.set_progress_handler(late, _CHECK_EVERY)

    def stopped(self) -> None:
        """End the upkeep of the log. Idempotent."""
        self._checkpointer.stop()
        anchor, self._anchor = self._anchor, None
        if anchor is not None:
            self.disconnect(anchor)

    def close(self) -> None:
        """Free the file. Idempotent."""
        self._lock.free()

    def disconnect(self, db: apsw.Connection) -> None:
        """Close a connection. What it could not write then is in the log, and safe."""
        faults.close(db)

    def begin(self, db: apsw.Connection) -> None:
        """Begin a transaction that writes."""
        db.execute("BEGIN IMMEDIATE")

    def commit(self, db: apsw.Connection) -> None:
        """Commit; returns when it is on disk."""
        db.execute("COMMIT")

    def roll_back(self, db: apsw.Connection) -> None:
        """Undo the transaction, if one has begun."""
        if db.in_transaction:
            db.execute("ROLLBACK")

    def after_commit(self, db: apsw.Connection) -> None:
        """Give the log its turn."""
        self._checkpointer.after_commit(db)

    def scrub(self, *, compact: bool) -> list[Remainder]:
        """Copy the whole log into the database, and cut it off: what was deleted is zeroes there already.

        What pages have moved within themselves can have left copies in their unused space (SQLite zeroes what it
        deletes, and not what it moves): `compact` writes all pages anew. No commit comes through meanwhile.
        """
        db = schema.connect(self._path, self._vfs)
        try:
            if compact:
                db.execute("VACUUM")
            for _ in range(_SCRUBS):
                db.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_PASSIVE)  # most of it, while commits go on
                with contextlib.suppress(apsw.BusyError):  # a reader holds the end of the log
                    db.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_TRUNCATE)
                    return [] if compact else [_MOVED._replace(where=f"{_MOVED.where} of {self._path.name}")]
        finally:
            db.close()
        raise StoreUnavailable(f"{self.name}: its log is read all the time, and could not be cut off: try again")

    def committed(self, db: apsw.Connection) -> bool:
        """A commit is done when it returns, and only then: none is ever in doubt."""
        raise NotImplementedError

    def translate(self, error: BaseException) -> BaseException:
        """Return the gateway's error for one of SQLite's."""
        return faults.translate(error, str(self._path))

    def hopeless(self, error: BaseException) -> bool:
        """Say whether nothing can be written at all."""
        return isinstance(error, faults.HOPELESS)

    def passing(self, error: BaseException) -> bool:
        """What fails here fails again at once: locks have been waited for."""
        del error
        return False

    def shaken(self, error: BaseException) -> bool:
        """Say whether a connection is to be opened anew after this error."""
        return isinstance(error, faults.SHAKEN)
