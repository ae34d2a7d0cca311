-- Idempotency records in the order in which they came, without an index over their hashes, which come in no order
-- (gateway/store/sqlite/keys.py). `idempotency` takes no more, is asked while it has any, and is empty after 72 hours.
CREATE TABLE key_record (
    no INTEGER PRIMARY KEY, -- grows, with gaps: no >> 15 is its run
    key_hash BLOB NOT NULL,
    content_hash BLOB NOT NULL,
    tenant_no INTEGER NOT NULL,
    message_id BLOB NOT NULL,
    created_at INTEGER NOT NULL,
    expires_at INTEGER NOT NULL
) STRICT;
-- The records up to the number `last`, behind those of the run before, by their hashes; `parts` of 16 are written. The newest
-- stays, so that no number before it is given again.
CREATE TABLE key_run (
    no INTEGER PRIMARY KEY,
    last INTEGER NOT NULL,
    parts INTEGER NOT NULL
) STRICT;
CREATE TABLE key_entry (
    run INTEGER NOT NULL,
    key_hash BLOB NOT NULL,
    no INTEGER NOT NULL,
    PRIMARY KEY (run, key_hash, no)
) STRICT, WITHOUT ROWID;
-- Whatever deletes a record.
CREATE TRIGGER key_entry_gone AFTER DELETE ON key_record
    BEGIN DELETE FROM key_entry WHERE run = OLD.no >> 15 AND key_hash = OLD.key_hash AND no = OLD.no; END;
-- What tells a key that no run of a generation has (gateway/store/sqlite/key_filters.py), in parts; without all of them it is
-- made anew from the records.
CREATE TABLE key_filter (
    generation INTEGER NOT NULL,
    part INTEGER NOT NULL,
    bits BLOB NOT NULL,
    PRIMARY KEY (generation, part)
) STRICT;
