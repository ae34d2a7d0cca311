-- The newest checkpoint that as many witnesses have cosigned as are asked for, x'' before the first: receipts are made of it.
ALTER TABLE log_head ADD COLUMN cosigned BLOB NOT NULL DEFAULT x'';
ALTER TABLE log_head ADD COLUMN cosigned_size INTEGER NOT NULL DEFAULT 0;
