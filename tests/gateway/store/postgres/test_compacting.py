"""Tables that are written anew: by their owner alone."""

from __future__ import annotations

from gateway.store.postgres import PostgresStore, compacting
from gateway.store.postgres.target import Deadlines, open_session
from tests.postgres.server import shared

_FILES = "SELECT relname, relfilenode FROM pg_class WHERE oid = ANY(%s::regclass[]) ORDER BY relname"


async def test_by_the_owner_alone() -> None:
    """Another role changes nothing, and is told who can; the owner writes each table into a new file."""
    server = shared()
    with server.database() as name:
        store = PostgresStore(server.target(name))
        await store.open()
        await store.close()
        tables = [f"smsgw.{table}" for table in compacting.TABLES]
        eye, db = server.connect(name), open_session(server.target(name), Deadlines(), reads=False)
        try:
            before = eye.execute(_FILES, (tables,)).fetchall()
            db.connection.execute("SET ROLE pg_monitor")
            (left,) = compacting.compact(db)
            assert "owner" in left.until
            assert eye.execute(_FILES, (tables,)).fetchall() == before
            db.connection.execute("RESET ROLE")
            assert compacting.compact(db) == []
            after = eye.execute(_FILES, (tables,)).fetchall()
            assert not set(before) & set(after)
        finally:
            db.close()
            eye.close()
