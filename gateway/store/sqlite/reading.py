"""What is read: queries, and how their rows become the contract's records. Used by the reader's thread.

A name's number is joined, not kept: the writer adds names at any time.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterable

import apsw

from gateway.store.contract import EventRow, ListFilter, MessageRow, Queue
from gateway.store.sqlite.bulk import Select, fetch

_COLUMNS = (
    "tenant :id owner category state sender masked_recipient :envelope encoding segments accepted_at due_at expires_at"
    " sending_at submitted_at done_at carrier attempts carrier_ids part_states reason_code reason_text smpp_status"
    " network_error operator_done_at told_sender"
)
_MESSAGE = (
    "SELECT ?1 AS tenant, m.id, b.owner, m.category, m.state, b.sender, b.masked_recipient, b.envelope, b.encoding,"
    " m.segments, b.accepted_at, m.due_at, m.expires_at, m.sending_at, m.submitted_at, m.done_at, c.name AS carrier,"
    " m.attempts, m.carrier_ids, m.part_states, m.reason_code, m.reason_text, m.smpp_status, m.network_error,"
    " m.operator_done_at, ifnull(m.told_sender, b.sender) AS told_sender FROM message AS m"
    " CROSS JOIN body AS b ON b.tenant_no = m.tenant_no AND b.id = m.id"
    " CROSS JOIN carrier AS c ON c.no = m.carrier_no"
    " WHERE m.tenant_no = (SELECT no FROM tenant WHERE name = ?1)"
)
ONE = f"{_MESSAGE} AND m.id = ?2"
# ?4: the states wanted, as bits; 0 for all.
_IN_STATES = "(?4 = 0 OR (1 << m.state) & ?4)"
LIST = Select(_COLUMNS, f"{_MESSAGE} AND m.id < ?2 AND {_IN_STATES} ORDER BY m.id DESC LIMIT ?3")
_BY_RECIPIENT = _MESSAGE.replace("message AS m", "message AS m INDEXED BY message_recipient")
LIST_RECIPIENT = Select(
    _COLUMNS, f"{_BY_RECIPIENT} AND m.id < ?2 AND {_IN_STATES} AND m.recipient_hash = ?5 ORDER BY m.id DESC LIMIT ?3"
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
_SIZE = "SELECT count(*), min(due_at) FROM message INDEXED BY message_queue WHERE queue = ?"
_IN_MEMORY = (
    "SELECT state = 2, count(*), min(due_at) FROM message INDEXED BY message_queue WHERE queue = 20 GROUP BY state = 2"
)
_LAST_ID = b"\xff" * 17  # greater than every id


def read_message(db: apsw.Connection, tenant: str, message_id: bytes) -> MessageRow | None:
    """Return one message of the tenant."""
    rows = fetch(db, ONE, (tenant, message_id))
    return MessageRow._make(rows[0]) if rows else None


def read_messages(
    db: apsw.Connection, tenant: str, where: ListFilter, before: bytes | None, limit: int
) -> list[MessageRow]:
    """Return messages of the tenant, newest first."""
    states = sum(1 << state for state in set(where.states))
    bindings = (tenant, _LAST_ID if before is None else before, limit, states)
    if not where.recipient_hashes:
        return [MessageRow._make(row) for row in LIST.rows(db, bindings)]
    # One ordered range for each hash (there is one for each live version of the key), merged: no sort in the database.
    lists: Iterable[list[MessageRow]] = (
        [MessageRow._make(row) for row in LIST_RECIPIENT.rows(db, (*bindings, recipient_hash))]
        for recipient_hash in set(where.recipient_hashes)
    )
    return list(heapq.merge(*lists, key=lambda row: row.id, reverse=True))[:limit]


def read_events(db: apsw.Connection, tenant: str, after: int, limit: int) -> list[EventRow]:
    """Return events of the tenant, in order."""
    rows = EVENTS.rows(db, (tenant, after, limit))
    if not any(row[3] == 0 for row in rows):
        return [EventRow._make((*row, ())) for row in rows]
    parts: dict[int, list[bytes]] = {}
    for seq, payload in INBOUND_PARTS.rows(db, (tenant, after, rows[-1][0])):
        parts.setdefault(seq, []).append(payload)
    return [_with_parts(row, tuple(parts.get(row[0], ()))) for row in rows]


def _with_parts(row: tuple[object, ...], parts: tuple[bytes, ...]) -> EventRow:
    event = EventRow._make((*row, parts))
    return event if event.state else event._replace(segments=len(parts))


def read_bounds(db: apsw.Connection, tenant: str) -> tuple[int, int]:
    """Return the seq before the oldest event, and that of the newest; (0, 0) without events."""
    rows = fetch(db, BOUNDS, (tenant,))
    if not rows or rows[0][0] is None:
        return 0, 0
    return rows[0][0] - 1, rows[0][1]


def read_next_due(db: apsw.Connection, queue: int) -> int | None:
    """Return the earliest `due_at` of a waiting queue."""
    ((due_at,),) = fetch(db, NEXT_DUE, (queue,))
    return int(due_at) if due_at is not None else None


def read_counts(db: apsw.Connection) -> dict[str, int]:
    """Return sizes and heads of the queues, and the counters."""
    found: dict[str, tuple[int, int | None]] = {}
    for queue in Queue:
        if queue not in (Queue.CLAIMED, Queue.SENDING):
            ((size, due_at),) = fetch(db, _SIZE, (int(queue),))
            found[queue.name] = (size, due_at)
    in_memory = {sending: (size, due_at) for sending, size, due_at in fetch(db, _IN_MEMORY)}
    found[Queue.CLAIMED.name] = in_memory.get(0, (0, None))
    found[Queue.SENDING.name] = in_memory.get(1, (0, None))
    counts = {f"queue.{name}": size for name, (size, _) in found.items()}
    counts |= {f"oldest_due_at.{name}": due_at for name, (_, due_at) in found.items() if due_at is not None}
    ((counts["receipts.unmatched"],),) = fetch(db, "SELECT count(*) FROM kept_receipt")
    return counts | dict(fetch(db, "SELECT name, value FROM counter"))
