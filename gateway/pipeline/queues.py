"""What operators do to messages that wait: hold them back by selection, let them go on, withdraw them.

A hold is made durable first, with its record, and then put in force; after a restart it is in force before anything is
sent. A purge goes through the queues in steps, each a transaction of its own: whoever goes away ends it between two.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import NamedTuple

from gateway.audit.records import OperatorActed, Record
from gateway.errors import NotFound
from gateway.pipeline.pipeline import Pipeline
from gateway.states import Category
from gateway.store.contract import Store
from gateway.store.nodes import News
from gateway.store.operating import MessageHold, Place, Purge, Purged, Selection

STEP = 1_000  # rows that one transaction of a purge looks at


class Size(NamedTuple):
    """How many messages of a category wait, and since when the oldest of those in the store is due."""

    category: Category
    held: int
    waiting: int
    in_memory: int
    oldest_due_at: int | None


class Queues:
    """Belongs to one event loop."""

    def __init__(self, store: Store, pipeline: Pipeline) -> None:
        self._store = store
        self._pipeline = pipeline
        self._holds: list[MessageHold] = []
        self._lock = asyncio.Lock()

    async def prepare(self) -> None:
        """Put in force what operators hold back: before anything is sent. Raises what the store raises."""
        self._holds = await self._store.message_holds()
        self._apply()

    async def refresh(self) -> None:
        """Put in force what is held back as the store has it: another node may have changed it. Raises what the store
        raises."""
        async with self._lock:
            self._holds = await self._store.message_holds()
            self._apply()

    @property
    def holds(self) -> Sequence[MessageHold]:
        """What is held back, the oldest first."""
        return tuple(self._holds)

    async def sizes(self) -> list[Size]:
        """Return how many messages wait where. Raises what the store raises."""
        counts, memory = await self._store.counts(), self._pipeline.lanes.sizes()
        return [
            Size(
                category,
                counts.get(f"queue.HELD_{category.name}", 0),
                counts.get(f"queue.WAITING_{category.name}", 0),
                memory[category.name],
                counts.get(f"oldest_due_at.WAITING_{category.name}"),
            )
            for category in Category
        ]

    async def pause(self, hold: MessageHold, audit: Sequence[Record]) -> None:
        """Hold messages back. Raises what the store raises: then nothing is held."""
        async with self._lock:
            await self._store.hold_messages(hold, audit)
            self._holds = [other for other in self._holds if other.selection.name != hold.selection.name] + [hold]
            self._apply()
            self._store.membership.tell(News.HOLDS)

    async def resume(self, selection: Selection, audit: Sequence[Record]) -> None:
        """Let messages go on. Raises NotFound (NOT_PAUSED) when just this selection is not held."""
        async with self._lock:
            self._holds = await self._store.message_holds()
            if all(hold.selection.name != selection.name for hold in self._holds):
                raise NotFound("just this selection is not paused: see what is", reason="NOT_PAUSED")
            await self._store.free_messages(selection, audit)
            self._holds = [hold for hold in self._holds if hold.selection.name != selection.name]
            self._apply()
            self._store.membership.tell(News.HOLDS)

    def _apply(self) -> None:
        self._pipeline.hold([hold.selection for hold in self._holds])

    async def purge(
        self, selection: Selection, record: OperatorActed, audit: Sequence[Record], *, dry_run: bool
    ) -> Purged:
        """Cancel what waits of a selection, or count it. `audit` is committed with the first step, and `record` with
        each step that cancels any. Raises what the store raises: what the steps before have done stays done."""
        total = Purged(0, 0, None)
        after: Place | None = None
        while True:
            step = Purge(selection, after, STEP, record)
            done = await (self._store.count_purge(step) if dry_run else self._store.purge_messages(step, audit))
            audit = ()
            total = Purged(total.cancelled + done.cancelled, total.doubtful + done.doubtful, None)
            if done.after is None:
                return total
            after = done.after
