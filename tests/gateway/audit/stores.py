"""A store that keeps records in a list, and fails as told."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

from gateway.audit.records import Record


class MemoryStore:
    """Takes records; `failure` is raised instead while it is set. `meanwhile` happens during each call."""

    def __init__(self) -> None:
        self.batches: list[list[Record]] = []
        self.failure: Exception | None = None
        self.meanwhile: Callable[[], None] = lambda: None
        self.asked = asyncio.Event()  # set at each call

    @property
    def records(self) -> list[Record]:
        """Return all records that were taken."""
        return [record for batch in self.batches for record in batch]

    async def audit(self, batch: Sequence[Record]) -> None:
        """Take records."""
        self.asked.set()
        self.meanwhile()
        if self.failure is not None:
            raise self.failure
        if batch:
            self.batches.append(list(batch))
