"""The embedded store: SQLite in WAL mode, written by one thread in group commits.

engine       SqliteStore: the coroutines of the contract, in the event loop
calls        what its parts for receipts and operators ask of the engine
writer       the writer's thread and its group commit
transaction  what a transaction gathers: events, counters, interned names
accepting, claiming, settling, receiving, inbound, closing    the steps of a message, inside a transaction
reader, reading    the reader's thread, and its queries
checkpoint   moves the write-ahead log into the database without stalling commits
bulk         statements over many rows
schema, files, faults    migrations; the file, its mode and its lock; SQLite's errors in our words
"""

from gateway.store.sqlite.engine import SqliteStore

__all__ = ["SqliteStore"]
