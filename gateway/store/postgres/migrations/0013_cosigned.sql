-- usable from: 11
-- The newest checkpoint that as many witnesses have cosigned as are asked for, '' before the first: receipts are made of it.
ALTER TABLE log_head ADD COLUMN cosigned bytea NOT NULL DEFAULT '', ADD COLUMN cosigned_size bigint NOT NULL DEFAULT 0;
