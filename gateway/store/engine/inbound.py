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
from gateway.store.engine.transaction import Transaction


def inbound(tx: Transaction, batch: Sequence[NewInboundPart]) -> list[InboundVerdict]:
    """Store parts, in order."""
    return [_store(tx, part) for part in batch]


def _store(tx: Transaction, part: NewInboundPart) -> InboundVerdict:
    seen = any(tx.sql.inbound.seen_older.fetch(tx.db, (fingerprint, part.at)) for _, fingerprint in part.older)
    if not seen:
        seen = not tx.sql.inbound.see.change(tx.db, (part.fingerprint, part.seen_until, part.at))
    if seen:
        tx.counted["inbound.duplicate"] += 1
        return InboundVerdict.DUPLICATE
    tenant_no = tx.tenants.number(tx.db, part.tenant)
    if part.total == 1 or not part.group_hash:
        tx.sql.inbound.store.change(tx.db, (tenant_no, part.id, part.payload))
    else:
        verdict = _hold(tx, tenant_no, part)
        if verdict is not InboundVerdict.COMPLETED:
            return verdict
    tx.received(tenant_no, part.id, part.at, tx.carriers.number(tx.db, part.carrier), part.total)
    return InboundVerdict.COMPLETED


def _hold(tx: Transaction, tenant_no: int, part: NewInboundPart) -> InboundVerdict:
    group = (tenant_no, _group_hash(tx, tenant_no, part))
    tx.held[tenant_no] -= tx.sql.inbound.drop_stale.change(tx.db, (*group, part.at))
    if not tx.sql.inbound.hold.change(tx.db, (*group, part.part, part.payload, part.expires_at)):
        tx.counted["inbound.duplicate"] += 1
        return InboundVerdict.DUPLICATE
    tx.held[tenant_no] += 1
    ((count,),) = tx.sql.inbound.held_parts.fetch(tx.db, group)
    if count < part.total:
        _bound(tx, tenant_no)
        return InboundVerdict.HELD
    tx.sql.inbound.move.change(tx.db, (*group, part.id))
    tx.sql.inbound.release.change(tx.db, group)
    tx.held[tenant_no] -= count
    return InboundVerdict.COMPLETED


def _group_hash(tx: Transaction, tenant_no: int, part: NewInboundPart) -> bytes:
    """Return the hash under which the part's group is held, the newest when nothing is held of it."""
    for group_hash, _ in part.older:
        if tx.sql.inbound.held_older.fetch(tx.db, (tenant_no, group_hash, part.at)):
            return group_hash
    return part.group_hash


def _bound(tx: Transaction, tenant_no: int) -> None:
    """Drop the tenant's oldest group when too much waits. One part was added, so one group is enough."""
    if tx.held[tenant_no] <= tx.held_of_each and tx.held.total() <= tx.held_limit:
        return
    ((group_hash,),) = tx.sql.inbound.oldest_group.fetch(tx.db, (tenant_no,))
    dropped = tx.sql.inbound.release.change(tx.db, (tenant_no, group_hash))
    tx.held[tenant_no] -= dropped
    tx.counted["inbound.dropped"] += dropped
