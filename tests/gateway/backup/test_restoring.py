"""A backup taken beside a running store, and a data folder made of it: what waited does not go out by itself."""

from __future__ import annotations

import asyncio
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from gateway.audit.codec import decode, split
from gateway.audit.records import OperatorActed
from gateway.backup.errors import BackupDamaged, BackupError, BackupRefused
from gateway.backup.keys import take_keys
from gateway.backup.manifest import Manifest
from gateway.backup.restoring import BY, Restored, restore
from gateway.backup.taking import take
from gateway.errors import StoreUnavailable
from gateway.ids import IdSource
from gateway.revocation.files import ListFiles
from gateway.revocation.taking import Seen
from gateway.states import Category
from gateway.store.operating import MessageHold, Selection
from gateway.store.sqlite import SqliteStore
from gateway.store.sqlite.files import NodeLock
from tests.gateway.store.samples import HOUR, NOW, SECOND, message, send, sending

LATER = NOW + HOUR


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Give the data folder of a node that has stored messages."""
    folder = tmp_path / "data"
    asyncio.run(_use(folder / "smsgw.db"))
    (folder / "keys-wrapped").mkdir(mode=0o700)
    (folder / "keys-wrapped" / "2027-01-15.keys").write_bytes(b'{"v":1}\n')
    return folder


async def _use(file: Path, *holds: MessageHold) -> None:
    store = SqliteStore(file)
    await store.open()
    news = [message(category=category) for category in Category for _ in range(3)]
    await store.accept(news)
    await send(store, news[:1], ["a"])
    await store.sending([sending(news[1])])
    for hold in holds:
        await store.hold_messages(hold)
    await store.close()


def back_up(data: Path, folder: Path) -> Manifest:
    """Take a backup, at full speed."""
    return take(data / "smsgw.db", data, folder, node="node-1", rate=1 << 30, now=lambda: NOW)


def names(folder: Path) -> list[str]:
    """Return what is in a folder."""
    return sorted(path.name for path in folder.iterdir())


def put_back(tmp_path: Path, *, keys: Path | None = None) -> Restored:
    """Restore the backup `tmp_path/backup` in `tmp_path/new`."""
    return restore(tmp_path / "backup", keys, tmp_path / "new", "smsgw.db", now=LATER)


async def _holds(file: Path) -> tuple[list[MessageHold], list[OperatorActed]]:
    store = SqliteStore(file)
    await store.open()
    holds = await store.message_holds()
    records = [decode(octets) for commit in await store.audit_read(0, 100) for octets in split(commit.records)]
    await store.close()
    return holds, [record for record in records if isinstance(record, OperatorActed)]


def test_what_waited_is_held(data: Path, tmp_path: Path) -> None:
    """All that was open is covered by a hold, each category by its own; a later message is not. It is on record."""
    manifest = back_up(data, tmp_path / "backup")
    assert (manifest.counts["messages.ACCEPTED"], manifest.counts["messages.SENDING"]) == (7, 1)
    made = put_back(tmp_path)
    assert made.waited == 8
    holds, (act,) = asyncio.run(_holds(made.database))
    assert [hold.selection.category for hold in holds] == list(Category)
    assert {hold.by for hold in holds} == {BY}
    assert "may have been sent since" in holds[0].reason
    assert (act.what, act.node) == ("database restored", "node-1")
    old, new = (IdSource(now_ms=lambda at=at: at // 1000).new() for at in (LATER - SECOND, LATER + SECOND))  # type: ignore[misc]
    for category in Category:
        (mine,) = (hold.selection for hold in holds if hold.selection.category == category)
        assert mine.covers("acme", category, "", b"", "", old)
        assert not mine.covers("acme", category, "", b"", "", new)


def test_no_cursor_passes_anything_over(data: Path, tmp_path: Path) -> None:
    """A cursor from after the backup, of the host that was lost, leads to all that happens on the new one."""
    back_up(data, tmp_path / "backup")

    async def more(file: Path) -> tuple[int, list[bytes], list[tuple[int, bytes]]]:
        store = SqliteStore(file)
        await store.open()
        _, before = await store.event_bounds("acme")
        news = [message() for _ in range(30)]
        await store.accept(news)
        events = await store.events("acme", 0, 1000)
        await store.close()
        return before, [new.id for new in news], [(event.seq, event.message_id) for event in events]

    last, _, lost = asyncio.run(more(data / "smsgw.db"))
    _, news, events = asyncio.run(more(put_back(tmp_path).database))
    assert [seq for seq, _ in events] == sorted(seq for seq, _ in events)
    assert [each for each in events if each[0] < last] == [each for each in lost if each[0] < last]
    for cursor, _ in lost[-31:]:
        assert [each for seq, each in events if seq > cursor][-30:] == news


def test_a_clock_that_is_behind(data: Path, tmp_path: Path) -> None:
    """What is newer than this host's clock, by its id, is held as well."""
    back_up(data, tmp_path / "backup")
    restore(tmp_path / "backup", None, tmp_path / "new", "smsgw.db", now=NOW - 1000 * HOUR)
    holds, _ = asyncio.run(_holds(tmp_path / "new" / "smsgw.db"))
    assert {hold.selection.accepted_until >= NOW for hold in holds} == {True}


def test_an_operators_own_hold_stays(tmp_path: Path) -> None:
    """A pause of a category that was there holds new messages too, as before, and says both reasons."""
    pause = MessageHold(Selection(category=3), "", NOW, "spiffe://example.org/admin/ann", "complaints")
    asyncio.run(_use(tmp_path / "data" / "smsgw.db", pause))
    back_up(tmp_path / "data", tmp_path / "backup")
    holds, _ = asyncio.run(_holds(put_back(tmp_path).database))
    (kept,) = (hold for hold in holds if hold.selection.category == 3)
    assert kept.selection.accepted_until == 0
    assert kept.by == pause.by
    assert kept.reason.startswith("complaints; restored from the backup of 2027-01-15 08:00:00 UTC")


def test_keys_go_another_way(data: Path, tmp_path: Path) -> None:
    """The wrapped keys are in their own copy alone; restored, both are private, and beside them is nothing else."""
    back_up(data, tmp_path / "backup")
    take_keys(data / "keys-wrapped", tmp_path / "keys", node="node-1", now=lambda: NOW + 1)
    assert names(tmp_path / "backup") == ["manifest.json", "smsgw.db"]
    assert names(tmp_path / "keys") == ["2027-01-15.keys", "manifest.json"]
    made = put_back(tmp_path, keys=tmp_path / "keys")
    assert made.keys is not None
    assert not made.keys_too_old
    new = tmp_path / "new"
    assert names(new) == ["keys-wrapped", "smsgw.db", "smsgw.db.lock"]
    assert (new / "keys-wrapped" / "2027-01-15.keys").read_bytes() == b'{"v":1}\n'
    modes = {path.stat().st_mode & 0o077 for folder in (tmp_path / "backup", tmp_path / "keys", new)
             for path in (folder, *folder.rglob("*"))}  # fmt: skip
    assert modes == {0}


def test_keys_of_before(data: Path, tmp_path: Path) -> None:
    """A copy of the keys that is older than the backup is used, and told."""
    take_keys(data / "keys-wrapped", tmp_path / "keys", node="node-1", now=lambda: NOW - 1)
    back_up(data, tmp_path / "backup")
    assert put_back(tmp_path, keys=tmp_path / "keys").keys_too_old


def test_the_deny_list_comes_back(data: Path, tmp_path: Path) -> None:
    """Who was revoked at the time of the backup is revoked on the new host."""
    (data / "deny-list").write_bytes(b"signed elsewhere")
    ListFiles(data).see(Seen(version=3, digest=b"\x07"))
    back_up(data, tmp_path / "backup")
    put_back(tmp_path)
    assert (tmp_path / "new" / "deny-list").read_bytes() == b"signed elsewhere"
    assert ListFiles(tmp_path / "new").memory().seen.version == 3


@pytest.mark.parametrize("name", ["smsgw.db", "smsgw.db-wal", "keys-wrapped", "deny-list"])
def test_nothing_is_overwritten(data: Path, tmp_path: Path, name: str) -> None:
    """A folder that holds something of a node is refused, and left as it is."""
    back_up(data, tmp_path / "backup")
    (tmp_path / "new").mkdir(mode=0o700)
    (tmp_path / "new" / name).write_bytes(b"mine")
    with pytest.raises(BackupRefused, match="is there already"):
        put_back(tmp_path)
    assert (tmp_path / "new" / name).read_bytes() == b"mine"


def test_a_node_that_runs(data: Path, tmp_path: Path) -> None:
    """A folder that a node uses is refused."""
    back_up(data, tmp_path / "backup")
    (tmp_path / "new").mkdir(mode=0o700)
    lock = NodeLock(tmp_path / "new" / "smsgw.db")
    lock.take()
    try:
        with pytest.raises(StoreUnavailable, match="in use by another node"):
            put_back(tmp_path)
    finally:
        lock.free()


def test_another_users_folder(data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What root restores by mistake the node's user could not read: it is refused before anything is written."""
    back_up(data, tmp_path / "backup")
    (tmp_path / "new").mkdir(mode=0o700)
    monkeypatch.setattr("os.geteuid", lambda: tmp_path.stat().st_uid + 1)
    with pytest.raises(BackupRefused, match="restore as that user"):
        put_back(tmp_path)
    assert names(tmp_path / "new") == []


def test_a_backup_has_a_folder_of_its_own(data: Path, tmp_path: Path) -> None:
    """An older backup is never written over, and what has none cannot be backed up."""
    back_up(data, tmp_path / "backup")
    with pytest.raises(BackupRefused, match="not empty"):
        back_up(data, tmp_path / "backup")
    with pytest.raises(BackupRefused, match="no database"):
        back_up(tmp_path, tmp_path / "another")


def _flip(path: Path) -> None:
    octets = bytearray(path.read_bytes())
    octets[len(octets) // 2] ^= 1
    path.write_bytes(octets)


DAMAGE: dict[str, Callable[[Path], object]] = {
    "an octet": lambda folder: _flip(folder / "smsgw.db"),
    "cut short": lambda folder: os.truncate(folder / "smsgw.db", 4096),
    "no database": lambda folder: (folder / "smsgw.db").unlink(),
    "no manifest": lambda folder: (folder / "manifest.json").unlink(),
    "another database": lambda folder: shutil.copy(folder.parent / "data" / "smsgw.db", folder / "smsgw.db"),
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_what_is_not_the_backup(data: Path, tmp_path: Path, damage: str) -> None:
    """Damage of any kind is found before there is a database that a node would start with."""
    back_up(data, tmp_path / "backup")
    asyncio.run(_use(data / "smsgw.db"))
    DAMAGE[damage](tmp_path / "backup")
    with pytest.raises(BackupDamaged):
        put_back(tmp_path)
    assert not (tmp_path / "new" / "smsgw.db").exists()


def test_a_restore_that_is_cut_off(data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without its holds the database has no name yet; what was begun does not stand in the way of the next attempt."""
    (data / "deny-list").write_bytes(b"signed elsewhere")
    back_up(data, tmp_path / "backup")
    take_keys(data / "keys-wrapped", tmp_path / "keys", node="node-1", now=lambda: NOW + 1)

    async def full(*_: object) -> None:
        raise StoreUnavailable("the disk is full")

    with monkeypatch.context() as patch:
        patch.setattr(SqliteStore, "hold_messages", full)
        with pytest.raises(StoreUnavailable):
            put_back(tmp_path, keys=tmp_path / "keys")
    assert names(tmp_path / "new") == ["smsgw.db.lock"]
    (tmp_path / "new" / "smsgw.db.restoring").write_bytes(b"left by a kill")
    (tmp_path / "new" / "keys-wrapped.restoring").mkdir()
    assert put_back(tmp_path, keys=tmp_path / "keys").waited == 8
    assert names(tmp_path / "new") == ["deny-list", "keys-wrapped", "smsgw.db", "smsgw.db.lock"]


def test_a_backup_that_is_cut_off(data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was not finished is no backup."""

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("gateway.backup.files.digest_of", full)
        with pytest.raises(BackupError, match="No space left"):
            back_up(data, tmp_path / "backup")
    with pytest.raises(BackupDamaged, match="no backup that was finished"):
        put_back(tmp_path)
