"""Sharing the binds of a carrier among the nodes that have it, evenly: who has one too many lets it go for another.

Nodes that wish for binds stand in the order of their registrations; a carrier's name says which of them comes first, so
that carriers with one bind each do not all fall to the same node.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple
from zlib import crc32

from gateway.store.engine.transaction import Transaction
from gateway.store.nodes import Slots


class ClaimSlots(NamedTuple):
    """One call of `claim_slots`; `me` is this node's registration."""

    carrier: str
    total: int
    me: int


class FreeSlots(NamedTuple):
    """One call of `free_slots`; `leave`: the node wishes for none any more."""

    carrier: str
    numbers: tuple[int, ...]
    leave: bool


def share_of(carrier: str, total: int, nodes: Sequence[int], me: int) -> int:
    """Return how many of a carrier's binds are a node's, of those that wish for some."""
    place = (nodes.index(me) - crc32(carrier.encode())) % len(nodes)
    return total // len(nodes) + (place < total % len(nodes))


def claim_slots(tx: Transaction, batch: Sequence[ClaimSlots]) -> list[Slots]:
    """Take what is free of this node's share."""
    return [_claim(tx, *call) for call in batch]


def _claim(tx: Transaction, carrier: str, total: int, me: int) -> Slots:
    sql = tx.sql.sharing
    if sql is None:
        return Slots(tuple(range(total)), ())
    sql.wish.change(tx.db, (carrier,))
    nodes = [no for (no,) in sql.wishers.fetch(tx.db, (carrier,))]
    if me not in nodes:  # it was fenced in this moment
        return Slots((), ())
    share = share_of(carrier, total, nodes, me)
    held = [number for (number,) in sql.held_slots.fetch(tx.db, (carrier,))]
    free = [number for number in range(total) if number not in held]
    while len(held) < share and free:
        number = free.pop(0)
        if sql.take_slot.change(tx.db, (carrier, number)):
            held.append(number)
    usable = sorted(number for number in held if number < total)
    return Slots(tuple(usable[:share]), tuple(sorted(set(held) - set(usable[:share]))), len(usable) < share)


def free_slots(tx: Transaction, batch: Sequence[FreeSlots]) -> list[None]:
    """Let binds go."""
    sql = tx.sql.sharing
    for carrier, numbers, leave in batch:
        if sql is None:
            continue
        for number in numbers:
            sql.free_slot.change(tx.db, (carrier, number))
        if leave:
            sql.unwish.change(tx.db, (carrier,))
    return [None] * len(batch)
