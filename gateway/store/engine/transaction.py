"""What one transaction of the writer gathers and knows: events, audit records, counters, the numbers of names.

A step of a message is told once, here, and becomes both its event and its audit record: neither can be forgotten, or
say something else than the other. The records of a commit are one row, written before COMMIT.

Events get their `seq` in the order of commit and without gaps; how, is the engine's. Not thread-safe: it belongs to the
writer's thread.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import groupby
from operator import itemgetter
from typing import Any

from gateway.audit.hot import Fields, Gathered
from gateway.states import State
from gateway.store.contract import Ended, NewMessage, TracedReceipt
from gateway.store.engine.database import Look
from gateway.store.engine.statements import NamesSql, Row, Statements
from gateway.store.engine.tally import Tally
from gateway.store.nodes import Carriers
from gateway.store.usage import Correction

_ACCEPTED, _SENDING = int(State.ACCEPTED), int(State.SENDING)
_OF_WHOM = itemgetter(0, 3)  # of a change: tenant_no, carrier_no


@dataclass(frozen=True, slots=True, kw_only=True)
class Bounds:
    """What a transaction keeps to."""

    kept_limit: int  # unmatched receipts, in rows
    held_limit: int  # inbound parts that wait, in rows
    held_of_each: int  # of these, of one tenant
    grace: int  # microseconds: how long a doubtful message waits for a receipt beyond its validity
    seen_for: int  # microseconds: how long the fingerprint of an inbound PDU is known, and an unmatched receipt kept
    currency: str = ""  # of what messages cost


class _ByNumber(dict[int, str]):
    """Names by their numbers. One that is not known has been added by another node: it is looked up."""

    def __init__(self, look_again: Callable[[], dict[int, str]]) -> None:
        super().__init__()
        self._look_again = look_again

    def __missing__(self, number: int) -> str:
        return self._look_again()[number]


class Names:
    """The numbers of one kind of name; a new name gets the next number."""

    def __init__(self, sql: NamesSql, *, shared: bool = False) -> None:
        """`shared`: other nodes add names too."""
        self._sql = sql
        self._shared = shared
        self._db: Any = None
        self.numbers: dict[str, int] = {}
        self.names: dict[int, str] = _ByNumber(self._look_again)

    def load(self, db: Any) -> None:
        """Take what the database knows."""
        self._db = db
        self._look_again()

    def _look_again(self) -> dict[int, str]:
        self.numbers = dict(self._sql.all.fetch(self._db))
        known = {number: name for name, number in self.numbers.items()}
        self.names.clear()
        self.names.update(known)
        return known

    def number(self, db: Any, name: str) -> int:
        """Return the number of `name`, new if need be."""
        number = self.numbers.get(name)
        if number is None:
            ((number,),) = self._sql.insert.fetch(db, (name,))
            self.numbers[name] = number
            self.names[number] = name
        return number

    def known(self, name: str) -> int:
        """Return the number of `name`, -1 when nothing is stored under it."""
        number = self.numbers.get(name)
        if number is None and self._shared:
            self._look_again()
            number = self.numbers.get(name)
        return -1 if number is None else number


def read_names(look: Look, sql: NamesSql) -> dict[int, str]:
    """Return names by their numbers, for those who only look."""
    return {number: name for name, number in sql.all.fetch(look.db)}


class Transaction(ABC):
    """The writer's connection with what the steps of a message share; one object, used again for each transaction."""

    shared = False  # whether other nodes write too

    def __init__(self, db: Any, sql: Statements, bounds: Bounds) -> None:
        self.db = db
        self.sql = sql
        self.kept_limit = bounds.kept_limit
        self.held_limit = bounds.held_limit
        self.held_of_each = bounds.held_of_each
        self.grace = bounds.grace
        self.seen_for = bounds.seen_for
        self.tenants = Names(sql.transaction.tenants, shared=self.shared)
        self.carriers = Names(sql.transaction.carriers, shared=self.shared)
        self.seq = 0  # of the last event
        self.records = Gathered()
        # Unmatched receipts by carrier: none kept means none to look for, unless other nodes keep some too.
        self.kept: Counter[int] = Counter()
        self.held: Counter[int] = Counter()  # inbound parts that wait, by tenant
        self.counted: Counter[str] = Counter()
        self.tally = Tally(bounds.currency)
        self.told: set[int] = set()  # tenants with events in this transaction
        self.ended: list[Ended] = []  # messages that came to their end otherwise than by their settlement
        self.traced: list[TracedReceipt] = []
        # tenant_no, seq, at, message_id, state, carrier_no, reason_code, reason_text, smpp_status, network_error,
        # operator_done_at; the plain ones end after carrier_no.
        self._events: list[Row] = []
        self._plain: list[Row] = []

    def reload(self) -> None:
        """Take everything from the database: at the start, and after a rollback."""
        self.tenants.load(self.db)
        self.carriers.load(self.db)
        self._load_numbers()
        self.recount()
        self._clear()

    @abstractmethod
    def _load_numbers(self) -> None:
        """Take where events and commits of the audit have been counted to."""

    def sets(self, carriers: Carriers) -> Sequence[tuple[int, ...]]:
        """Return what claims are bound to, one after the other, where nodes share the database."""
        del carriers  # the node is alone
        return [()]

    def ways_no(self, ways: str) -> int:
        """Return the number of a set of carriers, where nodes share the database."""
        del ways
        return 0

    @abstractmethod
    def place(self, new: NewMessage) -> int | None:
        """Return the last column of a new message's row, which is the engine's own: what it is found by (hot)."""

    def merge(self) -> bool:
        """Do a step of what the engine has to merge, so that look-ups keep their cost; False when there is nothing."""
        return False

    def may_be_kept(self, carrier_no: int) -> bool:
        """Say whether there may be unmatched receipts of a carrier."""
        return bool(self.kept[carrier_no])

    def recount(self) -> None:
        """Count unmatched receipts and waiting inbound parts again."""
        self.kept = Counter(dict(self.sql.transaction.kept.fetch(self.db)))
        self.held = Counter(dict(self.sql.transaction.held.fetch(self.db)))

    def _clear(self) -> None:
        self.counted.clear()
        self.tally.clear()
        self.told.clear()
        self.ended, self.traced = [], []  # those of the last transaction are others' now
        self._events.clear()
        self._plain.clear()
        self.records.clear()

    def accepted(self, tenant_no: int, message_id: bytes, at: int, fields: Fields, commitment: bytes) -> None:
        """Tell that a message was accepted. `fields`: those of MessageStored between id and commitment (hot)."""
        self._add_plain(tenant_no, message_id, at, _ACCEPTED, 0)
        self.records.stored(at, message_id, fields, commitment)

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

    def plain_events(self, changes: Sequence[tuple[int, bytes, int, int]], before: int, state: int) -> None:
        """Tell changes from `before` to `state` of (tenant_no, id, at, carrier_no): as `plain_event` does for each, and
        quicker, since neighbours are mostly of one tenant and carrier (hot)."""
        tenants, carriers = self.tenants.names, self.carriers.names
        seq = self.seq
        for (tenant_no, carrier_no), run in groupby(changes, _OF_WHOM):
            alike = list(run)
            self._plain += [
                (tenant_no, n, at, id_, state, carrier_no) for n, (_, id_, at, _) in enumerate(alike, seq + 1)
            ]
            seq += len(alike)
            self.told.add(tenant_no)
            fields = (tenants[tenant_no], before, state, carriers[carrier_no], "", None, "")
            self.records.changed_alike(fields, alike)
        self.seq = seq

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

    @abstractmethod
    def flush(self) -> None:
        """Write what has been gathered: the last step before COMMIT."""

    def _count(self) -> None:
        """Add to the counters and to the usage, in the order of their names: so two writers cannot wait for each
        other."""
        self.sql.transaction.count.run(self.db, sorted(self.counted.items()))
        self.tally.write(self.db, self.sql.usage)

    def corrections(self) -> list[Correction]:
        """Return what has become of messages that count towards caps."""
        return self.tally.corrections(self.tenants.names)

    def end(self) -> frozenset[str]:
        """Forget what has been committed; returns the tenants that got events."""
        told = frozenset(map(self.tenants.names.__getitem__, self.told))
        self._clear()
        return told
