-- Messages that operators hold back, by selection. Recipients are keyed hashes, 16 octets for each hash key in use, joined.
CREATE TABLE message_hold (
    no INTEGER PRIMARY KEY,
    tenant TEXT NOT NULL, -- '' for all, as 0 and x'' below
    category INTEGER NOT NULL,
    recipient_hashes BLOB NOT NULL,
    shown TEXT NOT NULL, -- the masked recipient
    at INTEGER NOT NULL,
    by TEXT NOT NULL, -- SPIFFE ID
    reason TEXT NOT NULL,
    UNIQUE (tenant, category, recipient_hashes)
) STRICT;
