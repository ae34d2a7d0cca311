"""The task of retention, over a real store: what is due goes, in order, and what waits too long is told."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from gateway.errors import StoreUnavailable
from gateway.privacy.periods import Periods
from gateway.privacy.retention import LATE, Retention
from gateway.store.sqlite import SqliteStore
from gateway.store.sqlite.bulk import fetch
from gateway.store.usage import By, UsageFilter
from tests.gateway.privacy.periods import read_periods
from tests.gateway.store.samples import HOUR, NOW, OTP, TENANT, inbound_part, message
from visibility.alerts import Alerts
from visibility.catalogue import NODE, RETENTION_LATE

DAY = 24 * HOUR


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[SqliteStore]:
    """Give an open store."""
    opened = SqliteStore(tmp_path / "store" / "smsgw.db")
    await opened.open()
    yield opened
    await opened.close()


class Clock:
    """A time that the test sets."""

    def __init__(self) -> None:
        self.at = NOW

    def __call__(self) -> int:
        """Return it."""
        return self.at


async def _ended(store: SqliteStore, number: int, **fields: Any) -> list[bytes]:
    new = [message(**fields) for _ in range(number)]
    await store.accept(new)
    for each in new:
        await store.cancel(each.tenant, each.id, NOW)
    return [each.id for each in new]


async def test_everything_goes_in_its_time(store: SqliteStore) -> None:
    """Contents, envelopes, events, messages of handsets, messages and usage go one after the other, in steps."""
    clock = Clock()
    retention = Retention(store, Periods(read_periods("{}")), clock, step=3)
    one, *_ = await _ended(store, 7)
    otp, *_ = await _ended(store, 2, category=OTP)
    await store.inbound([inbound_part("a")])
    seen = []
    for day in (0.5, 2, 8, 31, 366, 402):
        clock.at = NOW + round(day * DAY)
        await retention.round()
        rows = [await store.get_message(TENANT, each) for each in (otp, one)]
        events = await store.events(TENANT, 0, 100)
        kept = [None if row is None else (row.content_kept, bool(row.envelope)) for row in rows]
        days = len(await store.usage(UsageFilter(0, 1_000_000), By(day=True)))
        seen.append((kept, len(events), sum(len(event.parts) for event in events), days))
    assert seen == [
        ([(1, True), (1, True)], 19, 1, 1),
        ([(0, True), (1, True)], 19, 1, 1),
        ([(0, False), (0, False)], 19, 0, 1),
        ([(0, False), (0, False)], 1, 0, 1),
        ([None, None], 1, 0, 1),
        ([None, None], 1, 0, 0),
    ]


async def test_lateness_is_told(store: SqliteStore) -> None:
    """What should have gone hours ago raises the alert, which ends when it has gone."""
    clock, alerts = Clock(), Alerts(NODE, lambda: clock.at)
    await _ended(store, 5)
    clock.at = NOW + 7 * DAY + LATE + HOUR
    retention = Retention(store, Periods(read_periods("{content: {otp: 7d}}")), clock, alerts, step=2)
    told: list[int] = []
    retain = store.retain

    async def watched(*call: Any) -> Any:
        told.append(retention.late)
        assert [alert.kind for alert in alerts.active()] == [RETENTION_LATE]
        return await retain(*call)

    store.retain = watched  # type: ignore[method-assign, assignment]  # to look in between
    await retention.round()
    assert told
    assert max(told) == LATE + HOUR
    assert retention.late == 0
    assert not alerts.active()


async def test_other_periods_count_at_once(store: SqliteStore) -> None:
    """Shorter periods wake the task: it does not sleep out its round."""
    clock = Clock()
    (only,) = await _ended(store, 1)
    clock.at = NOW + 2 * HOUR
    retention = Retention(store, Periods(read_periods("{}")), clock, round_s=3600.0)
    task = asyncio.create_task(retention.run())
    try:
        async with asyncio.timeout(20):
            while retention._refs is not None or not await store.stored_tenants():
                await asyncio.sleep(0.01)
            retention.use(Periods(read_periods("{content: {transactional: 1h}}")))
            while True:
                row = await store.get_message(TENANT, only)
                assert row is not None
                if not row.content_kept:
                    break
                await asyncio.sleep(0.01)
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def test_a_store_that_refuses_is_asked_again(store: SqliteStore) -> None:
    """An error of the store ends a round, not the task."""
    clock = Clock()
    (only,) = await _ended(store, 1)
    clock.at = NOW + 8 * DAY
    retention = Retention(store, Periods(read_periods("{}")), clock, round_s=0.01)
    failures = [StoreUnavailable("full"), StoreUnavailable("full")]
    names = store.stored_tenants

    async def failing() -> list[str]:
        if failures:
            raise failures.pop()
        return await names()

    store.stored_tenants = failing  # type: ignore[method-assign]  # to refuse
    task = asyncio.create_task(retention.run())
    try:
        async with asyncio.timeout(20):
            while (row := await store.get_message(TENANT, only)) is None or row.envelope:
                await asyncio.sleep(0.01)
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
    assert not failures


async def test_the_file_stops_growing(tmp_path: Path) -> None:
    """What goes makes room for what comes: the file keeps its size, and holds none of what has gone."""
    path = tmp_path / "grown" / "smsgw.db"
    store = SqliteStore(path)
    await store.open()
    clock = Clock()
    retention = Retention(store, Periods(read_periods("{metadata: {transactional: 7d}}")), clock, step=500)
    sizes = []
    for turn in range(4):
        content = b"\x01kept-for-a-while-%d" % turn + bytes(400)
        await _ended(store, 500, content=content)
        clock.at = NOW + 40 * DAY
        await retention.round()
        ((pages,),) = await _pages(store)
        sizes.append(pages)
    assert sizes[-1] <= sizes[1] * 1.1
    await store.close()
    assert b"kept-for-a-while" not in path.read_bytes()


# The audit only grows: its pages are not counted.
_PAGES = "SELECT (SELECT page_count FROM pragma_page_count) - (SELECT count(*) FROM dbstat WHERE name = 'audit_commit')"


async def _pages(store: SqliteStore) -> list[Any]:
    pages: list[Any] = await store._read(lambda look: fetch(look.db, _PAGES))
    return pages
