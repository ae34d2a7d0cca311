"""The statements of `gateway.store.engine.indexing`."""

from __future__ import annotations

from gateway.store.engine.statements import IndexingSql
from gateway.store.postgres.bulk import Plain, Select, Write

_BODY = "JOIN body AS b ON b.tenant_no = m.tenant_no AND b.id = m.id"
_COUNT = (
    "SELECT count(*), sum(lost) FROM (SELECT (octet_length(b.envelope) = 0)::int AS lost FROM tenant AS t"  # noqa: S608 - a constant
    f" JOIN message AS m ON m.tenant_no = t.no {_BODY} WHERE m.recipient_hash >= $1 AND m.recipient_hash < $2"
    " LIMIT $3) AS found"
)
# One step into the index for each tenant.
_FIRST = (
    "SELECT (SELECT least.recipient_hash FROM tenant AS t CROSS JOIN LATERAL (SELECT m.recipient_hash FROM message AS m"
    " WHERE m.tenant_no = t.no AND m.recipient_hash >= $1 ORDER BY m.recipient_hash LIMIT 1) AS least"
    " ORDER BY least.recipient_hash LIMIT 1)"
)
_REHASH = (
    "UPDATE message AS m SET recipient_hash = v.new FROM {v}"
    " WHERE m.tenant_no = v.tenant_no AND m.id = v.id AND m.recipient_hash = v.old"
)

SQL = IndexingSql(
    note=Write(
        "INSERT INTO index_key (version, since) SELECT version, since FROM {v} ON CONFLICT (version) DO NOTHING",
        "version bytes, since int",
    ),
    since=Plain("SELECT since FROM index_key WHERE version = $1"),
    all=Select("SELECT version, since FROM index_key"),
    first=Plain(_FIRST),
    count=Plain(_COUNT),
    keys=Plain("SELECT 1 FROM idempotency WHERE key_hash >= $1 AND key_hash < $2 LIMIT 1"),
    page=Select(
        f"SELECT m.id, m.recipient_hash, b.envelope FROM message AS m {_BODY} WHERE m.tenant_no = $1"  # noqa: S608 - a constant
        " AND (m.recipient_hash, m.id) > ($2, $3) AND m.recipient_hash < $4 ORDER BY m.recipient_hash, m.id LIMIT $5"
    ),
    rehash=Write(_REHASH, "tenant_no int, id bytes, old bytes, new bytes"),
    oldest_part=Plain("SELECT id FROM inbound_part WHERE tenant_no = $1 ORDER BY id LIMIT 1"),
    left=Select(
        "SELECT b.envelope, b.content FROM retention_left AS l"
        " JOIN body AS b ON b.tenant_no = l.tenant_no AND b.id = l.id"
        " WHERE l.tenant_no = $1 AND l.stage = $2 LIMIT $3"
    ),
)
