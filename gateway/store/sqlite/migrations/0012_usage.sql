-- What tenants use: counted by the transaction that changes a message, so that it is neither more nor less than the events
-- say. `day` counts from 1970-01-01, UTC. Carrier 0 is none: what is accepted has none yet. Amounts are millionths of the
-- currency's unit; '' where there are no prices. A month is the sum of its days.
CREATE TABLE usage (
    tenant_no INTEGER NOT NULL,
    day INTEGER NOT NULL,
    category INTEGER NOT NULL,
    country TEXT NOT NULL,
    carrier_no INTEGER NOT NULL,
    currency TEXT NOT NULL,
    accepted INTEGER NOT NULL, -- messages
    accepted_segments INTEGER NOT NULL,
    submitted INTEGER NOT NULL,
    submitted_segments INTEGER NOT NULL,
    delivered INTEGER NOT NULL,
    delivered_segments INTEGER NOT NULL,
    failed INTEGER NOT NULL,
    failed_segments INTEGER NOT NULL,
    spent INTEGER NOT NULL, -- what carriers bill for the submitted segments
    released INTEGER NOT NULL, -- of those accepted that day: messages that do not count towards caps any more
    committed INTEGER NOT NULL, -- of those accepted that day: what they have cost, and what is reserved for the others
    PRIMARY KEY (tenant_no, day, category, country, carrier_no, currency)
) STRICT, WITHOUT ROWID;

-- Of a message: its country as a number (gateway.store.engine.tally), and what was reserved for it until it was submitted.
-- Those that are over are not counted again, so only the others need theirs.
ALTER TABLE message ADD COLUMN country INTEGER NOT NULL DEFAULT 675;
ALTER TABLE message ADD COLUMN reserved INTEGER NOT NULL DEFAULT 0;
UPDATE message SET country = coalesce((SELECT (unicode(b.country) - 65) * 26 + unicode(substr(b.country, 2)) - 65
    FROM body AS b WHERE b.tenant_no = message.tenant_no AND b.id = message.id), 675) WHERE queue IS NOT NULL;
