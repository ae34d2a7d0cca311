"""Readers of events that do not read: they cost the node nothing but their own lag."""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter
from collections.abc import AsyncIterator

import pytest

from gateway.api.watching import PAGE
from gateway.store.contract import EventRow
from smsgw.v1 import message_service_pb2 as pb
from tests.gateway.api.http2 import DATA, END_HEADERS, END_STREAM, HEADERS, Http2Client, frame, header_block
from tests.gateway.api.rig import AUTHORITY, TIMEOUT_S, Rig, message

SLOW = 50
_BATCH = 200


class Pages:
    """Counts the pages of events that watches read, by where they begin."""

    def __init__(self, rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
        self.read: Counter[int] = Counter()
        self.rows = 0
        self._events = rig.store.events
        monkeypatch.setattr(rig.store, "events", self._counted)

    async def _counted(self, tenant: str, after: int, limit: int) -> list[EventRow]:
        rows = await self._events(tenant, after, limit)
        self.read[after] += 1
        self.rows += len(rows)
        return rows


async def _write(rig: Rig, batches: int) -> None:
    client = rig.client("/payments/api")
    for _ in range(batches):
        await client.SendMessages(pb.SendMessagesRequest(messages=[message()] * _BATCH), timeout=TIMEOUT_S)


async def _stuck(pages: Pages) -> None:
    """Wait until no watch reads any further."""
    async with asyncio.timeout(TIMEOUT_S):
        seen = -1
        while seen != pages.rows:
            seen = pages.rows
            await asyncio.sleep(0.3)


def _watching(rig: Rig, streams: int) -> Http2Client:
    """Open watches on a connection from which nobody ever reads: neither frames, nor octets."""
    connection = Http2Client(rig.port, AUTHORITY.svid("/payments/api"), AUTHORITY.bundle_pem)
    request = pb.WatchEventsRequest(start=pb.WATCH_START_OLDEST).SerializeToString()
    call = header_block("/smsgw.v1.MessageService/WatchEvents")
    for stream in range(1, 2 * streams, 2):
        connection.send(
            frame(HEADERS, call, flags=END_HEADERS, stream=stream)
            + frame(DATA, b"\0" + len(request).to_bytes(4, "big") + request, flags=END_STREAM, stream=stream)
        )
    return connection


@pytest.mark.timeout(120)
async def test_fifty_readers_that_do_not_read(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each has a page or two on its way and no more, however much happens: nothing is read for it, so nothing is kept.
    One that reads gets everything at once meanwhile."""
    pages_behind, rounds = 6, 10
    await _write(rig, pages_behind * PAGE // _BATCH)
    pages = Pages(rig, monkeypatch)
    with contextlib.ExitStack() as connections:
        for _ in range(SLOW // 5):
            connections.enter_context(await asyncio.to_thread(_watching, rig, 5))
        await _stuck(pages)
        assert SLOW // 4 * PAGE <= pages.rows <= SLOW * 2 * PAGE
        quick = rig.client("/payments/api").WatchEvents(pb.WatchEventsRequest(), timeout=TIMEOUT_S * 10)
        events = aiter(quick)
        await anext(events)
        before = pages.rows
        for _ in range(rounds):
            writing = asyncio.ensure_future(_write(rig, 1))
            await _take(events, _BATCH)
            await writing
        assert pages.rows - before == rounds * _BATCH, "only what the one that reads has got"
        quick.cancel()


async def _take(watch: AsyncIterator[pb.WatchEventsResponse], count: int) -> None:
    """Read so many events."""
    got = 0
    async with asyncio.timeout(TIMEOUT_S):
        while got < count:
            got += len((await anext(watch)).events)
