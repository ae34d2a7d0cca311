-- Up to which message id the retention of a tenant's categories has come, for each stage (gateway.store.retention.Stage):
-- all before it has been dealt with, or stands in `retention_left`. No index over the time of ending is needed so, and
-- a message on its way pays nothing.
CREATE TABLE retention (
    tenant_no INTEGER NOT NULL,
    categories INTEGER NOT NULL, -- as bits: those that are kept for the same time
    stage INTEGER NOT NULL,
    up_to BLOB NOT NULL,
    PRIMARY KEY (tenant_no, categories, stage)
) STRICT, WITHOUT ROWID;
-- What was passed over: not final yet, or final for too short a time. It is looked at again at `due_at`.
CREATE TABLE retention_left (
    tenant_no INTEGER NOT NULL,
    stage INTEGER NOT NULL,
    id BLOB NOT NULL,
    due_at INTEGER NOT NULL,
    PRIMARY KEY (tenant_no, stage, id)
) STRICT, WITHOUT ROWID;
CREATE INDEX retention_left_due ON retention_left (due_at);
