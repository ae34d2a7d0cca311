"""The statements of `gateway.store.engine.indexing`."""

from __future__ import annotations

from gateway.store.engine.statements import IndexingSql
from gateway.store.sqlite.blocks import HashedPage
from gateway.store.sqlite.bulk import Plain, Select, Write
from gateway.store.sqlite.key_runs import MERGED

_BLOCKS = "message AS m INDEXED BY message_block ON m.block = k.no"
_OLD = "message AS m INDEXED BY message_recipient ON m.block IS NULL"
_BODY = "CROSS JOIN body AS b ON b.tenant_no = m.tenant_no AND b.id = m.id"
_UNDER = "m.tenant_no = t.no AND m.recipient_hash >= ?1 AND m.recipient_hash < ?2"
_LOST = "SELECT length(b.envelope) = 0 AS lost FROM"
_COUNT = (
    f"SELECT count(*), sum(lost) FROM ({_LOST} tenant AS t CROSS JOIN {_OLD} {_BODY} WHERE {_UNDER} UNION ALL"  # noqa: S608 - constants
    f" {_LOST} block AS k CROSS JOIN tenant AS t CROSS JOIN {_BLOCKS} {_BODY} WHERE {_UNDER} LIMIT ?3)"
)
_LEAST = (
    "(SELECT m.recipient_hash FROM {} AND m.tenant_no = t.no AND m.recipient_hash >= ?1 ORDER BY 1 LIMIT 1) AS hash"
)
_FIRST = (
    "SELECT min(hash) FROM (SELECT "  # noqa: S608 - constants
    + _LEAST.format(_OLD.replace(" ON ", " WHERE "))
    + " FROM tenant AS t UNION ALL SELECT "
    + _LEAST.format(_BLOCKS.replace(" ON ", " WHERE "))
    + " FROM block AS k CROSS JOIN tenant AS t)"
)
_PAGE = "SELECT m.id, m.recipient_hash, b.envelope FROM"
_IN_VERSION = "m.tenant_no = ?1 AND m.recipient_hash < ?4"
_REHASH = (
    "WITH v (tenant_no, id, old, new) AS (VALUES {values}) UPDATE message SET recipient_hash = v.new FROM v"
    " WHERE message.tenant_no = v.tenant_no AND message.id = v.id AND message.recipient_hash = v.old"
)
PAGE = HashedPage(
    ":id :recipient_hash :envelope",
    f"{_PAGE} block AS k CROSS JOIN {_BLOCKS} {_BODY} WHERE k.no >= ?6 AND {_IN_VERSION} AND m.recipient_hash >= ?7"
    " AND (k.no > ?6 OR (m.recipient_hash, m.id) > (?2, ?3)) ORDER BY k.no, m.recipient_hash, m.id LIMIT ?5",
    f"{_PAGE} message AS m INDEXED BY message_recipient {_BODY} WHERE m.block IS NULL AND {_IN_VERSION}"
    " AND (m.recipient_hash, m.id) > (?2, ?3)"
    " ORDER BY m.recipient_hash, m.id LIMIT ?5",
)
# In any run; behind them, of which there are a few runs' worth; and of before there were runs.
_UNMERGED = f"SELECT 1 FROM key_record AS i WHERE i.no > ifnull(({MERGED}), -1)"  # noqa: S608 - constants
KEYS = (
    "SELECT 1 FROM key_run AS k CROSS JOIN key_entry AS e ON e.run = k.no AND e.key_hash >= ?1 AND e.key_hash < ?2"  # noqa: S608
    f" UNION ALL {_UNMERGED} AND i.key_hash >= ?1 AND i.key_hash < ?2"
    " UNION ALL SELECT 1 FROM idempotency AS o WHERE o.key_hash >= ?1 AND o.key_hash < ?2 LIMIT 1"
)

SQL = IndexingSql(
    note=Write("INSERT OR IGNORE INTO index_key (version, since) VALUES {values}", "(?,?)"),
    since=Plain("SELECT since FROM index_key WHERE version = ?"),
    all=Select(":version since", "SELECT version, since FROM index_key"),
    first=Plain(_FIRST),
    count=Plain(_COUNT),
    keys=Plain(KEYS),
    page=PAGE,
    rehash=Write(_REHASH, "(?,?,?,?)"),
    oldest_part=Plain("SELECT id FROM inbound_part WHERE tenant_no = ? ORDER BY id LIMIT 1"),
    left=Select(
        ":envelope :content",
        "SELECT b.envelope, b.content FROM retention_left AS l"
        " CROSS JOIN body AS b ON b.tenant_no = l.tenant_no AND b.id = l.id"
        " WHERE l.tenant_no = ?1 AND l.stage = ?2 LIMIT ?3",
    ),
)
