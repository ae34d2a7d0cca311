-- Data keys that are to be destroyed: something under them was erased, and what others have there is sealed anew first.
CREATE TABLE retiring_key (
    key_id bytea PRIMARY KEY,
    tenant_no integer NOT NULL,
    since bigint NOT NULL
);
-- Data keys under which older messages were sealed anew, and the oldest of them: a key is else looked for among the
-- messages of its own time.
CREATE TABLE resealing_key (
    key_id bytea PRIMARY KEY,
    oldest bytea NOT NULL
);
