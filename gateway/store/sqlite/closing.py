"""Ending messages and forgetting what is no longer needed: cancel, close_due, recover, purge."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from gateway.audit import records
from gateway.states import Category, State
from gateway.store.contract import MessageRow, Queue, Recovered, waiting_queue
from gateway.store.sqlite.bulk import Row, Select, Write
from gateway.store.sqlite.reading import read_message
from gateway.store.sqlite.transaction import Transaction


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
    """One call of `recover`."""

    now: int
    resend: frozenset[Category]


_CANCEL = (
    "UPDATE message SET state = 7, queue = NULL, done_at = ?3, reason_code = '', reason_text = '', smpp_status = NULL"
    " WHERE tenant_no = ?1 AND id = ?2 AND state = 1"
)
_DUE_COLUMNS = "tenant_no :id carrier_no state category"
WAITING_OVER = Select(
    _DUE_COLUMNS,
    "SELECT tenant_no, id, carrier_no, state, category FROM message INDEXED BY message_waiting_expiry"
    " WHERE queue < 20 AND expires_at <= ? ORDER BY expires_at LIMIT ?",
)
# Claimed and not SENDING: kept in memory while no link takes them. There are at most as many as the lanes hold.
CLAIMED_OVER = Select(
    _DUE_COLUMNS,
    "SELECT tenant_no, id, carrier_no, state, category FROM message INDEXED BY message_queue"
    " WHERE queue = 20 AND due_at <= ?1 AND expires_at <= ?1 AND state <> 2 LIMIT ?2",
)
AWAITING_OVER = Select(
    _DUE_COLUMNS,
    "SELECT tenant_no, id, carrier_no, state, category FROM message INDEXED BY message_queue"
    " WHERE queue = 40 AND due_at <= ? ORDER BY due_at LIMIT ?",
)
EXPIRE = Write(
    "WITH v (tenant_no, id, at, code, text) AS (VALUES {values}) UPDATE message SET state = 6, queue = NULL,"
    " done_at = v.at, reason_code = v.code, reason_text = v.text, smpp_status = NULL FROM v"
    " WHERE message.tenant_no = v.tenant_no AND message.id = v.id",
    "(?,?,?,?,?)",
)
_VALIDITY_ENDED = ("VALIDITY_ENDED", "its validity ended before it was sent")
_NO_RECEIPT = ("NO_RECEIPT", "its validity ended and no receipt came")

IN_DOUBT = Select(
    "tenant_no :id category expires_at carrier_no",
    "SELECT tenant_no, id, category, expires_at, carrier_no FROM message INDEXED BY message_queue"
    " WHERE queue = 20 AND state = 2",
)
_DOUBT = Write(
    "WITH v (tenant_no, id, queue, due_at, code, text) AS (VALUES {values}) UPDATE message SET state = 9,"
    " queue = v.queue, due_at = v.due_at, reason_code = v.code, reason_text = v.text, smpp_status = NULL FROM v"
    " WHERE message.tenant_no = v.tenant_no AND message.id = v.id",
    "(?,?,?,?,?,?)",
)
RECLAIM = "UPDATE message INDEXED BY message_queue SET queue = 10 + category WHERE queue = 20 AND state <> 2"
_RESTARTED = ("NODE_RESTARTED", "the node stopped before the carrier's answer was recorded")

_PURGE_TABLES = (
    ("inbound_seen", "fingerprint", "expires_at"),
    ("inbound_held", "tenant_no, group_hash, part", "expires_at"),
    ("kept_receipt", "carrier_no, carrier_id, part_state, stat, recipient_hash", "at"),
    ("noted_receipt", "oddity, no", "at"),
)
# Each takes (before, limit).
_OLD_KEYS = "DELETE FROM idempotency WHERE no IN (SELECT no FROM idempotency ORDER BY no LIMIT ?2) AND expires_at <= ?1"
_PURGES = (
    _OLD_KEYS,
    *(
        f"DELETE FROM {table} WHERE ({key}) IN (SELECT {key} FROM {table} WHERE {time} <= ? LIMIT ?)"  # noqa: S608 - constants
        for table, key, time in _PURGE_TABLES
    ),
)


def cancel(tx: Transaction, batch: Sequence[Cancel]) -> list[tuple[bool, MessageRow | None]]:
    """Cancel messages that are ACCEPTED."""
    return [_cancel(tx, *call) for call in batch]


def _cancel(tx: Transaction, tenant: str, message_id: bytes, now: int, by: str) -> tuple[bool, MessageRow | None]:
    tenant_no = tx.tenants.known(tenant)
    tx.db.execute(_CANCEL, (tenant_no, message_id, now))
    cancelled = tx.db.changes() > 0
    if cancelled:
        tx.plain_event(tenant_no, message_id, now, int(State.ACCEPTED), int(State.CANCELLED), 0, by)
    row = read_message(tx.db, tenant, message_id)
    if cancelled and row is not None:
        tx.ended.append((row.carrier, row.category, int(State.CANCELLED), -1))
    return cancelled, row


def close_due(tx: Transaction, batch: Sequence[Due]) -> list[int]:
    """End messages whose time is over."""
    return [_close_due(tx, *call) for call in batch]


def _close_due(tx: Transaction, now: int, limit: int) -> int:
    ended = 0
    for select, reason in (
        (WAITING_OVER, _VALIDITY_ENDED),
        (CLAIMED_OVER, _VALIDITY_ENDED),
        (AWAITING_OVER, _NO_RECEIPT),
    ):
        rows = select.rows(tx.db, (now, limit - ended))
        EXPIRE.run(tx.db, [(tenant_no, message_id, now, *reason) for tenant_no, message_id, *_ in rows])
        for tenant_no, message_id, carrier_no, before, category in rows:
            tx.ended.append((tx.carriers.names[carrier_no], category, int(State.EXPIRED), -1))
            tx.event(tenant_no, message_id, now, before, int(State.EXPIRED), carrier_no, (*reason, None, "", None))
        ended += len(rows)
    return ended


def recover(tx: Transaction, batch: Sequence[Recover]) -> list[Recovered]:
    """Put back what was in memory, and doubt what was on its way."""
    return [_recover(tx, *call) for call in batch]


def _recover(tx: Transaction, now: int, resend: frozenset[Category]) -> Recovered:
    doubtful = IN_DOUBT.rows(tx.db, ())
    rows: list[Row] = []
    change = (int(State.SENDING), int(State.UNKNOWN))
    for tenant_no, message_id, category, expires_at, carrier_no in doubtful:
        again = category in resend and now < expires_at
        queue, due_at = (waiting_queue(category), now) if again else (int(Queue.AWAITING), expires_at + tx.grace)
        tx.counted["resend.restart" if again else "doubt.restart"] += 1
        rows.append((tenant_no, message_id, queue, due_at, *_RESTARTED))
        tx.event(tenant_no, message_id, now, *change, carrier_no, (*_RESTARTED, None, "", None))
    tx.db.execute(RECLAIM)
    reclaimed = tx.db.changes()
    _DOUBT.run(tx.db, rows)
    tx.records.add([records.Recovered(now, reclaimed, len(doubtful))])
    return Recovered(reclaimed, len(doubtful))


def purge(tx: Transaction, batch: Sequence[Due]) -> list[int]:
    """Delete what has expired, at most `limit` rows a call."""
    return [_purge(tx, *call) for call in batch]


def _purge(tx: Transaction, now: int, limit: int) -> int:
    deleted = 0
    for statement in _PURGES:
        # Receipts are kept as long as fingerprints: a carrier that answers later than that has lost them.
        before = now - tx.seen_for if "_receipt" in statement else now
        tx.db.execute(statement, (before, limit - deleted))
        deleted += tx.db.changes()
    if deleted:
        tx.recount()
    return deleted
