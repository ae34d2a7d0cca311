-- The transparency log over the audit (gateway/store/sequencing.py): one row of a head, and its tiles. Level -1 has the
-- bundles of entries. A full tile never changes.
CREATE TABLE log_head (
    single INTEGER PRIMARY KEY CHECK (single = 1),
    epoch INTEGER NOT NULL, -- rises each time the lease is taken
    holder TEXT NOT NULL,
    held_until INTEGER NOT NULL, -- by this database's clock
    size INTEGER NOT NULL, -- leaves
    checkpoint BLOB NOT NULL, -- the newest signed note, x'' before the first
    checkpoint_size INTEGER NOT NULL,
    pruned INTEGER NOT NULL -- commits up to this one may be gone from audit_commit
) STRICT;
INSERT INTO log_head VALUES (1, 0, '', 0, 0, x'', 0, 0);
CREATE TABLE log_tile (
    level INTEGER NOT NULL,
    number INTEGER NOT NULL,
    width INTEGER NOT NULL, -- hashes or entries, 1 to 256
    octets BLOB NOT NULL,
    PRIMARY KEY (level, number)
) STRICT;
CREATE TRIGGER log_tile_stays BEFORE DELETE ON log_tile BEGIN SELECT RAISE(ABORT, 'tiles stay'); END;
CREATE TRIGGER log_tile_fixed BEFORE UPDATE ON log_tile WHEN OLD.width = 256
    BEGIN SELECT RAISE(ABORT, 'full tiles are fixed'); END;
DROP TRIGGER audit_commit_stays;
CREATE TRIGGER audit_commit_stays BEFORE DELETE ON audit_commit WHEN OLD.seq > (SELECT pruned FROM log_head)
    BEGIN SELECT RAISE(ABORT, 'audit rows stay'); END;
