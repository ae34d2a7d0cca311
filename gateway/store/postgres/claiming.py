"""The statements of `gateway.store.engine.claiming`."""

from __future__ import annotations

from gateway.store.engine.statements import ClaimingSql
from gateway.store.postgres.bulk import Locking, Select, Write

_VALUES = (
    "SELECT m.tenant_no, m.id, m.category, b.sender, b.envelope, b.content, m.segments, m.due_at, m.expires_at,"
    " m.attempts, m.state, m.part_states, m.carrier_ids, m.carrier_no, b.owner, b.country,"
    " coalesce(m.trace, ''), m.reason_code, m.recipient_hash,"
    " CASE WHEN m.submitted_at IS NULL THEN m.reserved ELSE 0 END FROM"
)
_BODY = "JOIN body AS b ON b.tenant_no = m.tenant_no AND b.id = m.id"
# Rows past their validity stay for close_due. What another has taken in its hands is passed over. The index alone says
# which of the first are due.
SOONEST = Select(
    f"{_VALUES} (SELECT tenant_no, id, due_at, expires_at FROM message WHERE queue > 10 AND queue < 20"  # noqa: S608 - constants
    " AND queue = $1 AND ways_no = $5 AND expires_at > $2 ORDER BY expires_at LIMIT $3) AS s"
    f" JOIN message AS m ON m.tenant_no = s.tenant_no AND m.id = s.id AND m.queue = $1 {_BODY}"
    " WHERE s.due_at <= $2 ORDER BY s.expires_at LIMIT $4 FOR UPDATE OF m SKIP LOCKED"
)
DUE = Select(
    f"{_VALUES} message AS m {_BODY}"
    " WHERE m.queue > 10 AND m.queue < 20 AND m.queue = $1 AND m.ways_no = $5 AND m.due_at <= $2 AND m.expires_at > $3"
    " ORDER BY m.due_at, m.tenant_no, m.id LIMIT $4"
    " FOR UPDATE OF m SKIP LOCKED"
)
TAKE = Write(
    "UPDATE message AS m SET queue = 20, holder = {me} FROM {v} WHERE m.tenant_no = v.tenant_no AND m.id = v.id",
    "tenant_no int, id bytes",
)
# Parts answered by another carrier say nothing about this attempt.
SEND = Write(
    "UPDATE message AS m SET state = 2, sending_at = v.at, attempts = m.attempts + 1, carrier_no = v.carrier_no,"
    " part_states = CASE WHEN m.carrier_no = v.carrier_no THEN m.part_states ELSE '' END,"
    " carrier_ids = CASE WHEN m.carrier_no = v.carrier_no THEN m.carrier_ids ELSE '' END,"
    " told_sender = nullif(v.sender, '') FROM {v} WHERE m.tenant_no = v.tenant_no AND m.id = v.id",
    "tenant_no int, id bytes, carrier_no int, at int, sender text",
)
# Locks messages before they are looked at: what another node does to them is done before, or has to wait. A statement
# of its own, so that the next one sees what it has waited for.
LOCK = Write(
    "SELECT count(*) FROM (SELECT 1 FROM {v} JOIN message AS m ON m.tenant_no = v.tenant_no AND m.id = v.id"
    " ORDER BY m.tenant_no, m.id FOR NO KEY UPDATE OF m) AS locked",
    "tenant_no int, id bytes",
)
# Finds those that may not go: not there, not claimed by this node, or in another state than ACCEPTED and UNKNOWN.
GONE = Locking(
    "SELECT v.n FROM {v} LEFT JOIN message AS m ON m.tenant_no = v.tenant_no AND m.id = v.id"
    " WHERE m.queue IS DISTINCT FROM 20 OR m.state NOT IN (1, 9) OR m.holder IS DISTINCT FROM {me}",
    "tenant_no int, id bytes",
    lock=LOCK,
)
RELEASE = Write(
    "UPDATE message AS m SET queue = 10 + m.category, ways_no = v.ways_no FROM {v}"
    " WHERE m.tenant_no = v.tenant_no AND m.id = v.id AND m.queue = 20 AND m.state <> 2 AND m.holder = {me}",
    "tenant_no int, id bytes, ways_no int",
)

SQL = ClaimingSql(
    soonest=SOONEST,
    due=DUE,
    take=TAKE,
    send=SEND,
    gone=GONE,
    release=RELEASE,
)
