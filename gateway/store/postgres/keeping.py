"""The statements of `gateway.store.engine.keeping`."""

from __future__ import annotations

from gateway.store.engine.statements import KeepingSql
from gateway.store.postgres.bulk import Lookup, Plain, Select, Write

_COLUMNS = (
    "carrier_no, carrier_id, part_state, stat, recipient_hash, at, operator_done_at, network_error, parts_rule, sent_by"
)
_KEEP = Write(
    f"INSERT INTO kept_receipt ({_COLUMNS}) SELECT {_COLUMNS} FROM {{v}} ON CONFLICT DO NOTHING",  # noqa: S608 - a constant
    "carrier_no int, carrier_id text, part_state text, stat text, recipient_hash bytes, at int, operator_done_at int,"
    " network_error text, parts_rule int, sent_by int",
)
# `refused` is 1 for a new one only.
_REFUSE = Plain(
    f"INSERT INTO kept_receipt ({_COLUMNS}, refused) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, 1)"  # noqa: S608 - a constant
    " ON CONFLICT (carrier_no, carrier_id, part_state, stat, recipient_hash)"
    " DO UPDATE SET refused = greatest(kept_receipt.refused, 1) + 1 RETURNING refused"
)
_OLDEST = Plain(
    "DELETE FROM kept_receipt WHERE (carrier_no, carrier_id, part_state, stat, recipient_hash) IN (SELECT carrier_no,"
    " carrier_id, part_state, stat, recipient_hash FROM kept_receipt ORDER BY at LIMIT $1) RETURNING carrier_no"
)
KEPT = Lookup(
    "SELECT v.n, k.carrier_no, k.carrier_id, k.recipient_hash, k.part_state, k.at, k.operator_done_at, k.stat,"
    " k.network_error, k.parts_rule, k.sent_by FROM {v}"
    " JOIN kept_receipt AS k ON k.carrier_no = v.carrier_no AND k.carrier_id = v.carrier_id",
    "carrier_no int, carrier_id text",
)
_FORGET = Write(
    "DELETE FROM kept_receipt AS k USING {v} WHERE k.carrier_no = v.carrier_no AND k.carrier_id = v.carrier_id"
    " AND k.part_state = v.part_state AND k.stat = v.stat AND k.recipient_hash = v.recipient_hash",
    "carrier_no int, carrier_id text, part_state text, stat text, recipient_hash bytes",
)
UNMATCHED = Select(
    "SELECT k.at, c.name, k.carrier_id, k.stat, k.network_error, k.operator_done_at, k.recipient_hash <> '', k.refused"
    " FROM kept_receipt AS k JOIN carrier AS c ON c.no = k.carrier_no WHERE k.at < $1 ORDER BY k.at DESC LIMIT $2"
)

SQL = KeepingSql(
    keep=_KEEP,
    refuse=_REFUSE,
    oldest=_OLDEST,
    kept=KEPT,
    forget=_FORGET,
    unmatched=UNMATCHED,
)
