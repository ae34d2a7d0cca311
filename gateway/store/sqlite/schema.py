"""Opening connections, and bringing the schema forward.

Migrations are numbered SQL files; the database says in `user_version` how many it has had. They only go forward, and
each is one transaction. A database written by a newer smsgw is refused.
"""

from __future__ import annotations

from collections.abc import Sequence
from importlib import resources
from importlib.resources.abc import Traversable
from pathlib import Path

import apsw

from gateway.errors import StoreCorrupt, StoreUnavailable
from gateway.store.sqlite.bulk import fetch

APPLICATION_ID = 0x534D5347  # "SMSG"
_BUSY_MS = 2_000
_STATEMENTS_KEPT = 256  # about 25 statements in 4 sizes


def _files() -> list[Traversable]:
    folder = resources.files("gateway.store.sqlite") / "migrations"
    return sorted((entry for entry in folder.iterdir() if entry.name.endswith(".sql")), key=lambda entry: entry.name)


def migrations() -> list[str]:
    """Return the SQL of each migration, in order."""
    return [entry.read_text(encoding="utf-8") for entry in _files()]


def migration_names() -> list[str]:
    """Return what people call each migration, in order."""
    return [entry.name.removesuffix(".sql") for entry in _files()]


def connect(path: Path, vfs: str | None) -> apsw.Connection:
    """Open a connection that writes."""
    flags = apsw.SQLITE_OPEN_READWRITE
    db = apsw.Connection(str(path), flags=flags, vfs=vfs, statementcachesize=_STATEMENTS_KEPT)
    try:
        db.set_busy_timeout(_BUSY_MS)
        check_owner(db, path)
        db.execute("PRAGMA journal_mode = WAL")
        db.execute("PRAGMA synchronous = FULL")  # each commit is on disk before it is told
        db.execute("PRAGMA journal_size_limit = 67108864")
        db.execute("PRAGMA cache_size = -65536")  # KiB
        db.execute("PRAGMA temp_store = MEMORY")
        db.execute("PRAGMA secure_delete = ON")  # zeroes what is deleted, pages that become free too
        db.execute("PRAGMA foreign_keys = OFF")  # no table declares any
        db.execute("PRAGMA wal_autocheckpoint = 0")  # see checkpoint.py
    except BaseException:
        db.close()
        raise
    return db


def connect_reader(path: Path, vfs: str | None) -> apsw.Connection:
    """Open a connection that only reads."""
    db = apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READONLY, vfs=vfs)
    db.set_busy_timeout(_BUSY_MS)
    db.execute("PRAGMA cache_size = -16384")  # KiB
    db.execute("PRAGMA temp_store = MEMORY")
    db.execute("PRAGMA query_only = ON")
    fetch(db, "SELECT count(*) FROM sqlite_schema")  # opens the log
    return db


def check_owner(db: apsw.Connection, path: Path) -> None:
    """Refuse a database that another program made."""
    ((owner,),) = fetch(db, "PRAGMA application_id")
    ((tables,),) = fetch(db, "SELECT count(*) FROM sqlite_schema")
    if owner != APPLICATION_ID and (owner or tables):
        raise StoreCorrupt(f"{path} is a database of another program: name another file for the store")


def migrate(db: apsw.Connection, path: Path, steps: Sequence[str]) -> int:
    """Bring the schema to the newest version; returns the version it had.

    Raises StoreUnavailable when it is newer than this program.
    """
    version = _version(db)
    if version > len(steps):
        raise StoreUnavailable(
            f"the database {path} has schema {version}, and this smsgw knows {len(steps)}: run the newer smsgw"
            " that wrote it, or restore a backup",
            reason="STORE_SCHEMA_NEWER",
        )
    for number in range(version + 1, len(steps) + 1):
        with db:
            db.execute(steps[number - 1])
            db.execute(f"PRAGMA application_id = {APPLICATION_ID}")
            db.execute(f"PRAGMA user_version = {number}")
    return version


def _version(db: apsw.Connection) -> int:
    ((version,),) = fetch(db, "PRAGMA user_version")
    return int(version)
