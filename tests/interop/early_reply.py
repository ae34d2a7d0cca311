"""A node with a defect, for the judge to find: it answers before the store has committed.

Run as `smsgw` is: `python -m tests.interop.early_reply serve --config FILE`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from gateway.audit.records import Record
from gateway.cli.main import main
from gateway.states import State
from gateway.store.contract import Accepted, NewMessage, Verdict
from gateway.store.sqlite import SqliteStore

_honest = SqliteStore.accept
_running: set[asyncio.Task[object]] = set()


async def _later(store: SqliteStore, batch: Sequence[NewMessage], audit: Sequence[Record]) -> None:
    await asyncio.sleep(0.2)
    await _honest(store, batch, audit)


async def _early(store: SqliteStore, batch: Sequence[NewMessage], audit: Sequence[Record] = ()) -> list[Accepted]:
    task = asyncio.create_task(_later(store, batch, audit))
    _running.add(task)
    task.add_done_callback(_running.discard)
    return [Accepted(Verdict.STORED, new.id, State.ACCEPTED, new.segments) for new in batch]


if __name__ == "__main__":
    SqliteStore.accept = _early  # type: ignore[method-assign, assignment]  # the defect
    main()
