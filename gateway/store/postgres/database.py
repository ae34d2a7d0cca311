"""PostgreSQL as the database of one node: its sessions, its transactions, and the lock that keeps other nodes out.

The lock is the session's own (an advisory lock): it goes when the session does, and no writer without it writes. So a
node that was cut off cannot come back and write beside its successor.
"""

from __future__ import annotations

import logging
import random
import time

import psycopg

from gateway.errors import StoreUnavailable
from gateway.store.engine.database import Database, Doubtful
from gateway.store.postgres import faults, schema
from gateway.store.postgres.session import Session
from gateway.store.postgres.statements import STATEMENTS
from gateway.store.postgres.target import Deadlines, Target, open_session
from gateway.store.postgres.watch import Watch

log = logging.getLogger(__name__)

_WRITING = 2  # of the advisory locks, beside schema._MIGRATING
_TRY_LOCK = "SELECT pg_try_advisory_lock($1::int4, $2::int4)"
_HOLDER = (
    "SELECT a.pid, host(a.client_addr) FROM pg_locks AS l JOIN pg_stat_activity AS a ON a.pid = l.pid"
    " WHERE l.locktype = 'advisory' AND l.classid = $1::oid AND l.objid = $2::oid AND l.granted"
    " AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())"
)
# Our own session before, and only that: after a restart of the server its number may be another's.
_WHO_AM_I = "SELECT pid, backend_start::text FROM pg_stat_activity WHERE pid = pg_backend_pid()"
_END_PREDECESSOR = (
    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid = $1 AND backend_start = $2::timestamptz"
)
# A commit of its own: where a synchronous standby is waited for, it has all before it when this returns.
_SERIAL = "UPDATE writer SET serial = serial RETURNING serial"
_LOCK_RETRY_S = 0.1
_BACKOFF_S = (0.05, 2.0)
_READER_MARGIN_S = 2.0  # beyond the server's own timeout


class PostgresDatabase(Database):
    """One database, written by one node at a time."""

    sql = STATEMENTS

    def __init__(self, target: Target, deadlines: Deadlines, takeover_s: float) -> None:
        """`takeover_s`: how long `open` waits for a node before to be gone."""
        self.name = target.name
        self._target = target
        self._deadlines = deadlines
        self._takeover_s = takeover_s
        self._watch = Watch()
        self._predecessor: tuple[int, str] | None = None  # the server's process of the writer's session before
        self._in_doubt = ""  # the serial of the commit that is in doubt
        self._failed = 0  # connections in a row
        self._not_before = 0.0  # on the monotonic clock

    def open(self) -> Session:
        """Check the server, bring the schema forward, and return the writer's first session."""
        db = open_session(self._target, self._deadlines, reads=False)
        try:
            schema.check_server(db, self.name)
            schema.migrate(db, self.name, schema.migrations())
            self._take_lock(db, self._takeover_s)
        except BaseException:
            db.close()
            raise
        return db

    def started(self, db: Session) -> None:
        """Begin to watch over the sessions. From here on errors are callers' too, whom no address concerns."""
        self.name = "the database"
        (self._predecessor,) = db.fetch(_WHO_AM_I)
        self._watch.start()

    def connect(self) -> Session:
        """Return another session that writes. After failures it refuses for a while, longer each time, and asks no
        server."""
        if time.monotonic() < self._not_before:
            raise StoreUnavailable(f"{self.name}: there is no connection: it is tried again soon")
        try:
            db = open_session(self._target, self._deadlines, reads=False)
            try:
                if self._predecessor is not None:
                    db.fetch(_END_PREDECESSOR, self._predecessor)
                self._take_lock(db, self._deadlines.lock_s)
                (self._predecessor,) = db.fetch(_WHO_AM_I)
            except BaseException:
                db.close()
                raise
        except Exception as error:
            why = str(faults.translate(error, self._target.name, starting=True))
            log.warning("database_not_reached", extra={"why": why})
            self._back_off()
            raise
        self._failed, self._not_before = 0, 0.0
        return db

    def _back_off(self) -> None:
        least, most = _BACKOFF_S
        pause = min(most, least * 2 ** min(self._failed, 10)) * random.uniform(0.5, 1.0)  # noqa: S311 - no secret
        self._failed += 1
        self._not_before = time.monotonic() + pause

    def _take_lock(self, db: Session, wait_s: float) -> None:
        """Keep other nodes out. Raises StoreUnavailable when one is there, and stays."""
        lock = schema.LOCK_SPACE, _WRITING
        until = time.monotonic() + wait_s
        while True:
            ((taken,),) = db.fetch(_TRY_LOCK, lock)
            if taken:
                return
            if time.monotonic() > until:
                break
            time.sleep(_LOCK_RETRY_S)
        found = db.fetch(_HOLDER, lock)
        holders = ", ".join(f"process {pid} of the server, from {address or 'its own host'}" for pid, address in found)
        raise StoreUnavailable(
            f"{self.name} is in use by another node ({holders or 'gone meanwhile'}): stop it, or give this node a"
            " database of its own"
        )

    def connect_reader(self, deadline_s: float) -> Session:
        """Return a session that only reads."""
        deadlines = Deadlines(
            connect_s=min(self._deadlines.connect_s, deadline_s),
            statement_s=deadline_s,
            lock_s=self._deadlines.lock_s,
            transaction_s=self._deadlines.transaction_s,
            unanswered_s=self._deadlines.unanswered_s,
        )
        return open_session(self._target, deadlines, reads=True)

    def limit(self, db: Session, deadline: float | None) -> None:
        """Watch over a query; None: it is over."""
        if deadline is None:
            self._watch.done(db)
        else:
            self._watch.over(db, deadline + _READER_MARGIN_S)

    def stopped(self) -> None:
        """End the watch. Idempotent."""
        self._watch.stop()

    def close(self) -> None:
        """There is nothing beside the sessions."""

    def disconnect(self, db: Session) -> None:
        """Close a session, whatever its state."""
        self._watch.done(db)
        db.close()

    def begin(self, db: Session) -> None:
        """Begin a transaction that writes."""
        self._watch.over(db, time.monotonic() + self._deadlines.transaction_s)
        db.begin()

    def commit(self, db: Session) -> None:
        """Commit; returns when it is on the server's disk. Raises Doubtful when the session is lost on the way."""
        try:
            db.commit()
        except psycopg.Error as error:
            if db.lost:
                self._in_doubt = db.serial
                raise Doubtful from error
            raise
        finally:
            self._watch.done(db)

    def roll_back(self, db: Session) -> None:
        """Undo the transaction, if one has begun."""
        try:
            db.roll_back()
        finally:
            self._watch.done(db)

    def after_commit(self, db: Session) -> None:
        """The server looks after itself."""

    def committed(self, db: Session) -> bool:
        """Say whether the commit in doubt has been done. The lock is ours again, so whoever tried it is gone."""
        self._watch.over(db, time.monotonic() + self._deadlines.transaction_s)
        try:
            ((serial,),) = db.fetch(_SERIAL)
        finally:
            self._watch.done(db)
        return bool(serial == self._in_doubt)

    def translate(self, error: BaseException) -> BaseException:
        """Return the gateway's error for one of PostgreSQL's."""
        return faults.translate(error, self.name, starting=self.name == self._target.name)

    def hopeless(self, error: BaseException) -> bool:
        """Say whether nothing can be written at all."""
        return faults.hopeless(error)

    def passing(self, error: BaseException) -> bool:
        """Say whether another attempt, on another connection if this one is lost, may do at once."""
        return faults.passing(error)

    def shaken(self, error: BaseException) -> bool:
        """Say whether a session is of no more use after this error."""
        return isinstance(error, psycopg.Error) and faults.lost(error)
