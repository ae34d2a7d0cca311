"""The write-ahead log does not grow without end, and its checkpoint does not stop the commits."""

from __future__ import annotations

from pathlib import Path

import apsw
import pytest

from gateway.store.sqlite import SqliteStore, checkpoint
from tests.gateway.store.samples import TENANT, message
from tests.gateway.store.tracing_vfs import TracingVFS

_PAGE = 4096


def _size(path: Path) -> int:
    """Return the size of the log, 0 when there is none."""
    log = Path(f"{path}-wal")
    return log.stat().st_size if log.exists() else 0


async def _write_pages(store: SqliteStore, batches: int) -> None:
    for _ in range(batches):
        await store.accept([message(content=bytes(1000)) for _ in range(50)])


async def test_the_log_starts_again(path: Path, vfs: TracingVFS, monkeypatch: pytest.MonkeyPatch) -> None:
    """Under steady commits the log stays near its threshold, and everything is there afterwards."""
    monkeypatch.setattr(checkpoint, "START_PAGES", 100)
    store = SqliteStore(path, vfs=vfs.name)
    await store.open()
    await _write_pages(store, 100)
    written = vfs.count("write", "-wal") // 2 * _PAGE  # a header and a page each
    assert _size(path) < written / 2
    assert vfs.count("sync", "") > 0
    await store.close()
    again = SqliteStore(path)
    await again.open()
    assert len(await again.events(TENANT, 0, 10_000)) == 5000
    await again.close()


async def test_a_checkpoint_that_fails(path: Path, vfs: TracingVFS, monkeypatch: pytest.MonkeyPatch) -> None:
    """When the database itself cannot be synced, commits go on into the log, and a later checkpoint catches up."""
    monkeypatch.setattr(checkpoint, "START_PAGES", 50)
    store = SqliteStore(path, vfs=vfs.name)
    await store.open()
    vfs.failing_database_sync = apsw.IOError
    await _write_pages(store, 20)
    assert len(await store.events(TENANT, 0, 10_000)) == 1000
    vfs.failing_database_sync = None
    await _write_pages(store, 60)
    await store.close()
    assert _size(path) == 0
    again = SqliteStore(path)
    await again.open()
    assert len(await again.events(TENANT, 0, 10_000)) == 4000
    await again.close()
