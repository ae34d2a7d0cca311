"""What is read: queries, and how their rows become the contract's records. Used by the reader's thread.

A name's number is joined, not kept: the writer adds names at any time.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterable

from gateway.store.contract import EventRow, ListFilter, MessageRow, Queue
from gateway.store.engine.database import Look
from gateway.store.nodes import Carriers, can_send
from gateway.store.operating import BACKLOG_LOOK, Backlog

_LAST_ID = b"\xff" * 17  # greater than every id


def read_message(look: Look, tenant: str, message_id: bytes) -> MessageRow | None:
    """Return one message of the tenant."""
    rows = look.sql.reading.one.fetch(look.db, (tenant, message_id))
    return MessageRow._make(rows[0]) if rows else None


def read_messages(look: Look, tenant: str, where: ListFilter, before: bytes | None, limit: int) -> list[MessageRow]:
    """Return messages of the tenant, newest first."""
    states = sum(1 << state for state in set(where.states))
    bindings = (tenant, _LAST_ID if before is None else before, limit, states, where.down_to)
    if not where.recipient_hashes:
        return [MessageRow._make(row) for row in look.sql.reading.list.rows(look.db, bindings)]
    # One ordered range for each hash (there is one for each live version of the key), merged: no sort in the database.
    lists: Iterable[list[MessageRow]] = (
        [MessageRow._make(row) for row in look.sql.reading.list_recipient.rows(look.db, (*bindings, recipient_hash))]
        for recipient_hash in set(where.recipient_hashes)
    )
    return list(heapq.merge(*lists, key=lambda row: row.id, reverse=True))[:limit]


def read_reach(look: Look, tenant: str, before: bytes | None, rows: int) -> bytes | None:
    """Return the id that is `rows` places below `before`."""
    bindings = (tenant, _LAST_ID if before is None else before, rows - 1)
    found = look.sql.reading.reach.fetch(look.db, bindings)
    return bytes(found[0][0]) if found else None


def read_events(look: Look, tenant: str, after: int, limit: int) -> list[EventRow]:
    """Return events of the tenant, in order."""
    rows = look.sql.reading.events.rows(look.db, (tenant, after, limit))
    if not any(row[3] == 0 for row in rows):
        return [EventRow._make((*row, ())) for row in rows]
    parts: dict[int, list[bytes]] = {}
    for seq, payload in look.sql.reading.inbound_parts.rows(look.db, (tenant, after, rows[-1][0])):
        parts.setdefault(seq, []).append(payload)
    return [_with_parts(row, tuple(parts.get(row[0], ()))) for row in rows]


def _with_parts(row: tuple[object, ...], parts: tuple[bytes, ...]) -> EventRow:
    event = EventRow._make((*row, parts))
    return event if event.state else event._replace(segments=len(parts))


def read_bounds(look: Look, tenant: str) -> tuple[int, int]:
    """Return the seq before the oldest event, and that of the newest; (0, 0) without events."""
    rows = look.sql.reading.bounds.fetch(look.db, (tenant,))
    if not rows or rows[0][0] is None:
        return 0, 0
    return rows[0][0] - 1, rows[0][1]


def read_next_due(look: Look, queue: int, carriers: Carriers = None) -> int | None:
    """Return the earliest `due_at` of a waiting queue, of what one of `carriers` can send."""
    sharing = look.sql.sharing
    if carriers is not None and sharing is not None:
        sets = [number for ways, number in sharing.ways.all.fetch(look.db) if carriers and can_send(ways, carriers)]
        found = [sharing.next_due.fetch(look.db, (queue, number))[0][0] for number in sets]
        return min((int(due_at) for due_at in found if due_at is not None), default=None)
    ((due_at,),) = look.sql.reading.next_due.fetch(look.db, (queue,))
    return int(due_at) if due_at is not None else None


def read_backlog(look: Look, limit: int) -> list[Backlog]:
    """Return who has most messages in which queue. SENDING counts as CLAIMED: the index does not tell them apart."""
    found: list[Backlog] = []
    for queue in Queue:
        if queue is Queue.SENDING:
            continue
        rows = look.sql.reading.backlog.rows(look.db, (int(queue), BACKLOG_LOOK, limit))
        found += [
            Backlog(queue.name, tenant, number, due_at, seen >= BACKLOG_LOOK) for tenant, number, due_at, seen in rows
        ]
    return sorted(found, key=lambda row: (-row.messages, row.queue, row.tenant))[:limit]
