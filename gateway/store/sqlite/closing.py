"""The statements of `gateway.store.engine.closing`."""

from __future__ import annotations

from gateway.store.engine.statements import ClosingSql
from gateway.store.sqlite.bulk import Plain, Select, Write

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
# Each takes (before, limit).
_KEYS = "DELETE FROM key_record WHERE no IN (SELECT no FROM key_record ORDER BY no LIMIT ?2) AND expires_at <= ?1"
_OLD_KEYS = "DELETE FROM idempotency WHERE no IN (SELECT no FROM idempotency ORDER BY no LIMIT ?2) AND expires_at <= ?1"


def _purge(table: str, key: str, time: str) -> Plain:
    rows = f"SELECT {key} FROM {table} WHERE {time} <= ? LIMIT ?"  # noqa: S608 - constants of this module
    return Plain(f"DELETE FROM {table} WHERE ({key}) IN ({rows})")  # noqa: S608 - constants of this module


SQL = ClosingSql(
    cancel=Plain(_CANCEL),
    waiting_over=WAITING_OVER,
    claimed_over=CLAIMED_OVER,
    awaiting_over=AWAITING_OVER,
    expire=EXPIRE,
    in_doubt=IN_DOUBT,
    doubt=_DOUBT,
    reclaim=Plain(RECLAIM),
    purge_expired=(
        Plain(_KEYS),
        Plain(_OLD_KEYS),
        _purge("inbound_seen", "fingerprint", "expires_at"),
        _purge("inbound_held", "tenant_no, group_hash, part", "expires_at"),
    ),
    purge_receipts=(
        _purge("kept_receipt", "carrier_no, carrier_id, part_state, stat, recipient_hash", "at"),
        _purge("noted_receipt", "oddity, no", "at"),
    ),
)
