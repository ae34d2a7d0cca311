"""Nodes that bring the schema forward at once, or are killed while they do: one whole schema is there, and all work."""

from __future__ import annotations

import asyncio
import signal
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psycopg
import pytest

from gateway.errors import StoreUnavailable
from gateway.store.postgres import PostgresStore, Target, schema
from gateway.store.postgres.session import Session
from gateway.store.postgres.target import Deadlines, open_session
from tests.appliance import Running
from tests.gateway.store.migrating import GATE
from tests.gateway.store.samples import TENANT, message
from tests.postgres.server import shared

STEPS = schema.migrations()
_WITHIN_S = 30.0
_HALTED = (
    "SELECT count(*) FROM pg_stat_activity WHERE datname = %s AND wait_event_type = 'Lock' AND application_name = %s"
)
_COLUMNS = "SELECT table_name, column_name, data_type FROM information_schema.columns WHERE table_schema = 'smsgw'"


@pytest.fixture
def target() -> Iterator[Target]:
    """Give a database that has no schema yet."""
    with shared().database() as name:
        yield shared().target(name)


@pytest.fixture(scope="module")
def whole() -> Iterator[set[tuple[object, ...]]]:
    """Give all columns of a schema that was made without any trouble."""
    with shared().database() as name:
        bring_forward(shared().target(name), STEPS)
        yield columns(shared().target(name))


def bring_forward(target: Target, steps: list[str]) -> int:
    """Make these steps."""
    db = open_session(target, Deadlines(), reads=False)
    try:
        return schema.migrate(db, target.name, steps)
    finally:
        db.close()


def columns(target: Target) -> set[tuple[object, ...]]:
    """Return what tables and columns there are."""
    with shared().connect(target.database) as db:
        return set(db.execute(_COLUMNS).fetchall())


async def _until_it_waits(watching: psycopg.Connection[tuple[object, ...]], target: Target, who: str) -> None:
    """Wait until a session waits for a lock."""
    until = time.monotonic() + _WITHIN_S
    while watching.execute(_HALTED, (target.database, who)).fetchone() != (1,):
        assert time.monotonic() < until, f"{who} does not wait"
        await asyncio.sleep(0.01)


async def _works(store: PostgresStore) -> None:
    new = message()
    await store.accept([new])
    assert await store.get_message(TENANT, new.id) is not None


@pytest.mark.parametrize("number", [1, 10, len(STEPS)])
async def test_killed_in_the_middle(
    target: Target, whole: set[tuple[object, ...]], tmp_path: Path, number: int
) -> None:
    """A node is killed while the server is at a step of its: the next one waits until the server has undone that, makes
    the step itself, and works on a whole schema."""
    command = [sys.executable, "-m", "tests.gateway.store.migrating", "postgres", target.host]
    with shared().connect("postgres") as watching, shared().connect(target.database) as gate:
        gate.execute("SELECT pg_advisory_lock(%s, %s)", GATE)
        with Running([*command, target.database, target.user, str(number)], log=tmp_path / "log") as killed:
            await _until_it_waits(watching, target, "killed")
            killed.end(signal.SIGKILL)
        store = PostgresStore(target)
        opening = asyncio.create_task(store.open())
        await _until_it_waits(watching, target, "smsgw writer")
        gate.execute("SELECT pg_advisory_unlock(%s, %s)", GATE)
        await opening
    await _works(store)
    await store.close()
    assert bring_forward(target, STEPS) == len(STEPS)
    assert columns(target) == whole


async def test_a_wait_for_another_ones_step_has_an_end(target: Target, monkeypatch: pytest.MonkeyPatch) -> None:
    """A start does not wait for ever, and says what it waits for."""
    monkeypatch.setattr(schema, "TURN_S", 0.05)
    with shared().connect(target.database) as other:
        other.execute("SELECT pg_advisory_lock(%s, %s)", (schema.LOCK_SPACE, 1))
        with pytest.raises(StoreUnavailable, match="another session holds it locked"):
            await PostgresStore(target).open()


@pytest.mark.parametrize("version", [0, 9])
async def test_four_at_once(target: Target, whole: set[tuple[object, ...]], version: int) -> None:
    """Nodes that start together on a new database, or on an older one, all work, on one whole schema."""
    bring_forward(target, STEPS[:version])
    stores = [PostgresStore(target, node=f"node-{number}", readers=1) for number in range(4)]
    await asyncio.gather(*(store.open() for store in stores))
    for store in stores:
        await _works(store)
    for store in stores:
        await store.close()
    assert columns(target) == whole


def test_a_newer_one_meanwhile(target: Target, monkeypatch: pytest.MonkeyPatch) -> None:
    """A newer program brings the schema beyond what this one can use, after this one has looked: it does not start."""
    newer = [*STEPS, "ALTER TABLE message RENAME COLUMN segments TO parts"]
    look: Callable[[Session, str], int] = schema.version_of

    def looked(db: Session, name: str) -> int:
        monkeypatch.setattr(schema, "version_of", look)
        seen = look(db, name)
        bring_forward(target, newer)
        return seen

    monkeypatch.setattr(schema, "version_of", looked)
    with pytest.raises(StoreUnavailable, match="run the newer smsgw") as refused:
        bring_forward(target, STEPS)
    assert refused.value.reason == "STORE_SCHEMA_NEWER"
