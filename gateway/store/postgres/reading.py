"""The statements of `gateway.store.engine.reading`."""

from __future__ import annotations

from gateway.store.engine.statements import ReadingSql
from gateway.store.postgres.bulk import Plain, Select

_MESSAGE = (
    "SELECT $1, m.id, b.owner, m.category, m.state, b.sender, b.masked_recipient, b.envelope, b.encoding, m.segments,"
    " b.accepted_at, m.due_at, m.expires_at, m.sending_at, m.submitted_at, m.done_at, c.name, m.attempts,"
    " m.carrier_ids, m.part_states, m.reason_code, m.reason_text, m.smpp_status, m.network_error, m.operator_done_at,"
    " coalesce(m.told_sender, b.sender), (octet_length(b.content) > 0)::int FROM message AS m"
    " JOIN body AS b ON b.tenant_no = m.tenant_no AND b.id = m.id JOIN carrier AS c ON c.no = m.carrier_no"
    " WHERE m.tenant_no = (SELECT no FROM tenant WHERE name = $1)"
)
ONE = Plain(f"{_MESSAGE} AND m.id = $2")
# $4: the states wanted, as bits; 0 for all.
_IN_STATES = "($4 = 0 OR (1::bigint << m.state) & $4 <> 0)"
LIST = Select(f"{_MESSAGE} AND m.id < $2 AND m.id >= $5 AND {_IN_STATES} ORDER BY m.id DESC LIMIT $3")
LIST_RECIPIENT = Select(
    f"{_MESSAGE} AND m.id < $2 AND m.id >= $5 AND {_IN_STATES} AND m.recipient_hash = $6 ORDER BY m.id DESC LIMIT $3"
)
REACH = Plain(
    "SELECT id FROM message WHERE tenant_no = (SELECT no FROM tenant WHERE name = $1) AND id < $2"
    " ORDER BY id DESC LIMIT 1 OFFSET $3"
)
EVENTS = Select(
    "SELECT e.seq, e.at, e.message_id, e.state, coalesce(m.category, 0), coalesce(b.masked_recipient, ''),"
    " coalesce(b.envelope, ''), coalesce(m.segments, 0), c.name, coalesce(e.reason_code, ''),"
    " coalesce(e.reason_text, ''), e.smpp_status, coalesce(e.network_error, ''), e.operator_done_at FROM event AS e"
    " JOIN carrier AS c ON c.no = e.carrier_no"
    " LEFT JOIN message AS m ON m.tenant_no = e.tenant_no AND m.id = e.message_id"
    " LEFT JOIN body AS b ON b.tenant_no = e.tenant_no AND b.id = e.message_id"
    " WHERE e.tenant_no = (SELECT no FROM tenant WHERE name = $1) AND e.seq > $2 ORDER BY e.seq LIMIT $3"
)
INBOUND_PARTS = Select(
    "SELECT e.seq, p.payload FROM event AS e JOIN inbound_part AS p"
    " ON p.tenant_no = e.tenant_no AND p.id = e.message_id"
    " WHERE e.tenant_no = (SELECT no FROM tenant WHERE name = $1) AND e.seq > $2 AND e.seq <= $3 AND e.state = 0"
    " ORDER BY e.seq, p.part"
)
BOUNDS = Plain(
    "SELECT (SELECT min(seq) FROM event WHERE tenant_no = t.no), (SELECT max(seq) FROM event WHERE tenant_no = t.no)"
    " FROM tenant AS t WHERE t.name = $1"
)
NEXT_DUE = Plain("SELECT min(due_at) FROM message WHERE queue = $1")
HEAD = Plain(
    "SELECT count(*), min(due_at) FROM (SELECT due_at FROM message WHERE queue = $1 ORDER BY due_at LIMIT $2) AS head"
)
_BEHIND = "FROM message WHERE queue = $1 AND (due_at, tenant_no, id) > ($2, $3, $4) ORDER BY due_at, tenant_no, id"
SLICE_END = Plain(f"SELECT due_at, tenant_no, id {_BEHIND} LIMIT 1 OFFSET $5")
SLICE_REST = Plain(f"SELECT count(*) FROM (SELECT 1 {_BEHIND} LIMIT $5) AS rest")  # noqa: S608 - a constant
# The index alone.
BACKLOG = Select(
    "SELECT t.name, w.number, w.due_at, w.seen::bigint FROM (SELECT tenant_no, count(*) AS number,"
    " min(due_at) AS due_at, sum(count(*)) OVER () AS seen FROM (SELECT tenant_no, due_at FROM message"
    " WHERE queue = $1 ORDER BY due_at LIMIT $2) AS q GROUP BY tenant_no) AS w"
    " JOIN tenant AS t ON t.no = w.tenant_no ORDER BY w.number DESC, t.name LIMIT $3"
)
_IN_MEMORY = Plain("SELECT state = 2, count(*), min(due_at) FROM message WHERE queue = 20 GROUP BY state = 2")

SQL = ReadingSql(
    one=ONE,
    list=LIST,
    list_recipient=LIST_RECIPIENT,
    reach=REACH,
    events=EVENTS,
    inbound_parts=INBOUND_PARTS,
    bounds=BOUNDS,
    next_due=NEXT_DUE,
    head=HEAD,
    slice_end=SLICE_END,
    slice_rest=SLICE_REST,
    backlog=BACKLOG,
    in_memory=_IN_MEMORY,
    unmatched=Plain("SELECT count(*) FROM kept_receipt"),
    counters=Plain("SELECT name, value FROM counter"),
)
