"""Ending messages and forgetting what is no longer needed: cancel, close_due, recover, purge."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from gateway.audit import records
from gateway.states import Category, State
from gateway.store.contract import MessageRow, Queue, waiting_queue
from gateway.store.engine.reading import read_message
from gateway.store.engine.statements import ClosingSql, Row, SharingSql
from gateway.store.engine.tally import count_ends
from gateway.store.engine.transaction import Transaction
from gateway.store.nodes import Recovered


class Cancel(NamedTuple):
    """One call of `cancel`."""

    tenant: str
    message_id: bytes
    now: int
    by: str  # the SPIFFE ID of the caller


class Due(NamedTuple):
    """One call of `close_due` or `purge`."""

    now: int
    limit: int


class Recover(NamedTuple):
    """One call of `recover`, or of `take_over`: `elsewhere`, of nodes that are gone only."""

    now: int
    resend: frozenset[Category]
    elsewhere: bool = False


_VALIDITY_ENDED = ("VALIDITY_ENDED", "its validity ended before it was sent")
_NO_RECEIPT = ("NO_RECEIPT", "its validity ended and no receipt came")

_RESTARTED = ("NODE_RESTARTED", "the node stopped before the carrier's answer was recorded")
_NODE_LOST = ("NODE_LOST", "the node that sent it was lost before the carrier's answer was recorded")


def cancel(tx: Transaction, batch: Sequence[Cancel]) -> list[tuple[bool, MessageRow | None]]:
    """Cancel messages that are ACCEPTED."""
    return [_cancel(tx, *call) for call in batch]


def _cancel(tx: Transaction, tenant: str, message_id: bytes, now: int, by: str) -> tuple[bool, MessageRow | None]:
    tenant_no = tx.tenants.known(tenant)
    cancelled = tx.sql.closing.cancel.change(tx.db, (tenant_no, message_id, now)) > 0
    if cancelled:
        tx.plain_event(tenant_no, message_id, now, int(State.ACCEPTED), int(State.CANCELLED), 0, by)
    row = read_message(tx, tenant, message_id)
    if cancelled and row is not None:
        tx.ended.append((row.carrier, row.category, int(State.CANCELLED), -1))
        count_ends(tx, [(tenant_no, message_id, now, 0, int(State.ACCEPTED), int(State.CANCELLED))])
    return cancelled, row


def close_due(tx: Transaction, batch: Sequence[Due]) -> list[int]:
    """End messages whose time is over."""
    return [_close_due(tx, *call) for call in batch]


def _close_due(tx: Transaction, now: int, limit: int) -> int:
    ended = 0
    for select, reason in (
        (tx.sql.closing.waiting_over, _VALIDITY_ENDED),
        (tx.sql.closing.claimed_over, _VALIDITY_ENDED),
        (tx.sql.closing.awaiting_over, _NO_RECEIPT),
    ):
        rows = select.rows(tx.db, (now, limit - ended))
        tx.sql.closing.expire.run(tx.db, [(tenant_no, message_id, now, *reason) for tenant_no, message_id, *_ in rows])
        for tenant_no, message_id, carrier_no, before, category in rows:
            tx.ended.append((tx.carriers.names[carrier_no], category, int(State.EXPIRED), -1))
            tx.event(tenant_no, message_id, now, before, int(State.EXPIRED), carrier_no, (*reason, None, "", None))
        count_ends(tx, [(row[0], row[1], now, row[2], row[3], int(State.EXPIRED)) for row in rows])
        ended += len(rows)
    return ended


def recover(tx: Transaction, batch: Sequence[Recover]) -> list[Recovered]:
    """Put back what was in memory, and doubt what was on its way."""
    return [_recover(tx, *call) for call in batch]


def _recover(tx: Transaction, now: int, resend: frozenset[Category], elsewhere: bool) -> Recovered:
    sql: ClosingSql | SharingSql = tx.sql.closing
    cause, why = "restart", _RESTARTED
    if elsewhere:
        if tx.sql.sharing is None:
            return Recovered(0, 0)
        sql, cause, why = tx.sql.sharing, "node_lost", _NODE_LOST
    doubtful = sql.in_doubt.rows(tx.db, ())
    rows: list[Row] = []
    change = (int(State.SENDING), int(State.UNKNOWN))
    for tenant_no, message_id, category, expires_at, carrier_no in doubtful:
        again = category in resend and now < expires_at
        queue, due_at = (waiting_queue(category), now) if again else (int(Queue.AWAITING), expires_at + tx.grace)
        tx.counted[f"resend.{cause}" if again else f"doubt.{cause}"] += 1
        rows.append((tenant_no, message_id, queue, due_at, *why))
        tx.event(tenant_no, message_id, now, *change, carrier_no, (*why, None, "", None))
    reclaimed = sql.reclaim.change(tx.db)
    tx.sql.closing.doubt.run(tx.db, rows)
    if not elsewhere or reclaimed or doubtful:
        tx.records.add([records.Recovered(now, reclaimed, len(doubtful))])
    return Recovered(reclaimed, len(doubtful))


def purge(tx: Transaction, batch: Sequence[Due]) -> list[int]:
    """Delete what has expired, at most `limit` rows a call."""
    return [_purge(tx, *call) for call in batch]


def _purge(tx: Transaction, now: int, limit: int) -> int:
    deleted = 0
    # Receipts are kept as long as fingerprints: a carrier that answers later than that has lost them.
    for statements, before in ((tx.sql.closing.purge_expired, now), (tx.sql.closing.purge_receipts, now - tx.seen_for)):
        for statement in statements:
            deleted += statement.change(tx.db, (before, limit - deleted))
    if deleted or tx.shared:
        tx.recount()
    return deleted
