"""Retention on PostgreSQL, beside messages: `make bench-retention ARGS='--engine postgres'`.

The messages are played through the store, a millisecond apart, so tables and indexes are as a node leaves them. The
server vacuums by its own rules and at its own times: nothing here helps it.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Mapping
from typing import NamedTuple

import uvloop

from bench.fill import BEGAN_MS, ENDED_AFTER
from bench.retention import BATCH, PURGED, Bench
from bench.store import Batch, play
from gateway.ids import IdSource
from gateway.store.contract import NewMessage
from gateway.store.postgres import PostgresStore
from tests.gateway.store.samples import digest, key, message, receipt, sending, submitted
from tests.postgres.server import PostgresServer

_LANES = 8
_AT_ONCE = 100  # batches that are made before they are played
_KEY_LIVES = 72 * 3_600_000_000
_SHOWN_MB = 1.0  # smaller tables are joined
_SIZES = (
    "SELECT c.relname, pg_table_size(c.oid), pg_indexes_size(c.oid), s.n_dead_tup, s.autovacuum_count"
    " FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace"
    " JOIN pg_stat_all_tables AS s ON s.relid = c.oid"
    " WHERE n.nspname = 'smsgw' AND c.relkind = 'r' AND c.relname NOT LIKE 'audit_room%'"
)


class Table(NamedTuple):
    """What one table takes: octets of the heap (with what is stored out of line), of its indexes; the server's own
    counts of dead rows and of vacuums."""

    heap: int
    indexes: int
    dead: int
    vacuums: int

    def line(self) -> str:
        """Return it for people."""
        return f"{self.heap / 1e6:,.0f} + {self.indexes / 1e6:,.0f} MB, {self.dead:,} dead, {self.vacuums} vacuums"


class Sizes(NamedTuple):
    """What all tables take."""

    tables: Mapping[str, Table]

    def total(self) -> int:
        """Return the octets of what does not grow for good."""
        return sum(
            one.heap + one.indexes for name, one in self.tables.items() if name not in ("audit_commit", "log_tile")
        )

    def line(self) -> str:
        """Return them for people, heap and indexes of each."""
        large = {name: one for name, one in self.tables.items() if one.heap + one.indexes > _SHOWN_MB * 1e6}
        each = "; ".join(f"{name} {one.line()}" for name, one in sorted(large.items()))
        return f"{self.total() / 1e6:,.0f} MB without the audit: {each}; load {os.getloadavg()[0]:.1f}"


def timed_batches(number: int, first: int = 0) -> list[Batch]:
    """Return so many batches; each message came a millisecond after the one before, and ended a few seconds later."""
    made = []
    for at in range(first, first + number):
        names = [f"{at}-{n}" for n in range(BATCH)]
        new = [_message(name, BEGAN_MS + at * BATCH + n) for n, name in enumerate(names)]
        made.append(
            Batch(
                new,
                [sending(each, at=each.accepted_at) for each in new],
                [submitted(each, name, at=each.accepted_at) for each, name in zip(new, names, strict=True)],
                [receipt(name, at=each.accepted_at + ENDED_AFTER) for each, name in zip(new, names, strict=True)],
            )
        )
    return made


def _message(name: str, ms: int) -> NewMessage:
    own = key(name, expires_at=ms * 1000 + _KEY_LIVES)
    fields = {"idempotency": own, "recipient_hash": digest(name), "envelope": bytes(120), "content": bytes(200)}
    return message(id=IdSource(now_ms=lambda: ms).new(), accepted_at=ms * 1000, **fields)


class ServerBench(Bench[Sizes]):
    """The same, on a server."""

    def __init__(self, store: PostgresStore, server: PostgresServer, rate: int) -> None:
        """`rate`: batches of a hundred a second."""
        super().__init__(store, rate)
        self._server = server

    def _next(self, number: int) -> list[Batch]:
        made = timed_batches(number, self._made)
        self._made += number
        return made

    async def fill(self, messages: int) -> None:
        """Have so many messages come and be delivered."""
        left = messages // BATCH
        while left > 0:
            await play(self._store, self._next(min(left, _AT_ONCE)), _LANES)
            left -= _AT_ONCE
        self._taken()

    async def steady(self, number: int) -> Sizes:
        """Let as many messages come as are due then, and as many keys go, several calls at a time."""
        await play(self._store, self._next(number // BATCH), _LANES)
        self._due_ms += number
        await self._retention.round()
        await self.purge(number)
        return self.disk()

    async def purge(self, number: int) -> None:
        """Remove so many keys, as the node's own task does."""
        for _ in range(number // PURGED):
            await self._store.purge(self._now(), PURGED)

    def disk(self) -> Sizes:
        """Return what the tables take now."""
        with self._server.connect("postgres") as db:
            rows = db.execute(_SIZES).fetchall()
        return Sizes({str(name): Table(*(int(str(one)) for one in numbers)) for name, *numbers in rows})


async def _run(server: PostgresServer, options: argparse.Namespace) -> None:
    store = PostgresStore(server.target("postgres"))
    await store.open()
    try:
        bench = ServerBench(store, server, options.rate // BATCH)
        began = time.perf_counter()
        await bench.fill(options.stored)
        print(f"bench: filled in {time.perf_counter() - began:.0f} s", file=sys.stderr, flush=True)
        print(f"before: {bench.disk().line()}", flush=True)
        if options.due:
            await bench.report_backlog(options.due)
            await bench.purge(options.due)
        for number in range(options.rounds):
            began = time.perf_counter()
            sizes = await bench.steady(options.each)
            took_s = time.perf_counter() - began
            print(f"round {number + 1}, {options.each:,} came and went in {took_s:.0f} s: {sizes.line()}", flush=True)
    finally:
        await store.close()


def run(options: argparse.Namespace) -> None:
    """Measure on a server of the run's own."""
    server = PostgresServer("shared_buffers=256MB", f"autovacuum_naptime={options.naptime}")
    try:
        uvloop.run(_run(server, options))
    finally:
        server.stop()
