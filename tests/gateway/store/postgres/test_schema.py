"""Migrations: forward only, once, by one at a time; another's database and a careless server are refused."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterator

import pytest

from gateway.errors import StoreCorrupt, StoreUnavailable
from gateway.store.postgres import PostgresStore, Target, schema
from gateway.store.postgres.leases import Terms
from gateway.store.postgres.session import Session
from gateway.store.postgres.target import Deadlines, open_session
from tests.gateway.store.samples import message
from tests.postgres.server import shared


@pytest.fixture(scope="module")
def new() -> Iterator[str]:
    """Give the name of a database that nobody has used."""
    with shared().database() as name:
        yield name


@pytest.fixture
def session(new: str) -> Iterator[Session]:
    """Give a session with it that has no schema of ours."""
    opened = open_session(shared().target(new), Deadlines(), reads=False)
    opened.script("DROP SCHEMA IF EXISTS smsgw CASCADE")
    yield opened
    opened.close()


def test_each_step_is_made_once(session: Session) -> None:
    """A new database gets every step, and a second start makes none."""
    steps = schema.migrations()
    assert schema.migrate(session, "x", steps) == 0
    assert schema.migrate(session, "x", steps) == len(steps)
    assert schema.version_of(session, "x") == len(steps)


def test_a_step_that_fails_leaves_nothing(session: Session) -> None:
    """What a step did before its mistake is undone, and the steps before it stay."""
    steps = ["CREATE TABLE one (a integer)", "CREATE TABLE two (a integer); CREATE TABLE one (a integer)"]
    with pytest.raises(Exception, match="already exists"):
        schema.migrate(session, "x", steps)
    assert schema.version_of(session, "x") == 1
    assert session.fetch("SELECT to_regclass('smsgw.two')") == [(None,)]


def test_a_newer_schema_is_refused(session: Session) -> None:
    """A database that a newer smsgw has migrated is not touched."""
    schema.migrate(session, "x", ["CREATE TABLE one (a integer)", "CREATE TABLE two (a integer)"])
    with pytest.raises(StoreUnavailable, match="run the newer smsgw") as caught:
        schema.migrate(session, "x", ["CREATE TABLE one (a integer)"])
    assert caught.value.reason == "STORE_SCHEMA_NEWER"


def test_another_programs_schema_is_refused(session: Session) -> None:
    """A schema of that name which is not ours is not written to."""
    session.script("CREATE SCHEMA smsgw; CREATE TABLE smsgw.theirs (a integer)")
    with pytest.raises(StoreCorrupt, match="another program"):
        schema.migrate(session, "x", schema.migrations())


async def test_two_start_at_once(session: Session, new: str) -> None:
    """Of two nodes that start on a new database one makes the schema, and of the same name one joins."""
    target = shared().target(new)
    stores = [PostgresStore(target, terms=Terms(takeover_s=0.2)) for _ in range(2)]
    results = await asyncio.gather(*(store.open() for store in stores), return_exceptions=True)
    refused = [result for result in results if result is not None]
    assert len(refused) == 1
    assert re.search("in use by another node of the name node .process [0-9]+ of the server", str(refused[0]))
    for store, result in zip(stores, results, strict=True):
        if result is None:
            await store.accept([message()])
            await store.close()


async def test_a_careless_server_is_refused(target: Target, monkeypatch: pytest.MonkeyPatch) -> None:
    """A server that does not wait for its disk, or is too old, is not used."""
    monkeypatch.setattr(schema, "OLDEST", 990_000)
    with pytest.raises(StoreUnavailable, match="15 is the oldest"):
        await PostgresStore(target).open()
    monkeypatch.undo()
    with shared().connect("postgres") as db:
        db.execute("ALTER SYSTEM SET fsync = off")
        db.execute("SELECT pg_reload_conf()")
    try:
        async with asyncio.timeout(20):
            while not await _refused_for(target, "fsync = off"):
                await asyncio.sleep(0.01)  # the server has not read it yet
    finally:
        with shared().connect("postgres") as db:
            db.execute("ALTER SYSTEM RESET fsync")
            db.execute("SELECT pg_reload_conf()")


async def _refused_for(target: Target, why: str) -> bool:
    store = PostgresStore(target)
    try:
        await store.open()
    except StoreUnavailable as error:
        return why in str(error)
    await store.close()
    return False


def test_migrations_have_numbers_of_their_own() -> None:
    """Each stands where its number says: two that were made at the same time would change the order for others."""
    assert [int(name.split("_")[0]) for name in schema.migration_names()] == [
        number + 1 for number in range(len(schema.migration_names()))
    ]
