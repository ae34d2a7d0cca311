-- When the message was delivered, or was not, by the operator's clock: what the receipt that ended it says.
ALTER TABLE message ADD COLUMN operator_done_at INTEGER;

-- What has to be known of a kept receipt when it is matched after all (NewReceipt.parts_rule, .sent_by), and how often
-- its carrier was asked to deliver it again.
ALTER TABLE kept_receipt ADD COLUMN parts_rule INTEGER NOT NULL DEFAULT 0;
ALTER TABLE kept_receipt ADD COLUMN sent_by INTEGER NOT NULL DEFAULT 4611686018427387903;
ALTER TABLE kept_receipt ADD COLUMN refused INTEGER NOT NULL DEFAULT 0;

-- Where a carrier's id led before the carrier gave it to another message: the newest of them. A receipt that names
-- another recipient than the newest message's is looked for here.
CREATE TABLE carrier_ref_older (
    carrier_no INTEGER NOT NULL,
    carrier_id TEXT NOT NULL,
    tenant_no INTEGER NOT NULL,
    message_id BLOB NOT NULL,
    part INTEGER NOT NULL, -- 0-based
    PRIMARY KEY (carrier_no, carrier_id, message_id, part)
) STRICT, WITHOUT ROWID;

-- Receipts that changed nothing and should not have come, as evidence: of each oddity the newest.
CREATE TABLE noted_receipt (
    oddity INTEGER NOT NULL, -- gateway.store.receipts.Oddity
    no INTEGER NOT NULL,
    at INTEGER NOT NULL,
    carrier_no INTEGER NOT NULL,
    carrier_id TEXT NOT NULL,
    tenant_no INTEGER NOT NULL,
    message_id BLOB NOT NULL,
    stat TEXT NOT NULL,
    network_error TEXT NOT NULL,
    operator_done_at INTEGER,
    PRIMARY KEY (oddity, no)
) STRICT, WITHOUT ROWID;
CREATE INDEX noted_receipt_age ON noted_receipt (at);
