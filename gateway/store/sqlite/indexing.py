"""The statements of `gateway.store.engine.indexing`."""

from __future__ import annotations

from gateway.store.engine.statements import IndexingSql
from gateway.store.sqlite.bulk import Plain, Select, Write

_INDEX = "FROM message AS m INDEXED BY message_recipient"
_BODY = "CROSS JOIN body AS b ON b.tenant_no = m.tenant_no AND b.id = m.id"
_COUNT = (
    "SELECT count(*), sum(lost) FROM (SELECT length(b.envelope) = 0 AS lost"  # noqa: S608 - a constant
    f" {_INDEX} {_BODY} WHERE m.tenant_no = ?1 AND m.recipient_hash >= ?2 AND m.recipient_hash < ?3 LIMIT ?4)"
)
_REHASH = (
    "WITH v (tenant_no, id, old, new) AS (VALUES {values}) UPDATE message SET recipient_hash = v.new FROM v"
    " WHERE message.tenant_no = v.tenant_no AND message.id = v.id AND message.recipient_hash = v.old"
)

SQL = IndexingSql(
    note=Write("INSERT OR IGNORE INTO index_key (version, since) VALUES {values}", "(?,?)"),
    since=Plain("SELECT since FROM index_key WHERE version = ?"),
    all=Select(":version since", "SELECT version, since FROM index_key"),
    first=Plain(
        f"SELECT m.recipient_hash {_INDEX} WHERE m.tenant_no = ? AND m.recipient_hash >= ?"
        " ORDER BY m.recipient_hash LIMIT 1"
    ),
    count=Plain(_COUNT),
    keys=Plain("SELECT 1 FROM idempotency WHERE key_hash >= ? AND key_hash < ? LIMIT 1"),
    page=Select(
        ":id :recipient_hash :envelope",
        f"SELECT m.id, m.recipient_hash, b.envelope {_INDEX} {_BODY} WHERE m.tenant_no = ?1"
        " AND (m.recipient_hash, m.id) > (?2, ?3) AND m.recipient_hash < ?4 ORDER BY m.recipient_hash, m.id LIMIT ?5",
    ),
    rehash=Write(_REHASH, "(?,?,?,?)"),
    oldest_part=Plain("SELECT id FROM inbound_part WHERE tenant_no = ? ORDER BY id LIMIT 1"),
    left=Select(
        ":envelope :content",
        "SELECT b.envelope, b.content FROM retention_left AS l"
        " CROSS JOIN body AS b ON b.tenant_no = l.tenant_no AND b.id = l.id"
        " WHERE l.tenant_no = ?1 AND l.stage = ?2 LIMIT ?3",
    ),
)
