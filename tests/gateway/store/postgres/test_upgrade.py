"""From one version to the next and back: nodes of both work on the newer schema, if it leaves the older one a way."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest

from gateway.errors import StoreUnavailable
from gateway.store.contract import NewMessage
from gateway.store.postgres import PostgresStore, Target, schema
from gateway.store.postgres.session import Session
from gateway.store.postgres.target import Deadlines, open_session
from tests.gateway.store.samples import TENANT, message
from tests.postgres.server import shared

KNOWN = len(schema.migrations())
ADDITION = f"-- usable from: {KNOWN}\nALTER TABLE message ADD COLUMN addition integer; CREATE TABLE more (no integer)"
BREAK = "ALTER TABLE message RENAME COLUMN segments TO parts"


@pytest.fixture
def target() -> Iterator[Target]:
    """Give a database of its own: its schema is changed."""
    with shared().database() as name:
        yield shared().target(name)


def bring_forward(target: Target, *more: str) -> None:
    """Do what the start of a newer program does."""
    db: Session = open_session(target, Deadlines(), reads=False)
    try:
        schema.migrate(db, target.name, [*schema.migrations(), *more])
    finally:
        db.close()


async def test_a_node_of_the_version_before_goes_on(target: Target) -> None:
    """The schema is brought forward under a node that works: none of its calls fails, it can be started again, and
    another one beside it."""
    old = PostgresStore(target, node="old")
    await old.open()
    stored: list[NewMessage] = []
    stopping = asyncio.Event()

    async def load(store: PostgresStore) -> None:
        while not stopping.is_set():
            new = message()
            await store.accept([new])
            await store.get_message(TENANT, new.id)
            stored.append(new)

    loading = asyncio.create_task(load(old))
    await asyncio.to_thread(bring_forward, target, ADDITION)
    other = PostgresStore(target, node="other")
    await other.open()
    more = len(stored) + 20
    async with asyncio.timeout(30):
        while len(stored) < more and not loading.done():
            await asyncio.sleep(0.01)
    stopping.set()
    await loading
    await old.close()
    again = PostgresStore(target, node="old")
    await again.open()
    await again.accept([message()])
    for new in stored:
        assert await other.get_message(TENANT, new.id) is not None
    for store in (again, other):
        await store.close()


async def test_a_schema_that_is_of_no_use_to_it(target: Target) -> None:
    """After a migration that says nothing of older programs they do not start."""
    bring_forward(target, ADDITION, BREAK)
    with pytest.raises(StoreUnavailable, match="run the newer smsgw") as refused:
        await PostgresStore(target).open()
    assert refused.value.reason == "STORE_SCHEMA_NEWER"


def test_each_migration_says_a_number_that_there_is() -> None:
    """No migration claims to be usable by programs that know more than it, or nothing."""
    for number, script in enumerate(schema.migrations(), 1):
        assert 1 <= schema.usable_from(number, script) <= number
