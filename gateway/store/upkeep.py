"""The part of the store's contract that keeps look-ups at their cost, whatever is stored: work for quiet moments."""

from __future__ import annotations

from typing import Protocol


class UpkeepStore(Protocol):
    """What `Store` has to do beside its calls."""

    async def merge(self) -> bool:
        """Do a step of merging what is looked up into larger pieces, some thousand entries in one transaction; False
        when there is nothing to do. What is found is the same before, between and after."""
