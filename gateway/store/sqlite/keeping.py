"""Receipts that match nothing: kept, refused so and so often, and matched when their carrier id becomes known."""

from __future__ import annotations

from collections.abc import Sequence

import apsw

from gateway.store.receipts import NewReceipt, ReceiptVerdict, UnmatchedReceipt
from gateway.store.sqlite.bulk import Lookup, Row, Select, Write, fetch
from gateway.store.sqlite.transaction import Transaction

_COLUMNS = (
    "carrier_no, carrier_id, part_state, stat, recipient_hash, at, operator_done_at, network_error, parts_rule, sent_by"
)
_KEEP = Write(
    f"INSERT OR IGNORE INTO kept_receipt ({_COLUMNS}) VALUES {{values}}",  # noqa: S608 - a constant
    "(?,?,?,?,?,?,?,?,?,?)",
)
# `refused` is 1 for a new one only.
_REFUSE = (
    f"INSERT INTO kept_receipt ({_COLUMNS}, refused) VALUES (?,?,?,?,?,?,?,?,?,?,1)"  # noqa: S608 - a constant
    " ON CONFLICT (carrier_no, carrier_id, part_state, stat, recipient_hash)"
    " DO UPDATE SET refused = max(refused, 1) + 1 RETURNING refused"
)
_OLDEST = (
    "DELETE FROM kept_receipt WHERE (carrier_no, carrier_id, part_state, stat, recipient_hash) IN (SELECT carrier_no,"
    " carrier_id, part_state, stat, recipient_hash FROM kept_receipt ORDER BY at LIMIT ?) RETURNING carrier_no"
)
KEPT = Lookup(
    "n carrier_no carrier_id :recipient_hash part_state at operator_done_at stat network_error parts_rule sent_by",
    "n, carrier_no, carrier_id",
    "SELECT v.n, k.carrier_no, k.carrier_id, k.recipient_hash, k.part_state, k.at, k.operator_done_at, k.stat,"
    " k.network_error, k.parts_rule, k.sent_by FROM v"
    " CROSS JOIN kept_receipt AS k ON k.carrier_no = v.carrier_no AND k.carrier_id = v.carrier_id",
    "({n},?,?)",
)
_FORGET = Write(
    "WITH v (carrier_no, carrier_id, part_state, stat, recipient_hash) AS (VALUES {values}) DELETE FROM kept_receipt"
    " WHERE (carrier_no, carrier_id, part_state, stat, recipient_hash) IN (SELECT * FROM v)",
    "(?,?,?,?,?)",
)
UNMATCHED = Select(
    "at carrier carrier_id stat network_error operator_done_at addressed refused",
    "SELECT k.at, c.name AS carrier, k.carrier_id, k.stat, k.network_error, k.operator_done_at,"
    " k.recipient_hash <> x'' AS addressed, k.refused FROM kept_receipt AS k INDEXED BY kept_receipt_age"
    " CROSS JOIN carrier AS c ON c.no = k.carrier_no WHERE k.at < ? ORDER BY k.at DESC LIMIT ?",
)


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
        tx.kept[carrier_no] += _KEEP.run(tx.db, rows)
        tx.counted["receipt.kept"] += len(rows)
    _bound(tx)


def _refused(tx: Transaction, row: Row) -> int:
    """Keep one, and return how often it has come."""
    ((times,),) = fetch(tx.db, _REFUSE, row)
    if times == 1:
        tx.kept[row[0]] += 1  # type: ignore[index]  # a number
    tx.counted["receipt.kept"] += 1
    return int(times)


def _bound(tx: Transaction) -> None:
    over = tx.kept.total() - tx.kept_limit
    if over > 0:
        for (carrier_no,) in fetch(tx.db, _OLDEST, (over,)):
            tx.kept[carrier_no] -= 1
        tx.counted["receipt.dropped"] += over


def kept_for(tx: Transaction, carrier_ids: Sequence[Row]) -> list[NewReceipt]:
    """Return what is kept for each (carrier_no, carrier_id), oldest first."""
    names = tx.carriers.names
    rows = sorted(KEPT.find(tx.db, carrier_ids), key=lambda row: row[5])
    return [NewReceipt(names[row[1]], *row[2:]) for row in rows]


def forget(tx: Transaction, receipts: Sequence[NewReceipt]) -> None:
    """Keep these no longer."""
    number = tx.carriers.numbers
    _FORGET.run(tx.db, [(number[new[0]], new[1], new[3], new[6], new[2]) for new in receipts])
    for receipt in receipts:
        tx.kept[number[receipt[0]]] -= 1


def read_unmatched(db: apsw.Connection, before: int, limit: int) -> list[UnmatchedReceipt]:
    """Return the newest first."""
    return [UnmatchedReceipt._make(row)._replace(addressed=bool(row[6])) for row in UNMATCHED.rows(db, (before, limit))]
