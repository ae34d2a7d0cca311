"""The embedded engine's transaction: one writer counts events and commits of the audit by itself."""

from __future__ import annotations

from collections.abc import Callable

import apsw

from gateway.store.contract import NewMessage
from gateway.store.engine.statements import NamesSql, Statements, TransactionSql
from gateway.store.engine.transaction import Bounds, Transaction
from gateway.store.sqlite import runs
from gateway.store.sqlite.blocks import Blocks
from gateway.store.sqlite.bulk import Plain, Write, fetch
from gateway.store.sqlite.keys import Keys

_EVENTS = Write(
    "INSERT INTO event (tenant_no, seq, at, message_id, state, carrier_no, reason_code, reason_text, smpp_status,"
    " network_error, operator_done_at) VALUES {values}",
    "(?,?,?,?,?,?,?,?,?,?,?)",
)
_PLAIN_EVENTS = Write(
    "INSERT INTO event (tenant_no, seq, at, message_id, state, carrier_no) VALUES {values}", "(?,?,?,?,?,?)"
)
_AUDIT = "INSERT INTO audit_commit (seq, at, count, records) VALUES (?, ?, ?, ?)"
_LAST_AUDIT_SEQ = "SELECT ifnull(max(seq), 0) FROM audit_commit"
_LAST_SEQ = "SELECT max(last) FROM (SELECT (SELECT max(seq) FROM event WHERE tenant_no = no) AS last FROM tenant)"

SQL = TransactionSql(
    tenants=NamesSql(
        insert=Plain("INSERT INTO tenant (name) VALUES (?) RETURNING no"), all=Plain("SELECT name, no FROM tenant")
    ),
    carriers=NamesSql(
        insert=Plain("INSERT INTO carrier (name) VALUES (?) RETURNING no"), all=Plain("SELECT name, no FROM carrier")
    ),
    kept=Plain("SELECT carrier_no, count(*) FROM kept_receipt GROUP BY carrier_no"),
    held=Plain("SELECT tenant_no, count(*) FROM inbound_held GROUP BY tenant_no"),
    count=Write(
        "INSERT INTO counter (name, value) VALUES {values}"
        " ON CONFLICT (name) DO UPDATE SET value = value + excluded.value",
        "(?,?)",
    ),
)


class SqliteTransaction(Transaction):
    """There is one writer, and `reload` after a rollback forgets what was given."""

    db: apsw.Connection

    def __init__(
        self, db: apsw.Connection, sql: Statements, bounds: Bounds, now: Callable[[], int], keys: Keys
    ) -> None:
        """`now` dates the rows of the audit; `sql` asks `keys`."""
        super().__init__(db, sql, bounds)
        self._now = now
        self.audit_seq = 0
        self._blocks = Blocks(db)
        self._keys = keys

    def _load_numbers(self) -> None:
        ((last,),) = fetch(self.db, _LAST_SEQ)
        self.seq = last or 0
        ((self.audit_seq,),) = fetch(self.db, _LAST_AUDIT_SEQ)
        self._blocks.load()
        self._keys.load(self.db)

    def place(self, new: NewMessage) -> int | None:
        """Return the block of a new message (hot)."""
        return self._blocks.place(new.id)

    def merge(self) -> bool:
        """Do a step of merging recipients, or keys; False when there is nothing to do."""
        return runs.step(self.db) or self._keys.step(self.db)

    def end(self) -> frozenset[str]:
        """Forget what has been committed; returns the tenants that got events."""
        self._keys.committed()
        return super().end()

    def flush(self) -> None:
        """Write what has been gathered: the last step before COMMIT."""
        _PLAIN_EVENTS.run(self.db, self._plain)
        _EVENTS.run(self.db, self._events)
        self._count()
        if self.records.number:
            self.audit_seq += 1
            self.db.execute(_AUDIT, (self.audit_seq, self._now(), self.records.number, self.records.octets()))
