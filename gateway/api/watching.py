"""WatchEvents: a tenant's events from a cursor, first what has happened, then what happens.

The store is the queue: a watch reads pages from where it stands and sleeps when it has read everything, until a commit
wakes it. It arms its flag before it reads, so that a commit between reading and sleeping is not missed.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Iterator
from typing import Protocol

from gateway.api.convert import payloads_of, to_event
from gateway.api.cursors import Cursors
from gateway.api.hub import EventHub, Watch
from gateway.api.unreadable import LOGGED, Damage
from gateway.errors import FieldViolation, InvalidRequest, WrongState
from gateway.payload import PayloadBox, cannot_open
from gateway.store.contract import EventRow
from smsgw.v1 import message_service_pb2

PAGE = 500
_MAX_RESPONSE_BYTES = 1 << 18
_IDLE_S = 15.0  # an idle watch looks at its caller's certificate this often
_GATHER_S = 0.005  # after a commit: what follows at once comes in the same page

_KNOWN_STARTS = frozenset(message_service_pb2.WatchStart.values())


class EventReader(Protocol):
    """The part of the store that is needed here (`gateway.store.contract.Store`)."""

    async def events(self, tenant: str, after: int, limit: int) -> list[EventRow]:
        """Return the tenant's events with `seq` above `after`, in order."""

    async def event_bounds(self, tenant: str) -> tuple[int, int]:
        """Return (the seq before the oldest event kept, the seq of the newest event committed)."""


class Watching:
    """Serves watches. `idle_s` and `gather_s` are seconds."""

    def __init__(
        self,
        *,
        store: EventReader,
        box: PayloadBox,
        cursors: Cursors,
        hub: EventHub,
        idle_s: float = _IDLE_S,
        gather_s: float = _GATHER_S,
        damage: Damage = LOGGED,
    ) -> None:
        self._damage = damage
        self._store = store
        self._box = box
        self._cursors = cursors
        self._hub = hub
        self._idle_s = idle_s
        self._gather_s = gather_s

    async def watch(
        self, tenant: str, request: message_service_pb2.WatchEventsRequest, recheck: Callable[[], None]
    ) -> AsyncGenerator[message_service_pb2.WatchEventsResponse, None]:
        """Yield events until the caller goes. `recheck` raises when the caller may not listen any longer.

        Raises InvalidRequest for a foreign cursor, WrongState (CURSOR_EXPIRED, CURSOR_AHEAD) for one outside the log,
        Overloaded for too many watches, Unavailable when the node goes down, and Unsupported where nothing is opened.
        """
        if not self._box.opens:  # rather than events without what they say, which a cursor then has passed over
            raise cannot_open()
        with self._hub.watch(tenant) as watch:
            watch.arm()
            after = await self._start(tenant, request)
            yield message_service_pb2.WatchEventsResponse(cursor=self._cursors.event_cursor(tenant, after))
            while True:
                watch.arm()
                rows = await self._store.events(tenant, after, PAGE)
                await self._box.ready(payloads_of(rows))
                whole = len(rows) == PAGE
                after = rows[-1].seq if rows else after
                for response in self._responses(tenant, rows):
                    yield response
                if not whole:
                    await self._sleep(watch, recheck)

    async def _sleep(self, watch: Watch, recheck: Callable[[], None]) -> None:
        if not await watch.wait(self._idle_s):
            recheck()
        elif self._gather_s:
            await asyncio.sleep(self._gather_s)

    async def _start(self, tenant: str, request: message_service_pb2.WatchEventsRequest) -> int:
        if request.start not in _KNOWN_STARTS:
            raise InvalidRequest((FieldViolation("start", "is no known place to begin", "START_INVALID"),))
        wanted = self._cursors.event_seq(tenant, request.cursor) if request.cursor else None
        before_oldest, newest = await self._store.event_bounds(tenant)
        if wanted is None:
            return before_oldest if request.start == message_service_pb2.WATCH_START_OLDEST else newest
        if wanted < before_oldest:
            raise WrongState(
                "events after this cursor are not kept any more: begin with WATCH_START_OLDEST, "
                "and look up the messages whose outcome is missing",
                reason="CURSOR_EXPIRED",
            )
        if wanted > newest:
            raise WrongState(
                "this cursor is ahead of the event log, as after the database was restored from a backup: "
                "begin with WATCH_START_OLDEST",
                reason="CURSOR_AHEAD",
            )
        return wanted

    def _responses(self, tenant: str, rows: list[EventRow]) -> Iterator[message_service_pb2.WatchEventsResponse]:
        """Yield the events of one page, in as many responses as their size asks for. Takes them out of `rows`: while a
        response waits for its reader, the rows that are in it are not kept as well."""
        rows.reverse()
        response, room = message_service_pb2.WatchEventsResponse(), _MAX_RESPONSE_BYTES
        while rows:
            row = rows.pop()
            event = to_event(row, tenant, self._cursors.event_cursor(tenant, row.seq), self._box, self._damage)
            size = event.ByteSize()
            if response.events and size > room:
                yield response
                response, room = message_service_pb2.WatchEventsResponse(), _MAX_RESPONSE_BYTES
            room -= size
            response.events.append(event)
            response.cursor = event.cursor
        if response.events:
            yield response
