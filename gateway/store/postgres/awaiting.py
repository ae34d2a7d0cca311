"""The statements of `gateway.store.engine.awaiting`."""

from __future__ import annotations

from gateway.store.engine.statements import AwaitingSql
from gateway.store.postgres.bulk import Plain, Select

# $1, $2, $3: behind which message (due_at, tenant_no, id). $4: how many to look at.
AWAITING = Select(
    "SELECT m.due_at, m.tenant_no, m.id, m.state, coalesce(m.told_sender, b.sender), m.carrier_no, m.carrier_ids,"
    " m.part_states, coalesce(m.sending_at, 0) FROM message AS m"
    " JOIN body AS b ON b.tenant_no = m.tenant_no AND b.id = m.id"
    " WHERE m.queue = 40 AND (m.due_at, m.tenant_no, m.id) > ($1, $2, $3)"
    " ORDER BY m.due_at, m.tenant_no, m.id LIMIT $4"
)
_NAMES = Plain("SELECT (SELECT name FROM tenant WHERE no = $1), (SELECT name FROM carrier WHERE no = $2)")
_TENANT = Plain("SELECT no FROM tenant WHERE name = $1")

SQL = AwaitingSql(
    messages=AWAITING,
    names=_NAMES,
    tenant=_TENANT,
)
