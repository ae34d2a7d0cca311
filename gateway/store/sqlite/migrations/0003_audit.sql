-- What was decided and what changed: one row for the records of one commit, written by that commit. The records are
-- encoded by gateway/audit/codec.py, and hold no personal data.
CREATE TABLE audit_commit (
    seq INTEGER PRIMARY KEY, -- from 1, without a gap
    at INTEGER NOT NULL,
    count INTEGER NOT NULL, -- of records
    records BLOB NOT NULL
) STRICT;
-- Against mistakes of our own; whoever can write the file can drop them.
CREATE TRIGGER audit_commit_stays BEFORE DELETE ON audit_commit BEGIN SELECT RAISE(ABORT, 'audit rows stay'); END;
CREATE TRIGGER audit_commit_fixed BEFORE UPDATE ON audit_commit BEGIN SELECT RAISE(ABORT, 'audit rows are fixed'); END;
