"""A program that accepts messages and merges what is looked up, without end: for tests that kill it.

    python -m tests.gateway.store.sqlite.merging FILE

It says the id of each message once that is stored.
"""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

from gateway.store.sqlite import SqliteStore, blocks, runs
from tests.gateway.store.samples import digest, message

SIZE, FANOUT, STRETCH = 4, 3, 2  # so that there is much to merge of few messages
PERSON = digest("a person")


async def _work(path: Path) -> None:
    store = SqliteStore(path)
    await store.open()
    while True:
        news = [message(recipient_hash=PERSON) for _ in range(5)]
        await store.accept(news)
        print(*[new.id.hex() for new in news], sep="\n", flush=True)
        for _ in range(4):
            await store.merge()


if __name__ == "__main__":
    blocks.SIZE, runs.FANOUT, runs.STRETCH = SIZE, FANOUT, STRETCH
    asyncio.run(_work(Path(sys.argv[1])))
