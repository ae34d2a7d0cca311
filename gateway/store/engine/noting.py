"""Receipts that changed nothing and should not have come: counted, and the newest of each oddity kept as evidence."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from gateway.store.engine.database import Look
from gateway.store.engine.statements import Row
from gateway.store.engine.transaction import Transaction
from gateway.store.receipts import NewReceipt, NotedReceipt, Oddity

KEPT_OF_EACH = 10_000


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
        ((last,),) = tx.sql.noting.last.fetch(tx.db, (oddity,))
        tx.sql.noting.note.run(tx.db, [(int(oddity), last + number, *row) for number, row in enumerate(rows, 1)])
        tx.sql.noting.drop.change(tx.db, (int(oddity), last + len(rows) - KEPT_OF_EACH))


def read_noted(look: Look, limit: int) -> list[NotedReceipt]:
    """Return the newest first."""
    return [NotedReceipt._make(row) for row in look.sql.noting.noted.rows(look.db, (limit,))]
