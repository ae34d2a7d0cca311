"""Modes of the files, and one node for one database."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from gateway.errors import StoreUnavailable
from gateway.store.sqlite import SqliteStore
from gateway.store.sqlite.files import NodeLock
from tests.gateway.store.samples import message

_HOLDER = """
import sys
from pathlib import Path
from gateway.store.sqlite.files import NodeLock
NodeLock(Path(sys.argv[1])).take()
print("locked", flush=True)
sys.stdin.read()
"""


def _modes(folder: Path) -> dict[str, int]:
    return {entry.name: entry.stat().st_mode & 0o777 for entry in folder.iterdir()}


async def test_modes(path: Path) -> None:
    """The directory is 0700, and every file in it 0600, whatever the umask."""
    before = os.umask(0)
    try:
        store = SqliteStore(path)
        await store.open()
        await store.accept([message()])
        assert _modes(path.parent.parent) == {"store": 0o700}
        names = ("smsgw.db", "smsgw.db-wal", "smsgw.db-shm", "smsgw.db.lock")
        assert _modes(path.parent) == dict.fromkeys(names, 0o600)
        await store.close()
    finally:
        os.umask(before)


def _make(path: Path, *, directory: int, file: int) -> None:
    path.parent.mkdir()
    path.parent.chmod(directory)
    path.touch()
    path.chmod(file)


async def test_an_open_file_is_closed_to_others(path: Path) -> None:
    """A database that others could read is theirs no longer once it is opened."""
    _make(path, directory=0o755, file=0o644)
    store = SqliteStore(path)
    await store.open()
    assert _modes(path.parent)["smsgw.db"] == 0o600
    await store.close()


@pytest.mark.parametrize("mode", [0o770, 0o707, 0o1777])
async def test_a_directory_that_others_may_write(path: Path, mode: int) -> None:
    """A directory in which others could exchange the database is refused."""
    _make(path, directory=mode, file=0o600)
    with pytest.raises(StoreUnavailable, match="chmod 700"):
        await SqliteStore(path).open()


async def test_a_path_that_cannot_be(path: Path) -> None:
    """A directory in the place of the file, or a file in the place of the directory, is told."""
    _make(path, directory=0o700, file=0o600)
    with pytest.raises(StoreUnavailable, match="cannot be opened: Is a directory"):
        await SqliteStore(path.parent).open()
    with pytest.raises(StoreUnavailable, match=r"cannot be opened: (Not a directory|File exists)"):
        await SqliteStore(path / "below.db").open()


async def test_one_node_alone(path: Path) -> None:
    """A second store on the same file is refused while the first is open, and not after."""
    first, second = SqliteStore(path), SqliteStore(path)
    await first.open()
    with pytest.raises(StoreUnavailable, match=f"another node \\(process {os.getpid()}\\)"):
        await second.open()
    await first.accept([message()])
    await first.close()
    third = SqliteStore(path)
    await third.open()
    await third.close()


def test_a_lock_dies_with_its_process(path: Path) -> None:
    """The lock of a process that was killed is free again."""
    path.parent.mkdir(mode=0o700)
    with subprocess.Popen(
        [sys.executable, "-c", _HOLDER, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"locked\n"
        with pytest.raises(StoreUnavailable, match=f"process {holder.pid}"):
            NodeLock(path).take()
        holder.kill()
    lock = NodeLock(path)
    lock.take()
    lock.free()
