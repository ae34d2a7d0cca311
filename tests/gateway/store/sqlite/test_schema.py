"""Migrations: forward from every older schema, and never from a newer one."""

from __future__ import annotations

import signal
import sys
from pathlib import Path

import apsw
import pytest

from gateway.errors import StoreCorrupt, StoreUnavailable
from gateway.states import State
from gateway.store.sqlite import SqliteStore, schema
from tests.appliance import Running
from tests.gateway.store.samples import message, state_of

STEPS = schema.migrations()


def _objects(path: Path) -> list[tuple[object, ...]]:
    db = apsw.Connection(str(path))
    found = db.execute("SELECT type, name, sql FROM sqlite_schema ORDER BY type, name").fetchall()
    db.close()
    return found


def _version(path: Path) -> object:
    db = apsw.Connection(str(path))
    ((version,),) = db.execute("PRAGMA user_version").fetchall()
    db.close()
    return version


def _old_database(path: Path, version: int) -> None:
    path.parent.mkdir(mode=0o700)
    path.touch(mode=0o600)
    db = schema.connect(path, None)
    assert schema.migrate(db, path, STEPS[:version]) == 0
    db.close()


@pytest.mark.parametrize("version", range(len(STEPS) + 1))
async def test_from_every_older_schema(path: Path, tmp_path: Path, version: int) -> None:
    """A database of each older version is brought to the same schema as a new one, and works."""
    _old_database(path, version)
    store = SqliteStore(path)
    await store.open()
    new = message()
    await store.accept([new])
    assert await state_of(store, new) is State.ACCEPTED
    await store.close()
    fresh = SqliteStore(tmp_path / "fresh.db")
    await fresh.open()
    await fresh.close()
    assert _objects(path) == _objects(tmp_path / "fresh.db")
    assert _version(path) == len(STEPS)


@pytest.mark.parametrize("number", [1, len(STEPS) // 2, len(STEPS)])
async def test_killed_in_the_middle(path: Path, tmp_path: Path, number: int) -> None:
    """A node is killed in a step of which some is in the log already: the next one makes the step, and works."""
    _old_database(path, 0)
    command = [sys.executable, "-m", "tests.gateway.store.migrating", "sqlite", str(path), str(number)]
    with Running(command, log=tmp_path / "log") as killed:
        killed.line_with("halted")
        killed.end(signal.SIGKILL)
    assert path.with_name(f"{path.name}-wal").stat().st_size > 0
    assert _version(path) == number - 1
    store, fresh = SqliteStore(path), SqliteStore(tmp_path / "fresh.db")
    for each in (store, fresh):
        await each.open()
    new = message()
    await store.accept([new])
    assert await state_of(store, new) is State.ACCEPTED
    for each in (store, fresh):
        await each.close()
    assert _objects(path) == _objects(tmp_path / "fresh.db")
    assert _version(path) == len(STEPS)


async def test_a_newer_schema(path: Path) -> None:
    """A database of a newer smsgw is refused with advice, and not touched."""
    _old_database(path, len(STEPS))
    db = apsw.Connection(str(path))
    db.execute(f"PRAGMA user_version = {len(STEPS) + 1}")
    db.close()
    with pytest.raises(StoreUnavailable, match="run the newer smsgw") as caught:
        await SqliteStore(path).open()
    assert caught.value.reason == "STORE_SCHEMA_NEWER"
    assert _version(path) == len(STEPS) + 1


@pytest.mark.parametrize("statement", ["CREATE TABLE theirs (x)", "PRAGMA application_id = 1234"])
async def test_a_database_of_another_program(path: Path, statement: str) -> None:
    """A database that smsgw did not make is refused, and not touched."""
    path.parent.mkdir(mode=0o700)
    db = apsw.Connection(str(path))
    db.execute("CREATE TABLE t (x); DROP TABLE t")
    db.execute(statement)
    db.close()
    before = _objects(path)
    with pytest.raises(StoreCorrupt, match="another program"):
        await SqliteStore(path).open()
    assert _objects(path) == before


def test_a_step_that_fails_leaves_nothing(tmp_path: Path) -> None:
    """Each step is one transaction: what it did before its error is undone, and the steps before it stay."""
    path = tmp_path / "x.db"
    path.touch()
    db = schema.connect(path, None)
    steps = ["CREATE TABLE one (x)", "CREATE TABLE two (x); CREATE TABLE one (x)"]
    with pytest.raises(apsw.SQLError, match="already exists"):
        schema.migrate(db, path, steps)
    assert db.execute("SELECT name FROM sqlite_schema").fetchall() == [("one",)]
    assert schema.migrate(db, path, [steps[0], "CREATE TABLE two (x)"]) == 1
    assert db.execute("PRAGMA user_version").fetchall() == [(2,)]
    db.close()
