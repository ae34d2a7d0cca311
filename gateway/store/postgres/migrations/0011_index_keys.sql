-- Since when each index key has been the newest, by the two octets that stand for it: what carries no such octets and was
-- hashed before is gone 72 hours later.
CREATE TABLE index_key (
    version bytea PRIMARY KEY,
    since bigint NOT NULL
);
