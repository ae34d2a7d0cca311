"""The statements of `gateway.store.engine.receiving`."""

from __future__ import annotations

from gateway.store.engine.statements import ReceivingSql
from gateway.store.postgres.bulk import Lookup, Write

# How `place` and `facts` are put together: gateway/store/engine/receiving.py.
_FIND = (
    "SELECT v.n, r.part::bigint | (m.state::bigint << 8) | ((m.carrier_no = v.carrier_no)::int::bigint << 12)"
    " | (m.country::bigint << 13) | (r.tenant_no::bigint << 23), r.message_id, m.part_states,"
    " (v.recipient_hash = '' OR position(m.recipient_hash IN v.recipient_hash) > 0)::int::bigint"
    " | (m.category::bigint << 1) | ((m.trace IS NOT NULL)::int::bigint << 3)"
    " | ((CASE WHEN m.attempts < 2 THEN coalesce(m.sending_at, 0) ELSE 0 END > v.sent_by)::int::bigint << 4)"
    " | (coalesce(m.submitted_at, 0) << 5)"
    " FROM {v} JOIN {refs} AS r ON r.carrier_no = v.carrier_no AND r.carrier_id = v.carrier_id"
    " JOIN message AS m ON m.tenant_no = r.tenant_no AND m.id = r.message_id"
)
_LOCK = " FOR NO KEY UPDATE OF m"  # nobody else changes what is found before this transaction is over
_FOUND_BY = "carrier_no int, carrier_id text, recipient_hash bytes, sent_by int"
FIND = Lookup(_FIND.replace("{refs}", "carrier_ref") + _LOCK, _FOUND_BY)
# Where an id led before, the newest last.
OLDER = Lookup(_FIND.replace("{refs}", "carrier_ref_older") + " ORDER BY v.n, r.message_id, r.part" + _LOCK, _FOUND_BY)
ASKED = Lookup(
    "SELECT v.n, m.tenant_no, m.id, m.state, m.part_states, m.carrier_no,"
    " (m.category::bigint << 1) | (coalesce(m.submitted_at, 0) << 5), m.country FROM {v}"
    " JOIN message AS m ON m.tenant_no = v.tenant_no AND m.id = v.message_id FOR NO KEY UPDATE OF m",
    "tenant_no int, message_id bytes",
)
TRACES = Lookup(
    "SELECT v.n, m.trace FROM {v} JOIN message AS m ON m.tenant_no = v.tenant_no AND m.id = v.id",
    "tenant_no int, id bytes",
)
END = Write(
    "UPDATE message AS m SET state = v.state, queue = NULL, done_at = v.done_at, part_states = v.part_states,"
    " reason_code = v.reason_code, reason_text = v.reason_text, smpp_status = NULL, network_error = v.network_error,"
    " operator_done_at = v.operator_done_at FROM {v} WHERE m.tenant_no = v.tenant_no AND m.id = v.id",
    "tenant_no int, id bytes, state int, part_states text, done_at int, reason_code text, reason_text text,"
    " network_error text, operator_done_at int",
)
_PARTS = Write(
    "UPDATE message AS m SET part_states = v.part_states FROM {v} WHERE m.tenant_no = v.tenant_no AND m.id = v.id",
    "tenant_no int, id bytes, part_states text",
)

SQL = ReceivingSql(
    find=FIND,
    older=OLDER,
    asked=ASKED,
    traces=TRACES,
    end=END,
    parts=_PARTS,
)
