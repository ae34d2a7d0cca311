"""The statements of `gateway.store.engine.accepting`."""

from __future__ import annotations

from gateway.store.engine.statements import AcceptingSql
from gateway.store.sqlite.bulk import Lookup, Write

_MESSAGES = Write(
    "INSERT INTO message (tenant_no, id, state, queue, due_at, expires_at, attempts, carrier_no, category, segments,"
    " part_states, carrier_ids, reason_code, reason_text, network_error, recipient_hash, country, reserved,"
    " block) VALUES {values}",
    "(?,?,1,?,?,?,0,0,?,?,'','','','','',?,?,?,?)",
)
_BODIES = Write(
    "INSERT INTO body (tenant_no, id, accepted_at, encoding, sender, masked_recipient, owner, envelope, content,"
    " country) VALUES {values}",
    "(?,?,?,?,?,?,?,?,?,?)",
)
# Few messages are traced, so the others do without a column more.
_TRACES = Write(
    "WITH v (tenant_no, id, trace) AS (VALUES {values}) UPDATE message SET trace = v.trace FROM v"
    " WHERE message.tenant_no = v.tenant_no AND message.id = v.id",
    "(?,?,?)",
)
# An expired record counts as absent. Rows that conflict with a live one are not changed, and so not counted. The next
# number is asked for with an eye on the row: SQLite would ask once for all rows otherwise, and give two the same.
_KEYS = Write(
    "INSERT INTO idempotency (key_hash, content_hash, tenant_no, message_id, created_at, expires_at) VALUES {values}"
    " ON CONFLICT (key_hash) DO UPDATE SET"
    " no = (SELECT i.no FROM idempotency AS i WHERE excluded.key_hash IS NOT NULL ORDER BY i.no DESC LIMIT 1) + 1,"
    " content_hash = excluded.content_hash, tenant_no = excluded.tenant_no,"
    " message_id = excluded.message_id, created_at = excluded.created_at, expires_at = excluded.expires_at"
    " WHERE idempotency.expires_at <= excluded.created_at",
    "(?,?,?,?,?,?)",
)
# Live records: after a conflict, under older hash keys while such a key is kept, and for those who only want to know.
LIVE_HOLDERS = Lookup(
    "n :message_id :content_hash state segments",
    "n, key_hash, at",
    "SELECT v.n, i.message_id, i.content_hash, m.state, m.segments FROM v"
    " CROSS JOIN idempotency AS i ON i.key_hash = v.key_hash AND i.expires_at > v.at"
    " LEFT JOIN message AS m ON m.tenant_no = i.tenant_no AND m.id = i.message_id",
    "({n},?,?)",
)

SQL = AcceptingSql(
    messages=_MESSAGES,
    bodies=_BODIES,
    traces=_TRACES,
    keys=_KEYS,
    live_holders=LIVE_HOLDERS,
)
