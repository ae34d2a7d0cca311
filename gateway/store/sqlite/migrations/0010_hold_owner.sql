-- Messages of one owner can be held, and those alone that were accepted up to a moment: what waited of an identity when it
-- was revoked. The owner is a part of what a hold is known by, so the table is made anew.
CREATE TABLE message_hold_owned (
    no INTEGER PRIMARY KEY,
    tenant TEXT NOT NULL, -- '' for all, as 0, x'' and '' below
    category INTEGER NOT NULL,
    recipient_hashes BLOB NOT NULL,
    owner TEXT NOT NULL, -- SPIFFE ID
    accepted_until INTEGER NOT NULL, -- 0: whenever
    shown TEXT NOT NULL, -- the masked recipient
    at INTEGER NOT NULL,
    by TEXT NOT NULL, -- SPIFFE ID
    reason TEXT NOT NULL,
    UNIQUE (tenant, category, recipient_hashes, owner)
) STRICT;
INSERT INTO message_hold_owned (no, tenant, category, recipient_hashes, owner, accepted_until, shown, at, by, reason)
    SELECT no, tenant, category, recipient_hashes, '', 0, shown, at, by, reason FROM message_hold;
DROP TABLE message_hold;
ALTER TABLE message_hold_owned RENAME TO message_hold;
