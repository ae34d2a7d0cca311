-- Data keys that are to be destroyed: something under them was erased, and what others have there is sealed anew first.
CREATE TABLE retiring_key (
    key_id BLOB NOT NULL PRIMARY KEY,
    tenant_no INTEGER NOT NULL,
    since INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
-- Data keys under which older messages were sealed anew, and the oldest of them: a key is else looked for among the
-- messages of its own time.
CREATE TABLE resealing_key (
    key_id BLOB NOT NULL PRIMARY KEY,
    oldest BLOB NOT NULL
) STRICT, WITHOUT ROWID;
