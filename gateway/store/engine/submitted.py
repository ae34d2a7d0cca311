"""The usual settlement (hot): a batch of messages that their carriers have taken, each of them simply SENDING before.

One statement of few columns writes it, and it is told in one loop. Whatever is not usual is left to
`gateway.store.engine.settling`, and so is a batch with one of it.
"""

from __future__ import annotations

from collections.abc import Sequence

from gateway.states import PartState, State
from gateway.store.contract import Queue, Settlement
from gateway.store.engine.statements import Row
from gateway.store.engine.tally import COUNTRIES
from gateway.store.engine.transaction import Transaction

_SENDING, _SUBMITTED, _AWAITING = int(State.SENDING), int(State.SUBMITTED), int(Queue.AWAITING)
_UNSENT = PartState.UNSENT.value


def settle_submitted(
    tx: Transaction, batch: Sequence[Settlement], keys: Sequence[tuple[int, bytes]]
) -> list[tuple[int, bytes, int, int]] | None:
    """Record a batch whose messages (`keys`) are SENDING, with no part answered, and tell of it; returns (tenant_no,
    id, at, carrier_no) of each settlement. None, and nothing has changed, when one of them is not usual."""
    number, db = tx.carriers.number, tx.db
    rows: list[Row] = []
    changes: list[tuple[int, bytes, int, int]] = []
    for (tenant_no, id_), settlement in zip(keys, batch, strict=True):
        _, _, state, at, carrier, ids, parts, queue, due_at, code, _, status, _, _, _, _, from_, bill = settlement
        if state != _SUBMITTED or queue != _AWAITING or code or status is not None or from_ or bill is None:
            return None
        carrier_no = number(db, carrier)
        rows.append((tenant_no, id_, due_at, at, carrier_no, ids, parts))
        changes.append((tenant_no, id_, at, carrier_no))
    tx.sql.settling.submitted.run(db, rows)
    tx.plain_events(changes, _SENDING, _SUBMITTED)
    _count(tx, batch, changes)
    return changes


def _count(tx: Transaction, batch: Sequence[Settlement], changes: Sequence[tuple[int, bytes, int, int]]) -> None:
    took, counted = tx.tally.took, tx.counted
    for settlement, change in zip(batch, changes, strict=True):
        bill, parts = settlement[17], settlement[6]
        if bill is not None:  # they all have one
            category, country, reserved, price = bill
            taken = len(parts) - parts.count(_UNSENT)
            took(change[:2], change[2], (category, COUNTRIES[country], change[3]), 1, taken, price, reserved)
        if settlement[12]:
            counted[settlement[12]] += 1
