"""The statements of `gateway.store.engine.accepting`."""

from __future__ import annotations

from gateway.store.engine.statements import AcceptingSql
from gateway.store.postgres.bulk import Lookup, Write

_MESSAGES = Write(
    "INSERT INTO message (tenant_no, id, state, queue, due_at, expires_at, attempts, carrier_no, category, segments,"
    " part_states, carrier_ids, reason_code, reason_text, network_error, recipient_hash, country, reserved,"
    " ways_no, holder)"
    " SELECT tenant_no, id, 1, queue, due_at, expires_at, 0, 0, category, segments, '', '', '', '', '', recipient_hash,"
    " country, reserved, ways_no, CASE WHEN queue = 20 THEN {me} END FROM {v}",
    "tenant_no int, id bytes, queue int, due_at int, expires_at int, category int, segments int, recipient_hash bytes,"
    " country int, reserved int, ways_no int",
)
_BODIES = Write(
    "INSERT INTO body (tenant_no, id, accepted_at, encoding, sender, masked_recipient, owner, envelope, content,"
    " country) SELECT tenant_no, id, accepted_at, encoding, sender, masked_recipient, owner, envelope, content, country"
    " FROM {v}",
    "tenant_no int, id bytes, accepted_at int, encoding int, sender text, masked_recipient text, owner text,"
    " envelope bytes, content bytes, country text",
)
# Few messages are traced, so the others do without a column more.
_TRACES = Write(
    "UPDATE message AS m SET trace = v.trace FROM {v} WHERE m.tenant_no = v.tenant_no AND m.id = v.id",
    "tenant_no int, id bytes, trace bytes",
)
# An expired record counts as absent. Rows that conflict with a live one are not changed, and so not counted; nor are
# later rows with the same key. The order of the keys is the same for all who write: nobody waits in a circle.
_KEYS = Write(
    "INSERT INTO idempotency (key_hash, content_hash, tenant_no, message_id, created_at, expires_at)"
    " SELECT DISTINCT ON (key_hash) key_hash, content_hash, tenant_no, message_id, created_at, expires_at FROM {v}"
    " ORDER BY key_hash, n ON CONFLICT (key_hash) DO UPDATE SET no = excluded.no,"
    " content_hash = excluded.content_hash, tenant_no = excluded.tenant_no, message_id = excluded.message_id,"
    " created_at = excluded.created_at, expires_at = excluded.expires_at"
    " WHERE idempotency.expires_at <= excluded.created_at",
    "key_hash bytes, content_hash bytes, tenant_no int, message_id bytes, created_at int, expires_at int",
)
LIVE_HOLDERS = Lookup(
    "SELECT v.n, i.message_id, i.content_hash, m.state, m.segments FROM {v}"
    " JOIN idempotency AS i ON i.key_hash = v.key_hash AND i.expires_at > v.at"
    " LEFT JOIN message AS m ON m.tenant_no = i.tenant_no AND m.id = i.message_id",
    "key_hash bytes, at int",
)

SQL = AcceptingSql(
    messages=_MESSAGES,
    bodies=_BODIES,
    traces=_TRACES,
    keys=_KEYS,
    live_holders=LIVE_HOLDERS,
)
