"""The statements of `gateway.store.engine.receiving`."""

from __future__ import annotations

from gateway.store.engine.statements import ReceivingSql
from gateway.store.sqlite.bulk import Lookup, Write

# How `place` and `facts` are put together: gateway/store/engine/receiving.py.
FIND_COLUMNS = "n place :message_id part_states facts"
FIND_SOURCE = (
    "SELECT v.n, r.part | (m.state << 8) | ((m.carrier_no = v.carrier_no) << 12)"
    " | (m.country << 13) | (r.tenant_no << 23) AS place,"
    " r.message_id, m.part_states,"
    " (v.recipient_hash = x'' OR instr(v.recipient_hash, m.recipient_hash) > 0) | (m.category << 1)"
    " | ((m.trace IS NOT NULL) << 3) | ((iif(m.attempts < 2, ifnull(m.sending_at, 0), 0) > v.sent_by) << 4)"
    " | (ifnull(m.submitted_at, 0) << 5) AS facts"
    " FROM v CROSS JOIN carrier_ref AS r ON r.carrier_no = v.carrier_no AND r.carrier_id = v.carrier_id"
    " CROSS JOIN message AS m ON m.tenant_no = r.tenant_no AND m.id = r.message_id"
)
FIND = Lookup(FIND_COLUMNS, "n, carrier_no, carrier_id, recipient_hash, sent_by", FIND_SOURCE, "({n},?,?,?,?)")
END = Write(
    "WITH v (tenant_no, id, state, part_states, done_at, reason_code, reason_text, network_error, operator_done_at)"
    " AS (VALUES {values}) UPDATE message SET state = v.state, queue = NULL, done_at = v.done_at,"
    " part_states = v.part_states, reason_code = v.reason_code, reason_text = v.reason_text, smpp_status = NULL,"
    " network_error = v.network_error, operator_done_at = v.operator_done_at"
    " FROM v WHERE message.tenant_no = v.tenant_no AND message.id = v.id",
    "(?,?,?,?,?,?,?,?,?)",
)
_PARTS = Write(
    "WITH v (tenant_no, id, part_states) AS (VALUES {values}) UPDATE message SET part_states = v.part_states FROM v"
    " WHERE message.tenant_no = v.tenant_no AND message.id = v.id",
    "(?,?,?)",
)
# Where an id led before, the newest last.
OLDER = Lookup(
    FIND_COLUMNS,
    "n, carrier_no, carrier_id, recipient_hash, sent_by",
    FIND_SOURCE.replace("carrier_ref", "carrier_ref_older"),
    "({n},?,?,?,?)",
)
# `facts` as above.
ASKED = Lookup(
    "n tenant_no :message_id state part_states carrier_no facts country",
    "n, tenant_no, message_id",
    "SELECT v.n, m.tenant_no, m.id AS message_id, m.state, m.part_states, m.carrier_no,"
    " (m.category << 1) | (ifnull(m.submitted_at, 0) << 5) AS facts, m.country FROM v"
    " CROSS JOIN message AS m ON m.tenant_no = v.tenant_no AND m.id = v.message_id",
    "({n},?,?)",
)
TRACES = Lookup(
    "n :trace",
    "n, tenant_no, id",
    "SELECT v.n, m.trace FROM v CROSS JOIN message AS m ON m.tenant_no = v.tenant_no AND m.id = v.id",
    "({n},?,?)",
)

SQL = ReceivingSql(
    find=FIND,
    older=OLDER,
    asked=ASKED,
    traces=TRACES,
    end=END,
    parts=_PARTS,
)
