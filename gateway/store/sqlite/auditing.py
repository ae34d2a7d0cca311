"""The audit in the database: one row a commit, written by it; here is what needs no change to go with.

`transaction.py` gathers the records and writes the row. Rows are only ever added: triggers refuse anything else.
"""

from __future__ import annotations

from collections.abc import Sequence

import apsw

from gateway.audit.records import Record
from gateway.store.contract import AuditCommit
from gateway.store.sqlite.bulk import Select, fetch
from gateway.store.sqlite.transaction import Transaction

MAX_COMMITS = 1_000  # of one page
PAGE_BYTES = 256 << 10  # of one page: it ends with the commit that goes beyond them

SIZES = Select("seq size", "SELECT seq, length(records) AS size FROM audit_commit WHERE seq > ? ORDER BY seq LIMIT ?")
COMMITS = Select(
    "seq at count :records",
    "SELECT seq, at, count, records FROM audit_commit WHERE seq > ? AND seq <= ? ORDER BY seq LIMIT -1",
)
BOUNDS = "SELECT ifnull((SELECT min(seq) FROM audit_commit), 1), ifnull((SELECT max(seq) FROM audit_commit), 0)"


def audit_only(tx: Transaction, batch: Sequence[Record]) -> list[None]:
    """Add records that belong to no change."""
    tx.records.add(batch)
    return [None] * len(batch)


def read_commits(db: apsw.Connection, after: int, limit: int) -> list[AuditCommit]:
    """Return the commits above `after`, in order: a page."""
    last = octets = 0
    for seq, size in SIZES.rows(db, (after, min(limit, MAX_COMMITS))):
        last = seq
        octets += size
        if octets >= PAGE_BYTES:
            break
    return [AuditCommit._make(row) for row in COMMITS.rows(db, (after, last))] if last else []


def read_bounds(db: apsw.Connection) -> tuple[int, int]:
    """Return the seq before the oldest commit, and that of the newest; (0, 0) without any."""
    ((oldest, newest),) = fetch(db, BOUNDS)
    return oldest - 1, newest
