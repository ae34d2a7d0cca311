"""The database of a run: the node's own file, or a PostgreSQL server of the run's own, beside the node."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Protocol

from bench import inside
from tests.postgres.server import PostgresServer


class Database(Protocol):
    """What a run asks of it."""

    settings: Mapping[str, object]  # of the node's section `store`
    beside: Mapping[str, int]  # the server's process, by name
    volatile: str  # what of the settings differs from run to run

    def octets(self) -> int:
        """Return how large it is, logs included."""

    def audit_octets(self) -> int:
        """Return how many octets the records of the audit have."""


class File:
    """SQLite."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self.settings: Mapping[str, object] = {}
        self.beside: Mapping[str, int] = {}
        self.volatile = ""

    def octets(self) -> int:
        """Return how large it is, with its log."""
        return sum(file.stat().st_size for file in self._file.parent.glob(f"{self._file.name}*"))

    def audit_octets(self) -> int:
        """Return how many octets the records of the audit have."""
        return inside.audit_bytes(self._file)


class Server:
    """PostgreSQL."""

    def __init__(self, server: PostgresServer) -> None:
        self._server = server
        self.settings: Mapping[str, object] = server.section("postgres")
        self.beside: Mapping[str, int] = {"postgres": server.pid}
        self.volatile = str(server.folder)

    def _number(self, query: str) -> int:
        with self._server.connect("postgres") as db:
            ((number,),) = db.execute(query).fetchall()
        return int(str(number))

    def octets(self) -> int:
        """Return how large it is, without the server's log."""
        return self._number("SELECT pg_database_size(current_database())")

    def audit_octets(self) -> int:
        """Return how many octets the records of the audit have."""
        return self._number("SELECT coalesce(sum(octet_length(records)), 0) FROM smsgw.audit_commit")


@contextlib.contextmanager
def database_for(folder: Path, *, postgres: bool) -> Iterator[Database]:
    """Give the database of the node in `folder`."""
    if not postgres:
        yield File(folder / "data" / "smsgw.db")
        return
    server = PostgresServer("shared_buffers=256MB")
    try:
        yield Server(server)
    finally:
        server.stop()
