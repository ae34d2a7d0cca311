"""Storing messages from handsets: parts are held until all are there; the last one writes the event.

Two things are recognised: a PDU delivered again (by its fingerprint), and a part that is there already. Reference
numbers of long messages come round again soon (TS 23.040 §9.2.3.24.1: one octet), so parts past their time are dropped
before a part of the same group is counted.

So many parts of a tenant may wait, and so many of all tenants: beyond that the tenant's group that would expire first
is dropped with all its parts, so that nobody can crowd out another tenant's messages.
"""

from __future__ import annotations

from collections.abc import Sequence

from gateway.store.contract import InboundVerdict, NewInboundPart
from gateway.store.sqlite.bulk import fetch
from gateway.store.sqlite.transaction import Transaction

_SEE = (
    "INSERT INTO inbound_seen (fingerprint, expires_at) VALUES (?1, ?2) ON CONFLICT (fingerprint)"
    " DO UPDATE SET expires_at = excluded.expires_at WHERE inbound_seen.expires_at <= ?3"
)
# Under older hash keys: what was seen and held before the key was replaced.
SEEN_OLDER = "SELECT 1 FROM inbound_seen WHERE fingerprint = ? AND expires_at > ?"
HELD_OLDER = "SELECT 1 FROM inbound_held WHERE tenant_no = ? AND group_hash = ? AND expires_at > ? LIMIT 1"
_DROP_STALE = "DELETE FROM inbound_held WHERE tenant_no = ? AND group_hash = ? AND expires_at <= ?"
_HOLD = "INSERT OR IGNORE INTO inbound_held (tenant_no, group_hash, part, payload, expires_at) VALUES (?, ?, ?, ?, ?)"
_HELD_PARTS = "SELECT count(*) FROM inbound_held WHERE tenant_no = ? AND group_hash = ?"
_MOVE = (
    "INSERT INTO inbound_part (tenant_no, id, part, payload)"
    " SELECT tenant_no, ?3, part, payload FROM inbound_held WHERE tenant_no = ?1 AND group_hash = ?2"
)
_RELEASE = "DELETE FROM inbound_held WHERE tenant_no = ? AND group_hash = ?"
_STORE = "INSERT INTO inbound_part (tenant_no, id, part, payload) VALUES (?, ?, 1, ?)"
OLDEST_GROUP = (
    "SELECT group_hash FROM inbound_held INDEXED BY inbound_held_oldest WHERE tenant_no = ? ORDER BY expires_at LIMIT 1"
)


def inbound(tx: Transaction, batch: Sequence[NewInboundPart]) -> list[InboundVerdict]:
    """Store parts, in order."""
    return [_store(tx, part) for part in batch]


def _store(tx: Transaction, part: NewInboundPart) -> InboundVerdict:
    seen = any(fetch(tx.db, SEEN_OLDER, (fingerprint, part.at)) for _, fingerprint in part.older)
    if not seen:
        tx.db.execute(_SEE, (part.fingerprint, part.seen_until, part.at))
        seen = not tx.db.changes()
    if seen:
        tx.counted["inbound.duplicate"] += 1
        return InboundVerdict.DUPLICATE
    tenant_no = tx.tenants.number(tx.db, part.tenant)
    if part.total == 1 or not part.group_hash:
        tx.db.execute(_STORE, (tenant_no, part.id, part.payload))
    else:
        verdict = _hold(tx, tenant_no, part)
        if verdict is not InboundVerdict.COMPLETED:
            return verdict
    tx.received(tenant_no, part.id, part.at, tx.carriers.number(tx.db, part.carrier), part.total)
    return InboundVerdict.COMPLETED


def _hold(tx: Transaction, tenant_no: int, part: NewInboundPart) -> InboundVerdict:
    group = (tenant_no, _group_hash(tx, tenant_no, part))
    tx.db.execute(_DROP_STALE, (*group, part.at))
    tx.held[tenant_no] -= tx.db.changes()
    tx.db.execute(_HOLD, (*group, part.part, part.payload, part.expires_at))
    if not tx.db.changes():
        tx.counted["inbound.duplicate"] += 1
        return InboundVerdict.DUPLICATE
    tx.held[tenant_no] += 1
    ((count,),) = fetch(tx.db, _HELD_PARTS, group)
    if count < part.total:
        _bound(tx, tenant_no)
        return InboundVerdict.HELD
    tx.db.execute(_MOVE, (*group, part.id))
    tx.db.execute(_RELEASE, group)
    tx.held[tenant_no] -= count
    return InboundVerdict.COMPLETED


def _group_hash(tx: Transaction, tenant_no: int, part: NewInboundPart) -> bytes:
    """Return the hash under which the part's group is held, the newest when nothing is held of it."""
    for group_hash, _ in part.older:
        if fetch(tx.db, HELD_OLDER, (tenant_no, group_hash, part.at)):
            return group_hash
    return part.group_hash


def _bound(tx: Transaction, tenant_no: int) -> None:
    """Drop the tenant's oldest group when too much waits. One part was added, so one group is enough."""
    if tx.held[tenant_no] <= tx.held_of_each and tx.held.total() <= tx.held_limit:
        return
    ((group_hash,),) = fetch(tx.db, OLDEST_GROUP, (tenant_no,))
    tx.db.execute(_RELEASE, (tenant_no, group_hash))
    dropped = tx.db.changes()
    tx.held[tenant_no] -= dropped
    tx.counted["inbound.dropped"] += dropped
