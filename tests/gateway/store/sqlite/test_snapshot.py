"""A copy of the database is that of one moment, and its writer is not held up."""

from __future__ import annotations

import time
from pathlib import Path

import apsw
import pytest

from gateway.errors import StoreCorrupt, StoreUnavailable
from gateway.store.sqlite import SqliteStore, schema, snapshot
from tests.gateway.store.samples import NOW, message

RATE = 10 * snapshot.MIB


def _copy(source: Path, target: Path, rate: int = RATE) -> snapshot.Copied:
    target.touch(mode=0o600)
    return snapshot.copy(source, target, rate=rate, now=lambda: NOW)


def _count(path: Path) -> int:
    db = apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READONLY)
    ((number,),) = db.execute("SELECT count(*) FROM body").fetchall()
    db.close()
    return int(str(number))


def _files(folder: Path) -> dict[str, int]:
    """Return the modes of the files in a folder, but for empty ones."""
    found = {file.name: file.stat() for file in folder.iterdir() if file.is_file()}
    return {name: status.st_mode & 0o777 for name, status in found.items() if status.st_size}


async def test_one_moment_while_others_write(path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Commits between the steps succeed, none of them is in the copy, and the copy does not begin again."""
    store = SqliteStore(path)
    await store.open()
    await store.accept([message(content=bytes(10_000)) for _ in range(300)])
    writer = schema.connect(path, None)
    pauses = []

    def meanwhile(seconds: float) -> None:
        pauses.append(seconds)
        writer.execute("INSERT INTO counter (name, value) VALUES (?, 1)", (f"test.{len(pauses)}",))
        writer.execute("UPDATE body SET sender = 'LATER'")

    monkeypatch.setattr(time, "sleep", meanwhile)
    copied = _copy(path, tmp_path / "copy.db", rate=snapshot.MIB * 2)
    writer.close()
    await store.close()
    assert copied == (len(schema.migrations()), NOW)
    assert len(pauses) > 3
    db = apsw.Connection(str(tmp_path / "copy.db"))
    assert db.execute("SELECT count(*) FROM body WHERE sender = 'ACME'").fetchall() == [(300,)]
    assert db.execute("SELECT count(*) FROM counter WHERE name LIKE 'test.%'").fetchall() == [(0,)]
    db.close()


async def test_one_file(path: Path, tmp_path: Path) -> None:
    """The copy is one private file, with all that was committed, though it was in the log still."""
    store = SqliteStore(path)
    await store.open()
    await store.accept([message() for _ in range(7)])
    assert "smsgw.db-wal" in _files(path.parent)
    _copy(path, tmp_path / "copy.db")
    await store.close()
    assert _files(tmp_path) == {"copy.db": 0o600}
    assert _count(tmp_path / "copy.db") == 7


async def test_damage_is_not_copied_in_silence(path: Path, tmp_path: Path) -> None:
    """A database with a damaged index gives no backup."""
    store = SqliteStore(path)
    await store.open()
    await store.accept([message() for _ in range(50)])
    await store.close()
    db = apsw.Connection(str(path))
    ((root,),) = db.execute("SELECT rootpage FROM sqlite_schema WHERE name = 'message_block'").fetchall()
    ((page_bytes,),) = db.execute("PRAGMA page_size").fetchall()
    db.close()
    with path.open("r+b") as file:
        file.seek((int(str(root)) - 1) * int(str(page_bytes)) + 3)
        file.write(bytes(2))  # the index has no rows any more
    with pytest.raises(StoreCorrupt):
        _copy(path, tmp_path / "copy.db")


def test_what_is_no_database(tmp_path: Path) -> None:
    """A file of somebody else's, and one that is not there."""
    other = tmp_path / "other.db"
    other.write_bytes(b"something else, and long enough" * 40)
    with pytest.raises(StoreCorrupt):
        _copy(other, tmp_path / "copy.db")
    with pytest.raises(StoreUnavailable):
        _copy(tmp_path / "none.db", tmp_path / "copy.db")
