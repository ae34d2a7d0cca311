"""The statements of `gateway.store.engine.auditing`."""

from __future__ import annotations

from gateway.store.engine.statements import AuditingSql
from gateway.store.sqlite.bulk import Plain, Select

SIZES = Select("seq size", "SELECT seq, length(records) AS size FROM audit_commit WHERE seq > ? ORDER BY seq LIMIT ?")
COMMITS = Select(
    "seq at count :records",
    "SELECT seq, at, count, records FROM audit_commit WHERE seq > ? AND seq <= ? ORDER BY seq LIMIT -1",
)
BOUNDS = "SELECT ifnull((SELECT min(seq) FROM audit_commit), 1), ifnull((SELECT max(seq) FROM audit_commit), 0)"
FIRST = "SELECT seq, at FROM audit_commit WHERE seq >= ? ORDER BY seq LIMIT 1"

SQL = AuditingSql(
    sizes=SIZES,
    commits=COMMITS,
    bounds=Plain(BOUNDS),
    first=Plain(FIRST),
)
