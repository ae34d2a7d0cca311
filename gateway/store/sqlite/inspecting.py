"""What can be seen of a database beside the node that uses it, or without one; and its schema, brought forward."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import apsw

from gateway.store import soundness
from gateway.store.soundness import Fetch
from gateway.store.sqlite import faults, schema
from gateway.store.sqlite.bulk import fetch
from gateway.store.sqlite.snapshot import complaints


@contextmanager
def looking(path: Path) -> Iterator[apsw.Connection]:
    """Give a connection that reads one moment of the database. Raises StoreUnavailable or StoreCorrupt."""
    try:
        db = schema.connect_reader(path, None)
        try:
            schema.check_owner(db, path)
            db.execute("BEGIN")
            yield db
        finally:
            faults.close(db)
    except apsw.Error as error:
        raise faults.translate(error, str(path)) from None


def fetching(db: apsw.Connection) -> Fetch:
    """Return how `gateway.store.soundness` asks this database."""
    return lambda text: fetch(db, text)


def version_of(db: apsw.Connection) -> int:
    """Return how many migrations it has had."""
    ((version,),) = fetch(db, "PRAGMA user_version")
    return int(version)


def problems(db: apsw.Connection, *, quick: bool) -> list[str]:
    """Return what is wrong: what SQLite finds first, and our own rules only where it finds nothing."""
    found = complaints(db, quick=quick)
    return found or [f"{rows} {rule}" for rule, rows in soundness.broken(fetching(db))]


def change(path: Path, statement: str, bindings: tuple[int, ...]) -> None:
    """Change a database that nobody uses. Raises StoreUnavailable or StoreCorrupt."""
    try:
        db = schema.connect(path, None)
        try:
            db.execute(statement, bindings)
        finally:
            faults.close(db)
    except apsw.Error as error:
        raise faults.translate(error, str(path)) from None


def bring_forward(path: Path) -> None:
    """Bring the schema to the newest version; the caller holds the node's lock.

    Raises StoreUnavailable or StoreCorrupt.
    """
    try:
        db = schema.connect(path, None)
        try:
            schema.migrate(db, path, schema.migrations())
        finally:
            faults.close(db)
    except apsw.Error as error:
        raise faults.translate(error, str(path)) from None
