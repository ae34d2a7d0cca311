"""Registrations of nodes and their leases, as statements: who writes, until when, and who is not to write any more.

Times are the server's. A lease that has run out is not lost yet: a node that comes back before anybody has fenced it
goes on. Fenced is fenced: `write_as`, which ends each transaction of a writer, fails from then on.
"""

from __future__ import annotations

import math
import time
from dataclasses import dataclass

import psycopg

from gateway.errors import StoreUnavailable
from gateway.store.nodes import Peer
from gateway.store.postgres.bulk import Plain
from gateway.store.postgres.session import Session

SEATS = 0x534D5348  # of advisory locks, beside schema.LOCK_SPACE: the writing session of a node
_RETRY_S = 0.1
_SECOND = 1_000_000

ORPHANED = "NOT EXISTS (SELECT FROM node AS n WHERE n.no = message.holder AND NOT n.fenced)"

_WHO_AM_I = "SELECT pg_backend_pid(), backend_start::text FROM pg_stat_activity WHERE pid = pg_backend_pid()"
_SEAT = "SELECT nextval(pg_get_serial_sequence('node', 'no'))"
_TRY_SEAT = "SELECT pg_try_advisory_lock($1::int4, $2::int4)"
_FREE_SEAT = "SELECT pg_advisory_unlock($1::int4, $2::int4)"
_NAMESAKES = (
    "SELECT n.no, n.seat, l.until <= clock_us(), n.pid FROM node AS n JOIN lease AS l ON l.no = n.no"
    " WHERE n.name = $1 AND NOT n.fenced"
)
_REGISTER = (
    "WITH new AS (INSERT INTO node (no, seat, name, begun_at, serial, pid, pid_since)"
    " SELECT coalesce(nullif($1, 0), nextval(pg_get_serial_sequence('node', 'no'))), $2, $3, clock_us(), '', $4, $5"
    " RETURNING no) INSERT INTO lease (no, until) SELECT no, clock_us() + $6 FROM new RETURNING no"
)
_SESSION = "UPDATE node SET pid = $2, pid_since = $3 WHERE no = $1"
_RENEW = "UPDATE lease SET until = clock_us() + $2 WHERE no = $1 AND NOT fenced RETURNING no"
_PEERS = (
    "SELECT n.no, n.name, l.until - clock_us() FROM node AS n JOIN lease AS l ON l.no = n.no"
    " WHERE NOT n.fenced ORDER BY n.no"
)
_ORPHANS = "SELECT EXISTS (SELECT FROM node WHERE fenced AND NOT recovered)"
_TAKE_LEASE = "UPDATE lease SET fenced = true WHERE no = $1 AND NOT fenced AND until <= clock_us() RETURNING no"
_END_LEASE = "UPDATE lease SET fenced = true WHERE no = $1 RETURNING no"
_END_SESSION = (
    "SELECT pg_terminate_backend(a.pid) FROM pg_stat_activity AS a JOIN node AS n ON n.pid = a.pid"
    " WHERE n.no = $1 AND a.backend_start::text = n.pid_since"
)
_FENCE = "UPDATE node SET fenced = true WHERE no = $1"
# First it is noted that what fenced nodes had is moved on: who is fenced after that comes later, and of two nodes that
# do this at once one waits.
MOVED_ON = Plain("UPDATE node SET recovered = true WHERE fenced AND NOT recovered")
IN_DOUBT = "SELECT tenant_no, id, category, expires_at, carrier_no FROM message WHERE queue = 20 AND state = 2"
RECLAIM = "UPDATE message SET queue = 10 + category WHERE queue = 20 AND state <> 2"
_FORGET_WISHES = "DELETE FROM bind_wish WHERE holder IN (SELECT no FROM node WHERE fenced)"
_FORGET = (
    "WITH old AS (DELETE FROM node WHERE fenced AND recovered AND begun_at < clock_us() - $1 RETURNING no)"
    " DELETE FROM lease WHERE no IN (SELECT no FROM old)"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """What holds of leases. In seconds."""

    lease_s: float = 4.0
    margin_s: float = 1.0  # before its end a node stops to write to carriers
    renew_s: float = 1.0
    stall_s: float = 5.0  # for so long the event loop may stand still before the lease is not renewed any more
    takeover_s: float = 10.0  # how long a node waits for one of the same name to be gone

    @property
    def lease_us(self) -> int:
        """Return the lease in microseconds."""
        return round(self.lease_s * _SECOND)


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """What a renewal has found."""

    held: bool  # False: the node is fenced
    peers: tuple[Peer, ...]
    expired: tuple[int, ...]  # registrations whose lease has run out
    orphans: bool  # whether fenced nodes have left something
    next_s: float  # in how many seconds the first lease of another runs out, should it not be renewed


def new_seat(db: Session) -> int:
    """Return a number that no node has, and take its lock: whoever gets it knows that this session is gone."""
    ((seat,),) = db.fetch(_SEAT)
    take_seat(db, seat, 0.0)
    return int(seat)


def take_seat(db: Session, seat: int, wait_s: float) -> None:
    """Take the lock of a seat: the session that had it before is gone then. Raises StoreUnavailable when it stays."""
    until = time.monotonic() + wait_s
    while not _try_seat(db, seat):
        if time.monotonic() > until:
            raise StoreUnavailable("a session of this node before has not ended yet: it is tried again")
        time.sleep(_RETRY_S)


def _try_seat(db: Session, seat: int) -> bool:
    ((taken,),) = db.fetch(_TRY_SEAT, (SEATS, seat))
    return bool(taken)


def join(db: Session, name: str, seat: int, terms: Terms, *, first: bool) -> int:
    """Register a node with `db`, the session that has its seat, and return its number. Whoever had the name before has
    ended, or is fenced. Raises StoreUnavailable for one that is there and stays."""
    until = time.monotonic() + terms.takeover_s
    while True:
        alive = [pid for no, other, expired, pid in db.fetch(_NAMESAKES, (name,)) if not _over(db, no, other, expired)]
        if not alive:
            try:
                ((no,),) = db.fetch(_REGISTER, (seat if first else 0, seat, name, *_process(db), terms.lease_us))
            except psycopg.errors.UniqueViolation:  # a namesake was faster
                continue
            return int(no)
        if time.monotonic() > until:
            raise StoreUnavailable(
                f"the database is in use by another node of the name {name} (process {alive[0]} of the server): stop"
                " it, or give this node a name of its own (node.name)",
                reason="NODE_NAME_TAKEN",
            )
        time.sleep(_RETRY_S)


def _over(db: Session, no: int, seat: int, expired: bool) -> bool:
    """Fence a namesake that is gone, or whose lease has run out; returns whether it is."""
    if expired:
        return fence(db, no)
    if not _try_seat(db, seat):
        return False
    try:
        end(db, no)
    finally:
        db.fetch(_FREE_SEAT, (SEATS, seat))
    return True


def _process(db: Session) -> tuple[int, str]:
    ((pid, since),) = db.fetch(_WHO_AM_I)
    return pid, since


def adopt(db: Session, no: int, *, told: bool = False) -> None:
    """Have `db` write as this registration. `told`: the row has this session already."""
    if not told:
        db.fetch(_SESSION + " RETURNING no", (no, *_process(db)))
    db.fetch("SELECT set_config('smsgw.node', $1, false)", (str(no),))
    db.node = no


def renew(db: Session, no: int, terms: Terms) -> Standing:
    """Renew a lease, and look who else is there."""
    held = bool(db.fetch(_RENEW, (no, terms.lease_us)))
    rows = db.fetch(_PEERS)
    ((orphans,),) = db.fetch(_ORPHANS)
    return Standing(
        held=held,
        peers=tuple(Peer(number, name) for number, name, _ in rows),
        expired=tuple(number for number, _, left in rows if left <= 0 and number != no),
        orphans=bool(orphans),
        next_s=min((left / _SECOND for number, _, left in rows if left > 0 and number != no), default=math.inf),
    )


def fence(db: Session, no: int) -> bool:
    """Keep a node whose lease has run out from writing ever again as this registration: its session is ended, with the
    transaction that it may have open. Returns whether it is fenced; False: it has renewed its lease meanwhile."""
    return _fence(db, no, _TAKE_LEASE)


def end(db: Session, no: int) -> None:
    """Fence a registration that is known to be over."""
    _fence(db, no, _END_LEASE)


def _fence(db: Session, no: int, lease: str) -> bool:
    with db.connection.transaction():
        if not db.fetch(lease, (no,)):
            return False
        if db.node != no:
            db.fetch(_END_SESSION, (no,))
        db.send(_FENCE, (no,))
    return True


def forget(db: Session, older_than_s: float) -> None:
    """Delete registrations that have been over for long."""
    db.send(_FORGET_WISHES)
    db.send(_FORGET, (round(older_than_s * _SECOND),))
