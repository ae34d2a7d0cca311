"""A message's records are found, all of them, and without reading the log."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from gateway.audit.records import Record, StateChanged
from gateway.proving.history import HistoryStore, history_of
from gateway.proving.way import Way, way_of
from gateway.states import State
from gateway.store.contract import AuditCommit, NewMessage, Store, Waiting
from gateway.store.sqlite import SqliteStore
from tests.gateway.audit.samples import decision
from tests.gateway.store.samples import NOW, SECOND, TENANT, in_doubt, message, rejected, sending, submitted

OTHERS = 3_000


class Clock:
    """The store's clock: a second later at each commit that the test says."""

    def __init__(self) -> None:
        self.now = NOW

    def __call__(self) -> int:
        return self.now


class Counting:
    """A store that counts what is read of its audit."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self.octets = 0

    async def audit_read(self, after_seq: int, limit: int) -> list[AuditCommit]:
        """Read, and count."""
        page = await self._store.audit_read(after_seq, limit)
        self.octets += sum(len(commit.records) for commit in page)
        return page

    async def audit_before(self, at: int) -> int:
        """Ask the store."""
        return await self._store.audit_before(at)


@pytest.fixture
def clock() -> Clock:
    """A clock that stands still."""
    return Clock()


@pytest.fixture
async def store(tmp_path: Path, clock: Clock) -> AsyncIterator[SqliteStore]:
    """A store whose commits are dated by the clock."""
    store = SqliteStore(tmp_path / "smsgw.db", now=clock)
    await store.open()
    yield store
    await store.close()


async def filled(store: SqliteStore, clock: Clock, seconds: int) -> None:
    """Commit what others do, for so many seconds, ten commits each."""
    for _ in range(seconds):
        clock.now += SECOND
        for _ in range(10):
            await store.audit([decision(at=clock.now)] * 20)


async def found(store: HistoryStore, source: SqliteStore, message_id: bytes) -> list[Record]:
    """Return the records that are found of a message."""
    row = await source.get_message(TENANT, message_id)
    assert row is not None
    history = await history_of(store, row)
    assert [told.commit.seq for told in history] == sorted({told.commit.seq for told in history})
    return [place.record for told in history for place in told.places]


async def test_the_usual_way(store: SqliteStore, clock: Clock) -> None:
    """Accepted, sent and submitted, with hours of others' commits between: all found, and next to nothing read."""
    new, other = message(), message()
    await store.accept([other, new])
    await filled(store, clock, 15)
    at = clock.now
    await store.sending([sending(one, at=at) for one in (other, new)])
    await filled(store, clock, 15)
    await store.settle([submitted(one, f"id-{n}", at=clock.now) for n, one in enumerate((other, new))])
    await filled(store, clock, 15)
    counting = Counting(store)
    records = await found(counting, store, new.id)
    assert [type(record).__name__ for record in records] == ["MessageStored", "MessagesSending", "StateChanged"]
    assert way_of(records) == Way(State.SUBMITTED, 1, gapless=True)
    whole = sum(len(commit.records) for commit in await store.audit_read(0, 1000))
    assert whole > 0
    assert counting.octets < 300_000


async def test_a_record_that_was_committed_late(store: SqliteStore, clock: Clock) -> None:
    """What is committed seconds after its time is found, beyond the first page of commits."""
    new = message()
    await filled(store, clock, 5)
    await store.accept([new])
    records = await found(store, store, new.id)
    assert way_of(records) == Way(State.ACCEPTED, 0, gapless=True)


async def test_a_clock_that_was_behind(store: SqliteStore, clock: Clock) -> None:
    """A commit that another node's clock dates before its record's time is found too."""
    new = message(accepted_at=NOW + 2 * SECOND)
    await filled(store, clock, 1)
    await store.accept([new])
    await filled(store, clock, 5)
    assert way_of(await found(store, store, new.id)) == Way(State.ACCEPTED, 0, gapless=True)


async def test_several_attempts(store: SqliteStore, clock: Clock) -> None:
    """Of a message that was tried three times, and in doubt between, each step is found, not only the last."""
    new = message()
    await store.accept([new])
    waiting: NewMessage | Waiting = new
    for _ in range(2):
        await filled(store, clock, 3)
        await store.sending([sending(waiting, at=clock.now)])
        await filled(store, clock, 1)
        await store.settle([in_doubt(new, at=clock.now, due_at=clock.now)])
        clock.now += SECOND
        (waiting,) = await store.claim(new.category, 10, clock.now)  # type: ignore[arg-type]  # an int enum's value
    await store.sending([sending(waiting, at=clock.now)])
    clock.now += SECOND
    await store.settle([rejected(new, at=clock.now)])
    records = await found(store, store, new.id)
    row = await store.get_message(TENANT, new.id)
    assert row is not None
    assert row.attempts == 3
    assert way_of(records) == Way(State.REJECTED, 3, gapless=True)
    assert sum(isinstance(record, StateChanged) for record in records) == 3


async def test_a_search_is_bounded(store: SqliteStore, clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where a step is not found, the search ends at its bounds, with what it has."""
    monkeypatch.setattr("gateway.proving.history.POINT_BYTES", 20_000)
    monkeypatch.setattr("gateway.proving.history.TOTAL_BYTES", 100_000)
    new = message()
    await store.accept([new])
    await filled(store, clock, 30)
    await store.sending([sending(new, at=NOW + SECOND)])  # 29 s late
    counting = Counting(store)
    records = await found(counting, store, new.id)
    assert way_of(records) == Way(State.ACCEPTED, 0, gapless=True)
    assert counting.octets < 400_000  # the bound, and the page that goes beyond it
