"""How many messages are in each queue, whatever the number: the readers' thread is never held for longer than a slice.

The head of a queue, up to a slice, is counted each time, and with it since when its oldest message has been due. A
longer queue is counted slice by slice, each a query of its own between those of others; and a hundred times as long as
that took it is not done again, so that counting takes a hundredth of a thread at most.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Any, NamedTuple, TypeAlias

from gateway.store.contract import Queue
from gateway.store.engine.database import Look

SLICE = 20_000  # entries of the index: about a millisecond
_REST = 100
_IN_MEMORY = (Queue.CLAIMED, Queue.SENDING)  # at most what lanes and windows hold

Place: TypeAlias = tuple[int, int, bytes]  # due_at, tenant_no, id
_START: Place = (-1, -1, b"")  # before every message


class _Kept(NamedTuple):
    """A number, and until when it is good, on the monotonic clock."""

    number: int
    until: float


class Sizes:
    """What was counted of long queues (mutable); it belongs to the event loop."""

    def __init__(self, read: Callable[[Any], Awaitable[Any]], clock: Callable[[], float] = time.monotonic) -> None:
        """`read` runs a query in a reader's thread; `clock`: seconds."""
        self._read = read
        self._clock = clock
        self._kept: dict[Queue, _Kept] = {}
        self._turn = asyncio.Lock()

    async def counts(self) -> dict[str, int]:
        """Return sizes and heads of the queues, and the counters."""
        counts: dict[str, int] = await self._read(_read_heads)
        for queue in Queue:
            if queue not in _IN_MEMORY and counts[name := f"queue.{queue.name}"] >= SLICE:
                counts[name] = max(SLICE, await self._number(queue))
        return counts

    async def _number(self, queue: Queue) -> int:
        async with self._turn:  # who waits gets what the other has counted
            kept, began = self._kept.get(queue), self._clock()
            if kept is not None and began < kept.until:
                return kept.number
            number = await self._count(queue)
            ended = self._clock()
            self._kept[queue] = _Kept(number, ended + _REST * (ended - began))
            return number

    async def _count(self, queue: Queue) -> int:
        number = 0
        place: Place | None = _START
        while place is not None:
            found, place = await self._read(_Slice(queue, place))
            number += found
        return number


class _Slice(NamedTuple):
    """A query: how many messages a queue has behind a place, up to a slice, and where that ends if it is full."""

    queue: Queue
    place: Place

    def __call__(self, look: Look) -> tuple[int, Place | None]:
        sql = look.sql.reading
        for due_at, tenant_no, message_id in sql.slice_end.fetch(look.db, (self.queue, *self.place, SLICE - 1)):
            return SLICE, (due_at, tenant_no, bytes(message_id))
        ((number,),) = sql.slice_rest.fetch(look.db, (self.queue, *self.place, SLICE))
        return int(number), None


def _read_heads(look: Look) -> dict[str, int]:
    """Return all counts; those of queues end at a slice."""
    found: dict[str, tuple[int, int | None]] = {}
    for queue in Queue:
        if queue not in _IN_MEMORY:
            ((size, due_at),) = look.sql.reading.head.fetch(look.db, (int(queue), SLICE))
            found[queue.name] = (size, due_at)
    in_memory = {sending: (size, due_at) for sending, size, due_at in look.sql.reading.in_memory.fetch(look.db)}
    found[Queue.CLAIMED.name] = in_memory.get(0, (0, None))
    found[Queue.SENDING.name] = in_memory.get(1, (0, None))
    counts = {f"queue.{name}": size for name, (size, _) in found.items()}
    counts |= {f"oldest_due_at.{name}": due_at for name, (_, due_at) in found.items() if due_at is not None}
    ((counts["receipts.unmatched"],),) = look.sql.reading.unmatched.fetch(look.db)
    return counts | dict(look.sql.reading.counters.fetch(look.db))
