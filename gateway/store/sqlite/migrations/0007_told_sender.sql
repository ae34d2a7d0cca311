-- The sender that the carrier was told at the last attempt, where a route rewrites it; NULL for the message's own. Who
-- asks the carrier about a message, or to cancel it, has to name it so.
ALTER TABLE message ADD COLUMN told_sender TEXT;
