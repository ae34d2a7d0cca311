"""`python -m bench.retention` (`make bench-retention`): retention on a large database, beside messages.

The database has a million and more messages (`bench.fill`), a millisecond apart. First the oldest of them are due all
at once, and the task of retention removes them as it does in a node, while messages come at a steady rate and go their
whole way: how long each transaction of the writer took, and how long calls waited, without retention and beside it.
Then time goes by in rounds in which as many messages come as are due: how many pages of the file are used, and how long
file and log are, after each.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import tempfile
import time
from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import Generic, NamedTuple, Protocol, TypeVar

import apsw
import uvloop

from bench.fill import BEGAN_MS, ENDED_AFTER, TEMPLATE, Filled
from bench.store import Batch, batches
from gateway.config.reader import Reader
from gateway.config.retention_settings import RetentionSettings
from gateway.config.yaml_tree import read_tree
from gateway.privacy.periods import Periods
from gateway.privacy.retention import Retention
from gateway.store.contract import Committed
from gateway.store.engine.engine import Engine
from gateway.store.sqlite import SqliteStore
from tests.gateway.store.samples import HOUR, NOW

_KEEP = 7 * 24 * HOUR  # of everything
_PERIODS = "{{content: {0}, envelope: {0}, metadata: {0}, events: 7d, inbound: 7d}}".format(
    "{otp: 7d, transactional: 7d, promotional: 7d}"
)
BATCH = 100
_ALONE_S = 10.0  # for so long messages come without retention
_ALL, _FREE = "PRAGMA page_count", "PRAGMA freelist_count"
_AUDIT = "SELECT ifnull(sum(pageno), 0) FROM dbstat WHERE name IN ('audit_commit', 'log_tile') AND aggregate = TRUE"
PURGED = 500  # keys of one step


class Waits(NamedTuple):
    """Milliseconds: the median, 99 of a hundred, the longest."""

    p50: float
    p99: float
    longest: float

    @staticmethod
    def of(took_ms: Sequence[float]) -> Waits:
        """Return those of some times."""
        ordered = sorted(took_ms) or [0.0]
        return Waits(ordered[len(ordered) // 2], ordered[len(ordered) * 99 // 100], ordered[-1])

    def line(self) -> str:
        """Return it for people."""
        return f"{self.p50:.1f} / {self.p99:.1f} / {self.longest:.1f} ms"


class Disk(NamedTuple):
    """What the database takes."""

    used: int  # pages of the file that hold something, but for the audit's
    audit: int  # pages: it is kept for as long as `audit.keep` says
    free: int
    log_bytes: int

    def line(self) -> str:
        """Return it for people."""
        pages = f"{self.used:,} pages used and {self.audit:,} by the audit, {self.free:,} free"
        return f"{pages}, log {self.log_bytes / 1e6:.0f} MB"


class Taken(Protocol):
    """What a database takes."""

    def line(self) -> str:
        """Return it for people."""


S = TypeVar("S", bound=Taken)


class Bench(ABC, Generic[S]):
    """An open store, its clock, and messages that come (mutable)."""

    def __init__(self, store: Engine, rate: int) -> None:
        """`rate`: batches of a hundred a second."""
        self._store, self._rate = store, rate
        self._due_ms = 0  # of the messages that were filled in, those of so many milliseconds are due
        self._made = 0
        self._retention = Retention(store, Periods(_periods()), self._now)
        self._calls_ms: list[float] = []
        self._commits_ms: list[float] = []
        store.observe(self._committed)

    def _now(self) -> int:
        return (BEGAN_MS + self._due_ms) * 1000 + _KEEP + ENDED_AFTER

    def _committed(self, commit: Committed) -> None:
        self._commits_ms.append(commit.duration_s * 1e3)

    def _next(self, number: int) -> list[Batch]:
        """Return batches to play."""
        made = batches(number, self._made)
        self._made += number
        return made

    async def _play(self, batch: Batch) -> None:
        began = time.perf_counter()
        await self._store.accept(batch.new)
        self._calls_ms.append((time.perf_counter() - began) * 1e3)
        await self._store.sending(batch.sending)
        await self._store.settle(batch.settled)
        await self._store.receipts(batch.receipts)

    async def _come(self, stopped: asyncio.Event) -> None:
        """Let messages come at their times until `stopped`."""
        work, at = self._next(self._rate), time.perf_counter()
        async with asyncio.TaskGroup() as calls:
            while not stopped.is_set():
                if not work:
                    work = self._next(self._rate)
                calls.create_task(self._play(work.pop()))
                at += 1 / self._rate
                await asyncio.sleep(max(0.0, at - time.perf_counter()))

    def _taken(self) -> tuple[Waits, Waits]:
        """Return what calls and commits have taken since the last time."""
        calls, commits = Waits.of(self._calls_ms), Waits.of(self._commits_ms)
        self._calls_ms.clear()
        self._commits_ms.clear()
        return calls, commits

    async def alone(self) -> tuple[Waits, Waits]:
        """Measure messages without retention: calls, and commits."""
        stopped = asyncio.Event()
        asyncio.get_running_loop().call_later(_ALONE_S, stopped.set)
        await self._come(stopped)
        return self._taken()

    async def backlog(self, due: int) -> tuple[Waits, Waits, int, float]:
        """Remove so many messages that are due at once, while others come: calls, commits, removed, seconds."""
        self._due_ms, stopped, began = due, asyncio.Event(), time.perf_counter()
        before = await self._removed()
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._come(stopped))
            await self._retention.round()
            took_s = time.perf_counter() - began
            stopped.set()
        return *self._taken(), await self._removed() - before, took_s

    async def _removed(self) -> int:
        return (await self._store.counts()).get("retention.message", 0)

    async def report_backlog(self, due: int) -> None:
        """Measure and tell: messages alone, then what is due beside them."""
        calls, commits = await self.alone()
        print(f"messages alone: a call {calls.line()}; a transaction {commits.line()} (p50 / p99 / longest)")
        calls, commits, removed, took_s = await self.backlog(due)
        print(f"{removed:,} messages removed in {took_s:.0f} s beside them: {removed / took_s:,.0f}/s")
        print(f"  a call {calls.line()}; a transaction {commits.line()}")
        print(f"  {self.disk().line()}", flush=True)

    @abstractmethod
    def disk(self) -> S:
        """Return what the database takes now."""

    @abstractmethod
    async def steady(self, number: int) -> S:
        """Let as many messages come as are due then, and as many keys go; what the database takes after that."""


class FileBench(Bench[Disk]):
    """On SQLite."""

    def __init__(self, store: SqliteStore, path: Path, rate: int) -> None:
        """`rate`: batches of a hundred a second."""
        super().__init__(store, rate)
        self._path = path

    async def steady(self, number: int) -> Disk:
        """Let as many messages come as are due then, and as many keys go."""
        for batch in self._next(number // BATCH):
            await self._play(batch)
        self._due_ms += number
        await self._retention.round()
        for _ in range(number // PURGED):
            await self._store.purge(self._now(), PURGED)
        while await self._store.merge():
            pass
        return self.disk()

    def disk(self) -> Disk:
        """Return what the database takes now."""
        db = apsw.Connection(str(self._path), flags=apsw.SQLITE_OPEN_READONLY)
        try:
            pages, free, audit = (_number(db, query) for query in (_ALL, _FREE, _AUDIT))
        finally:
            db.close()
        log = self._path.with_name(f"{self._path.name}-wal").stat().st_size
        return Disk(pages - free - audit, audit, free, log)


def _number(db: apsw.Connection, query: str) -> int:
    ((number,),) = db.execute(query).fetchall()
    return int(str(number))


def _periods() -> RetentionSettings:
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "retention.yaml"
        file.write_text(_PERIODS)
        return Reader(file, credentials=None).section(RetentionSettings, read_tree(file), "")


def _forget_the_first(path: Path) -> None:
    """Delete the events of the message that came before the copies and is younger: they go in their order."""
    db = apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READWRITE)
    try:
        db.execute("DELETE FROM event WHERE at >= ?", (NOW,))
    finally:
        db.close()


async def _run(path: Path, options: argparse.Namespace) -> None:
    store = SqliteStore(path)
    await store.open()
    try:
        bench = FileBench(store, path, options.rate // BATCH)
        while await store.merge():
            pass
        print(f"before: {bench.disk().line()}")
        await bench.report_backlog(options.due)
        for number in range(options.rounds):
            disk = await bench.steady(options.each)
            print(f"round {number + 1}, {options.each:,} came and as many went: {disk.line()}", flush=True)
    finally:
        await store.close()


def _on_sqlite(options: argparse.Namespace) -> None:
    with tempfile.TemporaryDirectory(prefix="smsgw-bench-", dir=options.folder) as folder:
        filled = Filled(Path(folder) / "store" / "smsgw.db")
        print(f"bench: {options.stored:,} messages", file=sys.stderr, flush=True)
        filled.grow(delivered=options.stored, waiting=TEMPLATE)
        _forget_the_first(filled.path)
        uvloop.run(_run(filled.path, options))


def main() -> int:
    """Run the command line."""
    parser = argparse.ArgumentParser(prog="make bench-retention ARGS=...", description=__doc__)
    parser.add_argument("--engine", choices=("sqlite", "postgres"), default="sqlite", help="(default sqlite)")
    parser.add_argument("--stored", type=int, help="delivered messages (default 1,500,000; on PostgreSQL 600,000)")
    parser.add_argument("--due", type=int, help="of these due at once (default 150,000; on PostgreSQL 500,000)")
    parser.add_argument("--rate", type=int, default=500, help="messages a second that come (default 500)")
    parser.add_argument("--rounds", type=int, default=8, help="of the steady state (default 8)")
    parser.add_argument("--each", type=int, default=30_000, help="messages of a round (default 30,000)")
    parser.add_argument(
        "--naptime", type=int, default=60, help="PostgreSQL's autovacuum_naptime in seconds (default 60)"
    )
    parser.add_argument("--folder", type=Path, help="where the SQLite database is made, and removed")
    options = parser.parse_args()
    stored, due = (600_000, 500_000) if options.engine == "postgres" else (1_500_000, 150_000)
    options.stored = stored if options.stored is None else options.stored
    options.due = due if options.due is None else options.due
    if options.engine == "postgres":
        from bench import retention_server

        retention_server.run(options)
    else:
        _on_sqlite(options)
    return 0


if __name__ == "__main__":
    sys.exit(main())
