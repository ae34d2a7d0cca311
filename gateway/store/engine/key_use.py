"""Looking for messages under certain keys: through the queues, where all are that are not final, page by page."""

from __future__ import annotations

from collections.abc import Collection
from functools import partial
from typing import Any

from gateway.store.contract import Queue
from gateway.store.engine.calls import Calls
from gateway.store.engine.database import Look

_PAGE = 5_000
_START = (-1, -1, b"")


class KeyUseCalls(Calls):
    """Which keys messages wait under."""

    async def unfinished_under(self, key_ids: Collection[bytes]) -> int:
        """Return how many messages that are not final were sealed by one of these keys."""
        wanted, count = frozenset(key_ids), 0
        for queue in Queue:
            place: tuple[int, int, bytes] | None = _START
            while place is not None:
                found, place = await self._read(partial(_page, (int(queue), *place), wanted))
                count += found
        return count


def _page(at: tuple[Any, ...], wanted: frozenset[bytes], look: Look) -> tuple[int, tuple[int, int, bytes] | None]:
    """Return how many of one page are under a wanted key, and where the next begins."""
    rows = look.sql.key_use.page.rows(look.db, (*at, _PAGE))
    found = sum(1 for row in rows if row[3] in wanted or row[4] in wanted)
    return found, (rows[-1][0], rows[-1][1], rows[-1][2]) if len(rows) == _PAGE else None
