"""Receipts that match nothing: kept, refused so and so often, and matched when their carrier id becomes known."""

from __future__ import annotations

from collections.abc import Sequence

from gateway.store.engine.database import Look
from gateway.store.engine.statements import Row
from gateway.store.engine.transaction import Transaction
from gateway.store.receipts import NewReceipt, ReceiptVerdict, UnmatchedReceipt


def keep(tx: Transaction, batch: Sequence[NewReceipt], verdicts: list[ReceiptVerdict], found: set[int]) -> None:
    """Keep the receipts of `batch` whose index is not in `found`, the newest up to the limit."""
    by_carrier: dict[int, list[Row]] = {}
    for n, receipt in enumerate(batch):
        if n in found:
            continue
        carrier, carrier_id, recipient_hash, part_state, at, done_at, stat, network_error, rule, sent_by, most = (
            receipt[:11]
        )
        carrier_no = tx.carriers.numbers[carrier]
        row = (carrier_no, carrier_id, part_state, stat, recipient_hash, at, done_at, network_error, rule, sent_by)
        if not most:
            by_carrier.setdefault(carrier_no, []).append(row)
        elif _refused(tx, row) <= most:
            verdicts[n] = ReceiptVerdict.REFUSED
    for carrier_no, rows in by_carrier.items():
        tx.kept[carrier_no] += tx.sql.keeping.keep.count(tx.db, rows)
        tx.counted["receipt.kept"] += len(rows)
    _bound(tx)


def _refused(tx: Transaction, row: Row) -> int:
    """Keep one, and return how often it has come."""
    ((times,),) = tx.sql.keeping.refuse.fetch(tx.db, row)
    if times == 1:
        tx.kept[row[0]] += 1  # type: ignore[index]  # a number
    tx.counted["receipt.kept"] += 1
    return int(times)


def _bound(tx: Transaction) -> None:
    over = tx.kept.total() - tx.kept_limit
    if over > 0:
        for (carrier_no,) in tx.sql.keeping.oldest.fetch(tx.db, (over,)):
            tx.kept[carrier_no] -= 1
        tx.counted["receipt.dropped"] += over


def kept_for(tx: Transaction, carrier_ids: Sequence[Row]) -> list[NewReceipt]:
    """Return what is kept for each (carrier_no, carrier_id), oldest first."""
    names = tx.carriers.names
    rows = sorted(tx.sql.keeping.kept.find(tx.db, carrier_ids), key=lambda row: row[5])
    return [NewReceipt(names[row[1]], *row[2:]) for row in rows]


def forget(tx: Transaction, receipts: Sequence[NewReceipt]) -> None:
    """Keep these no longer."""
    number = tx.carriers.numbers
    tx.sql.keeping.forget.run(tx.db, [(number[new[0]], new[1], new[3], new[6], new[2]) for new in receipts])
    for receipt in receipts:
        tx.kept[number[receipt[0]]] -= 1


def read_unmatched(look: Look, before: int, limit: int) -> list[UnmatchedReceipt]:
    """Return the newest first."""
    rows = look.sql.keeping.unmatched.rows(look.db, (before, limit))
    return [UnmatchedReceipt._make(row)._replace(addressed=bool(row[6])) for row in rows]
