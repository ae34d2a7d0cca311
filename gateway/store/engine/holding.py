"""What operators hold back: the few rows of it, and the queues of held messages.

All rows are read when the node starts. What waits is looked at in the order of the queues' index, some rows at a time.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from gateway.errors import Overloaded
from gateway.states import Category
from gateway.store.engine.database import Look
from gateway.store.engine.statements import Plain
from gateway.store.engine.transaction import Transaction
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

_HASH_BYTES = 16
_RETRY_S = 60.0

_HELD = tuple(int(category) for category in Category)


class Unpark(NamedTuple):
    """One call of `unpark`."""

    holds: tuple[Selection, ...]
    after: Place | None
    limit: int


def hold_carriers(tx: Transaction, batch: Sequence[CarrierHold]) -> list[None]:
    """Hold carriers back."""
    sql = tx.sql.holding
    for hold in batch:
        sql.hold_carrier.change(tx.db, (hold.carrier, int(hold.drained), *hold[2:]))
        too_many = "carriers are held already: let those go on that do not exist any more"
        _require_few(tx, sql.number_carriers, MAX_HOLDS, too_many)
    return [None] * len(batch)


def _require_few(tx: Transaction, count: Plain, limit: int, text: str) -> None:
    ((number,),) = count.fetch(tx.db)
    if number > limit:
        raise Overloaded(f"{limit} {text}", retry_after_s=_RETRY_S, reason="TOO_MANY_HOLDS")


def free_carriers(tx: Transaction, batch: Sequence[str]) -> list[bool]:
    """Let carriers go on."""
    return [tx.sql.holding.free_carrier.change(tx.db, (carrier,)) > 0 for carrier in batch]


def read_carrier_holds(look: Look) -> list[CarrierHold]:
    """Return all holds of carriers."""
    rows = look.sql.holding.carriers.fetch(look.db)
    return [CarrierHold(carrier, bool(drained), at, by, reason) for carrier, drained, at, by, reason in rows]


def hold_messages(tx: Transaction, batch: Sequence[MessageHold]) -> list[None]:
    """Hold messages back."""
    sql = tx.sql.holding
    for selection, shown, at, by, reason in batch:
        sql.hold_messages.change(tx.db, (*_key(selection), selection.accepted_until, shown, at, by, reason))
        too_many = "selections are held already: resume some of them"
        _require_few(tx, sql.number_messages, MAX_MESSAGE_HOLDS, too_many)
        too_many = "identities' messages are held: resume or purge some of them"
        _require_few(tx, sql.number_owners, MAX_OWNER_HOLDS, too_many)
    return [None] * len(batch)


def free_messages(tx: Transaction, batch: Sequence[Selection]) -> list[bool]:
    """Let messages go on."""
    return [tx.sql.holding.free_messages.change(tx.db, _key(selection)) > 0 for selection in batch]


def _key(selection: Selection) -> tuple[str, int, bytes, str]:
    return selection.tenant, selection.category, b"".join(selection.recipient_hashes), selection.owner


def read_message_holds(look: Look) -> list[MessageHold]:
    """Return all holds of messages."""
    return [
        MessageHold(Selection(tenant, category, "", _hashes(joined), owner, until), shown, at, by, reason)
        for tenant, category, joined, owner, until, shown, at, by, reason in look.sql.holding.messages.fetch(look.db)
    ]


def _hashes(joined: bytes) -> tuple[bytes, ...]:
    return tuple(joined[at : at + _HASH_BYTES] for at in range(0, len(joined), _HASH_BYTES))


def park(tx: Transaction, batch: Sequence[tuple[str, bytes]]) -> list[int]:
    """Move claimed messages to the held queues; the first result is the number of all."""
    known = tx.tenants.known
    moved = tx.sql.holding.park.count(tx.db, [(known(tenant), message_id) for tenant, message_id in batch])
    return [moved, *[0] * (len(batch) - 1)]


def unpark(tx: Transaction, batch: Sequence[Unpark]) -> list[Unparked]:
    """Move held messages back that no hold covers."""
    return [_unpark(tx, *call) for call in batch]


def _unpark(tx: Transaction, holds: Sequence[Selection], after: Place | None, limit: int) -> Unparked:
    rows, following = page(tx, _HELD, after, limit, owned=any(hold.owner for hold in holds))
    free = [
        row[:2] for row in rows if not any(covered(row, hold, tx.tenants.names, tx.carriers.names) for hold in holds)
    ]
    return Unparked(tx.sql.holding.unpark.count(tx.db, free), following)


def covered(row: Any, selection: Selection, tenants: Mapping[int, str], carriers: Mapping[int, str]) -> bool:
    """Say whether a row of a page is one of a selection; the page has owners if the selection has one."""
    tenant_no, message_id, _, category, carrier_no, _, recipient_hash, owner = row
    return selection.covers(tenants[tenant_no], category, carriers[carrier_no], recipient_hash, owner, message_id)


def page(
    look: Look, queues: Sequence[int], after: Place | None, limit: int, *, owned: bool
) -> tuple[list[Any], Place | None]:
    """Return the next rows of these queues, of one of them, and where to go on; None: those were the last. Without
    `owned` every owner is ""."""
    place = after or Place(queues[0], -1, -1, b"")
    queue = place.queue
    sql = look.sql.holding
    rows = (sql.owned_page if owned else sql.page).rows(look.db, (*place, limit))
    if len(rows) == limit:
        tenant_no, message_id, due_at, *_ = rows[-1]
        return rows, Place(queue, due_at, tenant_no, message_id)
    later = queues[queues.index(queue) + 1 :]
    return rows, Place(later[0], -1, -1, b"") if later else None
