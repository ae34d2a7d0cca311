"""Runs and generations of idempotency keys that are small, so that few keys make many; and a program that takes keys
without end, for tests that kill it.

    python -m tests.gateway.store.sqlite.keying FILE

It says the number of each key once its message is stored.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path

from gateway.store.sqlite import SqliteStore, key_filters, key_runs, schema
from tests.gateway.store.samples import NOW, SECOND, key, message

RUN_BITS, GENERATION_BITS, PART_OCTETS = 3, 1, 16
RUN = 1 << RUN_BITS
GENERATION = RUN << GENERATION_BITS
LIFE = 40 * SECOND


@contextmanager
def small() -> Iterator[None]:
    """Make runs of eight keys and generations of two runs, also in the schema of databases that are made meanwhile."""
    before = key_runs.RUN_BITS, key_filters.GENERATION_BITS, key_filters.PART_OCTETS, schema.migrations
    key_runs.RUN_BITS, key_filters.GENERATION_BITS, key_filters.PART_OCTETS = RUN_BITS, GENERATION_BITS, PART_OCTETS
    schema.migrations = lambda: [step.replace(">> 15", f">> {RUN_BITS}") for step in before[3]()]
    try:
        yield
    finally:
        key_runs.RUN_BITS, key_filters.GENERATION_BITS, key_filters.PART_OCTETS, schema.migrations = before


async def _work(path: Path) -> None:
    store = SqliteStore(path)
    await store.open()
    for first in count(0, 3):
        now = NOW + first * SECOND
        news = [
            message(idempotency=key(str(n), expires_at=now + LIFE), accepted_at=now) for n in range(first, first + 3)
        ]
        await store.accept(news)
        print(*range(first, first + 3), sep="\n", flush=True)
        for _ in range(9):
            await store.merge()
        await store.purge(now, 50)


if __name__ == "__main__":
    with small():
        asyncio.run(_work(Path(sys.argv[1])))
