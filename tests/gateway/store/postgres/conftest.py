"""An open store on an emptied database, and a server of a test's own for those that stop it."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from gateway.store.postgres import PostgresStore, Target
from tests.postgres.server import PostgresServer, expendable, shared


@pytest.fixture
def target() -> Target:
    """Give a database that has the schema and nothing else."""
    return shared().emptied()


@pytest.fixture
async def store(target: Target) -> AsyncIterator[PostgresStore]:
    """Give an open store."""
    opened = PostgresStore(target)
    await opened.open()
    yield opened
    await opened.close()


@pytest.fixture
def own_server() -> PostgresServer:
    """Give a server that a test may stop."""
    return expendable()
