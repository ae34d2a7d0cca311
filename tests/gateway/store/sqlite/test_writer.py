"""Group commit: what is joined, what is bounded, and who pays for a fault."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, TypeVar

import apsw
import pytest

from gateway.errors import Overloaded, StoreUnavailable
from gateway.states import State
from gateway.store.contract import Verdict
from gateway.store.engine.writer import GROUP_ROWS
from gateway.store.sqlite import SqliteStore
from tests.gateway.store.samples import NOW, TENANT, key, message, receipt, sending, state_of, submitted, told
from tests.gateway.store.tracing_vfs import TracingVFS

T = TypeVar("T")


@asynccontextmanager
async def _busy(store: SqliteStore, vfs: TracingVFS) -> AsyncIterator[None]:
    """Keep the writer in a commit for the length of the block."""
    with vfs.hold():
        first = asyncio.ensure_future(store.accept([message()]))
        await asyncio.get_running_loop().run_in_executor(None, vfs.wait_for_sync)
        vfs.steps.clear()
        yield
    await first


async def _handed_over(*calls: Coroutine[Any, Any, T]) -> list[asyncio.Task[T]]:
    """Start calls, and return when each has reached the writer's queue."""
    tasks = [asyncio.create_task(call) for call in calls]
    await asyncio.sleep(0)
    return tasks


async def test_what_gathers_is_committed_together(store: SqliteStore, vfs: TracingVFS) -> None:
    """Calls that came during a commit share the next one, of whatever kind, and listeners hear once."""
    new = message()
    await store.accept([new])
    heard: list[frozenset[str]] = []
    async with _busy(store, vfs):
        calls: list[Coroutine[Any, Any, Any]] = [store.accept([message(tenant=f"tenant-{n}")]) for n in range(50)]
        calls += [store.receipts([receipt("a")]), store.settle([submitted(new, "a")]), store.sending([sending(new)])]
        futures = await _handed_over(*calls)
        store.on_commit(heard.append)
    await asyncio.gather(*futures)
    assert vfs.count("sync", "-wal") == 1
    assert heard[-1] == {TENANT, *(f"tenant-{n}" for n in range(50))}
    # Kinds go in the order of a message's life, whatever the order of the calls.
    assert await told(store, new) == [State.ACCEPTED, State.SUBMITTED, State.DELIVERED]


async def test_a_group_is_bounded(store: SqliteStore, vfs: TracingVFS) -> None:
    """Rows beyond the bound go into the next commit."""
    async with _busy(store, vfs):
        calls = [store.accept([message() for _ in range(1000)]) for _ in range(GROUP_ROWS // 1000 + 1)]
        futures = await _handed_over(*calls)
    await asyncio.gather(*futures)
    assert vfs.count("sync", "-wal") == 2


async def test_one_failed_operation_sinks_no_other(store: SqliteStore, vfs: TracingVFS) -> None:
    """An operation at fault is refused alone; the others of its group are stored, without gaps in the events."""
    twice, fine, last = message(), message(tenant="fine"), message(idempotency=key("k"))
    await store.accept([twice])
    async with _busy(store, vfs):
        futures = await _handed_over(
            store.accept([fine]), store.accept([message(tenant="new"), twice]), store.accept([last])
        )
    results = await asyncio.gather(*futures, return_exceptions=True)
    assert [isinstance(result, apsw.ConstraintError) for result in results] == [False, True, False]
    assert await state_of(store, fine) is State.ACCEPTED
    assert await store.events("new", 0, 10) == []
    events = await store.events(TENANT, 0, 10) + await store.events("fine", 0, 10)
    assert sorted(event.seq for event in events) == [1, 2, 3, 4]
    assert (await store.accept([message(idempotency=key("k"))]))[0].verdict is Verdict.REPLAYED


async def test_too_many_unfinished_writes(path: Path, vfs: TracingVFS) -> None:
    """New messages are refused before outcomes are; when the writer has caught up, they are taken again."""
    store = SqliteStore(path, vfs=vfs.name, queue_limit=40)
    await store.open()
    try:
        sent = message()
        await store.accept([sent])
        await store.sending([sending(sent)])
        async with _busy(store, vfs):
            futures: list[Any] = await _handed_over(*(store.accept([message()]) for _ in range(29)))
            with pytest.raises(Overloaded) as caught:
                await store.accept([message()])
            assert caught.value.retry_after_s > 0
            futures += await _handed_over(store.settle([submitted(sent, "a")]))
            futures += await _handed_over(*(store.receipts([receipt(str(n))]) for n in range(9)))
            with pytest.raises(Overloaded):
                await store.receipts([receipt("x")])
        await asyncio.gather(*futures)
        await store.accept([message()])
        assert len(await store.events(TENANT, 0, 100)) == 33
    finally:
        await store.close()


async def test_a_caller_that_went_away(store: SqliteStore, vfs: TracingVFS) -> None:
    """What was handed over is done, also when its caller is cancelled meanwhile."""
    new = message()
    async with _busy(store, vfs):
        (call,) = await _handed_over(store.accept([new]))
        call.cancel()
    await store.accept([message()])  # comes after it
    assert await state_of(store, new) is State.ACCEPTED
    assert call.cancelled()


async def test_close_finishes_what_was_handed_over(path: Path, vfs: TracingVFS) -> None:
    """Writes that wait when the store is closed are committed and answered."""
    store = SqliteStore(path, vfs=vfs.name)
    await store.open()
    async with _busy(store, vfs):
        futures = await _handed_over(*(store.accept([message()]) for _ in range(20)))
        closing = asyncio.ensure_future(store.close())
        await asyncio.sleep(0)
    await closing
    assert [result[0].verdict for result in await asyncio.gather(*futures)] == [Verdict.STORED] * 20
    with pytest.raises(StoreUnavailable):
        await store.cancel(TENANT, b"", NOW)
