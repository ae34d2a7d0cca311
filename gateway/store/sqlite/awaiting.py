"""The statements of `gateway.store.engine.awaiting`."""

from __future__ import annotations

from gateway.store.engine.statements import AwaitingSql
from gateway.store.sqlite.bulk import Plain, Select

# ?1: where to begin (due_at), ?2 and ?3: behind which message of that time. ?4: how many to look at.
AWAITING = Select(
    "due_at tenant_no :id state sender carrier_no carrier_ids part_states sent_at",
    "SELECT m.due_at, m.tenant_no, m.id, m.state, ifnull(m.told_sender, b.sender) AS sender, m.carrier_no,"
    " m.carrier_ids, m.part_states, ifnull(m.sending_at, 0) AS sent_at FROM message AS m INDEXED BY message_queue"
    " CROSS JOIN body AS b ON b.tenant_no = m.tenant_no AND b.id = m.id"
    " WHERE m.queue = 40 AND m.due_at >= ?1 AND (m.due_at > ?1 OR (m.tenant_no, m.id) > (?2, ?3))"
    " ORDER BY m.due_at, m.tenant_no, m.id LIMIT ?4",
)
_NAMES = "SELECT (SELECT name FROM tenant WHERE no = ?1), (SELECT name FROM carrier WHERE no = ?2)"

SQL = AwaitingSql(
    messages=AWAITING,
    names=Plain(_NAMES),
    tenant=Plain("SELECT no FROM tenant WHERE name = ?"),
)
