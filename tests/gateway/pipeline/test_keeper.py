"""The clockwork: no transaction of it is long, and nothing waits for the next tick that need not."""

from __future__ import annotations

import asyncio
import contextlib
from pathlib import Path
from typing import Any

import pytest

from gateway.errors import Overloaded
from gateway.pipeline import keeper as module
from gateway.pipeline.keeper import Keeper
from gateway.pipeline.lanes import Lanes
from gateway.routing.plans import Plan
from gateway.routing.routes import Target
from gateway.states import Category
from gateway.store.contract import Waiting
from gateway.store.sqlite import SqliteStore, blocks, runs
from tests.gateway.store.samples import NOW, message

WAITING, LANE = 700, 800
_WITHIN_S = 20.0


async def test_lanes_fill_by_short_claims(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A lane fills up by claims of at most so many rows, one after the other without waiting for a tick; when nothing
    more is due, it rests."""
    monkeypatch.setattr(module, "_CLAIM", 50)
    store, lanes, asked = SqliteStore(tmp_path / "smsgw.db"), Lanes(LANE), []
    await store.open()
    claim = store.claim

    async def counted(category: Category, limit: int, *rest: Any) -> list[Waiting]:
        asked.append(limit)
        return await claim(category, limit, *rest)

    monkeypatch.setattr(store, "claim", counted)
    plan = Plan("", [Target(carrier="acme")])
    keeper = Keeper(
        store=store, lanes=lanes, now=lambda: NOW + 1, pump=lambda: None, tick_s=3600.0,
        add=lambda waiting: lanes[waiting.category].add(waiting, plan),
    )  # fmt: skip
    await store.accept([message(claimed=False, category=Category.PROMOTIONAL) for _ in range(WAITING)])
    running = asyncio.create_task(keeper.run())
    try:
        await keeper.look()
        async with asyncio.timeout(_WITHIN_S):
            while len(lanes) <= LANE // 2:
                await asyncio.sleep(0.01)
        assert max(asked) == 50
        assert len(asked) == LANE // 2 // 50 + 1  # to half of the lane: it is not worth more
    finally:
        running.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await running
        await store.close()


async def test_what_is_claimed_is_kept_whatever_fails_next(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A look-up that fails behind a claim costs none of the messages that it has taken: nobody else would have them."""
    monkeypatch.setattr(module, "_RETRY_STORE_S", 0.01)
    store, taken, failed = SqliteStore(tmp_path / "smsgw.db"), list[bytes](), list[str]()
    await store.open()
    claim, next_due, claimed = store.claim, store.next_due, list[Waiting]()

    async def noted(*of: Any) -> list[Waiting]:
        found = await claim(*of)
        claimed.extend(found)
        return found

    async def late_once(*of: Any) -> int | None:
        if claimed and not failed:
            failed.append("once")
            raise Overloaded("the database did not come to this look-up in time", retry_after_s=1.0)
        return await next_due(*of)

    monkeypatch.setattr(store, "claim", noted)
    monkeypatch.setattr(store, "next_due", late_once)
    keeper = Keeper(
        store=store, lanes=Lanes(LANE), now=lambda: NOW + 1, pump=lambda: None, tick_s=0.01,
        add=lambda waiting: taken.append(waiting.id),
    )  # fmt: skip
    first, later = [message(claimed=False) for _ in range(3)], [message(claimed=False) for _ in range(2)]
    await store.accept(first)
    running = asyncio.create_task(keeper.run())
    try:
        async with asyncio.timeout(_WITHIN_S):
            await keeper.look()
            while not failed:
                await asyncio.sleep(0.01)
            await store.accept(later)  # and it goes on to claim
            while len(taken) < len(first) + len(later):
                await asyncio.sleep(0.01)
        assert sorted(taken) == sorted(each.id for each in (*first, *later))
    finally:
        running.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await running
        await store.close()


async def test_what_is_looked_up_is_merged_step_by_step(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each step is a transaction of its own, with a rest behind it in which others go, until nothing is left."""
    monkeypatch.setattr(module, "_MERGE_EVERY_S", 0.01)
    monkeypatch.setattr(module, "_MERGE_REST_S", 0.001)
    monkeypatch.setattr(blocks, "SIZE", 4)
    store, steps, idle = SqliteStore(tmp_path / "smsgw.db"), [], asyncio.Event()
    await store.open()
    merge = store.merge

    async def counted() -> bool:
        steps.append(await merge())
        if steps.count(False) > 1:
            idle.set()
        return steps[-1]

    monkeypatch.setattr(store, "merge", counted)
    keeper = Keeper(store=store, lanes=Lanes(LANE), now=lambda: NOW, pump=lambda: None, add=lambda waiting: None)
    await store.accept([message() for _ in range(4 * runs.FANOUT + 12)])
    running = asyncio.create_task(keeper.run())
    try:
        async with asyncio.timeout(_WITHIN_S):
            await idle.wait()
        assert steps[0]
        assert not any(steps[steps.index(False) :])
    finally:
        running.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await running
        await store.close()
