-- What operators hold back, until they let it go on: it outlives the process.
CREATE TABLE carrier_hold (
    carrier TEXT NOT NULL PRIMARY KEY,
    drained INTEGER NOT NULL, -- 1: its links are ended too
    at INTEGER NOT NULL,
    by TEXT NOT NULL, -- SPIFFE ID
    reason TEXT NOT NULL
) STRICT, WITHOUT ROWID;
