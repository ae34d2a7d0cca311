"""The part of the store's contract that keys need: what is not finished, and by which data keys it was sealed.

The id of a key stands in the head of each sealed field (`gateway.sealing.envelope`), where the database can read it.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Protocol


class KeyUseStore(Protocol):
    """What `Store` knows of the keys of messages."""

    async def unfinished_under(self, key_ids: Collection[bytes]) -> int:
        """Return how many messages that are not final were sealed by one of these keys, in envelope or content."""
