"""The statements of `gateway.store.engine.auditing`."""

from __future__ import annotations

from gateway.store.engine.statements import AuditingSql
from gateway.store.postgres.bulk import Plain, Select

SIZES = Select("SELECT seq, octet_length(records) FROM audit_commit WHERE seq > $1 ORDER BY seq LIMIT $2")
COMMITS = Select("SELECT seq, at, count, records FROM audit_commit WHERE seq > $1 AND seq <= $2 ORDER BY seq")
BOUNDS = Plain(
    "SELECT coalesce((SELECT min(seq) FROM audit_commit), 1), coalesce((SELECT max(seq) FROM audit_commit), 0)"
)
FIRST = Plain("SELECT seq, at FROM audit_commit WHERE seq >= $1 ORDER BY seq LIMIT 1")

SQL = AuditingSql(
    sizes=SIZES,
    commits=COMMITS,
    bounds=BOUNDS,
    first=FIRST,
)
