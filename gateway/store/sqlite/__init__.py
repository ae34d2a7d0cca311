"""The embedded engine: SQLite in WAL mode, written by one thread in group commits (`gateway.store.engine`).

store        SqliteStore, put together
database     connections and transactions
transaction  how events and commits of the audit are counted here
statements   all statements; those of a step are in the module of its name
checkpoint   moves the write-ahead log into the database without stalling commits
bulk         statements over many rows
log_tail     whether a damaged log has lost what was acknowledged
schema, files, faults    migrations; the file, its mode and its lock; SQLite's errors in our words
"""

from gateway.store.sqlite.store import SqliteStore

__all__ = ["SqliteStore"]
