"""The statements of `gateway.store.engine.inbound`."""

from __future__ import annotations

from gateway.store.engine.statements import InboundSql
from gateway.store.postgres.bulk import Plain, Prepared

_GROUPS = 0x534D5349  # of advisory locks: parts of one inbound message

_SEE = Plain(
    "INSERT INTO inbound_seen (fingerprint, expires_at) VALUES ($1, $2) ON CONFLICT (fingerprint)"
    " DO UPDATE SET expires_at = excluded.expires_at WHERE inbound_seen.expires_at <= $3"
)
# Under older hash keys: what was seen and held before the key was replaced.
SEEN_OLDER = Plain("SELECT 1 FROM inbound_seen WHERE fingerprint = $1 AND expires_at > $2")
HELD_OLDER = Plain("SELECT 1 FROM inbound_held WHERE tenant_no = $1 AND group_hash = $2 AND expires_at > $3 LIMIT 1")
# Parts of one message may come to several nodes at once: each waits for the other, and sees what it has stored.
_LOCK_GROUP = Plain("SELECT pg_advisory_xact_lock($1::int4, hashtext(encode($2, 'hex')))")
_DROP_STALE = Prepared(
    "DELETE FROM inbound_held WHERE tenant_no = $1 AND group_hash = $2 AND expires_at <= $3",
    before=_LOCK_GROUP,
    bindings=lambda of: (_GROUPS, of[1]),
)
_HOLD = Plain(
    "INSERT INTO inbound_held (tenant_no, group_hash, part, payload, expires_at) VALUES ($1, $2, $3, $4, $5)"
    " ON CONFLICT DO NOTHING"
)
_HELD_PARTS = Plain("SELECT count(*) FROM inbound_held WHERE tenant_no = $1 AND group_hash = $2")
_MOVE = Plain(
    "INSERT INTO inbound_part (tenant_no, id, part, payload)"
    " SELECT tenant_no, $3, part, payload FROM inbound_held WHERE tenant_no = $1 AND group_hash = $2"
)
_RELEASE = Plain("DELETE FROM inbound_held WHERE tenant_no = $1 AND group_hash = $2")
_STORE = Plain("INSERT INTO inbound_part (tenant_no, id, part, payload) VALUES ($1, $2, 1, $3)")
OLDEST_GROUP = Plain("SELECT group_hash FROM inbound_held WHERE tenant_no = $1 ORDER BY expires_at LIMIT 1")

SQL = InboundSql(
    see=_SEE,
    seen_older=SEEN_OLDER,
    held_older=HELD_OLDER,
    drop_stale=_DROP_STALE,
    hold=_HOLD,
    held_parts=_HELD_PARTS,
    move=_MOVE,
    release=_RELEASE,
    store=_STORE,
    oldest_group=OLDEST_GROUP,
)
