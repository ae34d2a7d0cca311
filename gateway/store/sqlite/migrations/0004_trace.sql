-- Of a message that is traced: trace id, span id and flags, 25 octets (gateway.telemetry.context). NULL for all others.
ALTER TABLE message ADD COLUMN trace BLOB;
