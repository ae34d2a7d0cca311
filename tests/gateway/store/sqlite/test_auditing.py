"""The audit in SQLite: one row a commit, all or nothing, never changed."""

from __future__ import annotations

import asyncio
from pathlib import Path

import apsw
import pytest

from gateway.audit.codec import decode, split
from gateway.audit.records import Decision, MessageStored, StateChanged
from gateway.errors import Overloaded, StoreUnavailable
from gateway.states import State
from gateway.store.engine import auditing as engine_auditing
from gateway.store.sqlite import SqliteStore, auditing
from tests.gateway.audit.agreement import check, check_database, records_of
from tests.gateway.audit.samples import decision
from tests.gateway.store.samples import TENANT, all_events, message, receipt, send, sending, state_of, submitted
from tests.gateway.store.tracing_vfs import TracingVFS

FAULTS = [
    ("failing_write", apsw.FullError),
    ("failing_write", apsw.IOError),
    ("failing_write", apsw.ReadOnlyError),
    ("failing_sync", apsw.IOError),
    ("failing_sync", apsw.FullError),
]


@pytest.mark.parametrize(("where", "error"), FAULTS)
async def test_a_failed_commit_leaves_neither(
    store: SqliteStore, vfs: TracingVFS, where: str, error: type[apsw.Error]
) -> None:
    """Whatever fails: no change without its record, no record without its change; afterwards the log has no gap."""
    sent, waiting = message(), message()
    await store.accept([sent, waiting], [decision(allowed=True)])
    await store.sending([sending(sent)])
    before = await records_of(store)
    setattr(vfs, where, error)
    for _ in range(2):
        with pytest.raises(StoreUnavailable):
            await store.settle([submitted(sent, "a")])
        with pytest.raises(StoreUnavailable):
            await store.cancel(TENANT, waiting.id, 1, "spiffe://example.org/x", [decision(allowed=True)])
        with pytest.raises(StoreUnavailable):
            await store.accept([message()], [decision(allowed=True)])
        with pytest.raises(StoreUnavailable):
            await store.audit([decision()])
    setattr(vfs, where, None)
    assert await records_of(store) == before
    assert [await state_of(store, sent), await state_of(store, waiting)] == [State.SENDING, State.ACCEPTED]
    await store.audit([decision()])
    await store.settle([submitted(sent, "a")])
    after = (await records_of(store))[len(before) :]
    assert [type(record) for record in after] == [Decision, StateChanged]
    check({TENANT: await all_events(store)}, await records_of(store))


async def test_every_write_may_be_the_one_that_fails(path: Path, vfs: TracingVFS) -> None:
    """Whichever write of a commit fails, messages and records are there together, or none of them."""
    store = SqliteStore(path, vfs=vfs.name)
    await store.open()
    try:
        batch = [message(content=bytes(3000)) for _ in range(10)]
        for failing in range(80):
            vfs.writes_until_failure = failing
            try:
                await store.accept(batch, [decision(allowed=True)])
            except StoreUnavailable:
                vfs.writes_until_failure = None
                assert await store.audit_bounds() == (0, 0)
                assert await all_events(store) == []
            else:
                break
        else:
            pytest.fail("the commit never succeeded")
        vfs.writes_until_failure = None
        await send(store, batch, [str(n) for n in range(10)])
        await store.receipts([receipt(str(n)) for n in range(10)])
    finally:
        vfs.writes_until_failure = None
        await store.close()
    found = check_database(path)
    assert found == {"events": 30, "records": 32, "messages": 10}


async def test_what_shares_a_commit_shares_a_row(store: SqliteStore, vfs: TracingVFS) -> None:
    """Calls that are committed together have one row, decisions before what they allowed; a bad one spoils no other."""
    with vfs.hold():
        first = asyncio.create_task(store.audit([decision()]))
        await asyncio.to_thread(vfs.wait_for_sync)
        calls = [
            asyncio.create_task(store.accept([message()], [decision(allowed=True)])),
            asyncio.create_task(store.accept([message()], [decision(allowed=True)])),
            asyncio.create_task(store.audit([decision()])),
        ]
        await asyncio.sleep(0)
    await asyncio.gather(first, *calls)
    commits = await store.audit_read(0, 10)
    assert [commit.number for commit in commits] == [1, 5]
    kinds = [type(decode(octets)) for octets in split(commits[1].records)]
    assert kinds == [Decision, Decision, MessageStored, MessageStored, Decision]


async def test_a_bad_record_among_others(store: SqliteStore, vfs: TracingVFS) -> None:
    """Of calls that come together, only the one whose record cannot be written fails."""
    with vfs.hold():
        first = asyncio.create_task(store.audit([decision()]))
        await asyncio.to_thread(vfs.wait_for_sync)
        good = asyncio.create_task(store.accept([message()], [decision(allowed=True)]))
        bad = asyncio.create_task(store.accept([message()], [decision(times=0)]))
        await asyncio.sleep(0)
    results = await asyncio.gather(first, good, bad, return_exceptions=True)
    assert [isinstance(result, Exception) for result in results] == [False, False, True]
    assert [type(record) for record in await records_of(store)] == [Decision, Decision, MessageStored]


async def test_rows_stay(store: SqliteStore, path: Path) -> None:
    """The database refuses to change or delete a row."""
    await store.audit([decision()])
    db = apsw.Connection(str(path))
    for statement in ("DELETE FROM audit_commit", "UPDATE audit_commit SET at = 0", "UPDATE audit_commit SET seq = 9"):
        with pytest.raises(apsw.ConstraintError, match="audit rows"):
            db.execute(statement)
    db.close()
    assert await store.audit_bounds() == (0, 1)


async def test_commits_are_dated(path: Path) -> None:
    """The row has the time of its commit, whatever its records say."""
    times = iter(range(100, 200))
    store = SqliteStore(path, now=lambda: next(times))
    await store.open()
    for _ in range(3):
        await store.audit([decision()])
    assert [commit.at for commit in await store.audit_read(0, 9)] == [100, 101, 102]
    await store.close()


@pytest.fixture
def small_pages(store: SqliteStore, monkeypatch: pytest.MonkeyPatch) -> SqliteStore:
    """Give a store whose pages end early."""
    monkeypatch.setattr(engine_auditing, "PAGE_BYTES", 500)
    return store


async def test_pages_are_bounded(small_pages: SqliteStore) -> None:
    """A page ends with the commit that fills it, however large that one is."""
    for size in (1, 1, 20, 1, 1, 1, 1, 1):
        await small_pages.audit([decision()] * size)
    pages = []
    after = 0
    while page := await small_pages.audit_read(after, 100):
        pages.append([commit.number for commit in page])
        after = page[-1].seq
    assert pages == [[1, 1, 20], [1, 1, 1, 1], [1]]


async def test_too_many_wait(path: Path, vfs: TracingVFS) -> None:
    """Records that wait for the database are bounded; they have room when new messages have none, and outcomes have
    when they have none."""
    store = SqliteStore(path, vfs=vfs.name, queue_limit=40)
    await store.open()
    sent = message()
    await store.accept([sent])
    await store.sending([sending(sent)])
    with vfs.hold():
        waiting = [asyncio.create_task(store.audit([decision()] * size)) for size in (10, 10, 10, 5)]
        await asyncio.sleep(0)
        with pytest.raises(Overloaded):
            await store.accept([message()])
        with pytest.raises(Overloaded):
            await store.audit([decision()])
        outcome = asyncio.create_task(store.settle([submitted(sent, "a")]))
        await asyncio.sleep(0)
    await asyncio.gather(*waiting, outcome)
    assert len(await records_of(store)) == 38
    await store.close()


def test_plans() -> None:
    """Reading walks the key, whatever the size of the log."""
    db = apsw.Connection(":memory:")
    db.execute("CREATE TABLE audit_commit (seq INTEGER PRIMARY KEY, at INTEGER, count INTEGER, records BLOB) STRICT")
    for text, bindings in ((auditing.SIZES.text, (1, 2)), (auditing.COMMITS.text, (1, 2)), (auditing.BOUNDS, ())):
        plan = " ".join(str(row[3]) for row in db.execute(f"EXPLAIN QUERY PLAN {text}", bindings).fetchall())
        assert "SCAN audit_commit" not in plan
        assert "TEMP B-TREE" not in plan
    db.close()
