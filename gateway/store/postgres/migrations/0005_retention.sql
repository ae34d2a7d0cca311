-- Up to which message id the retention of a tenant's categories has come, for each stage (gateway.store.retention.Stage):
-- all before it has been dealt with, or stands in `retention_left`.
CREATE TABLE retention (
    tenant_no integer NOT NULL,
    categories smallint NOT NULL, -- as bits: those that are kept for the same time
    stage smallint NOT NULL,
    up_to bytea NOT NULL,
    PRIMARY KEY (tenant_no, categories, stage)
) WITH (fillfactor = 50);
-- What was passed over: not final yet, or final for too short a time. It is looked at again at `due_at`.
CREATE TABLE retention_left (
    tenant_no integer NOT NULL,
    stage smallint NOT NULL,
    id bytea NOT NULL,
    due_at bigint NOT NULL,
    PRIMARY KEY (tenant_no, stage, id)
);
CREATE INDEX retention_left_due ON retention_left (due_at);
