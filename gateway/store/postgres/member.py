"""The session by which a node is one of several: its heartbeat, and what nodes tell each other by LISTEN and NOTIFY.

A thread of its own: neither a busy event loop nor a writer that waits for its turn keeps it from renewing the lease. An
event loop that stands still does: each renewal asks it for a sign of life, and none follows on one that is owed for too
long, so that what a node has in its hands and does nothing about goes to others.

What is told at the same time goes in one notification. Whoever hears nothing, because a line was cut, looks for itself:
a notification only makes that sooner.

The lease is reckoned from before the renewal was sent, on this machine's own clock of passing time, which stops for no
process: so the database's clock need not be compared with ours, and the lease ends here no later than there.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import math
import os
import select
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from typing import Any, TypeVar

import psycopg
from psycopg import Notify

from gateway.errors import StoreUnavailable
from gateway.store.nodes import News, NewsListener, Peer
from gateway.store.postgres import leases
from gateway.store.postgres.leases import Terms
from gateway.store.postgres.session import Session
from gateway.store.postgres.watch import Watch

log = logging.getLogger(__name__)

CHANNEL = "smsgw_nodes"
_NOTIFY = "SELECT pg_notify($1, $2)"
_GATHER_S = 0.005  # what is told within this goes together
_DEADLINE_S = 3.0  # of a piece of work, after which the line is cut
_RETRY_S = 0.25
_LATER_S = 0.02  # after a lease should have run out
_NAMES_BYTES = 4_000  # of a notification that names tenants; beyond it is for any
_FORGET_EVERY_S, _FORGET_AFTER_S = 3600.0, 7 * 86_400.0
_MAX_WORK = 1_000

T = TypeVar("T")
Work = tuple[Callable[[Session], Any], "Future[Any]"]


def clock() -> float:
    """Return the seconds that have passed, those in which this machine slept too."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


class Member:
    """`gateway.store.nodes.Membership` by PostgreSQL. `start`, `stop` and `_run` know the thread; the rest is called in
    the event loop, except `number`, which the writer's thread reads."""

    def __init__(self, open_session: Callable[[], Session], watch: Watch, name: str, terms: Terms) -> None:
        self._open = open_session
        self._watch = watch
        self._name = name
        self._terms = terms
        self._number = self._seat = 0
        self._peers: tuple[Peer, ...] = ()
        self._writes_until = 0.0
        self._next_s = math.inf  # until the first lease of another runs out
        self._asked = 0.0  # when the event loop was asked for a sign of life that it owes; 0: it owes none
        self._lost = False
        self._again = False
        self._orphans = False
        self._listeners: list[NewsListener] = []
        self._loop: asyncio.AbstractEventLoop | None = None
        self._changed = threading.Lock()
        self._told: dict[News, frozenset[str] | None] = {}  # to be told; None: of any tenant
        self._work: list[Work] = []
        self._stopping = False
        self._db: Session | None = None
        self._wake_r, self._wake_w = -1, -1
        self._thread = threading.Thread(target=self._run, name="store-member", daemon=True)

    # For everybody.

    @property
    def number(self) -> int:
        """The number of the registration, 0 before there is one."""
        return self._number

    @property
    def seat(self) -> int:
        """What the writing session's lock is called by."""
        return self._seat

    @property
    def peers(self) -> Sequence[Peer]:
        """The nodes that are registered, this one among them."""
        return self._peers

    @property
    def shared(self) -> bool:
        """Whether others are there."""
        return len(self._peers) > 1

    def may_write(self) -> bool:
        """Say whether the lease holds, and will for a moment."""
        return clock() < self._writes_until

    def listen(self, listener: NewsListener) -> None:
        """Tell `listener` what happens."""
        self._listeners.append(listener)

    def tell(self, news: News, names: frozenset[str] = frozenset()) -> None:
        """Tell the other nodes, if there are any."""
        if not self.shared and news is not News.PEERS:
            return
        with self._changed:
            known = self._told.get(news, frozenset())
            self._told[news] = None if known is None or not names else known | names
        self._wake()

    def register_again(self) -> None:
        """Take a new lease: what was lost has been put down."""
        self._again = True
        self._wake()

    async def ask(self, work: Callable[[Session], T]) -> T:
        """Do `work` in the thread. Raises StoreUnavailable when the session is lost, or too much waits."""
        future: Future[T] = Future()
        with self._changed:
            if self._stopping or len(self._work) >= _MAX_WORK:
                raise StoreUnavailable("the database is not reached: it is tried again soon")
            self._work.append((work, future))
        self._wake()
        return await asyncio.wrap_future(future)

    # The life of it.

    def join(self, db: Session) -> None:
        """Register with the writer's first session. Raises StoreUnavailable."""
        self._seat = leases.new_seat(db)
        self._number = leases.join(db, self._name, self._seat, self._terms, first=True)
        leases.adopt(db, self._number, told=True)
        began = clock()
        self._take(began, leases.renew(db, self._number, self._terms))

    def start(self) -> None:
        """Begin to renew."""
        self._wake_r, self._wake_w = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        self._thread.start()

    def heard_in(self, loop: asyncio.AbstractEventLoop) -> None:
        """Tell the listeners in this loop from now on."""
        self._loop = loop

    def stop(self) -> None:
        """End the registration: what was in this node's hands is others' at once. Idempotent."""
        with self._changed:
            if self._stopping:
                return
            self._stopping = True
        if self._thread.ident is not None:
            self._wake()
            self._thread.join()
            os.close(self._wake_r)
            os.close(self._wake_w)

    def _wake(self) -> None:
        if self._wake_w >= 0 and not (self._stopping and not self._thread.is_alive()):
            with contextlib.suppress(BlockingIOError):  # it is awake already
                os.write(self._wake_w, b"\0")

    # The thread.

    def _run(self) -> None:
        forgotten, away = 0.0, False
        while not self._stopping:
            try:
                db = self._session()
                turning = self._turns()
                if turning:
                    self._beat(db)
                pause = min(self._terms.renew_s, self._next_s + _LATER_S) if turning else _RETRY_S
                away = False
                if clock() - forgotten > _FORGET_EVERY_S:
                    forgotten = clock()
                    self._guarded(db, lambda session: leases.forget(session, _FORGET_AFTER_S))
                self._serve_until(db, clock() + pause)
            except (psycopg.Error, OSError, StoreUnavailable) as error:
                if not away:  # told once: it is tried four times a second
                    log.warning("node_session_lost", extra={"why": type(error).__name__})
                away = True
                self._close()
                self._fail_work(error)
                self._rest(_RETRY_S)
        self._leave()

    def _session(self) -> Session:
        if self._db is None or self._db.lost:
            self._close()
            db = self._db = self._open()
            db.connection.add_notify_handler(self._heard)
            self._guarded(db, lambda session: session.send(f"LISTEN {CHANNEL}"))
            self._publish(News.EVENTS)  # what was told meanwhile was not heard
            self._publish(News.WAITING)
            self._publish(News.HOLDS)
        return self._db

    def _turns(self) -> bool:
        """Say whether the event loop turns, and ask it for the next sign of that."""
        loop, asked = self._loop, self._asked
        if asked:
            standing_s = clock() - asked
            if standing_s >= self._terms.stall_s:
                if self._writes_until:  # told once
                    log.error("event_loop_stands_still", extra={"for_s": round(standing_s, 1)})
                self._writes_until = 0.0
                return False
        elif loop is not None:
            self._asked = clock()
            try:
                loop.call_soon_threadsafe(self._turned)
            except RuntimeError:  # the loop was closed before the store
                self._asked = 0.0
        return True

    def _beat(self, db: Session) -> None:
        """Renew, or register anew; fence those whose lease has run out."""
        if self._lost:
            if not self._again and self._listeners:
                return
            self._guarded(db, self._register)
        began = clock()
        standing = self._guarded(db, lambda session: leases.renew(session, self._number, self._terms))
        late = began > self._writes_until  # we were away: so may have been the others, who are to renew first
        self._take(began, standing)
        if late:
            return
        for number in standing.expired:
            if self._guarded(db, lambda session, no=number: leases.fence(session, no)):  # type: ignore[misc]  # bound at once
                log.warning("node_fenced", extra={"registration": number})
                self._orphans = True
                self._publish(News.GONE)
                self.tell(News.PEERS)
        if self._orphans or standing.orphans:
            self._orphans = False
            self._publish(News.ORPHANS)

    def _register(self, db: Session) -> None:
        self._number = leases.join(db, self._name, self._seat, self._terms, first=False)
        self._lost = self._again = False
        log.warning("node_registered_again", extra={"registration": self._number})
        self._publish(News.BACK)
        self.tell(News.PEERS)

    def _take(self, began: float, standing: leases.Standing) -> None:
        if not standing.held:
            self._writes_until = 0.0
            self._lost = True
            log.error("node_lease_lost", extra={"registration": self._number})
            self._publish(News.LOST)
            return
        self._writes_until = began + self._terms.lease_s - self._terms.margin_s
        self._next_s = standing.next_s
        if standing.peers != self._peers:
            self._peers = standing.peers
            self._publish(News.PEERS)

    def _serve_until(self, db: Session, until: float) -> None:
        """Hear, tell and work until the next renewal is due."""
        while not self._stopping and (left := until - clock()) > 0:
            readable, _, _ = select.select([db.connection.pgconn.socket, self._wake_r], [], [], left)
            if self._wake_r in readable:
                os.read(self._wake_r, 4096)
            if db.connection.pgconn.socket in readable:
                self._hear(db)
            if self._work:
                self._guarded(db, self._do_work)
            if self._told:
                time.sleep(_GATHER_S)
                self._guarded(db, self._send_told)
            if self._again:
                return

    def _hear(self, db: Session) -> None:
        pgconn = db.connection.pgconn
        pgconn.consume_input()
        while notify := pgconn.notifies():
            if notify.be_pid != pgconn.backend_pid:
                self._publish(*_read(notify.extra.decode()))

    def _heard(self, notify: Notify) -> None:
        if self._db is not None and notify.pid != self._db.pid:
            self._publish(*_read(notify.payload))

    def _do_work(self, db: Session) -> None:
        with self._changed:
            work, self._work = self._work, []
        for number, (task, future) in enumerate(work):
            try:
                result = task(db)
            except Exception as error:
                with self._changed:
                    self._work = [*work[number + 1 :], *self._work]
                future.set_exception(StoreUnavailable("the database is not reached: it is tried again soon"))
                if isinstance(error, psycopg.Error):
                    raise
                log.exception("node_work_failed")
                continue
            future.set_result(result)

    def _fail_work(self, error: BaseException) -> None:
        del error
        with self._changed:
            work, self._work = self._work, []
        for _, future in work:
            future.set_exception(StoreUnavailable("the database is not reached: it is tried again soon"))

    def _send_told(self, db: Session) -> None:
        with self._changed:
            told, self._told = self._told, {}
        for news, names in told.items():
            db.send(_NOTIFY, (CHANNEL, _written(news, names)))

    def _guarded(self, db: Session, work: Callable[[Session], T]) -> T:
        self._watch.over(db, time.monotonic() + _DEADLINE_S)
        try:
            return work(db)
        finally:
            self._watch.done(db)

    def _rest(self, seconds: float) -> None:
        if not self._stopping:
            select.select([self._wake_r], [], [], seconds)
            with contextlib.suppress(BlockingIOError):
                os.read(self._wake_r, 4096)

    def _leave(self) -> None:
        try:
            db = self._session()
            if not self._lost:
                self._guarded(db, lambda session: leases.end(session, self._number))
                self._guarded(db, lambda session: session.send(_NOTIFY, (CHANNEL, News.PEERS.value)))
        except (psycopg.Error, OSError, StoreUnavailable) as error:  # its lease runs out by itself
            log.warning("node_not_signed_off", extra={"why": type(error).__name__})
        self._fail_work(StoreUnavailable("closed"))
        self._close()

    def _close(self) -> None:
        db, self._db = self._db, None
        if db is not None:
            self._watch.done(db)
            db.close()

    def _publish(self, news: News, names: frozenset[str] = frozenset()) -> None:
        loop = self._loop
        if loop is not None:
            with contextlib.suppress(RuntimeError):  # the loop was closed before the store
                loop.call_soon_threadsafe(self._spread, news, names)

    # The event loop.

    def _turned(self) -> None:
        self._asked = 0.0

    def _spread(self, news: News, names: frozenset[str]) -> None:
        for listener in self._listeners:
            listener(news, names)


def _written(news: News, names: frozenset[str] | None) -> str:
    joined = "\n".join(sorted(names or ()))
    return f"{news.value}{joined}" if len(joined.encode()) <= _NAMES_BYTES else news.value


def _read(payload: str) -> tuple[News, frozenset[str]]:
    try:
        news = News(payload[:1])
    except ValueError:  # of a newer program
        return News.WAITING, frozenset()
    return news, frozenset(payload[1:].split("\n")) if len(payload) > 1 else frozenset()
