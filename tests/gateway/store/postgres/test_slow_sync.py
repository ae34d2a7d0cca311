"""A server whose disk syncs slowly: nothing is answered before it is on disk, and what waits is bounded."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest

from gateway.errors import Overloaded, StoreUnavailable
from gateway.store.contract import NewMessage
from gateway.store.postgres import PostgresStore
from tests.gateway.store.samples import all_events, message
from tests.postgres.slow_sync import FOREVER_MS, SlowServer, slow_server

_WITHIN_S = 60.0
_LIMIT = 400  # rows; a quarter of it is kept for what is not new


@pytest.fixture
def slow() -> Iterator[SlowServer]:
    """Give such a server."""
    with slow_server() as server:
        yield server


def _batches(number: int) -> list[list[NewMessage]]:
    return [[message() for _ in range(10)] for _ in range(number)]


async def _serve(store: PostgresStore, batch: list[NewMessage]) -> int:
    """Have a batch accepted, however often that is refused; how often it was."""
    refused = 0
    while True:
        try:
            await store.accept(batch)
        except Overloaded as error:
            refused += 1
            await asyncio.sleep(error.retry_after_s or 60.0)  # without a time it would never be served
            continue
        return refused


async def test_power_is_lost_while_nothing_is_synced(slow: SlowServer) -> None:
    """With syncs of 300 ms the bound holds, and all that come again are served. Then no sync returns: nothing is
    answered, and what is beyond the bound is refused with a time to come again. Power is lost: all that was answered
    is there, and the store goes on by itself."""
    store = PostgresStore(slow.server.target("postgres"), queue_limit=_LIMIT)
    await store.open()
    try:
        slow.syncs_take(300)
        first = _batches(60)
        refused = await asyncio.gather(*[_serve(store, batch) for batch in first])
        assert sum(map(bool, refused)) == 30
        slow.syncs_take(FOREVER_MS)
        held = _batches(60)
        calls = [asyncio.create_task(store.accept(batch)) for batch in held]
        await asyncio.to_thread(slow.wait_for_commit)
        assert await asyncio.to_thread(slow.lose_power) > 0
        answered = [batch for batch, call in zip(held, calls, strict=True) if call.done() and not call.exception()]
        assert answered == [], "answered before it was synced"
        await asyncio.to_thread(slow.server.start_again)
        results = await asyncio.gather(*calls, return_exceptions=True)
        assert [type(each) for each in results[30:]] == [Overloaded] * 30
        answered = [batch for batch, each in zip(held, results, strict=True) if not isinstance(each, BaseException)]
        last = _batches(1)
        async with asyncio.timeout(_WITHIN_S):
            await _served_again(store, last[0])
        stored = {event.message_id for event in await all_events(store)}
        assert {new.id for batch in first + answered + last for new in batch} <= stored
    finally:
        slow.syncs_take(0)
        await store.close()


async def _served_again(store: PostgresStore, batch: list[NewMessage]) -> None:
    while True:
        try:
            await store.accept(batch)
        except StoreUnavailable:
            await asyncio.sleep(0.05)
            continue
        return
