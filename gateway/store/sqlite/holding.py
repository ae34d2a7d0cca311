"""What operators hold back: the few rows of it, and the queues of held messages.

All rows are read when the node starts. What waits is looked at in the order of the queues' index, some rows at a time.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import apsw

from gateway.errors import Overloaded
from gateway.states import Category
from gateway.store.operating import (
    MAX_HOLDS,
    MAX_MESSAGE_HOLDS,
    MAX_OWNER_HOLDS,
    CarrierHold,
    MessageHold,
    Place,
    Selection,
    Unparked,
)
from gateway.store.sqlite.bulk import Select, Write, fetch
from gateway.store.sqlite.transaction import Transaction

_HOLD = (
    "INSERT INTO carrier_hold (carrier, drained, at, by, reason) VALUES (?, ?, ?, ?, ?) ON CONFLICT (carrier)"
    " DO UPDATE SET drained = excluded.drained, at = excluded.at, by = excluded.by, reason = excluded.reason"
)
_FREE = "DELETE FROM carrier_hold WHERE carrier = ?"
_ALL = "SELECT carrier, drained, at, by, reason FROM carrier_hold ORDER BY carrier"
_NUMBER = "SELECT count(*) FROM carrier_hold"
_HOLD_MESSAGES = (
    "INSERT INTO message_hold (tenant, category, recipient_hashes, owner, accepted_until, shown, at, by, reason)"
    " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (tenant, category, recipient_hashes, owner)"
    " DO UPDATE SET accepted_until = excluded.accepted_until, at = excluded.at, by = excluded.by,"
    " reason = excluded.reason"
)
_FREE_MESSAGES = "DELETE FROM message_hold WHERE tenant = ? AND category = ? AND recipient_hashes = ? AND owner = ?"
_ALL_MESSAGES = (
    "SELECT tenant, category, recipient_hashes, owner, accepted_until, shown, at, by, reason"
    " FROM message_hold ORDER BY at, no"
)
_NUMBER_MESSAGES = "SELECT count(*) FROM message_hold WHERE owner = ''"
_NUMBER_OWNERS = "SELECT count(*) FROM message_hold WHERE owner <> ''"
_HASH_BYTES = 16
_RETRY_S = 60.0

# One page of a queue, behind a place: without the owners, and with them, which stand in another table.
_PAGE_COLUMNS = "tenant_no :id due_at category carrier_no state :recipient_hash owner"
PAGE = Select(
    _PAGE_COLUMNS,
    "SELECT tenant_no, id, due_at, category, carrier_no, state, recipient_hash, '' AS owner"
    " FROM message INDEXED BY message_queue"
    " WHERE queue = ?1 AND (due_at, tenant_no, id) > (?2, ?3, ?4) ORDER BY due_at, tenant_no, id LIMIT ?5",
)
OWNED_PAGE = Select(
    _PAGE_COLUMNS,
    "SELECT message.tenant_no, message.id, due_at, category, carrier_no, state, recipient_hash, body.owner"
    " FROM message INDEXED BY message_queue"
    " JOIN body ON body.tenant_no = message.tenant_no AND body.id = message.id"
    " WHERE queue = ?1 AND (due_at, message.tenant_no, message.id) > (?2, ?3, ?4)"
    " ORDER BY due_at, message.tenant_no, message.id LIMIT ?5",
)
PARK = Write(
    "WITH v (tenant_no, id) AS (VALUES {values}) UPDATE message SET queue = category FROM v"
    " WHERE message.tenant_no = v.tenant_no AND message.id = v.id AND message.queue = 20 AND message.state <> 2",
    "(?,?)",
)
UNPARK = Write(
    "WITH v (tenant_no, id) AS (VALUES {values}) UPDATE message SET queue = 10 + category FROM v"
    " WHERE message.tenant_no = v.tenant_no AND message.id = v.id AND message.queue < 10",
    "(?,?)",
)
_HELD = tuple(int(category) for category in Category)


class Unpark(NamedTuple):
    """One call of `unpark`."""

    holds: tuple[Selection, ...]
    after: Place | None
    limit: int


def hold_carriers(tx: Transaction, batch: Sequence[CarrierHold]) -> list[None]:
    """Hold carriers back."""
    for hold in batch:
        tx.db.execute(_HOLD, hold)
        _require_few(tx, _NUMBER, MAX_HOLDS, "carriers are held already: let those go on that do not exist any more")
    return [None] * len(batch)


def _require_few(tx: Transaction, count: str, limit: int, text: str) -> None:
    ((number,),) = fetch(tx.db, count)
    if number > limit:
        raise Overloaded(f"{limit} {text}", retry_after_s=_RETRY_S, reason="TOO_MANY_HOLDS")


def free_carriers(tx: Transaction, batch: Sequence[str]) -> list[bool]:
    """Let carriers go on."""
    freed = []
    for carrier in batch:
        tx.db.execute(_FREE, (carrier,))
        freed.append(tx.db.changes() > 0)
    return freed


def read_carrier_holds(db: apsw.Connection) -> list[CarrierHold]:
    """Return all holds of carriers."""
    return [CarrierHold(carrier, bool(drained), at, by, reason) for carrier, drained, at, by, reason in fetch(db, _ALL)]


def hold_messages(tx: Transaction, batch: Sequence[MessageHold]) -> list[None]:
    """Hold messages back."""
    for selection, shown, at, by, reason in batch:
        tx.db.execute(_HOLD_MESSAGES, (*_key(selection), selection.accepted_until, shown, at, by, reason))
        _require_few(tx, _NUMBER_MESSAGES, MAX_MESSAGE_HOLDS, "selections are held already: resume some of them")
        _require_few(tx, _NUMBER_OWNERS, MAX_OWNER_HOLDS, "identities' messages are held: resume or purge some of them")
    return [None] * len(batch)


def free_messages(tx: Transaction, batch: Sequence[Selection]) -> list[bool]:
    """Let messages go on."""
    freed = []
    for selection in batch:
        tx.db.execute(_FREE_MESSAGES, _key(selection))
        freed.append(tx.db.changes() > 0)
    return freed


def _key(selection: Selection) -> tuple[str, int, bytes, str]:
    return selection.tenant, selection.category, b"".join(selection.recipient_hashes), selection.owner


def read_message_holds(db: apsw.Connection) -> list[MessageHold]:
    """Return all holds of messages."""
    return [
        MessageHold(Selection(tenant, category, "", _hashes(joined), owner, until), shown, at, by, reason)
        for tenant, category, joined, owner, until, shown, at, by, reason in fetch(db, _ALL_MESSAGES)
    ]


def _hashes(joined: bytes) -> tuple[bytes, ...]:
    return tuple(joined[at : at + _HASH_BYTES] for at in range(0, len(joined), _HASH_BYTES))


def park(tx: Transaction, batch: Sequence[tuple[str, bytes]]) -> list[int]:
    """Move claimed messages to the held queues; the first result is the number of all."""
    known = tx.tenants.known
    moved = PARK.run(tx.db, [(known(tenant), message_id) for tenant, message_id in batch])
    return [moved, *[0] * (len(batch) - 1)]


def unpark(tx: Transaction, batch: Sequence[Unpark]) -> list[Unparked]:
    """Move held messages back that no hold covers."""
    return [_unpark(tx, *call) for call in batch]


def _unpark(tx: Transaction, holds: Sequence[Selection], after: Place | None, limit: int) -> Unparked:
    rows, following = page(tx.db, _HELD, after, limit, owned=any(hold.owner for hold in holds))
    free = [
        row[:2] for row in rows if not any(covered(row, hold, tx.tenants.names, tx.carriers.names) for hold in holds)
    ]
    return Unparked(UNPARK.run(tx.db, free), following)


def covered(row: Any, selection: Selection, tenants: Mapping[int, str], carriers: Mapping[int, str]) -> bool:
    """Say whether a row of a page is one of a selection; the page has owners if the selection has one."""
    tenant_no, message_id, _, category, carrier_no, _, recipient_hash, owner = row
    return selection.covers(tenants[tenant_no], category, carriers[carrier_no], recipient_hash, owner, message_id)


def page(
    db: apsw.Connection, queues: Sequence[int], after: Place | None, limit: int, *, owned: bool
) -> tuple[list[Any], Place | None]:
    """Return the next rows of these queues, of one of them, and where to go on; None: those were the last. Without
    `owned` every owner is ""."""
    place = after or Place(queues[0], -1, -1, b"")
    queue = place.queue
    rows = (OWNED_PAGE if owned else PAGE).rows(db, (*place, limit))
    if len(rows) == limit:
        tenant_no, message_id, due_at, *_ = rows[-1]
        return rows, Place(queue, due_at, tenant_no, message_id)
    later = queues[queues.index(queue) + 1 :]
    return rows, Place(later[0], -1, -1, b"") if later else None
