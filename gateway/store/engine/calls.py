"""What the parts of an engine ask of it: a batch for the writer's thread, a query for the readers'."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from typing import Any

from gateway.audit.records import Record
from gateway.store.engine.writer import Kind


class Calls:
    """Mixed into the engine, which says how its threads are reached."""

    @abstractmethod
    async def _write(
        self,
        kind: Kind,
        batch: Sequence[Any],
        *,
        single: bool = False,
        new: bool = False,
        record: bool = False,
        audit: Sequence[Record] = (),
    ) -> Any:
        """Hand a batch to the writer and wait for its commit."""

    @abstractmethod
    async def _read(self, query: Any) -> Any:
        """Look something up in the reader's thread."""
