"""Looking up the usage of tenants: the sums of the days, told apart as it is asked for."""

from __future__ import annotations

from collections.abc import Sequence

from gateway.errors import Overloaded
from gateway.store.engine.calls import Calls
from gateway.store.engine.database import Look
from gateway.store.usage import MAX_ROWS, By, Usage, UsageFilter

_RETRY_S = 60.0


def read_usage(look: Look, where: UsageFilter, by: By) -> list[Usage]:
    """Return the sums. Raises Overloaded."""
    rows = look.sql.usage.sums.rows(look.db, (*where, *map(int, by), MAX_ROWS + 1))
    if len(rows) > MAX_ROWS:
        text = f"more than {MAX_ROWS} rows: ask for fewer days, or for less to be told apart"
        raise Overloaded(text, retry_after_s=_RETRY_S, reason="TOO_MANY_ROWS")
    return [Usage._make((*row[:6], *map(int, row[6:]))) for row in rows]


class UsageCalls(Calls):
    """What has been used."""

    async def usage(self, where: UsageFilter, by: By) -> Sequence[Usage]:
        """Return sums, in the order of what they are told apart by."""
        rows: list[Usage] = await self._read(lambda look: read_usage(look, where, by))
        return rows
