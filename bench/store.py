"""`python -m bench.store`: the store alone, on both engines, in one run: CPU for each message, and commits.

Every message goes its whole way: accepted with an idempotency key, SENDING, SUBMITTED, its receipt. Batches of a
hundred, several under way at once, so that group commits gather as they do in a node. Records are made beforehand. The
figure to compare is the CPU of this process; PostgreSQL's own processes are counted beside it. Both engines sync.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import uvloop

from bench.usage import cpu_of_tree
from gateway.store.contract import Committed, NewMessage, Sending, Settlement
from gateway.store.engine.engine import Engine
from gateway.store.postgres import PostgresStore
from gateway.store.receipts import NewReceipt
from gateway.store.sqlite import SqliteStore
from tests.gateway.store.samples import digest, key, message, receipt, sending, submitted
from tests.postgres.server import PostgresServer

_BATCH = 100


class Batch(NamedTuple):
    """What a hundred messages bring, step by step."""

    new: list[NewMessage]
    sending: list[Sending]
    settled: list[Settlement]
    receipts: list[NewReceipt]


class Figures(NamedTuple):
    """What one run took."""

    engine: str
    messages: int
    seconds: float
    cpu_s: float  # of this process
    server_s: float  # of PostgreSQL's processes
    commits: int

    def line(self) -> str:
        """Return it for people, in microseconds a message."""
        micro = 1e6 / self.messages
        return (
            f"{self.engine:10} {self.messages / self.seconds:8,.0f} messages/s  CPU {self.cpu_s * micro:6.1f} us"
            f"  server {self.server_s * micro:6.1f} us  {self.messages / self.commits:6.1f} messages a commit"
        )


def batches(number: int, first: int = 0) -> list[Batch]:
    """Return so many batches, each message distinct; `first` is the number of the first one."""
    made = []
    for at in range(first, first + number):
        names = [f"{at}-{n}" for n in range(_BATCH)]
        new = [
            message(idempotency=key(name), recipient_hash=digest(name), envelope=bytes(120), content=bytes(200))
            for name in names
        ]
        settled = [submitted(each, name) for each, name in zip(new, names, strict=True)]
        made.append(Batch(new, [sending(each) for each in new], settled, [receipt(name) for name in names]))
    return made


async def play(store: Engine, work: Sequence[Batch], lanes: int) -> None:
    """Take all messages their way, so many batches at a time."""
    waiting = iter(work)

    async def lane() -> None:
        for batch in waiting:
            await store.accept(batch.new)
            await store.sending(batch.sending)
            await store.settle(batch.settled)
            await store.receipts(batch.receipts)

    async with asyncio.TaskGroup() as tasks:
        for _ in range(lanes):
            tasks.create_task(lane())


async def measure(
    name: str, store: Engine, work: Sequence[Batch], lanes: int, server_s: Callable[[], float]
) -> Figures:
    """Return what `work` takes on a store; a first part of it warms up."""
    await store.open()
    commits: list[int] = []

    def count(commit: Committed) -> None:
        commits.append(commit.rows)

    try:
        warm, rest = work[: len(work) // 10], work[len(work) // 10 :]
        await play(store, warm, lanes)
        store.observe(count)
        server, cpu, began = server_s(), time.process_time(), time.perf_counter()
        await play(store, rest, lanes)
        took = time.perf_counter() - began, time.process_time() - cpu, server_s() - server
    finally:
        await store.close()
    # Each message is in four commits.
    return Figures(name, len(rest) * _BATCH, *took, max(1, len(commits) // 4))


def _sqlite(work: Sequence[Batch], lanes: int) -> Figures:
    with tempfile.TemporaryDirectory() as folder:
        store = SqliteStore(Path(folder) / "store" / "smsgw.db")
        return uvloop.run(measure("sqlite", store, work, lanes, lambda: 0.0))


def _postgres(work: Sequence[Batch], lanes: int) -> Figures:
    server = PostgresServer("shared_buffers=256MB")
    try:
        store = PostgresStore(server.target("postgres"))
        return uvloop.run(measure("postgres", store, work, lanes, lambda: cpu_of_tree(server.pid)))
    finally:
        server.stop()


ENGINES = {"sqlite": _sqlite, "postgres": _postgres}


def main() -> int:
    """Run the command line."""
    parser = argparse.ArgumentParser(prog="python -m bench.store", description=__doc__)
    parser.add_argument("--engine", choices=ENGINES, action="append", help="only this one")
    parser.add_argument("--messages", type=int, default=50_000, help="of each engine (default 50,000)")
    parser.add_argument("--lanes", type=int, default=8, help="batches of a hundred under way at once (default 8)")
    options = parser.parse_args()
    for name in options.engine or ENGINES:
        work = batches(max(10, options.messages // _BATCH))
        print(ENGINES[name](work, options.lanes).line(), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
