"""A watch against a store that tests play: what no timing of a real one would show reliably."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing

import pytest

from gateway.api import watching
from gateway.api.cursors import Cursors
from gateway.api.hub import EventHub
from gateway.api.watching import Watching
from gateway.errors import Unauthenticated, Unavailable, WrongState
from gateway.records import encode_envelope
from gateway.store.contract import EventRow
from smsgw.v1 import message_service_pb2 as pb
from tests.gateway.sealing.boxes import memory_box

TIMEOUT_S = 10.0
CURSORS = Cursors(b"k" * 32)
BOX = memory_box()
ENVELOPE = BOX.put("a", bytes(16), "envelope", encode_envelope("+4915112345678", "ref", {}))


def event(seq: int, envelope: bytes = ENVELOPE) -> EventRow:
    """Return the row of a state change."""
    return EventRow(seq, 1, bytes(16), 1, 1, "+49XXXXXXX5678", envelope, 1, "", "", "", None, "", None, ())


class Log:
    """An event log in memory; `on_read` runs after each reading, as something that happens at that moment."""

    def __init__(self, hub: EventHub) -> None:
        self.hub = hub
        self.rows: list[EventRow] = []
        self.reads: list[int] = []
        self.bounds: tuple[int, int] | None = None
        self.commit_after_read: EventRow | None = None

    def commit(self, *rows: EventRow) -> None:
        """Write events and tell the hub."""
        self.rows += rows
        self.hub.committed(frozenset({"a"}))

    async def events(self, tenant: str, after: int, limit: int) -> list[EventRow]:
        """Return events, then let the next commit happen before the reader has them."""
        assert tenant == "a"
        self.reads.append(after)
        found = [row for row in self.rows if row.seq > after][:limit]
        if self.commit_after_read is not None:
            row, self.commit_after_read = self.commit_after_read, None
            self.commit(row)
        return found

    async def event_bounds(self, tenant: str) -> tuple[int, int]:
        """Return the log's bounds."""
        return self.bounds or (0, self.rows[-1].seq if self.rows else 0)


class Rig:
    """A watch service over the log."""

    def __init__(self, idle_s: float = TIMEOUT_S) -> None:
        self.hub = EventHub()
        self.log = Log(self.hub)
        self.service = Watching(store=self.log, box=BOX, cursors=CURSORS, hub=self.hub, idle_s=idle_s, gather_s=0)
        self.expired = False

    def recheck(self) -> None:
        """Refuse once the certificate has expired."""
        if self.expired:
            raise Unauthenticated("expired", reason="EXPIRED")

    def watch(self, cursor: str = "", *, oldest: bool = False) -> AsyncGenerator[pb.WatchEventsResponse, None]:
        """Begin a watch."""
        start = pb.WATCH_START_OLDEST if oldest else pb.WATCH_START_UNSPECIFIED
        return self.service.watch("a", pb.WatchEventsRequest(cursor=cursor, start=start), self.recheck)


async def seqs(watch: AsyncGenerator[pb.WatchEventsResponse, None]) -> list[int]:
    """Return the events of the next response, by number."""
    async with asyncio.timeout(TIMEOUT_S):
        response = await anext(watch)
    if response.events:
        assert response.cursor == response.events[-1].cursor
    return [CURSORS.event_seq("a", found.cursor) for found in response.events]


async def test_commit_while_reading() -> None:
    """An event that is committed just after the store was read is not slept through."""
    rig = Rig()
    async with aclosing(rig.watch()) as watch:
        assert await seqs(watch) == []
        rig.log.commit_after_read = event(1)
        assert await seqs(watch) == [1]


async def test_commit_while_starting() -> None:
    """A watch from now includes what is committed after its place was taken."""
    rig = Rig()
    rig.log.rows = [event(1)]
    async with aclosing(rig.watch()) as watch:
        assert await seqs(watch) == []
        rig.log.commit(event(2))
        assert await seqs(watch) == [2]


async def test_pages(monkeypatch: pytest.MonkeyPatch) -> None:
    """A backlog is read page by page without waiting for a commit."""
    monkeypatch.setattr(watching, "PAGE", 3)
    rig = Rig()
    rig.log.rows = [event(seq) for seq in range(1, 8)]
    async with aclosing(rig.watch(oldest=True)) as watch:
        assert [await seqs(watch) for _ in range(4)] == [[], [1, 2, 3], [4, 5, 6], [7]]


async def test_responses_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """A page of large events goes out in several responses, each event whole."""
    monkeypatch.setattr(watching, "_MAX_RESPONSE_BYTES", 250)
    rig = Rig()
    rig.log.rows = [event(seq) for seq in range(1, 6)]
    async with aclosing(rig.watch(oldest=True)) as watch:
        assert [await seqs(watch) for _ in range(4)] == [[], [1, 2], [3, 4], [5]]


async def test_a_page_that_waits_is_not_kept_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    """What stands in a response that waits for its reader is not kept as rows as well."""
    monkeypatch.setattr(watching, "_MAX_RESPONSE_BYTES", 250)
    rig, kept = Rig(), [event(seq) for seq in range(1, 6)]

    async def events(tenant: str, after: int, limit: int) -> list[EventRow]:
        return kept

    monkeypatch.setattr(rig.log, "events", events)
    async with aclosing(rig.watch(oldest=True)) as watch:
        assert [await seqs(watch) for _ in range(2)] == [[], [1, 2]]
        assert [row.seq for row in kept] == [5, 4]  # the third is in the next response by now
        assert [await seqs(watch) for _ in range(2)] == [[3, 4], [5]]
        assert kept == []


async def test_slow_reader_reads_pages(monkeypatch: pytest.MonkeyPatch) -> None:
    """While a reader does not read, nothing is read from the store for it."""
    monkeypatch.setattr(watching, "PAGE", 2)
    rig = Rig()
    async with aclosing(rig.watch()) as watch:
        await seqs(watch)
        for seq in range(1, 50):
            rig.log.commit(event(seq))
            await asyncio.sleep(0)
        assert await seqs(watch) == [1, 2]
        assert rig.log.reads == [0]


async def test_idle_watch_is_checked() -> None:
    """A watch that has nothing to tell ends too when its caller's certificate has expired."""
    rig = Rig(idle_s=0)
    async with aclosing(rig.watch()) as watch:
        await seqs(watch)
        rig.expired = True
        with pytest.raises(Unauthenticated):
            await seqs(watch)


async def test_shutdown() -> None:
    """A watch ends at once when the node goes down, asleep or not."""
    rig = Rig()
    async with aclosing(rig.watch()) as watch:
        await seqs(watch)
        waiting = asyncio.ensure_future(seqs(watch))
        await asyncio.sleep(0)
        rig.hub.close()
        with pytest.raises(Unavailable):
            await waiting


@pytest.mark.parametrize(("seq", "reason"), [(4, "CURSOR_EXPIRED"), (10, "CURSOR_AHEAD")])
async def test_cursor_outside_the_log(seq: int, reason: str) -> None:
    """A cursor before what is kept, or after what there is, is told: nothing is skipped in silence."""
    rig = Rig()
    rig.log.bounds = (5, 9)
    with pytest.raises(WrongState) as refused:
        await seqs(rig.watch(CURSORS.event_cursor("a", seq)))
    assert refused.value.reason == reason


@pytest.mark.parametrize("seq", [5, 9])
async def test_cursor_at_the_bounds(seq: int) -> None:
    """The bounds themselves are places in the log."""
    rig = Rig()
    rig.log.bounds = (5, 9)
    async with aclosing(rig.watch(CURSORS.event_cursor("a", seq))) as watch:
        assert await seqs(watch) == []


async def test_start_oldest() -> None:
    """Without a cursor a watch begins now, or with the oldest event kept."""
    rig = Rig()
    rig.log.bounds = (5, 9)
    for oldest, place in ((True, 5), (False, 9)):
        async with aclosing(rig.watch(oldest=oldest)) as watch:
            assert CURSORS.event_seq("a", (await anext(watch)).cursor) == place


async def test_corrupt_event() -> None:
    """An event whose payload cannot be read is told with what is known of it, and those behind it come."""
    rig = Rig()
    rig.log.rows = [event(1, b"\x07junk"), event(2)]
    async with aclosing(rig.watch(oldest=True)) as watch:
        await seqs(watch)
        async with asyncio.timeout(TIMEOUT_S):
            response = await anext(watch)
    assert [told.state_change.unreadable for told in response.events] == [2, 0]


async def test_deleted_message() -> None:
    """An event of a message that has been deleted since is told without its reference."""
    rig = Rig()
    rig.log.rows = [event(1, b"")]
    async with aclosing(rig.watch(oldest=True)) as watch:
        await seqs(watch)
        assert (await anext(watch)).events[0].state_change.client_reference == ""
