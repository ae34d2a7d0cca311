"""PostgreSQL as the database of a node: its sessions, its transactions, and the lock that one session of it writes by.

The lock is the session's own (an advisory lock): it goes when the session does, so whoever has it knows that no session
of this node before can commit any more. What keeps nodes from each other's messages is `leases`. A program that knew
one node only kept all others out by another lock, which nodes share now.
"""

from __future__ import annotations

import logging
import random
import time
from dataclasses import replace

import psycopg

from gateway.errors import StoreUnavailable
from gateway.store.engine.database import Database, Doubtful
from gateway.store.erasure import Remainder
from gateway.store.postgres import compacting, faults, leases, schema
from gateway.store.postgres.leases import Terms
from gateway.store.postgres.member import Member
from gateway.store.postgres.session import Session
from gateway.store.postgres.statements import STATEMENTS
from gateway.store.postgres.target import Deadlines, Target, open_session
from gateway.store.postgres.watch import Watch

log = logging.getLogger(__name__)

_WRITING = 2  # of the advisory locks, beside schema._MIGRATING: shared by nodes, held alone by older programs
_TRY_SHARE = "SELECT pg_try_advisory_lock_shared($1::int4, $2::int4)"
# Our own session before, and only that: after a restart of the server its number may be another's.
_WHO_AM_I = "SELECT pid, backend_start::text FROM pg_stat_activity WHERE pid = pg_backend_pid()"
_END_PREDECESSOR = (
    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid = $1 AND backend_start = $2::timestamptz"
)
# A commit of its own: where a synchronous standby is waited for, it has all before it when this returns.
_SERIAL = "UPDATE node SET serial = serial WHERE no = $1 RETURNING serial"
_LOCK_RETRY_S = 0.1
_MEMBER_S = 2.0  # the heartbeat waits for no connection and no lock for longer
_BACKOFF_S = (0.05, 2.0)
_READER_MARGIN_S = 2.0  # beyond the server's own timeout


class PostgresDatabase(Database):
    """One database, which other nodes may write too."""

    sql = STATEMENTS

    def __init__(self, target: Target, deadlines: Deadlines, node: str, terms: Terms) -> None:
        """`node`: the name by which this one is registered."""
        self.name = target.name
        self._target = target
        self._deadlines = deadlines
        self._terms = terms
        self._watch = Watch()
        self.member = Member(self._open_member, self._watch, node, terms)
        self._predecessor: tuple[int, str] | None = None  # the server's process of the writer's session before
        self._in_doubt = (0, "")  # the registration and the serial of the commit that is in doubt
        self._failed = 0  # connections in a row
        self._not_before = 0.0  # on the monotonic clock
        self.times_full = 0  # that the server said so of its disk

    def open(self) -> Session:
        """Check the server, bring the schema forward, and return the writer's first session."""
        db = open_session(self._target, self._deadlines, reads=False)
        try:
            schema.check_server(db, self.name)
            schema.migrate(db, self.name, schema.migrations())
            self._share(db)
            self.member.join(db)
        except BaseException:
            db.close()
            raise
        return db

    def _open_member(self) -> Session:
        deadlines = replace(self._deadlines, connect_s=_MEMBER_S, lock_s=_MEMBER_S)
        return open_session(self._target, deadlines, reads=False, name="smsgw member")

    def started(self, db: Session) -> None:
        """Begin to watch over the sessions. From here on errors are callers' too, whom no address concerns."""
        self.name = "the database"
        (self._predecessor,) = db.fetch(_WHO_AM_I)
        self._watch.start()
        self.member.start()

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
                self._share(db)
                leases.take_seat(db, self.member.seat, self._deadlines.lock_s)
                leases.adopt(db, self.member.number)
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

    def _share(self, db: Session) -> None:
        """Keep out programs that knew one node only. Raises StoreUnavailable when one is there, and stays."""
        until = time.monotonic() + self._terms.takeover_s
        while True:
            ((taken,),) = db.fetch(_TRY_SHARE, (schema.LOCK_SPACE, _WRITING))
            if taken:
                return
            if time.monotonic() > until:
                raise StoreUnavailable(f"{self.name} is in use by an older smsgw, for one node alone: stop it first")
            time.sleep(_LOCK_RETRY_S)

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

    def connect_beside(self, name: str) -> Session:
        """Return a session that is neither the writer's nor a reader's. Raises psycopg.Error or StoreUnavailable."""
        return open_session(self._target, self._deadlines, reads=False, name=name)

    def limit(self, db: Session, deadline: float | None) -> None:
        """Watch over a query; None: it is over."""
        if deadline is None:
            self._watch.done(db)
        else:
            self._watch.over(db, deadline + _READER_MARGIN_S)

    def stopped(self) -> None:
        """Sign off, and end the watch. Idempotent."""
        self.member.stop()
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
        if db.node != self.member.number:
            leases.adopt(db, self.member.number)
        db.begin()

    def commit(self, db: Session) -> None:
        """Commit; returns when it is on the server's disk. Raises Doubtful when the session is lost on the way."""
        try:
            db.commit()
        except psycopg.Error as error:
            if db.lost:
                self._in_doubt = db.node, db.serial
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

    def scrub(self, *, compact: bool) -> list[Remainder]:
        """The server keeps old versions of rows until it vacuums, and their octets for longer. `compact`: write the
        tables anew that name persons; others wait for them meanwhile."""
        if not compact:
            return [compacting.remains("VACUUM FULL, which --compact does"), compacting.LOG]
        db = self.connect_beside("smsgw compact")
        try:
            return [*compacting.compact(db), compacting.LOG]
        finally:
            db.close()

    def committed(self, db: Session) -> bool:
        """Say whether the commit in doubt has been done. The seat is ours again, so whoever tried it is gone."""
        node, wanted = self._in_doubt
        self._watch.over(db, time.monotonic() + self._deadlines.transaction_s)
        try:
            ((serial,),) = db.fetch(_SERIAL, (node,))
        finally:
            self._watch.done(db)
        return bool(serial == wanted)

    def translate(self, error: BaseException) -> BaseException:
        """Return the gateway's error for one of PostgreSQL's."""
        if isinstance(error, psycopg.Error) and error.sqlstate == faults.DISK_FULL:
            self.times_full += 1
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
