-- Blocks of recipients that are full are copied together, in the order of hashes, into runs (gateway/store/sqlite/runs.py),
-- so that a look-up asks some ten runs instead of thousands of blocks. A run has the blocks `first` to `last`, and those that are
-- forgotten between them. State 0: it is being written, up to the entry (tenant_no, hash, id); 1: it is asked; 2: another run
-- has taken its place, and it is being deleted.
CREATE TABLE run (
    no INTEGER PRIMARY KEY, -- grows: a new run is written at the end of `recipient`
    level INTEGER NOT NULL, -- 1: of blocks; above: of runs of the level below
    first INTEGER NOT NULL,
    last INTEGER NOT NULL,
    state INTEGER NOT NULL,
    tenant_no INTEGER NOT NULL DEFAULT -1,
    hash BLOB NOT NULL DEFAULT x'',
    id BLOB NOT NULL DEFAULT x''
) STRICT;
-- Those that are asked do not overlap.
CREATE UNIQUE INDEX run_asked ON run (last) WHERE state = 1;
CREATE INDEX run_first ON run (first, last);
CREATE TABLE recipient (
    run INTEGER NOT NULL,
    tenant_no INTEGER NOT NULL,
    hash BLOB NOT NULL,
    id BLOB NOT NULL,
    PRIMARY KEY (run, tenant_no, hash, id)
) STRICT, WITHOUT ROWID;
-- Whatever deletes a message or changes its hash, at most three runs have it: one that is asked, one that is being written and
-- one that is on its way out.
CREATE TRIGGER recipient_gone AFTER DELETE ON message WHEN OLD.block IS NOT NULL
    BEGIN DELETE FROM recipient WHERE run IN (SELECT no FROM run WHERE first <= OLD.block AND last >= OLD.block)
        AND tenant_no = OLD.tenant_no AND hash = OLD.recipient_hash AND id = OLD.id; END;
CREATE TRIGGER recipient_changed AFTER UPDATE OF recipient_hash ON message
    WHEN OLD.block IS NOT NULL AND OLD.recipient_hash <> NEW.recipient_hash
    BEGIN
        DELETE FROM recipient WHERE run IN (SELECT no FROM run WHERE first <= OLD.block AND last >= OLD.block)
            AND tenant_no = OLD.tenant_no AND hash = OLD.recipient_hash AND id = OLD.id;
        INSERT INTO recipient (run, tenant_no, hash, id)
            SELECT no, NEW.tenant_no, NEW.recipient_hash, NEW.id FROM run
            WHERE first <= NEW.block AND last >= NEW.block AND state < 2;
    END;
