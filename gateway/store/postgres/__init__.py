"""The engine on PostgreSQL 15 and later: psycopg 3, one writer's session with group commits (`gateway.store.engine`).

store        PostgresStore, put together
target       where the database is, and how a session is opened
database     sessions and transactions; the lock that keeps other nodes out
session      statements in binary, prepared, pipelined inside a transaction
watch        cuts the line of a server that does not answer
transaction  how events and commits of the audit are numbered
statements   all statements; those of a step are in the module of its name
bulk, arrays statements over many rows: arrays in binary, unnested by the server
schema, faults   migrations; the server's errors in our words
"""

from gateway.store.postgres.store import PostgresStore
from gateway.store.postgres.target import Target, Tls

__all__ = ["PostgresStore", "Target", "Tls"]
