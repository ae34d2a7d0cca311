"""SqliteStore: the embedded engine, put together."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import apsw

from gateway.store.engine.engine import HOUR, Engine
from gateway.store.engine.transaction import Bounds
from gateway.store.sqlite.database import SqliteDatabase
from gateway.store.sqlite.transaction import SqliteTransaction


def _now_us() -> int:
    return time.time_ns() // 1000


class SqliteStore(Engine):
    """The embedded engine of `gateway.store.contract.Store`."""

    def __init__(
        self,
        path: str | Path,
        *,
        queue_limit: int = 20_000,
        vfs: str | None = None,
        receipt_grace: int = 1 * HOUR,
        seen_for: int = 72 * HOUR,
        kept_limit: int = 100_000,
        held_limit: int = 100_000,
        held_of_each: int = 10_000,
        currency: str = "",
        read_deadline_s: float = 5.0,
        now: Callable[[], int] = _now_us,
    ) -> None:
        """`queue_limit`: unfinished writes at most, in rows; a quarter of it is kept for what is not new (outcomes,
        receipts, decisions). `vfs`: the name of a registered apsw VFS. `receipt_grace`, `seen_for`: microseconds; how
        long a message in doubt waits for a receipt beyond its validity, and how long fingerprints and unmatched
        receipts are kept. `kept_limit`, `held_limit`: unmatched receipts, and inbound parts that wait for others, at
        most; of these `held_of_each` of one tenant. `currency`: of what messages cost, "" without prices. `now`:
        microseconds since the Unix epoch; it dates the commits of the audit."""
        database = SqliteDatabase(Path(path), vfs)
        bounds = Bounds(
            kept_limit=kept_limit,
            held_limit=held_limit,
            held_of_each=held_of_each,
            grace=receipt_grace,
            seen_for=seen_for,
            currency=currency,
        )

        def make(db: apsw.Connection) -> SqliteTransaction:
            return SqliteTransaction(db, database.sql, bounds, now, database.keys)

        super().__init__(database, make, queue_limit=queue_limit, readers=1, read_deadline_s=read_deadline_s)
