"""Steady state, on both engines: as much comes as goes, and neither the number of rows nor the file grows.

Time goes by in turns of three days. Each brings as many messages as the one before: with keys, long ones, some that
were tried with another carrier, receipts that are not known, messages from handsets, ids that the carrier gives again.
The task of retention, the purge and merging do what they do in a node. Every table there is has to stay as large as it
was, but for those that are named, each with what bounds it.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import apsw
import psycopg
import pytest

from gateway.ids import IdSource
from gateway.privacy import retention as retention_task
from gateway.privacy.periods import Periods
from gateway.privacy.retention import Retention
from gateway.states import Category
from gateway.store.contract import NewMessage, Settlement, Store
from gateway.store.postgres import PostgresStore
from gateway.store.sqlite import SqliteStore, blocks, runs
from tests.gateway.privacy.periods import read_periods
from tests.gateway.store.samples import (
    HOUR,
    NOW,
    again,
    digest,
    inbound_part,
    key,
    message,
    receipt,
    sending,
    submitted,
)
from tests.postgres.server import shared

DAY = 24 * HOUR
TURN = 3 * DAY
EACH = 120
# How long all is kept: what begins to be counted is the first turn in which everything has gone once.
PERIODS = """
    {content: {otp: 1h, transactional: 1h, promotional: 1h}, envelope: {otp: 1d, transactional: 1d, promotional: 1d},
    metadata: {otp: 7d, transactional: 7d, promotional: 7d}, events: 4d, inbound: 1d}
"""
WARM, MORE = 6, 6
# What grows for good, or as long as something else says.
GROWS = {
    "audit_commit": "audit.keep",
    "log_tile": "34 octets for each commit of the audit: what proves those that are kept",
    "usage": "retention.usage, of days: longer than the turns of these tests",
}
_PAGES_MORE = 0.05  # of a file of a few hundred pages, beyond what grows


class Turns:
    """A store, and what happens to it (mutable)."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self.now = NOW
        self._ids = IdSource(now_ms=lambda: self.now // 1000)
        self._retention = Retention(store, Periods(read_periods(PERIODS)), lambda: self.now, step=50)
        self._turn = 0

    async def one(self) -> None:
        """Let three days go by."""
        self._turn += 1
        self.now += TURN
        await self._messages()
        await self._handsets()
        await self._retention.round()
        while await self._store.purge(self.now, 100) >= 100:
            pass
        while await self._store.merge():
            pass

    def _new(self, number: int) -> NewMessage:
        name = f"{self._turn}-{number}"
        return message(
            id=self._ids.new(), category=list(Category)[number % 3], recipient_hash=digest(name),
            idempotency=key(name, expires_at=self.now + 12 * HOUR), accepted_at=self.now, due_at=self.now,
            expires_at=self.now + HOUR, envelope=bytes(120), content=bytes(400),
        )  # fmt: skip

    async def _messages(self) -> None:
        """Messages come, are sent, some of them twice, and have their receipts; two do not end before the next turn."""
        store, now = self._store, self.now
        news = [self._new(number) for number in range(EACH)]
        await store.accept(news)
        elsewhere = news[::10]
        await store.sending([sending(new, carrier="other", at=now) for new in elsewhere])
        await store.settle([self._busy(new, number) for number, new in enumerate(elsewhere)])
        await store.claim(Category.OTP, EACH, now)
        for category in Category:
            await store.claim(category, EACH, now)
        await store.sending([sending(new, at=now) for new in news])
        names = [self._carrier_ids(number) for number in range(EACH)]
        await store.settle(
            [submitted(new, ids, at=now, due_at=now + 2 * HOUR) for new, ids in zip(news, names, strict=True)]
        )
        ended = [one for ids in names[2:] for one in ids.split("\n")]
        await store.receipts([receipt(one, at=now) for one in ended])
        await store.receipts([receipt(f"lost-{self._turn}-{number}", at=now) for number in range(5)])
        while await store.close_due(now - 12 * HOUR, 100):
            pass

    def _busy(self, new: NewMessage, number: int) -> Settlement:
        """Return a settlement by which another carrier gave a part an id, and then wanted the message later."""
        parts = {"carrier_ids": f"o{self._turn}-{number}\n", "part_states": "S-"}
        return again(new, at=self.now, due_at=self.now, carrier="other", **parts)

    def _carrier_ids(self, number: int) -> str:
        """Return ids, of which the carrier gives each tenth one in every turn anew."""
        if number % 10 == 5:
            return f"again-{number}"
        return "\n".join(f"{self._turn}-{number}-{part}" for part in range(1 + number % 2))

    async def _handsets(self) -> None:
        parts = [(f"{self._turn}-{number}", 1, 1) for number in range(5)] + [(f"{self._turn}-half", 1, 2)]
        await self._store.inbound(
            [
                inbound_part(
                    *part, id=self._ids.new(), at=self.now, seen_until=self.now + HOUR, expires_at=self.now + HOUR
                )
                for part in parts
            ]
        )


@pytest.fixture(autouse=True)
def _small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Blocks and runs begin and end within turns; the look for ids that lead nowhere is slower than what comes."""
    monkeypatch.setattr(blocks, "SIZE", 16)
    monkeypatch.setattr(runs, "FANOUT", 3)
    monkeypatch.setattr(retention_task, "_LEAST_REST_S", 0.0)
    monkeypatch.setattr(retention_task, "_REF_STEPS", 4)


def _grown(before: dict[str, int], after: dict[str, int]) -> dict[str, tuple[int, int]]:
    """Return the tables that have more rows than before, by more than a tenth of a turn."""
    return {
        table: (before[table], rows)
        for table, rows in after.items()
        if rows > before[table] + EACH // 10 and table not in GROWS
    }


async def _steady(
    store: Store, count: Callable[[], dict[str, int]], upkeep: Callable[[], object] = lambda: None
) -> None:
    """Let turns go by until everything has gone once, and as many again; `upkeep` is what the server does meanwhile."""
    turns = Turns(store)
    for _ in range(WARM):
        await turns.one()
        upkeep()
    before = count()
    assert before["message"] >= 3 * EACH
    for _ in range(MORE):
        await turns.one()
        upkeep()
    assert _grown(before, count()) == {}


async def test_on_sqlite(tmp_path: Path) -> None:
    """No table grows but those that are named; pages that became free are used again."""
    path = tmp_path / "store" / "smsgw.db"
    store = SqliteStore(path, seen_for=DAY)
    await store.open()
    db = apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READONLY)
    try:
        sizes: list[int] = []

        def count() -> dict[str, int]:
            sizes.append(_pages(db))
            tables = [str(name) for (name,) in db.execute("SELECT name FROM sqlite_schema WHERE type = 'table'")]
            return {table: _number(db, f"SELECT count(*) FROM {table}") for table in tables}  # noqa: S608 - names of the schema

        await _steady(store, count)
        before, after = sizes[0], _pages(db)
        assert before > 100
        assert after <= before * (1 + _PAGES_MORE), f"{before} pages, and {after} later"
    finally:
        db.close()
        await store.close()


def _number(db: apsw.Connection, query: str) -> int:
    ((number,),) = db.execute(query).fetchall()
    return int(str(number))


def _pages(db: apsw.Connection) -> int:
    """Return the pages of the file, without those of what grows by itself."""
    own = _number(db, "SELECT count(*) FROM dbstat WHERE name IN ('audit_commit', 'log_tile', 'usage')")
    return _number(db, "PRAGMA page_count") - own


async def test_on_postgres() -> None:
    """The same. What was deleted can be used again once the server has vacuumed: no session of the store holds it."""
    target = shared().emptied()
    store = PostgresStore(target, seen_for=DAY)
    await store.open()
    db = psycopg.connect(host=target.host, dbname=target.database, user=target.user, autocommit=True)
    try:
        db.execute("SET search_path = smsgw")
        found = db.execute("SELECT tablename FROM pg_tables WHERE schemaname = 'smsgw'").fetchall()
        tables = [str(name) for (name,) in found if not name.startswith("audit_room")]
        sizes: list[int] = []

        def size_of(table: str) -> int:
            return _one(db, f"SELECT pg_total_relation_size('{table}')")

        def count() -> dict[str, int]:
            sizes.append(sum(size_of(table) for table in tables if table not in GROWS))
            return {table: _one(db, f"SELECT count(*) FROM {table}") for table in tables}  # noqa: S608 - the same

        await _steady(store, count, lambda: db.execute("VACUUM"))
        assert sizes[1] <= sizes[0] * (1 + _PAGES_MORE), sizes
    finally:
        db.close()
        await store.close()


def _one(db: psycopg.Connection[tuple[int, ...]], query: str) -> int:
    row = db.execute(query.encode()).fetchone()
    assert row is not None
    return row[0]
