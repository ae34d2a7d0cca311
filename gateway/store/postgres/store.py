"""PostgresStore: the engine on PostgreSQL, put together."""

from __future__ import annotations

import asyncio
import itertools
import time
import uuid
from collections.abc import Callable

from gateway.store.engine.engine import HOUR, Engine
from gateway.store.engine.transaction import Bounds
from gateway.store.postgres.ballast import PostgresBallast
from gateway.store.postgres.database import PostgresDatabase
from gateway.store.postgres.leases import Terms
from gateway.store.postgres.session import Session
from gateway.store.postgres.target import Deadlines, Target
from gateway.store.postgres.transaction import PostgresTransaction


def _now_us() -> int:
    return time.time_ns() // 1000


class PostgresStore(Engine):
    """`gateway.store.contract.Store` on PostgreSQL 15 or later, for one node or several."""

    ballast: PostgresBallast

    def __init__(
        self,
        target: Target,
        *,
        node: str = "node",
        queue_limit: int = 20_000,
        readers: int = 3,
        receipt_grace: int = 1 * HOUR,
        seen_for: int = 72 * HOUR,
        kept_limit: int = 100_000,
        held_limit: int = 100_000,
        held_of_each: int = 10_000,
        currency: str = "",
        read_deadline_s: float = 5.0,
        terms: Terms | None = None,
        deadlines: Deadlines | None = None,
        now: Callable[[], int] = _now_us,
    ) -> None:
        """As `SqliteStore`, and: `node`, the name by which it is known to the others; `readers`, sessions for look-ups
        at most; `terms` of its lease; `deadlines` of the server."""
        database = PostgresDatabase(target, deadlines or Deadlines(), node, terms or Terms())
        self.membership = self._member = database.member
        bounds = Bounds(
            kept_limit=kept_limit,
            held_limit=held_limit,
            held_of_each=held_of_each,
            grace=receipt_grace,
            seen_for=seen_for,
            currency=currency,
        )
        serials = map("{}-{}".format, itertools.repeat(uuid.uuid4()), itertools.count())

        def make(db: Session) -> PostgresTransaction:
            return PostgresTransaction(db, database.sql, bounds, now, serials, database.member)

        super().__init__(database, make, queue_limit=queue_limit, readers=readers, read_deadline_s=read_deadline_s)
        self.ballast = PostgresBallast(database, self._read)

    async def merge(self) -> bool:
        """Nothing: one index has all recipients here."""
        return False

    async def open(self) -> None:
        """As of every engine, and join the other nodes."""
        await super().open()
        self._member.heard_in(asyncio.get_running_loop())
