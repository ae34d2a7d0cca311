-- The transparency log over the audit (gateway/store/sequencing.py): one row of a head, and its tiles. Level -1 has the
-- bundles of entries. A full tile never changes.
CREATE TABLE log_head (
    single boolean PRIMARY KEY DEFAULT true CHECK (single),
    epoch bigint NOT NULL, -- rises each time the lease is taken
    holder text COLLATE "C" NOT NULL,
    held_until bigint NOT NULL, -- by this database's clock
    size bigint NOT NULL, -- leaves
    checkpoint bytea NOT NULL, -- the newest signed note, '' before the first
    checkpoint_size bigint NOT NULL,
    pruned bigint NOT NULL -- commits up to this one may be gone from audit_commit
) WITH (fillfactor = 50);
INSERT INTO log_head (epoch, holder, held_until, size, checkpoint, checkpoint_size, pruned) VALUES (0, '', 0, 0, '', 0, 0);
CREATE TABLE log_tile (
    level bigint NOT NULL,
    number bigint NOT NULL,
    width bigint NOT NULL, -- hashes or entries, 1 to 256
    octets bytea NOT NULL,
    PRIMARY KEY (level, number)
);
ALTER TABLE log_tile ALTER octets SET STORAGE EXTERNAL; -- hashes do not compress
CREATE FUNCTION log_tiles_stay() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'tiles stay'; END $$;
CREATE TRIGGER log_tile_stays BEFORE DELETE OR TRUNCATE ON log_tile FOR EACH STATEMENT EXECUTE FUNCTION log_tiles_stay();
CREATE TRIGGER log_tile_fixed BEFORE UPDATE ON log_tile
    FOR EACH ROW WHEN (OLD.width = 256) EXECUTE FUNCTION log_tiles_stay();
DROP TRIGGER audit_commit_stays ON audit_commit;
CREATE TRIGGER audit_commit_fixed BEFORE UPDATE OR TRUNCATE ON audit_commit
    FOR EACH STATEMENT EXECUTE FUNCTION audit_rows_stay();
CREATE FUNCTION audit_row_stays() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF OLD.seq > (SELECT pruned FROM smsgw.log_head) THEN RAISE EXCEPTION 'audit rows stay'; END IF;
    RETURN OLD;
END $$;
CREATE TRIGGER audit_commit_stays BEFORE DELETE ON audit_commit FOR EACH ROW EXECUTE FUNCTION audit_row_stays();
