"""The coroutines of `gateway.store.upkeep.UpkeepStore`."""

from __future__ import annotations

from collections.abc import Sequence

from gateway.store.engine.calls import Calls
from gateway.store.engine.transaction import Transaction
from gateway.store.engine.writer import Kind


def merge(tx: Transaction, batch: Sequence[None]) -> list[bool]:
    """Do a step for each call."""
    return [tx.merge() for _ in batch]


_MERGE = Kind(60, "merge", merge)


class UpkeepCalls(Calls):
    """Work for quiet moments."""

    async def merge(self) -> bool:
        """Do a step of merging; False when there is nothing to do."""
        done: bool = await self._write(_MERGE, [None], single=True)
        return done
