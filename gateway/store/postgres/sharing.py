"""The statements of nodes that share a database."""

from __future__ import annotations

from gateway.store.engine.statements import SharingSql
from gateway.store.postgres import leases
from gateway.store.postgres.bulk import Plain, Prepared, nothing

IN_DOUBT = Prepared(f"{leases.IN_DOUBT} AND {leases.ORPHANED} FOR UPDATE", before=leases.MOVED_ON, bindings=nothing)
RECLAIM = Plain(f"{leases.RECLAIM} AND {leases.ORPHANED}")

SQL = SharingSql(
    in_doubt=IN_DOUBT,
    reclaim=RECLAIM,
)
