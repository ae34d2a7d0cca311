"""The statements of `gateway.store.engine.holding`."""

from __future__ import annotations

from gateway.store.engine.statements import HoldingSql
from gateway.store.sqlite.bulk import Plain, Select, Write

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

SQL = HoldingSql(
    hold_carrier=Plain(_HOLD),
    free_carrier=Plain(_FREE),
    carriers=Plain(_ALL),
    number_carriers=Plain(_NUMBER),
    hold_messages=Plain(_HOLD_MESSAGES),
    free_messages=Plain(_FREE_MESSAGES),
    messages=Plain(_ALL_MESSAGES),
    number_messages=Plain(_NUMBER_MESSAGES),
    number_owners=Plain(_NUMBER_OWNERS),
    page=PAGE,
    owned_page=OWNED_PAGE,
    park=PARK,
    unpark=UNPARK,
)
