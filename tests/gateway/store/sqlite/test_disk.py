"""Disks as they are: one that is full, one that is read-only, one that is slow, and a log whose end was torn off.

The disk of `tests.small_disk` is a real one; where the order of things matters, `TracingVFS` stands between.
"""

from __future__ import annotations

import asyncio
import os
import random
import re
import secrets
import shutil
from collections.abc import Iterator
from pathlib import Path

import apsw
import pytest

from gateway.errors import Overloaded, StoreCorrupt, StoreUnavailable
from gateway.states import State
from gateway.store.contract import NewMessage
from gateway.store.sqlite import SqliteStore, checkpoint
from tests.gateway.store.samples import TENANT, message, send, sending, state_of, submitted, told
from tests.gateway.store.tracing_vfs import TracingVFS
from tests.small_disk import SmallDisk, small_disk

MIB = 1 << 20


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[SmallDisk]:
    """Give a disk of 4 MiB."""
    with small_disk(tmp_path / "disk", 4 * MIB) as small:
        yield small


def batch(number: int = 20) -> list[NewMessage]:
    """Return messages that take some room."""
    return [message(content=secrets.token_bytes(2000)) for _ in range(number)]


async def _fill(store: SqliteStore) -> list[NewMessage]:
    """Accept until the disk is full; what was accepted. What to do stands in the error."""
    accepted: list[NewMessage] = []
    for _ in range(1000):
        new = batch()
        (answer,) = await asyncio.gather(store.accept(new), return_exceptions=True)
        if isinstance(answer, BaseException):
            assert isinstance(answer, StoreUnavailable)
            assert "the disk is full: free some space, writes go on by themselves" in str(answer)
            return accepted
        accepted += new
    raise AssertionError("the disk did not get full")


async def test_a_full_disk_takes_nothing_and_loses_nothing(disk: SmallDisk) -> None:
    """All that was accepted is there; what was refused is not, in no part; with room again it goes on by itself."""
    disk.take(2 * MIB)
    path = disk.folder / "store" / "smsgw.db"
    store = SqliteStore(path)
    await store.open()
    try:
        accepted = await _fill(store)
        assert len(accepted) > 100
        refused = batch()
        with pytest.raises(StoreUnavailable, match=str(path)):
            await store.accept(refused)
        looked_at = accepted[:: len(accepted) // 20]  # it can still be read
        assert {await state_of(store, new) for new in looked_at} == {State.ACCEPTED}
        disk.free()
        await store.accept(refused)
        await send(store, accepted[:20], [f"id-{n}" for n in range(20)])
        assert await told(store, accepted[0]) == [State.ACCEPTED, State.SUBMITTED]
        events = await store.events(TENANT, 0, 100_000)
        assert [event.seq for event in events] == list(range(1, len(accepted) + len(refused) + 21))
    finally:
        await store.close()
    _require_sound(path)


async def test_a_node_that_ends_on_a_full_disk_starts_on_it_when_there_is_room(disk: SmallDisk) -> None:
    """The log is not lost when nothing of it fits into the database; the next start has everything."""
    disk.take(2 * MIB)
    path = disk.folder / "store" / "smsgw.db"
    store = SqliteStore(path)
    await store.open()
    accepted = await _fill(store)
    await store.close()
    disk.free()
    again = SqliteStore(path)
    await again.open()
    try:
        assert {await state_of(again, new) for new in accepted} == {State.ACCEPTED}
    finally:
        await again.close()
    _require_sound(path)


def _require_sound(path: Path) -> None:
    db = apsw.Connection(str(path))
    try:
        assert db.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    finally:
        db.close()


async def test_a_file_system_that_is_read_only(disk: SmallDisk) -> None:
    """A start on it is refused with the path and the reason; writable again, everything is there."""
    path = disk.folder / "store" / "smsgw.db"
    store, new = SqliteStore(path), message()
    await store.open()
    await store.accept([new])
    await store.close()
    disk.remount("ro")
    with pytest.raises(StoreUnavailable, match=rf"{path}.*Read-only file system"):
        await SqliteStore(path).open()
    disk.remount("rw")
    again = SqliteStore(path)
    await again.open()
    try:
        assert await state_of(again, new) is State.ACCEPTED
    finally:
        await again.close()


async def test_reads_that_fail(path: Path, vfs: TracingVFS) -> None:
    """A page that cannot be read is an error that says where and what to do, for who reads and who writes; when the
    disk reads again, so does the store, without a restart."""
    store, sent = SqliteStore(path, vfs=vfs.name), message()
    await store.open()
    try:
        await store.accept([sent, *batch(200)])
        await store.sending([sending(sent)])
        for _ in range(2):
            vfs.failing_read = apsw.IOError
            with pytest.raises(StoreUnavailable, match=rf"{path}: reading or writing failed: check the disk"):
                await store.events(TENANT, 0, 1000)  # more than what is in memory
            vfs.failing_read = None
            assert await state_of(store, sent) is State.SENDING
        assert await store.settle([submitted(sent, "a")]) == [State.SUBMITTED]
        assert len(await store.events(TENANT, 0, 1000)) == 202
    finally:
        vfs.failing_read = None
        await store.close()


async def test_a_disk_that_syncs_slowly(path: Path, vfs: TracingVFS) -> None:
    """Each commit takes all that gathered; what is beyond the bound is refused with a time to come again, and all that
    was answered is on disk."""
    store = SqliteStore(path, vfs=vfs.name, queue_limit=400)
    await store.open()
    vfs.sync_takes_s = 0.05
    vfs.steps.clear()
    try:
        batches = [batch(10) for _ in range(60)]
        answers = await asyncio.gather(*[store.accept(each) for each in batches], return_exceptions=True)
        refused = [each for each, answer in zip(batches, answers, strict=True) if isinstance(answer, Overloaded)]
        assert [
            answer for answer in answers if isinstance(answer, Exception) and not isinstance(answer, Overloaded)
        ] == []
        assert len(refused) == 30  # a quarter of 400 is kept for what is not new
        assert vfs.count("sync", "-wal") <= 4
        assert all(answer.retry_after_s for answer in answers if isinstance(answer, Overloaded))
        for each in refused:
            await store.accept(each)
        assert len(await store.events(TENANT, 0, 1000)) == 600
    finally:
        vfs.sync_takes_s = 0.0
        await store.close()


class Torn:
    """A log as a machine leaves it that lost power while it synced: `whole` was answered, `torn` was not."""

    def __init__(self, folder: Path, whole: list[NewMessage], torn: list[NewMessage]) -> None:
        self.folder = folder
        self.whole = whole
        self.torn = torn

    async def opened(self, name: str, log: bytes) -> None:
        """Start on these files; what was answered is there, and of the rest all or nothing."""
        path = self.folder / f"{name}.db"
        shutil.copy(self.folder / "left.db", path)
        await asyncio.to_thread(Path(f"{path}-wal").write_bytes, log)
        store = SqliteStore(path)
        await store.open()
        try:
            assert {await state_of(store, new) for new in self.whole} == {State.ACCEPTED}
            rest = [await store.get_message(TENANT, new.id) is not None for new in self.torn]
            assert len(set(rest)) == 1
            assert len(await store.events(TENANT, 0, 1000)) == len(self.whole) + (len(self.torn) if rest[0] else 0)
            await store.accept([message()])
        finally:
            await store.close()
        _require_sound(path)


async def test_the_end_of_the_log_is_torn_off(store: SqliteStore, vfs: TracingVFS, path: Path, tmp_path: Path) -> None:
    """Wherever a commit that nobody was told of is cut off, garbled or written in part: every start finds all that was
    answered, and all or nothing of that commit."""
    whole, torn = batch(), batch()
    await store.accept(whole)
    log = Path(f"{path}-wal")
    end = len(await asyncio.to_thread(log.read_bytes))
    with vfs.hold():
        call = asyncio.ensure_future(store.accept(torn))
        await asyncio.get_running_loop().run_in_executor(None, vfs.wait_for_sync)
        shutil.copy(path, tmp_path / "left.db")
        octets = await asyncio.to_thread(log.read_bytes)
    await call
    left, dice = Torn(tmp_path, whole, torn), random.Random(7)  # noqa: S311  # no secret
    assert len(octets) > end + 20_000
    await left.opened("complete", octets)
    for number in range(12):
        cut = dice.randrange(end, len(octets))
        await left.opened(f"cut-{number}", octets[:cut])
        garbled = octets[:cut] + dice.randbytes(min(4096, len(octets) - cut)) + octets[cut + 4096 :]
        await left.opened(f"garbled-{number}", garbled)
        await left.opened(f"zeroes-{number}", octets[:cut] + bytes(len(octets) - cut))


async def _left(store: SqliteStore, path: Path, folder: Path, commits: int) -> list[tuple[NewMessage, int]]:
    """Commit so many messages, each for itself, and copy the files as a crash leaves them to left.db; each message with
    the end of the log when it was answered."""
    answered = []
    for _ in range(commits):
        new = message(content=secrets.token_bytes(2000))
        await store.accept([new])
        answered.append((new, Path(f"{path}-wal").stat().st_size))  # noqa: ASYNC240  # a local file of the test's own
    shutil.copy(path, folder / "left.db")
    shutil.copy(f"{path}-wal", folder / "left.db-wal")
    return answered


@pytest.mark.parametrize("where", ["page", "frame", "salt", "header"])
async def test_a_log_that_is_damaged_before_its_end(store: SqliteStore, path: Path, tmp_path: Path, where: str) -> None:
    """SQLite would leave out what stands behind the damage, acknowledged messages, and say nothing. The start is
    refused, and says where and what to do; the files stay as they are, and with the log brought back all is there."""
    answered = await _left(store, path, tmp_path, 6)
    left, log = tmp_path / "left.db", tmp_path / "left.db-wal"
    whole = await asyncio.to_thread(log.read_bytes)
    begins = answered[2][1]  # of the frames of the fourth commit
    place = {"page": begins + 24 + 100, "frame": begins + 2, "salt": begins + 9, "header": 17}[where]
    damaged = whole[:place] + bytes([whole[place] ^ 0x41]) + whole[place + 1 :]
    await asyncio.to_thread(log.write_bytes, damaged)
    for _ in range(2):
        with pytest.raises(StoreCorrupt, match=rf"{log} is damaged at octet \d+.*truncate -s \d+ {log}"):
            await SqliteStore(left).open()
        assert await asyncio.to_thread(log.read_bytes) == damaged
    await asyncio.to_thread(log.write_bytes, whole)
    await _require_there(left, [new for new, _ in answered])


async def test_a_damaged_log_that_is_cut_off(store: SqliteStore, path: Path, tmp_path: Path) -> None:
    """Who does as the error says goes on with what stands before the damage."""
    answered = await _left(store, path, tmp_path, 6)
    left, log = tmp_path / "left.db", tmp_path / "left.db-wal"
    octets = bytearray(await asyncio.to_thread(log.read_bytes))
    octets[answered[2][1] + 50] ^= 0xFF
    await asyncio.to_thread(log.write_bytes, bytes(octets))
    with pytest.raises(StoreCorrupt) as refused:
        await SqliteStore(left).open()
    found = re.search(r"truncate -s (\d+)", str(refused.value))
    assert found is not None
    assert int(found.group(1)) == answered[2][1]
    await asyncio.to_thread(os.truncate, log, int(found.group(1)))
    await _require_there(left, [new for new, _ in answered[:3]])


async def _require_there(path: Path, messages: list[NewMessage]) -> None:
    store = SqliteStore(path)
    await store.open()
    try:
        assert {await state_of(store, new) for new in messages} == {State.ACCEPTED}
        assert len(await store.events(TENANT, 0, 100)) == len(messages)
    finally:
        await store.close()


async def test_what_failed_attempts_leave_in_the_log_is_no_damage(
    store: SqliteStore, vfs: TracingVFS, path: Path, tmp_path: Path
) -> None:
    """Commits that fail at their sync stand in the log behind its end, the longer behind the shorter: a crash then is
    followed by a start."""
    new = message()
    await store.accept([new])
    vfs.failing_sync = apsw.IOError
    for size in (40, 25, 12, 4):
        with pytest.raises(StoreUnavailable):
            await store.accept(batch(size))
    vfs.failing_sync = None
    shutil.copy(path, tmp_path / "left.db")
    shutil.copy(f"{path}-wal", tmp_path / "left.db-wal")
    again = SqliteStore(tmp_path / "left.db")
    await again.open()
    try:
        assert await state_of(again, new) is State.ACCEPTED
    finally:
        await again.close()


async def test_a_log_that_began_again_is_no_damage(
    path: Path, vfs: TracingVFS, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Behind the end of a log that began again stand the commits of its life before, which are in the database."""
    monkeypatch.setattr(checkpoint, "START_PAGES", 100)
    store = SqliteStore(path, vfs=vfs.name)
    await store.open()
    try:
        sent: list[NewMessage] = []
        lives = await asyncio.to_thread(_life, path)
        while await asyncio.to_thread(_life, path) == lives:
            assert len(sent) < 5_000
            sent += [new for new, _ in await _left(store, path, tmp_path, 1)]
    finally:
        await store.close()
    octets = await asyncio.to_thread((tmp_path / "left.db-wal").read_bytes)
    salts = {octets[at + 8 : at + 16] for at in range(32, len(octets), 24 + 4096)}
    assert len(salts) == 2, "frames of both lives are there"
    await _require_there(tmp_path / "left.db", sent)


def _life(path: Path) -> bytes:
    """Return how often the log has begun again, as its header has it."""
    with Path(f"{path}-wal").open("rb") as log:
        return log.read(16)[12:]
