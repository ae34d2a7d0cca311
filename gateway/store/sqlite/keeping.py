"""The statements of `gateway.store.engine.keeping`."""

from __future__ import annotations

from gateway.store.engine.statements import KeepingSql
from gateway.store.sqlite.bulk import Lookup, Plain, Select, Write

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

SQL = KeepingSql(
    keep=_KEEP,
    refuse=Plain(_REFUSE),
    oldest=Plain(_OLDEST),
    kept=KEPT,
    forget=_FORGET,
    unmatched=UNMATCHED,
)
