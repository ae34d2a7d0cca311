"""The transaction of a writer on PostgreSQL: events and commits of the audit are numbered by a row that it locks.

Whoever has numbers keeps the sequencer's row until it has committed, so numbers are given in the order of commit. That
is the last step of a transaction, and one round trip: no writer waits for another longer than that and a sync.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Protocol

from gateway.store.contract import NewMessage
from gateway.store.engine.statements import NamesSql, Statements, TransactionSql
from gateway.store.engine.transaction import Bounds, Names, Transaction
from gateway.store.nodes import Carriers, can_send
from gateway.store.postgres.bulk import Plain, Write
from gateway.store.postgres.session import Session

_NAMING = 0x534D534B  # of advisory locks: a transaction adds names
MAX_WAYS = 1_000  # sets of carriers, of all configurations there were; beyond it nobody knows
# $1: events of this transaction, $2: commits of the audit (0 or 1).
ADVANCE = "UPDATE sequencer SET event_seq = event_seq + $1, audit_seq = audit_seq + $2"
_BASE = "(SELECT event_seq FROM sequencer) - v.total + v.seq"
EVENTS = Write(
    "INSERT INTO event (tenant_no, seq, at, message_id, state, carrier_no, reason_code, reason_text, smpp_status,"  # noqa: S608 - a constant
    f" network_error, operator_done_at) SELECT tenant_no, {_BASE}, at, message_id, state, carrier_no, reason_code,"
    " reason_text, smpp_status, network_error, operator_done_at FROM {v}",
    "tenant_no int, seq int, at int, message_id bytes, state int, carrier_no int, reason_code text, reason_text text,"
    " smpp_status int, network_error text, operator_done_at int, total int",
)
PLAIN_EVENTS = Write(
    f"INSERT INTO event (tenant_no, seq, at, message_id, state, carrier_no) SELECT tenant_no, {_BASE}, at, message_id,"  # noqa: S608 - a constant
    " state, carrier_no FROM {v}",
    "tenant_no int, seq int, at int, message_id bytes, state int, carrier_no int, total int",
)
_AUDIT = "INSERT INTO audit_commit (seq, at, count, records) SELECT audit_seq, $1, $2, $3 FROM sequencer"
_SERIAL = "SELECT write_as($1, $2)"


def names(table: str) -> NamesSql:
    """Return the statements for interned names.

    Whoever adds a name keeps a lock on it until the commit, and names come in the order of messages: two nodes that
    meet two new ones in opposite orders would wait for each other. So names of all kinds are added by one transaction
    at a time. There are few, and each is new once.
    """
    insert = (
        f"WITH turn AS MATERIALIZED (SELECT pg_advisory_xact_lock({_NAMING}, 0))"  # noqa: S608 - constants
        f" INSERT INTO {table} (name) SELECT $1::text FROM turn"
        " ON CONFLICT (name) DO UPDATE SET name = excluded.name RETURNING no"
    )
    return NamesSql(insert=Plain(insert), all=Plain(f"SELECT name, no FROM {table}"))  # noqa: S608 - a constant


SQL = TransactionSql(
    tenants=names("tenant"),
    carriers=names("carrier"),
    kept=Plain("SELECT carrier_no, count(*) FROM kept_receipt GROUP BY carrier_no"),
    held=Plain("SELECT tenant_no, count(*) FROM inbound_held GROUP BY tenant_no"),
    count=Write(
        "INSERT INTO counter (name, value) SELECT name, value FROM {v}"
        " ON CONFLICT (name) DO UPDATE SET value = counter.value + excluded.value",
        "name text, value int",
    ),
)


sharing_names = names("ways")


class Others(Protocol):
    """What is asked of the membership."""

    @property
    def shared(self) -> bool:
        """Whether other nodes are there."""


class PostgresTransaction(Transaction):
    """Its events count from 1, and get their place in the log of all when they are written."""

    db: Session
    shared = True

    def __init__(
        self,
        db: Session,
        sql: Statements,
        bounds: Bounds,
        now: Callable[[], int],
        serials: Iterator[str],
        others: Others,
    ) -> None:
        """`now` dates the rows of the audit; `serials` never gives the same text twice, whoever asks; `others` says
        whether there are other nodes at present."""
        super().__init__(db, sql, bounds)
        self._now = now
        self._serials = serials
        self._others = others
        self._ways = Names(sharing_names, shared=True)
        self._turn = 0

    def _load_numbers(self) -> None:
        """There are none to know: the database gives them."""

    def may_be_kept(self, carrier_no: int) -> bool:
        """Say whether there may be unmatched receipts of a carrier: what others keep is not counted here."""
        return self._others.shared or super().may_be_kept(carrier_no)

    def sets(self, carriers: Carriers) -> Sequence[tuple[int, ...]]:
        """Return the sets of ways that have one of these carriers; each is the first in its turn."""
        self._ways.load(self.db)
        known = self._ways.numbers.items()
        found = [(number,) for ways, number in known if carriers is None or (carriers and can_send(ways, carriers))]
        self._turn = (self._turn + 1) % max(1, len(found))
        return found[self._turn :] + found[: self._turn]

    def place(self, new: NewMessage) -> int:
        """Return the number of the carriers that can send it (hot)."""
        return self.ways_no(new.ways)

    def ways_no(self, ways: str) -> int:
        """Return the number of a set of carriers."""
        if len(self._ways.numbers) >= MAX_WAYS and ways not in self._ways.numbers:
            return 0
        return self._ways.number(self.db, ways)

    def reload(self) -> None:
        """Take everything from the database."""
        self._ways.load(self.db)
        super().reload()

    def _clear(self) -> None:
        super()._clear()
        self.seq = 0

    def flush(self) -> None:
        """Write what has been gathered: the last step before COMMIT."""
        db, number = self.db, self.records.number
        self._count()
        db.serial = next(self._serials)
        db.send(_SERIAL, (db.node, db.serial))
        if not self.seq and not number:
            return
        db.send(ADVANCE, (self.seq, int(number > 0)))
        total = (self.seq,)
        PLAIN_EVENTS.run(db, [row + total for row in self._plain])
        EVENTS.run(db, [row + total for row in self._events])
        if number:
            db.send(_AUDIT, (self._now(), number, self.records.octets()))
