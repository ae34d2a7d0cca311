-- Recipients by blocks of some thousand messages (gateway/store/sqlite/blocks.py). Hashes come in no order, so in one index
-- over all messages each changes another page; the entries of the block that is being filled are in few. Blocks part the
-- messages by their ids: `from_id` is the least of a block, and ends the one before.
CREATE TABLE block (no INTEGER PRIMARY KEY, from_id BLOB NOT NULL UNIQUE) STRICT;
INSERT INTO block (no, from_id) VALUES (1, x'');
-- NULL: of a message that was accepted before there were blocks.
ALTER TABLE message ADD COLUMN block INTEGER;
-- The index of before takes no more messages. It has just those whose block is NULL, which are all: so its definition alone
-- changes, and nothing is built anew, which would take minutes for millions.
PRAGMA writable_schema = ON;
UPDATE sqlite_schema SET sql = sql || ' WHERE block IS NULL' WHERE type = 'index' AND name = 'message_recipient';
PRAGMA writable_schema = RESET;
CREATE INDEX message_block ON message (block, tenant_no, recipient_hash, id) WHERE block IS NOT NULL;
-- A block without messages is forgotten, and the one before reaches to the next. The first catches every id; the newest two
-- are known to the writer.
CREATE TRIGGER block_empty AFTER DELETE ON message
    WHEN OLD.block > 1 AND NOT EXISTS (SELECT 1 FROM message WHERE block = OLD.block)
    BEGIN DELETE FROM block WHERE no = OLD.block AND no < (SELECT max(no) FROM block) - 1; END;
