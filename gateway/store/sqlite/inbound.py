"""The statements of `gateway.store.engine.inbound`."""

from __future__ import annotations

from gateway.store.engine.statements import InboundSql
from gateway.store.sqlite.bulk import Plain

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

SQL = InboundSql(
    see=Plain(_SEE),
    seen_older=Plain(SEEN_OLDER),
    held_older=Plain(HELD_OLDER),
    drop_stale=Plain(_DROP_STALE),
    hold=Plain(_HOLD),
    held_parts=Plain(_HELD_PARTS),
    move=Plain(_MOVE),
    release=Plain(_RELEASE),
    store=Plain(_STORE),
    oldest_group=Plain(OLDEST_GROUP),
)
