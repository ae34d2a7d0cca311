-- The first schema. Times are microseconds since the Unix epoch, UTC. Ids are UUIDv7, 16 bytes.

-- Tenants and carriers are small numbers in the rows. Carrier 0 is none.
CREATE TABLE tenant (no INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE) STRICT;
CREATE TABLE carrier (no INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE) STRICT;
INSERT INTO carrier (no, name) VALUES (0, '');

-- What changes of a message, and what it is found by; the rest is in `body`. The three updates that every message gets
-- rewrite its row: a small one, thirty a page, costs half as much as one with all columns.
-- Clustered by (tenant, id): ids grow with time, so new rows lie together, and ListMessages is this key backwards.
CREATE TABLE message (
    tenant_no INTEGER NOT NULL,
    id BLOB NOT NULL,
    state INTEGER NOT NULL,
    -- NULL when final. A SENDING message stays in CLAIMED (20): `state` tells the two apart, and the step from one to
    -- the other, which every message takes, changes no index.
    queue INTEGER,
    due_at INTEGER NOT NULL,
    expires_at INTEGER NOT NULL,
    attempts INTEGER NOT NULL,
    carrier_no INTEGER NOT NULL,
    category INTEGER NOT NULL,
    segments INTEGER NOT NULL,
    sending_at INTEGER,
    submitted_at INTEGER,
    done_at INTEGER,
    part_states TEXT NOT NULL,
    carrier_ids TEXT NOT NULL,
    reason_code TEXT NOT NULL,
    reason_text TEXT NOT NULL,
    smpp_status INTEGER,
    network_error TEXT NOT NULL,
    recipient_hash BLOB NOT NULL,
    PRIMARY KEY (tenant_no, id)
) STRICT, WITHOUT ROWID;

-- Serves claim, close_due, recover and counts; final messages are not in it, so its size is that of the open ones.
CREATE INDEX message_queue ON message (queue, due_at) WHERE queue IS NOT NULL;
-- Serves close_due alone: among a million waiting messages those whose validity ended. Claimed messages are not in it,
-- so the usual way of a message (accepted into memory, sent) costs it nothing.
CREATE INDEX message_waiting_expiry ON message (expires_at) WHERE queue < 20;
CREATE INDEX message_recipient ON message (tenant_no, recipient_hash, id);

-- What a message was accepted with: written once.
CREATE TABLE body (
    tenant_no INTEGER NOT NULL,
    id BLOB NOT NULL,
    accepted_at INTEGER NOT NULL,
    encoding INTEGER NOT NULL,
    sender TEXT NOT NULL,
    masked_recipient TEXT NOT NULL,
    owner TEXT NOT NULL,
    envelope BLOB NOT NULL,
    content BLOB NOT NULL,
    PRIMARY KEY (tenant_no, id)
) STRICT, WITHOUT ROWID;

-- The log of a tenant, read by range. `seq` counts over all tenants, in the order of commit.
CREATE TABLE event (
    tenant_no INTEGER NOT NULL,
    seq INTEGER NOT NULL,
    at INTEGER NOT NULL,
    message_id BLOB NOT NULL,
    state INTEGER NOT NULL, -- 0: an inbound message
    carrier_no INTEGER NOT NULL,
    reason_code TEXT,
    reason_text TEXT,
    smpp_status INTEGER,
    network_error TEXT,
    operator_done_at INTEGER,
    PRIMARY KEY (tenant_no, seq)
) STRICT, WITHOUT ROWID;

-- From the carrier's id of a part to the message.
CREATE TABLE carrier_ref (
    carrier_no INTEGER NOT NULL,
    carrier_id TEXT NOT NULL,
    tenant_no INTEGER NOT NULL,
    message_id BLOB NOT NULL,
    part INTEGER NOT NULL, -- 0-based
    PRIMARY KEY (carrier_no, carrier_id)
) STRICT, WITHOUT ROWID;

-- Receipts whose message is not known (yet). Their key makes a redelivered one take no more room.
CREATE TABLE kept_receipt (
    carrier_no INTEGER NOT NULL,
    carrier_id TEXT NOT NULL,
    part_state TEXT NOT NULL,
    stat TEXT NOT NULL,
    recipient_hash BLOB NOT NULL,
    at INTEGER NOT NULL,
    operator_done_at INTEGER,
    network_error TEXT NOT NULL,
    PRIMARY KEY (carrier_no, carrier_id, part_state, stat, recipient_hash)
) STRICT, WITHOUT ROWID;
CREATE INDEX kept_receipt_age ON kept_receipt (at);

-- In the order of insertion, which is that of expiry (all are kept for the same time): purge reads it from its old end.
-- Hashes are cut to 16 octets: keys come in no order, so how many of them a page holds decides what a batch costs.
CREATE TABLE idempotency (
    no INTEGER PRIMARY KEY,
    key_hash BLOB NOT NULL UNIQUE,
    content_hash BLOB NOT NULL,
    tenant_no INTEGER NOT NULL,
    message_id BLOB NOT NULL,
    created_at INTEGER NOT NULL,
    expires_at INTEGER NOT NULL
) STRICT;

-- Parts of inbound messages that wait for their other parts.
CREATE TABLE inbound_held (
    tenant_no INTEGER NOT NULL,
    group_hash BLOB NOT NULL,
    part INTEGER NOT NULL, -- 1-based
    payload BLOB NOT NULL,
    expires_at INTEGER NOT NULL,
    PRIMARY KEY (tenant_no, group_hash, part)
) STRICT, WITHOUT ROWID;
CREATE INDEX inbound_held_expiry ON inbound_held (expires_at);

-- Complete inbound messages; an event with state 0 names each.
CREATE TABLE inbound_part (
    tenant_no INTEGER NOT NULL,
    id BLOB NOT NULL,
    part INTEGER NOT NULL, -- 1-based
    payload BLOB NOT NULL,
    PRIMARY KEY (tenant_no, id, part)
) STRICT, WITHOUT ROWID;

CREATE TABLE inbound_seen (
    fingerprint BLOB NOT NULL PRIMARY KEY,
    expires_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX inbound_seen_expiry ON inbound_seen (expires_at);

CREATE TABLE counter (name TEXT NOT NULL PRIMARY KEY, value INTEGER NOT NULL) STRICT, WITHOUT ROWID;
