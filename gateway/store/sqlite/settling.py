"""The statements of `gateway.store.engine.settling`."""

from __future__ import annotations

from gateway.store.engine.statements import SettlingSql
from gateway.store.sqlite.bulk import Lookup, Plain, Write

# Messages that are not simply SENDING for the first time to this carrier; state 0: there is no such message.
UNUSUAL = Lookup(
    "n state queue part_states carrier_no category ours",
    "n, tenant_no, id",
    "SELECT v.n, ifnull(m.state, 0) AS state, m.queue, m.part_states, m.carrier_no,"
    " m.category, 1 AS ours FROM v"
    " LEFT JOIN message AS m ON m.tenant_no = v.tenant_no AND m.id = v.id"
    " WHERE m.state IS NOT 2 OR m.part_states <> ''",
    "({n},?,?)",
)
SETTLE = Write(
    "WITH v (tenant_no, id, state, queue, due_at, submitted_at, done_at, carrier_no, carrier_ids, part_states,"
    " reason_code, reason_text, smpp_status) AS (VALUES {values}) UPDATE message SET state = v.state, queue = v.queue,"
    " due_at = v.due_at, submitted_at = ifnull(v.submitted_at, message.submitted_at), done_at = v.done_at,"
    " carrier_no = v.carrier_no, carrier_ids = v.carrier_ids, part_states = v.part_states,"
    " reason_code = v.reason_code, reason_text = v.reason_text, smpp_status = v.smpp_status FROM v"
    " WHERE message.tenant_no = v.tenant_no AND message.id = v.id",
    "(?,?,?,?,?,?,?,?,?,?,?,?,?)",
)
SUBMITTED = Write(
    "WITH v (tenant_no, id, due_at, at, carrier_no, carrier_ids, part_states) AS (VALUES {values}) UPDATE message"
    " SET state = 3, queue = 40, due_at = v.due_at, submitted_at = v.at, done_at = NULL, carrier_no = v.carrier_no,"
    " carrier_ids = v.carrier_ids, part_states = v.part_states, reason_code = '', reason_text = '', smpp_status = NULL"
    " FROM v WHERE message.tenant_no = v.tenant_no AND message.id = v.id",
    "(?,?,?,?,?,?,?)",
)
_REFS = "INSERT OR {} INTO carrier_ref (carrier_no, carrier_id, tenant_no, message_id, part) VALUES {{values}}"
_NEW_REFS = Write(_REFS.format("IGNORE"), "(?,?,?,?,?)")
_NEWEST_REFS = Write(_REFS.format("REPLACE"), "(?,?,?,?,?)")
HOLDERS = Lookup(
    "n tenant_no :message_id part",
    "n, carrier_no, carrier_id",
    "SELECT v.n, r.tenant_no, r.message_id, r.part FROM v"
    " CROSS JOIN carrier_ref AS r ON r.carrier_no = v.carrier_no AND r.carrier_id = v.carrier_id",
    "({n},?,?)",
)
# An id that is given again leads to its newest message; of those before it the newest eight are remembered.
_OLDER = (
    "INSERT OR IGNORE INTO carrier_ref_older (carrier_no, carrier_id, tenant_no, message_id, part) VALUES (?,?,?,?,?)"
)
_DROP_OLDER = (
    "DELETE FROM carrier_ref_older WHERE carrier_no = ?1 AND carrier_id = ?2 AND message_id <= (SELECT message_id"
    " FROM carrier_ref_older WHERE carrier_no = ?1 AND carrier_id = ?2 ORDER BY message_id DESC LIMIT 1 OFFSET 8)"
)

SQL = SettlingSql(
    unusual=UNUSUAL,
    settle=SETTLE,
    submitted=SUBMITTED,
    new_refs=_NEW_REFS,
    newest_refs=_NEWEST_REFS,
    holders=HOLDERS,
    older_ref=Plain(_OLDER),
    drop_older_refs=Plain(_DROP_OLDER),
)
