"""What one transaction of the writer gathers and knows: events, audit records, counters, the numbers of names.

A step of a message is told once, here, and becomes both its event and its audit record: neither can be forgotten, or
say something else than the other. The records of a commit are one row, written before COMMIT.

Events get their `seq` here, in the order of commit and without gaps: there is one writer, and `reload` after a rollback
forgets what was given. Not thread-safe: it belongs to the writer's thread.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

import apsw

from gateway.audit.hot import Fields, Gathered
from gateway.states import State
from gateway.store.contract import Ended, TracedReceipt
from gateway.store.sqlite.bulk import Row, Write, fetch

# tenant_no, seq, at, message_id, state, carrier_no, reason_code, reason_text, smpp_status, network_error,
# operator_done_at; the plain ones end after carrier_no.
_EVENTS = Write(
    "INSERT INTO event (tenant_no, seq, at, message_id, state, carrier_no, reason_code, reason_text, smpp_status,"
    " network_error, operator_done_at) VALUES {values}",
    "(?,?,?,?,?,?,?,?,?,?,?)",
)
_PLAIN_EVENTS = Write(
    "INSERT INTO event (tenant_no, seq, at, message_id, state, carrier_no) VALUES {values}", "(?,?,?,?,?,?)"
)
_COUNT = (
    "INSERT INTO counter (name, value) VALUES (?1, ?2) ON CONFLICT (name) DO UPDATE SET value = value + excluded.value"
)
_AUDIT = "INSERT INTO audit_commit (seq, at, count, records) VALUES (?, ?, ?, ?)"
_LAST_AUDIT_SEQ = "SELECT ifnull(max(seq), 0) FROM audit_commit"
_ACCEPTED, _SENDING = int(State.ACCEPTED), int(State.SENDING)
_LAST_SEQ = "SELECT max(last) FROM (SELECT (SELECT max(seq) FROM event WHERE tenant_no = no) AS last FROM tenant)"


class Names:
    """The numbers of one kind of name; a new name gets the next number."""

    def __init__(self, table: str) -> None:
        self._insert = f"INSERT INTO {table} (name) VALUES (?) RETURNING no"  # noqa: S608 - `tenant` or `carrier`
        self._select = f"SELECT name, no FROM {table}"  # noqa: S608 - `tenant` or `carrier`
        self.numbers: dict[str, int] = {}
        self.names: dict[int, str] = {}

    def load(self, db: apsw.Connection) -> None:
        """Take what the database knows."""
        self.numbers = dict(fetch(db, self._select))
        self.names = {number: name for name, number in self.numbers.items()}

    def number(self, db: apsw.Connection, name: str) -> int:
        """Return the number of `name`, new if need be."""
        number = self.numbers.get(name)
        if number is None:
            ((number,),) = fetch(db, self._insert, (name,))
            self.numbers[name] = number
            self.names[number] = name
        return number

    def known(self, name: str) -> int:
        """Return the number of `name`, -1 when nothing is stored under it."""
        return self.numbers.get(name, -1)


class Transaction:
    """The writer's connection with what the steps of a message share; one object, used again for each transaction."""

    def __init__(
        self,
        db: apsw.Connection,
        *,
        now: Callable[[], int],
        kept_limit: int,
        held_limit: int,
        held_of_each: int,
        grace: int,
        seen_for: int,
    ) -> None:
        """`now` dates the rows of the audit. `kept_limit` and `held_limit` bound unmatched receipts and inbound parts
        that wait, in rows, `held_of_each` the parts of one tenant; `grace` and `seen_for` are microseconds: how long a
        doubtful message waits for a receipt beyond its validity, and how long the fingerprint of an inbound PDU is
        known."""
        self.db = db
        self._now = now
        self.kept_limit = kept_limit
        self.held_limit = held_limit
        self.held_of_each = held_of_each
        self.grace = grace
        self.seen_for = seen_for
        self.tenants = Names("tenant")
        self.carriers = Names("carrier")
        self.seq = 0
        self.audit_seq = 0
        self.records = Gathered()
        self.kept: Counter[int] = Counter()  # unmatched receipts by carrier: none kept means none to look for
        self.held: Counter[int] = Counter()  # inbound parts that wait, by tenant
        self.counted: Counter[str] = Counter()
        self.told: set[int] = set()  # tenants with events in this transaction
        self.ended: list[Ended] = []  # messages that came to their end otherwise than by their settlement
        self.traced: list[TracedReceipt] = []
        self._events: list[Row] = []
        self._plain: list[Row] = []

    def reload(self) -> None:
        """Take everything from the database: at the start, and after a rollback."""
        self.tenants.load(self.db)
        self.carriers.load(self.db)
        ((last,),) = fetch(self.db, _LAST_SEQ)
        self.seq = last or 0
        ((self.audit_seq,),) = fetch(self.db, _LAST_AUDIT_SEQ)
        self.recount()
        self._clear()

    def recount(self) -> None:
        """Count unmatched receipts and waiting inbound parts again."""
        kept = fetch(self.db, "SELECT carrier_no, count(*) FROM kept_receipt GROUP BY carrier_no")
        self.kept = Counter(dict(kept))
        self.held = Counter(dict(fetch(self.db, "SELECT tenant_no, count(*) FROM inbound_held GROUP BY tenant_no")))

    def _clear(self) -> None:
        self.counted.clear()
        self.told.clear()
        self.ended, self.traced = [], []  # those of the last transaction are others' now
        self._events.clear()
        self._plain.clear()
        self.records.clear()

    def accepted(self, tenant_no: int, message_id: bytes, at: int, fields: Fields) -> None:
        """Tell that a message was accepted. `fields`: those of MessageAccepted behind the id (hot)."""
        self._add_plain(tenant_no, message_id, at, _ACCEPTED, 0)
        self.records.accepted(at, message_id, fields)

    def received(self, tenant_no: int, inbound_id: bytes, at: int, carrier_no: int, segments: int) -> None:
        """Tell that a message from a handset is complete."""
        self._add_plain(tenant_no, inbound_id, at, 0, carrier_no)
        self.records.inbound(at, inbound_id, (self.tenants.names[tenant_no], self.carriers.names[carrier_no], segments))

    def plain_event(
        self, tenant_no: int, message_id: bytes, at: int, before: int, state: int, carrier_no: int, by: str = ""
    ) -> None:
        """Tell a change from `before` to `state` that needs no reason (hot). `by`: the caller that wanted it."""
        self._add_plain(tenant_no, message_id, at, state, carrier_no)
        fields = (self.tenants.names[tenant_no], before, state, self.carriers.names[carrier_no], "", None, by)
        self.records.changed(at, message_id, fields)

    def event(
        self,
        tenant_no: int,
        message_id: bytes,
        at: int,
        before: int,
        state: int,
        carrier_no: int,
        why: tuple[str, str, int | None, str, int | None],
        by: str = "",
    ) -> None:
        """Tell a change. `why`: reason_code, reason_text, smpp_status, network_error, operator_done_at (hot). `by`: the
        caller that wanted it."""
        self.seq += 1
        self._events.append((tenant_no, self.seq, at, message_id, state, carrier_no, *why))
        self.told.add(tenant_no)
        tenants, carriers = self.tenants.names, self.carriers.names
        fields = (tenants[tenant_no], before, state, carriers[carrier_no], why[0], why[2], by)
        self.records.changed(at, message_id, fields)

    def went_back(
        self, tenant_no: int, message_id: bytes, at: int, carrier_no: int, code: str, smpp_status: int | None
    ) -> None:
        """Note that a message went from SENDING back to ACCEPTED: a change for the audit, and no event."""
        names = self.tenants.names[tenant_no], self.carriers.names[carrier_no]
        self.records.changed(at, message_id, (names[0], _SENDING, _ACCEPTED, names[1], code, smpp_status, ""))

    def _add_plain(self, tenant_no: int, message_id: bytes, at: int, state: int, carrier_no: int) -> None:
        self.seq += 1
        self._plain.append((tenant_no, self.seq, at, message_id, state, carrier_no))
        self.told.add(tenant_no)

    def flush(self) -> None:
        """Write what has been gathered: the last step before COMMIT."""
        if self._plain:
            _PLAIN_EVENTS.run(self.db, self._plain)
        if self._events:
            _EVENTS.run(self.db, self._events)
        for name, count in self.counted.items():
            self.db.execute(_COUNT, (name, count))
        if self.records.number:
            self.audit_seq += 1
            self.db.execute(_AUDIT, (self.audit_seq, self._now(), self.records.number, self.records.octets()))

    def end(self) -> frozenset[str]:
        """Forget what has been committed; returns the tenants that got events."""
        told = frozenset(map(self.tenants.names.__getitem__, self.told))
        self._clear()
        return told
