"""The format of the authority's record: one step for each version, never changed afterwards, and only ever forward."""

from __future__ import annotations

from typing import Final

from certs.ca.event_schema import EVENTS

STEPS: Final = (
    """
CREATE TABLE counters (name TEXT PRIMARY KEY, value INTEGER NOT NULL) STRICT, WITHOUT ROWID;
INSERT INTO counters (name, value) VALUES ('epoch', 0), ('bundle', 0);
CREATE TABLE authorities (
    key_id TEXT PRIMARY KEY, kind TEXT NOT NULL, state TEXT NOT NULL, certificate BLOB NOT NULL,
    created_at INTEGER NOT NULL, changed_at INTEGER NOT NULL, suspect_from INTEGER
) STRICT, WITHOUT ROWID;
CREATE UNIQUE INDEX one_active ON authorities (kind) WHERE kind = 'intermediate' AND state = 'active';
CREATE UNIQUE INDEX one_standby ON authorities (kind) WHERE kind = 'intermediate' AND state = 'standby';
CREATE TABLE issued (
    serial TEXT PRIMARY KEY, spiffe_id TEXT NOT NULL, key_hash TEXT NOT NULL, authority_key_id TEXT NOT NULL,
    asked_by TEXT NOT NULL, attested_by TEXT NOT NULL, issued_at INTEGER NOT NULL,
    not_before INTEGER NOT NULL, not_after INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX issued_by_end ON issued (not_after);
CREATE INDEX issued_by_identity ON issued (spiffe_id, not_after);
""",
    """
CREATE TABLE tokens (hash BLOB PRIMARY KEY, spiffe_id TEXT NOT NULL, expires_at INTEGER NOT NULL, used_at INTEGER)
STRICT, WITHOUT ROWID;
CREATE INDEX tokens_by_end ON tokens (expires_at);
""",
    """
CREATE TABLE jwt_keys (
    key_id TEXT PRIMARY KEY, public BLOB NOT NULL, active_at INTEGER NOT NULL, ends_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
""",
    """
CREATE TABLE revoked (
    serial TEXT PRIMARY KEY, authority_key_id TEXT NOT NULL, spiffe_id TEXT NOT NULL, not_after INTEGER NOT NULL,
    revoked_at INTEGER NOT NULL, code INTEGER NOT NULL, reason TEXT NOT NULL, asked_by TEXT NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX revoked_by_authority ON revoked (authority_key_id, not_after);
CREATE INDEX revoked_by_end ON revoked (not_after);
CREATE TABLE revoked_keys (key_hash TEXT PRIMARY KEY, revoked_at INTEGER NOT NULL) STRICT, WITHOUT ROWID;
CREATE INDEX issued_by_key ON issued (key_hash);
CREATE INDEX issued_by_attestation ON issued (attested_by);
CREATE INDEX issued_by_asker ON issued (asked_by, not_after);
""",
    """
CREATE TABLE crls (
    key_id TEXT PRIMARY KEY, number INTEGER NOT NULL, made INTEGER, der BLOB, next_update INTEGER, scheduled_at INTEGER
) STRICT, WITHOUT ROWID;
CREATE TABLE settings (name TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT, WITHOUT ROWID;
""",
    """
CREATE TABLE key_homes (key_id TEXT PRIMARY KEY, home TEXT NOT NULL) STRICT, WITHOUT ROWID;
""",
    EVENTS,
)
