"""The statements of `gateway.store.engine.claiming`."""

from __future__ import annotations

from gateway.store.engine.statements import ClaimingSql
from gateway.store.sqlite.bulk import Lookup, Select, Write

_COLUMNS = (
    "tenant_no :id category sender :envelope :content segments due_at expires_at attempts state part_states"
    " carrier_ids carrier_no owner country :trace reason_code :recipient_hash reserved"
)
_VALUES = (
    "SELECT m.tenant_no, m.id, m.category, b.sender, b.envelope, b.content, m.segments, m.due_at, m.expires_at,"
    " m.attempts, m.state, m.part_states, m.carrier_ids, m.carrier_no, b.owner, b.country,"
    " m.trace, m.reason_code, m.recipient_hash, iif(m.submitted_at IS NULL, m.reserved, 0) AS reserved FROM"
)
_BODY = "CROSS JOIN body AS b ON b.tenant_no = m.tenant_no AND b.id = m.id"
# Rows past their validity stay for close_due. The index alone says which are due, and is read as far as needed.
SOONEST = Select(
    _COLUMNS,
    f"{_VALUES} (SELECT tenant_no, id, due_at FROM message INDEXED BY message_soonest WHERE queue > 10 AND queue < 20"  # noqa: S608 - constants
    " AND queue = ?1 AND expires_at > ?2 ORDER BY expires_at LIMIT ?3) AS s"
    f" CROSS JOIN message AS m ON m.tenant_no = s.tenant_no AND m.id = s.id {_BODY} WHERE s.due_at <= ?2 LIMIT ?4",
)
DUE = Select(
    _COLUMNS,
    f"{_VALUES} message AS m INDEXED BY message_queue {_BODY}"
    " WHERE m.queue = ? AND m.due_at <= ? AND m.expires_at > ? ORDER BY m.due_at LIMIT ?",
)
TAKE = Write(
    "WITH v (tenant_no, id) AS (VALUES {values}) UPDATE message SET queue = 20 FROM v"
    " WHERE message.tenant_no = v.tenant_no AND message.id = v.id",
    "(?,?)",
)
# Parts answered by another carrier say nothing about this attempt.
SEND = Write(
    "WITH v (tenant_no, id, carrier_no, at, sender) AS (VALUES {values}) UPDATE message SET state = 2,"
    " sending_at = v.at, attempts = attempts + 1, carrier_no = v.carrier_no,"
    " part_states = iif(message.carrier_no = v.carrier_no, part_states, ''),"
    " carrier_ids = iif(message.carrier_no = v.carrier_no, carrier_ids, ''), told_sender = nullif(v.sender, '') FROM v"
    " WHERE message.tenant_no = v.tenant_no AND message.id = v.id",
    "(?,?,?,?,?)",
)
# Finds those that may not go: not there, not claimed, or in another state than ACCEPTED and UNKNOWN.
_GONE = Lookup(
    "n",
    "n, tenant_no, id",
    "SELECT v.n FROM v LEFT JOIN message AS m ON m.tenant_no = v.tenant_no AND m.id = v.id"
    " WHERE m.queue IS NOT 20 OR m.state NOT IN (1, 9)",
    "({n},?,?)",
)
# Who can send it is of no interest: there is one node.
RELEASE = Write(
    "WITH v (tenant_no, id, ways_no) AS (VALUES {values}) UPDATE message SET queue = 10 + category FROM v"
    " WHERE message.tenant_no = v.tenant_no AND message.id = v.id AND message.queue = 20 AND message.state <> 2",
    "(?,?,?)",
)

SQL = ClaimingSql(
    soonest=SOONEST,
    due=DUE,
    take=TAKE,
    send=SEND,
    gone=_GONE,
    release=RELEASE,
)
