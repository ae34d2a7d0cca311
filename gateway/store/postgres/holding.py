"""The statements of `gateway.store.engine.holding`."""

from __future__ import annotations

from gateway.store.engine.statements import HoldingSql
from gateway.store.postgres.bulk import Plain, Select, Write

_HOLD = Plain(
    "INSERT INTO carrier_hold (carrier, drained, at, by, reason) VALUES ($1, $2, $3, $4, $5) ON CONFLICT (carrier)"
    " DO UPDATE SET drained = excluded.drained, at = excluded.at, by = excluded.by, reason = excluded.reason"
)
_FREE = Plain("DELETE FROM carrier_hold WHERE carrier = $1")
_ALL = Plain("SELECT carrier, drained, at, by, reason FROM carrier_hold ORDER BY carrier")
_NUMBER = Plain("SELECT count(*) FROM carrier_hold")
_HOLD_MESSAGES = Plain(
    "INSERT INTO message_hold (tenant, category, recipient_hashes, owner, accepted_until, shown, at, by, reason)"
    " VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9) ON CONFLICT (tenant, category, recipient_hashes, owner)"
    " DO UPDATE SET accepted_until = excluded.accepted_until, at = excluded.at, by = excluded.by,"
    " reason = excluded.reason"
)
_FREE_MESSAGES = Plain(
    "DELETE FROM message_hold WHERE tenant = $1 AND category = $2 AND recipient_hashes = $3 AND owner = $4"
)
_ALL_MESSAGES = Plain(
    "SELECT tenant, category, recipient_hashes, owner, accepted_until, shown, at, by, reason"
    " FROM message_hold ORDER BY at, no"
)
_NUMBER_MESSAGES = Plain("SELECT count(*) FROM message_hold WHERE owner = ''")
_NUMBER_OWNERS = Plain("SELECT count(*) FROM message_hold WHERE owner <> ''")
# One page of a queue, behind a place: without the owners, and with them, which stand in another table.
PAGE = Select(
    "SELECT tenant_no, id, due_at, category, carrier_no, state, recipient_hash, '' FROM message"
    " WHERE queue = $1 AND (due_at, tenant_no, id) > ($2, $3, $4) ORDER BY due_at, tenant_no, id LIMIT $5"
)
OWNED_PAGE = Select(
    "SELECT m.tenant_no, m.id, m.due_at, m.category, m.carrier_no, m.state, m.recipient_hash, b.owner"
    " FROM message AS m JOIN body AS b ON b.tenant_no = m.tenant_no AND b.id = m.id"
    " WHERE m.queue = $1 AND (m.due_at, m.tenant_no, m.id) > ($2, $3, $4)"
    " ORDER BY m.due_at, m.tenant_no, m.id LIMIT $5"
)
PARK = Write(
    "UPDATE message AS m SET queue = m.category FROM {v}"
    " WHERE m.tenant_no = v.tenant_no AND m.id = v.id AND m.queue = 20 AND m.state <> 2 AND m.holder = {me}",
    "tenant_no int, id bytes",
)
UNPARK = Write(
    "UPDATE message AS m SET queue = 10 + m.category FROM {v}"
    " WHERE m.tenant_no = v.tenant_no AND m.id = v.id AND m.queue < 10",
    "tenant_no int, id bytes",
)

SQL = HoldingSql(
    hold_carrier=_HOLD,
    free_carrier=_FREE,
    carriers=_ALL,
    number_carriers=_NUMBER,
    hold_messages=_HOLD_MESSAGES,
    free_messages=_FREE_MESSAGES,
    messages=_ALL_MESSAGES,
    number_messages=_NUMBER_MESSAGES,
    number_owners=_NUMBER_OWNERS,
    page=PAGE,
    owned_page=OWNED_PAGE,
    park=PARK,
    unpark=UNPARK,
)
