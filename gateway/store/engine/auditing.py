"""The audit in the database: one row a commit, written by it; here is what needs no change to go with.

`transaction.py` gathers the records and writes the row. Rows are only ever added: triggers refuse anything else.
"""

from __future__ import annotations

from collections.abc import Sequence

from gateway.audit.records import Record
from gateway.store.contract import AuditCommit
from gateway.store.engine.database import Look
from gateway.store.engine.transaction import Transaction

MAX_COMMITS = 1_000  # of one page
PAGE_BYTES = 256 << 10  # of one page: it ends with the commit that goes beyond them


def audit_only(tx: Transaction, batch: Sequence[Record]) -> list[None]:
    """Add records that belong to no change."""
    tx.records.add(batch)
    return [None] * len(batch)


def read_commits(look: Look, after: int, limit: int) -> list[AuditCommit]:
    """Return the commits above `after`, in order: a page."""
    last = octets = 0
    for seq, size in look.sql.auditing.sizes.rows(look.db, (after, min(limit, MAX_COMMITS))):
        last = seq
        octets += size
        if octets >= PAGE_BYTES:
            break
    return [AuditCommit._make(row) for row in look.sql.auditing.commits.rows(look.db, (after, last))] if last else []


def read_bounds(look: Look) -> tuple[int, int]:
    """Return the seq before the oldest commit, and that of the newest; (0, 0) without any."""
    ((oldest, newest),) = look.sql.auditing.bounds.fetch(look.db)
    return oldest - 1, newest


def read_before(look: Look, at: int) -> int:
    """Return the seq before the first commit that was made at `at` or later. Commits are taken to be in the order of
    their times, which they are but for steps of a clock."""
    below, newest = read_bounds(look)
    above = newest + 1
    while above - below > 1:  # the commit `below` is before `at`, `above` is not, or is none
        middle = (below + above) // 2
        ((seq, made),) = look.sql.auditing.first.fetch(look.db, (middle,))
        if made < at:
            below = seq
        else:
            above = middle
    return below
