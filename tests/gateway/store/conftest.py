"""The engines that the conformance suite runs on."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from gateway.store.contract import Store
from gateway.store.postgres import PostgresStore
from gateway.store.sqlite import SqliteStore
from tests.postgres.server import shared

# Makes a store, not opened yet; each call of one test gives a store on the same database.
Engine = Callable[[], Store]


@pytest.fixture(params=["sqlite", "postgres"])
def engine(request: pytest.FixtureRequest, tmp_path: Path) -> Engine:
    """Give each engine in turn."""
    if request.param == "sqlite":
        return lambda: SqliteStore(tmp_path / "store" / "smsgw.db")
    target = shared().emptied()
    return lambda: PostgresStore(target)


@pytest.fixture
async def store(engine: Engine) -> AsyncIterator[Store]:
    """Give an open store."""
    opened = engine()
    await opened.open()
    yield opened
    await opened.close()
