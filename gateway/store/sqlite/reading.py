"""The statements of `gateway.store.engine.reading`."""

from __future__ import annotations

from gateway.store.engine.statements import ReadingSql
from gateway.store.sqlite.blocks import ByRecipient, Part
from gateway.store.sqlite.bulk import Plain, Select

_COLUMNS = (
    "tenant :id owner category state sender masked_recipient :envelope encoding segments accepted_at due_at expires_at"
    " sending_at submitted_at done_at carrier attempts carrier_ids part_states reason_code reason_text smpp_status"
    " network_error operator_done_at told_sender content_kept"
)
_SELECT = (
    "SELECT ?1 AS tenant, m.id, b.owner, m.category, m.state, b.sender, b.masked_recipient, b.envelope, b.encoding,"
    " m.segments, b.accepted_at, m.due_at, m.expires_at, m.sending_at, m.submitted_at, m.done_at, c.name AS carrier,"
    " m.attempts, m.carrier_ids, m.part_states, m.reason_code, m.reason_text, m.smpp_status, m.network_error,"
    " m.operator_done_at, ifnull(m.told_sender, b.sender) AS told_sender, length(b.content) > 0 AS content_kept"
)
_REST = (
    "CROSS JOIN body AS b ON b.tenant_no = m.tenant_no AND b.id = m.id CROSS JOIN carrier AS c ON c.no = m.carrier_no"
)
_OF_TENANT = "m.tenant_no = (SELECT no FROM tenant WHERE name = ?1)"
_MESSAGE = f"{_SELECT} FROM message AS m {_REST} WHERE {_OF_TENANT}"
ONE = f"{_MESSAGE} AND m.id = ?2"
# ?4: the states wanted, as bits; 0 for all.
_IN_STATES = "(?4 = 0 OR (1 << m.state) & ?4)"
LIST = Select(_COLUMNS, f"{_MESSAGE} AND m.id < ?2 AND m.id >= ?5 AND {_IN_STATES} ORDER BY m.id DESC LIMIT ?3")
_RECIPIENTS = f"{_OF_TENANT} AND m.recipient_hash = ?6 AND m.id < ?2 AND m.id >= ?5 AND {_IN_STATES}"
# The blocks whose ids are in the range, the newest first, and behind them the runs. CROSS JOIN keeps the tables' order.
_BLOCK = "(SELECT no FROM block WHERE from_id <= {} ORDER BY from_id DESC LIMIT 1)"
_FROM, _TO = _BLOCK.format("?5"), _BLOCK.format("?2")
_OLD = "message AS m INDEXED BY message_recipient"
_RUNS = "run AS k INDEXED BY run_asked CROSS JOIN recipient AS r ON r.run = k.no"
_ASKED = f"WHERE k.state = 1 AND k.last BETWEEN {_FROM} AND ?7 AND k.first <= {_TO}"
_IN_RUN = f"r.{_OF_TENANT[2:]} AND r.hash = ?6 AND r.id < ?2 AND r.id >= ?5"
LIST_RECIPIENT = ByRecipient(
    _COLUMNS,
    f"{_SELECT} FROM block AS k CROSS JOIN message AS m INDEXED BY message_block ON m.block = k.no {_REST}"
    f" WHERE k.no BETWEEN max({_FROM}, ?7 + 1) AND {_TO} AND {_RECIPIENTS} ORDER BY k.no DESC, m.id DESC LIMIT ?3",
    Part(
        f"SELECT 1 FROM {_RUNS} {_ASKED} AND {_IN_RUN} LIMIT 1",  # noqa: S608 - constants
        f"{_SELECT} FROM {_RUNS} CROSS JOIN message AS m ON m.tenant_no = r.tenant_no AND m.id = r.id {_REST}"
        f" {_ASKED} AND {_IN_RUN} AND {_IN_STATES} ORDER BY k.last DESC, r.id DESC LIMIT ?3",
    ),
    Part(
        f"SELECT 1 FROM {_OLD} WHERE m.block IS NULL AND {_OF_TENANT} AND m.recipient_hash = ?6 LIMIT 1",  # noqa: S608
        f"{_SELECT} FROM {_OLD} {_REST} WHERE m.block IS NULL AND {_RECIPIENTS} ORDER BY m.id DESC LIMIT ?3",
    ),
)
REACH = (
    "SELECT id FROM message WHERE tenant_no = (SELECT no FROM tenant WHERE name = ?1) AND id < ?2"
    " ORDER BY id DESC LIMIT 1 OFFSET ?3"
)
EVENTS = Select(
    "seq at :message_id state category masked_recipient :envelope segments carrier reason_code reason_text smpp_status"
    " network_error operator_done_at",
    "SELECT e.seq, e.at, e.message_id, e.state, ifnull(m.category, 0) AS category,"
    " ifnull(b.masked_recipient, '') AS masked_recipient, ifnull(b.envelope, x'') AS envelope,"
    " ifnull(m.segments, 0) AS segments, c.name AS carrier, ifnull(e.reason_code, '') AS reason_code,"
    " ifnull(e.reason_text, '') AS reason_text, e.smpp_status, ifnull(e.network_error, '') AS network_error,"
    " e.operator_done_at FROM event AS e CROSS JOIN carrier AS c ON c.no = e.carrier_no"
    " LEFT JOIN message AS m ON m.tenant_no = e.tenant_no AND m.id = e.message_id"
    " LEFT JOIN body AS b ON b.tenant_no = e.tenant_no AND b.id = e.message_id"
    " WHERE e.tenant_no = (SELECT no FROM tenant WHERE name = ?1) AND e.seq > ?2 ORDER BY e.seq LIMIT ?3",
)
INBOUND_PARTS = Select(
    "seq :payload",
    "SELECT e.seq, p.payload FROM event AS e CROSS JOIN inbound_part AS p"
    " ON p.tenant_no = e.tenant_no AND p.id = e.message_id"
    " WHERE e.tenant_no = (SELECT no FROM tenant WHERE name = ?1) AND e.seq > ?2 AND e.seq <= ?3 AND e.state = 0"
    " ORDER BY e.seq, p.part LIMIT -1",
)
BOUNDS = (
    "SELECT (SELECT min(seq) FROM event WHERE tenant_no = t.no), (SELECT max(seq) FROM event WHERE tenant_no = t.no)"
    " FROM tenant AS t WHERE t.name = ?"
)
NEXT_DUE = "SELECT min(due_at) FROM message INDEXED BY message_queue WHERE queue = ?"
_IN_QUEUE = "FROM message INDEXED BY message_queue WHERE queue = ?1"
HEAD = f"SELECT count(*), min(due_at) FROM (SELECT due_at {_IN_QUEUE} ORDER BY due_at LIMIT ?2)"  # noqa: S608 - a constant
_BEHIND = f"{_IN_QUEUE} AND (due_at, tenant_no, id) > (?2, ?3, ?4) ORDER BY due_at, tenant_no, id"
SLICE_END = f"SELECT due_at, tenant_no, id {_BEHIND} LIMIT 1 OFFSET ?5"
SLICE_REST = f"SELECT count(*) FROM (SELECT 1 {_BEHIND} LIMIT ?5)"  # noqa: S608 - a constant
# The index alone: it ends with the key of the table.
BACKLOG = Select(
    "tenant number due_at seen",
    "SELECT t.name AS tenant, w.number, w.due_at, w.seen FROM (SELECT tenant_no, count(*) AS number,"
    " min(due_at) AS due_at, sum(count(*)) OVER () AS seen FROM (SELECT tenant_no, due_at FROM message"
    " INDEXED BY message_queue WHERE queue = ?1 ORDER BY due_at LIMIT ?2) GROUP BY tenant_no) AS w"
    " CROSS JOIN tenant AS t ON t.no = w.tenant_no ORDER BY w.number DESC, tenant LIMIT ?3",
)
_IN_MEMORY = (
    "SELECT state = 2, count(*), min(due_at) FROM message INDEXED BY message_queue WHERE queue = 20 GROUP BY state = 2"
)

SQL = ReadingSql(
    one=Plain(ONE),
    list=LIST,
    list_recipient=LIST_RECIPIENT,
    reach=Plain(REACH),
    events=EVENTS,
    inbound_parts=INBOUND_PARTS,
    bounds=Plain(BOUNDS),
    next_due=Plain(NEXT_DUE),
    head=Plain(HEAD),
    slice_end=Plain(SLICE_END),
    slice_rest=Plain(SLICE_REST),
    backlog=BACKLOG,
    in_memory=Plain(_IN_MEMORY),
    unmatched=Plain("SELECT count(*) FROM kept_receipt"),
    counters=Plain("SELECT name, value FROM counter"),
)
