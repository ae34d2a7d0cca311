"""The statements of `gateway.store.engine.settling`."""

from __future__ import annotations

from gateway.store.engine.statements import SettlingSql
from gateway.store.postgres.bulk import Locking, Lookup, Plain, Write
from gateway.store.postgres.claiming import LOCK

# Messages that are not simply SENDING for the first time, and by this node; state 0: there is no such message.
UNUSUAL = Locking(
    "SELECT v.n, coalesce(m.state, 0), m.queue, m.part_states, m.carrier_no, m.category,"
    " m.holder IS NOT DISTINCT FROM {me} FROM {v}"
    " LEFT JOIN message AS m ON m.tenant_no = v.tenant_no AND m.id = v.id"
    " WHERE m.state IS DISTINCT FROM 2 OR m.part_states <> '' OR m.holder IS DISTINCT FROM {me}",
    "tenant_no int, id bytes",
    lock=LOCK,
)
SETTLE = Write(
    "UPDATE message AS m SET state = v.state, queue = v.queue, due_at = v.due_at,"
    " submitted_at = coalesce(v.submitted_at, m.submitted_at), done_at = v.done_at, carrier_no = v.carrier_no,"
    " carrier_ids = v.carrier_ids, part_states = v.part_states, reason_code = v.reason_code,"
    " reason_text = v.reason_text, smpp_status = v.smpp_status FROM {v}"
    " WHERE m.tenant_no = v.tenant_no AND m.id = v.id",
    "tenant_no int, id bytes, state int, queue int, due_at int, submitted_at int, done_at int, carrier_no int,"
    " carrier_ids text, part_states text, reason_code text, reason_text text, smpp_status int",
)
SUBMITTED = Write(
    "UPDATE message AS m SET state = 3, queue = 40, due_at = v.due_at, submitted_at = v.at, done_at = NULL,"
    " carrier_no = v.carrier_no, carrier_ids = v.carrier_ids, part_states = v.part_states, reason_code = '',"
    " reason_text = '', smpp_status = NULL FROM {v} WHERE m.tenant_no = v.tenant_no AND m.id = v.id",
    "tenant_no int, id bytes, due_at int, at int, carrier_no int, carrier_ids text, part_states text",
)
_REFS = (
    "INSERT INTO carrier_ref (carrier_no, carrier_id, tenant_no, message_id, part)"
    " SELECT carrier_no, carrier_id, tenant_no, message_id, part FROM {v} ORDER BY n"
)
_REF = "carrier_no int, carrier_id text, tenant_no int, message_id bytes, part int"
_NEW_REFS = Write(f"{_REFS} ON CONFLICT DO NOTHING", _REF)
_NEWEST_REFS = Write(
    f"{_REFS} ON CONFLICT (carrier_no, carrier_id) DO UPDATE SET tenant_no = excluded.tenant_no,"
    " message_id = excluded.message_id, part = excluded.part",
    _REF,
)
HOLDERS = Lookup(
    "SELECT v.n, r.tenant_no, r.message_id, r.part FROM {v}"
    " JOIN carrier_ref AS r ON r.carrier_no = v.carrier_no AND r.carrier_id = v.carrier_id",
    "carrier_no int, carrier_id text",
)
# An id that is given again leads to its newest message; of those before it the newest eight are remembered.
_OLDER = Plain(
    "INSERT INTO carrier_ref_older (carrier_no, carrier_id, tenant_no, message_id, part) VALUES ($1, $2, $3, $4, $5)"
    " ON CONFLICT DO NOTHING"
)
_DROP_OLDER = Plain(
    "DELETE FROM carrier_ref_older WHERE carrier_no = $1 AND carrier_id = $2 AND message_id <= (SELECT message_id"
    " FROM carrier_ref_older WHERE carrier_no = $1 AND carrier_id = $2 ORDER BY message_id DESC LIMIT 1 OFFSET 8)"
)

SQL = SettlingSql(
    unusual=UNUSUAL,
    settle=SETTLE,
    submitted=SUBMITTED,
    new_refs=_NEW_REFS,
    newest_refs=_NEWEST_REFS,
    holders=HOLDERS,
    older_ref=_OLDER,
    drop_older_refs=_DROP_OLDER,
)
