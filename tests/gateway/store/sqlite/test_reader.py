"""The reader: bounded, with a deadline, beside the writer."""

from __future__ import annotations

import asyncio
import threading
from pathlib import Path

import pytest

from gateway.errors import Overloaded, StoreUnavailable
from gateway.store.engine import reader
from gateway.store.engine.database import View
from gateway.store.sqlite import SqliteStore
from tests.gateway.store.samples import TENANT, message
from tests.gateway.store.tracing_vfs import WAIT_S, TracingVFS

_ENDLESS = "WITH RECURSIVE n (x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n) SELECT count(*) FROM n"


async def test_a_slow_query_is_stopped(path: Path) -> None:
    """A query past its deadline is interrupted, and the next one is answered."""
    store = SqliteStore(path, read_deadline_s=0.05)
    await store.open()
    try:
        with pytest.raises(StoreUnavailable, match="took too long"):
            await store._reader.ask(lambda look: look.db.execute(_ENDLESS).fetchall())
        assert await store.events(TENANT, 0, 1) == []
    finally:
        await store.close()


async def test_look_ups_are_bounded(store: SqliteStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """Beyond the bound of the queue a look-up is refused; those in it are answered."""
    monkeypatch.setattr(reader, "QUEUE_LIMIT", 3)
    gate, entered = threading.Event(), threading.Event()

    def wait(look: View) -> None:
        entered.set()
        gate.wait(WAIT_S)

    first = asyncio.create_task(store._reader.ask(wait))
    await asyncio.sleep(0)
    await asyncio.get_running_loop().run_in_executor(None, entered.wait, WAIT_S)
    waiting = [asyncio.create_task(store.counts()) for _ in range(3)]
    await asyncio.sleep(0)
    with pytest.raises(Overloaded):
        await store.counts()
    gate.set()
    await first
    assert len(await asyncio.gather(*waiting)) == 3


async def test_reading_beside_a_commit(store: SqliteStore, vfs: TracingVFS) -> None:
    """While a commit waits for the disk, what was committed before is read."""
    new, held = message(), message()
    await store.accept([new])
    with vfs.hold():
        call = asyncio.create_task(store.accept([held]))
        await asyncio.get_running_loop().run_in_executor(None, vfs.wait_for_sync)
        assert await store.get_message(TENANT, new.id) is not None
        assert await store.get_message(TENANT, held.id) is None
    await call
    assert await store.get_message(TENANT, held.id) is not None


async def test_the_reader_cannot_write(store: SqliteStore) -> None:
    """The reader's connection is read-only."""
    with pytest.raises(StoreUnavailable, match="read-only"):
        await store._reader.ask(lambda look: look.db.execute("DELETE FROM message").fetchall())
