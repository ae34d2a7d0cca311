"""Full disks, failing syncs, read-only files, locks, damage: a clear error, nothing half stored, and on it goes."""

from __future__ import annotations

from pathlib import Path

import apsw
import pytest

from gateway.errors import StoreCorrupt, StoreUnavailable
from gateway.states import State
from gateway.store.sqlite import SqliteStore, schema
from gateway.store.sqlite.faults import translate
from tests.gateway.store.samples import TENANT, key, message, receipt, send, sending, state_of, submitted, told
from tests.gateway.store.tracing_vfs import TracingVFS


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Wait for locks for 20 ms only."""
    monkeypatch.setattr(schema, "_BUSY_MS", 20)


@pytest.mark.parametrize(
    ("where", "error", "text"),
    [
        ("failing_write", apsw.FullError, "the disk is full"),
        ("failing_write", apsw.IOError, "reading or writing failed"),
        ("failing_write", apsw.ReadOnlyError, "it is read-only"),
        ("failing_sync", apsw.IOError, "reading or writing failed"),
        ("failing_sync", apsw.FullError, "the disk is full"),
    ],
)
async def test_a_write_that_fails(
    store: SqliteStore, vfs: TracingVFS, where: str, error: type[apsw.Error], text: str
) -> None:
    """Nothing of the call is stored, the error says what to do, and the store goes on when the cause is gone."""
    sent, lost, after = message(), message(idempotency=key("k"), tenant="new"), message(idempotency=key("k"))
    await store.accept([sent])
    await store.sending([sending(sent)])
    setattr(vfs, where, error)
    for _ in range(3):
        with pytest.raises(StoreUnavailable, match=text):
            await store.accept([lost])
        with pytest.raises(StoreUnavailable, match=text):
            await store.settle([submitted(sent, "a", cause="counted")])
    assert await state_of(store, sent) is State.SENDING  # it can still be read
    setattr(vfs, where, None)
    assert (await store.accept([after]))[0].id == after.id
    assert await store.get_message("new", lost.id) is None
    assert await store.settle([submitted(sent, "a")]) == [State.SUBMITTED]
    assert "counted" not in await store.counts()
    assert [event.seq for event in await store.events(TENANT, 0, 10)] == [1, 2, 3]


async def test_every_write_may_be_the_one_that_fails(path: Path, vfs: TracingVFS) -> None:
    """Whichever write of a commit fails, all or nothing of it is stored, and the next attempt does it all."""
    store = SqliteStore(path, vfs=vfs.name)
    await store.open()
    try:
        batch = [message(content=bytes(3000)) for _ in range(10)]
        for failing in range(60):
            vfs.writes_until_failure = failing
            try:
                await store.accept(batch)
            except StoreUnavailable:
                assert [await store.get_message(TENANT, new.id) for new in batch] == [None] * 10
                assert await store.events(TENANT, 0, 10) == []
            else:
                break
        else:
            pytest.fail("the commit never succeeded")
        vfs.writes_until_failure = None
        assert failing > 10
        assert [event.seq for event in await store.events(TENANT, 0, 99)] == list(range(1, 11))
        await send(store, batch, [str(n) for n in range(10)])
        await store.receipts([receipt(str(n)) for n in range(10)])
        assert await told(store, batch[9]) == [State.ACCEPTED, State.SUBMITTED, State.DELIVERED]
    finally:
        vfs.writes_until_failure = None
        await store.close()
    db = apsw.Connection(str(path))
    assert db.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    db.close()


async def test_another_program_holds_the_database(impatient: None, store: SqliteStore, path: Path) -> None:
    """A lock that is not given up in time is an error, and the next write after it succeeds."""
    await store.accept([message()])
    other = apsw.Connection(str(path))
    other.execute("BEGIN IMMEDIATE")
    tx = store._writer._tx
    assert tx is not None
    tx.db.set_busy_timeout(20)
    with pytest.raises(StoreUnavailable, match="another program holds it locked"):
        await store.accept([message()])
    other.execute("ROLLBACK")
    other.close()
    await store.accept([message()])
    assert len(await store.events(TENANT, 0, 10)) == 2


@pytest.fixture(params=[b"This is no database at all. " * 400, b"SQLite format 3\x00" + bytes(5000)])
def damaged(request: pytest.FixtureRequest, path: Path) -> Path:
    """Give a file that is no database."""
    path.parent.mkdir(mode=0o700)
    path.write_bytes(request.param)
    return path


async def test_a_damaged_database(damaged: Path) -> None:
    """A file that is no database is refused at open."""
    with pytest.raises(StoreCorrupt, match="restore it from a backup"):
        await SqliteStore(damaged).open()


def _damage(path: Path) -> None:
    octets = path.read_bytes()
    path.write_bytes(octets[:4096] + b"\x55" * (len(octets) - 4096))


async def test_a_page_is_damaged(path: Path) -> None:
    """Damage inside is told as such when it is met."""
    store = SqliteStore(path)
    await store.open()
    await store.accept([message(content=bytes(500)) for _ in range(200)])
    await store.close()
    _damage(path)
    with pytest.raises(StoreCorrupt, match="restore it from a backup"):
        await SqliteStore(path).open()


def test_other_errors_stay(path: Path) -> None:
    """What is not an error of the database, or a mistake of ours, is not dressed up as one."""
    for error in (ValueError("x"), apsw.ConstraintError("x"), StoreCorrupt("x")):
        assert translate(error, "path") is error
