"""A traced store of the embedded engine."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from gateway.store.sqlite import SqliteStore
from tests.gateway.store.tracing_vfs import TracingVFS


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Give the path of a database that is not there yet."""
    return tmp_path / "store" / "smsgw.db"


@pytest.fixture
def vfs(request: pytest.FixtureRequest) -> Iterator[TracingVFS]:
    """Give a registered tracing file system."""
    traced = TracingVFS(f"tracing-{request.node.name}")
    yield traced
    traced.close()


@pytest.fixture
async def store(path: Path, vfs: TracingVFS) -> AsyncIterator[SqliteStore]:
    """Give an open store on the tracing file system."""
    opened = SqliteStore(path, vfs=vfs.name)
    await opened.open()
    vfs.steps.clear()
    yield opened
    await opened.close()
