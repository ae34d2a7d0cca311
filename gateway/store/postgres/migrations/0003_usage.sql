-- What tenants use: counted by the transaction that changes a message, so that it is neither more nor less than the events
-- say. `day` counts from 1970-01-01, UTC. Carrier 0 is none: what is accepted has none yet. Amounts are millionths of the
-- currency's unit; '' where there are no prices. A month is the sum of its days. Several nodes add to the same rows.
CREATE TABLE usage (
    tenant_no integer NOT NULL,
    day integer NOT NULL,
    category smallint NOT NULL,
    country text COLLATE "C" NOT NULL,
    carrier_no integer NOT NULL,
    currency text COLLATE "C" NOT NULL,
    accepted bigint NOT NULL, -- messages
    accepted_segments bigint NOT NULL,
    submitted bigint NOT NULL,
    submitted_segments bigint NOT NULL,
    delivered bigint NOT NULL,
    delivered_segments bigint NOT NULL,
    failed bigint NOT NULL,
    failed_segments bigint NOT NULL,
    spent bigint NOT NULL, -- what carriers bill for the submitted segments
    released bigint NOT NULL, -- of those accepted that day: messages that do not count towards caps any more
    committed bigint NOT NULL, -- of those accepted that day: what they have cost, and what is reserved for the others
    PRIMARY KEY (tenant_no, day, category, country, carrier_no, currency)
) WITH (fillfactor = 50);

-- Of a message: its country as a number (gateway.store.engine.tally), and what was reserved for it until it was submitted.
-- Those that are over are not counted again, so only the others need theirs.
ALTER TABLE message ADD COLUMN country smallint NOT NULL DEFAULT 675;
ALTER TABLE message ADD COLUMN reserved bigint NOT NULL DEFAULT 0;
UPDATE message AS m SET country = (ascii(b.country) - 65) * 26 + ascii(substr(b.country, 2)) - 65
    FROM body AS b WHERE b.tenant_no = m.tenant_no AND b.id = m.id AND m.queue IS NOT NULL
    AND b.country ~ '^[A-Z]{2}$';
