"""Receipts that changed nothing and should not have come: counted, and the newest of each oddity kept as evidence."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import apsw

from gateway.store.receipts import NewReceipt, NotedReceipt, Oddity
from gateway.store.sqlite.bulk import Row, Select, Write, fetch
from gateway.store.sqlite.transaction import Transaction

KEPT_OF_EACH = 10_000

_NOTE = Write(
    "INSERT INTO noted_receipt (oddity, no, at, carrier_no, carrier_id, tenant_no, message_id, stat, network_error,"
    " operator_done_at) VALUES {values}",
    "(?,?,?,?,?,?,?,?,?,?)",
)
_LAST = "SELECT ifnull(max(no), 0) FROM noted_receipt WHERE oddity = ?"
_DROP = "DELETE FROM noted_receipt WHERE oddity = ? AND no <= ?"
NOTED = Select(
    "at oddity carrier carrier_id tenant :message_id stat network_error operator_done_at",
    "SELECT n.at, n.oddity, c.name AS carrier, n.carrier_id, t.name AS tenant, n.message_id, n.stat, n.network_error,"
    " n.operator_done_at FROM noted_receipt AS n INDEXED BY noted_receipt_age"
    " CROSS JOIN carrier AS c ON c.no = n.carrier_no CROSS JOIN tenant AS t ON t.no = n.tenant_no"
    " ORDER BY n.at DESC LIMIT ?",
)


class Note(NamedTuple):
    """A receipt to note, and the message that its carrier id leads to."""

    oddity: Oddity
    receipt: NewReceipt
    tenant_no: int
    message_id: bytes


def note(tx: Transaction, notes: Sequence[Note]) -> None:
    """Count receipts by their oddity, and keep the newest."""
    by_oddity: dict[Oddity, list[Row]] = {}
    for oddity, receipt, tenant_no, message_id in notes:
        carrier, carrier_id, _, _, at, operator_done_at, stat, network_error = receipt[:8]
        carrier_no = tx.carriers.numbers[carrier]
        row = (at, carrier_no, carrier_id, tenant_no, message_id, stat, network_error, operator_done_at)
        by_oddity.setdefault(oddity, []).append(row)
    for oddity, rows in by_oddity.items():
        tx.counted[f"receipt.{oddity.name.lower()}"] += len(rows)
        ((last,),) = fetch(tx.db, _LAST, (oddity,))
        _NOTE.run(tx.db, [(int(oddity), last + number, *row) for number, row in enumerate(rows, 1)])
        tx.db.execute(_DROP, (int(oddity), last + len(rows) - KEPT_OF_EACH))


def read_noted(db: apsw.Connection, limit: int) -> list[NotedReceipt]:
    """Return the newest first."""
    return [NotedReceipt._make(row) for row in NOTED.rows(db, (limit,))]
