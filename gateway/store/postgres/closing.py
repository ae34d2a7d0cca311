"""The statements of `gateway.store.engine.closing`."""

from __future__ import annotations

from gateway.store.engine.statements import ClosingSql
from gateway.store.postgres import leases
from gateway.store.postgres.bulk import ME, Plain, Prepared, Select, Write, nothing

_CANCEL = Plain(
    "UPDATE message SET state = 7, queue = NULL, done_at = $3, reason_code = '', reason_text = '', smpp_status = NULL"
    " WHERE tenant_no = $1 AND id = $2 AND state = 1"
)
_LOCK = " FOR UPDATE SKIP LOCKED"  # what another has in its hands is left to it
_DUE_COLUMNS = "SELECT tenant_no, id, carrier_no, state, category FROM message"
WAITING_OVER = Select(f"{_DUE_COLUMNS} WHERE queue < 20 AND expires_at <= $1 ORDER BY expires_at LIMIT $2{_LOCK}")
# Claimed and not SENDING: kept in memory while no link takes them. There are at most as many as the lanes hold.
CLAIMED_OVER = Select(
    f"{_DUE_COLUMNS} WHERE queue = 20 AND due_at <= $1 AND expires_at <= $1 AND state <> 2 LIMIT $2{_LOCK}"
)
AWAITING_OVER = Select(f"{_DUE_COLUMNS} WHERE queue = 40 AND due_at <= $1 ORDER BY due_at LIMIT $2{_LOCK}")
EXPIRE = Write(
    "UPDATE message AS m SET state = 6, queue = NULL, done_at = v.at, reason_code = v.code, reason_text = v.text,"
    " smpp_status = NULL FROM {v} WHERE m.tenant_no = v.tenant_no AND m.id = v.id",
    "tenant_no int, id bytes, at int, code text, text text",
)
IN_DOUBT = Prepared(
    f"{leases.IN_DOUBT} AND (message.holder = {ME} OR {leases.ORPHANED}) FOR UPDATE",
    before=leases.MOVED_ON,
    bindings=nothing,
)
_DOUBT = Write(
    "UPDATE message AS m SET state = 9, queue = v.queue, due_at = v.due_at, reason_code = v.code, reason_text = v.text,"
    " smpp_status = NULL FROM {v} WHERE m.tenant_no = v.tenant_no AND m.id = v.id",
    "tenant_no int, id bytes, queue int, due_at int, code text, text text",
)
RECLAIM = Plain(f"{leases.RECLAIM} AND (message.holder = {ME} OR {leases.ORPHANED})")
# Each takes (before, limit).
_OLD_KEYS = Plain(
    "DELETE FROM idempotency WHERE no IN (SELECT no FROM idempotency ORDER BY no LIMIT $2) AND expires_at <= $1"
)


def _purge(table: str, key: str, time: str) -> Plain:
    rows = f"SELECT {key} FROM {table} WHERE {time} <= $1 LIMIT $2"  # noqa: S608 - constants of this module
    return Plain(f"DELETE FROM {table} WHERE ({key}) IN ({rows})")  # noqa: S608 - constants of this module


SQL = ClosingSql(
    cancel=_CANCEL,
    waiting_over=WAITING_OVER,
    claimed_over=CLAIMED_OVER,
    awaiting_over=AWAITING_OVER,
    expire=EXPIRE,
    in_doubt=IN_DOUBT,
    doubt=_DOUBT,
    reclaim=RECLAIM,
    purge_expired=(
        _OLD_KEYS,
        _purge("inbound_seen", "fingerprint", "expires_at"),
        _purge("inbound_held", "tenant_no, group_hash, part", "expires_at"),
    ),
    purge_receipts=(
        _purge("kept_receipt", "carrier_no, carrier_id, part_state, stat, recipient_hash", "at"),
        _purge("noted_receipt", "oddity, no", "at"),
    ),
)
