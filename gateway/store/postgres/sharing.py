"""The statements of nodes that share a database."""

from __future__ import annotations

from gateway.store.engine.statements import SharingSql
from gateway.store.postgres import leases
from gateway.store.postgres.bulk import Plain, Prepared, Write, nothing
from gateway.store.postgres.transaction import names

IN_DOUBT = Prepared(f"{leases.IN_DOUBT} AND {leases.ORPHANED} FOR UPDATE", before=leases.MOVED_ON, bindings=nothing)
RECLAIM = Plain(f"{leases.RECLAIM} AND {leases.ORPHANED}")
NEXT_DUE = Plain("SELECT min(due_at) FROM message WHERE queue > 10 AND queue < 20 AND queue = $1 AND ways_no = $2")
RELEASE = Write(
    "UPDATE message AS m SET queue = 10 + m.category, ways_no = v.ways_no FROM {v}"
    " WHERE m.tenant_no = v.tenant_no AND m.id = v.id AND m.queue = 20 AND m.state <> 2 AND m.holder = {me}",
    "tenant_no int, id bytes, ways_no int",
)
MISSED = Plain(
    "SELECT k.carrier_no, k.carrier_id FROM kept_receipt AS k JOIN carrier_ref AS r"
    " ON r.carrier_no = k.carrier_no AND r.carrier_id = k.carrier_id WHERE k.at > $1 LIMIT $2"
)

SQL = SharingSql(
    in_doubt=IN_DOUBT,
    reclaim=RECLAIM,
    ways=names("ways"),
    next_due=NEXT_DUE,
    release=RELEASE,
    missed=MISSED,
)
