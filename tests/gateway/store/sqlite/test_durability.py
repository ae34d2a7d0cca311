"""Answers come after the commit is on disk: shown with a held sync, and with an engine that does it wrong."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import apsw
import pytest

from gateway.states import State
from gateway.store.engine.transaction import Transaction
from gateway.store.engine.writer import Operation, Writer
from gateway.store.sqlite import SqliteStore
from tests.gateway.store.samples import (
    NOW,
    TENANT,
    inbound_part,
    key,
    message,
    receipt,
    send,
    sending,
    state_of,
    submitted,
)
from tests.gateway.store.tracing_vfs import WAIT_S, Step, TracingVFS


class _HastyWriter(Writer):
    """Answers before COMMIT: what must not be."""

    def _apply(self, tx: Transaction, group: list[Operation]) -> list[tuple[Operation, Any]]:
        self._publish(super()._apply(tx, group), frozenset())
        return []


class _HastyStore(SqliteStore):
    writer_class = _HastyWriter


async def _answered_while_held(store: SqliteStore, vfs: TracingVFS, call: asyncio.Task[Any]) -> bool:
    """Say whether `call` is answered although its sync has not returned."""
    await asyncio.get_running_loop().run_in_executor(None, vfs.wait_for_sync)
    for _ in range(5):  # what the writer handed to the loop before it synced has run by then
        await asyncio.sleep(0)
    return call.done()


@pytest.mark.parametrize("step", ["accept", "sending", "settle", "receipts", "inbound", "cancel"])
async def test_no_answer_before_the_sync(store: SqliteStore, vfs: TracingVFS, step: str) -> None:
    """While the sync of its commit has not returned, no write is answered; afterwards it is."""
    new, claimed, on_its_way, sent = message(), message(), message(), message()
    await store.accept([claimed, on_its_way, sent])
    await store.sending([sending(on_its_way)])
    await send(store, [sent], ["a"])
    calls: dict[str, Callable[[], Coroutine[Any, Any, Any]]] = {
        "accept": lambda: store.accept([new]),
        "sending": lambda: store.sending([sending(claimed)]),
        "settle": lambda: store.settle([submitted(on_its_way, "b")]),
        "receipts": lambda: store.receipts([receipt("a")]),
        "inbound": lambda: store.inbound([inbound_part("hello")]),
        "cancel": lambda: store.cancel(TENANT, claimed.id, NOW),
    }
    with vfs.hold():
        call: asyncio.Task[Any] = asyncio.create_task(calls[step]())
        assert not await _answered_while_held(store, vfs, call)
    await asyncio.wait_for(call, WAIT_S)


async def test_a_hasty_engine_is_found_out(path: Path, vfs: TracingVFS) -> None:
    """The same check fails for an engine that answers before COMMIT."""
    store = _HastyStore(path, vfs=vfs.name)
    await store.open()
    try:
        with vfs.hold():
            call = asyncio.ensure_future(store.accept([message()]))
            assert await _answered_while_held(store, vfs, call)
        await call
    finally:
        await store.close()


async def test_a_sync_is_the_last_step(store: SqliteStore, vfs: TracingVFS) -> None:
    """When a call is answered, everything it wrote to the log has been followed by a sync."""
    await store.accept([message(idempotency=key(str(n))) for n in range(50)])
    log = [step for step in vfs.steps if step.file == "-wal"]
    assert log[-1] == Step("sync", "-wal")
    assert vfs.count("write", "-wal") > 10


async def test_what_was_answered_survives_a_crash(store: SqliteStore, path: Path, tmp_path: Path) -> None:
    """A copy of the files, as a killed process leaves them, holds everything that was answered."""
    batch = [message() for _ in range(30)]
    await store.accept(batch)
    await send(store, batch[:10], [f"id-{n}" for n in range(10)])
    for suffix in ("", "-wal"):
        shutil.copy(f"{path}{suffix}", f"{tmp_path}/copy.db{suffix}")
    copy = SqliteStore(tmp_path / "copy.db")
    await copy.open()
    try:
        assert [await state_of(copy, new) for new in batch] == [State.SUBMITTED] * 10 + [State.ACCEPTED] * 20
        assert len(await copy.events(TENANT, 0, 100)) == 40
    finally:
        await copy.close()


async def test_synchronous_full(store: SqliteStore, path: Path) -> None:
    """The writer's connection is in WAL mode with synchronous FULL."""
    tx = store._writer._tx
    assert tx is not None
    assert tx.db.execute("PRAGMA synchronous").fetchall() == [(2,)]
    db = apsw.Connection(str(path))
    assert db.execute("PRAGMA journal_mode").fetchall() == [("wal",)]
    db.close()
