"""Wrapped keys in a folder: durable, private, nothing lost by a torn line, and a crash leaves old or new."""

from __future__ import annotations

import base64
import fcntl
import itertools
import os
import signal
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from gateway.errors import StoreCorrupt
from gateway.sealing import folder_keyring
from gateway.sealing.folder_keyring import FolderKeyring
from gateway.sealing.keyring import DestroyedKey, KeyringUnavailable, Rewrap, Selection
from gateway.sealing.providers import Wrapped
from tests.gateway.sealing.test_keyring import DAY, NOW, OCTOBER_4, STONE, wrapped_key

FILE = "2024-10-04.keys"


def test_one_file_a_day(tmp_path: Path) -> None:
    """The key id names the day, and the day the file."""
    ring = FolderKeyring(tmp_path)
    today, tomorrow = wrapped_key(1), wrapped_key(2, NOW + DAY)
    ring.append([today])
    ring.append([tomorrow])
    assert sorted(path.name for path in tmp_path.iterdir()) == [FILE, "2024-10-05.keys"]
    assert list(ring.records(Selection(first_day=ring.newest_days(1)[0]))) == [tomorrow]
    (tmp_path / FILE).unlink()
    assert (ring.find(today.key_id), ring.find(tomorrow.key_id)) == (None, tomorrow)


def test_private(tmp_path: Path) -> None:
    """Folder and files are the owner's alone."""
    ring = FolderKeyring(tmp_path / "a" / "ring")
    ring.append([wrapped_key(1)])
    modes = [stat.S_IMODE(path.stat().st_mode) for path in (ring.folder, ring.folder / FILE)]
    assert modes == [0o700, 0o600]


def test_synced_before_it_returns(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The file is synced with its new line in it, and the folder when the file is new."""
    synced: list[tuple[str, int]] = []
    real = os.fsync

    def watch(descriptor: int) -> None:
        path = Path(f"/proc/self/fd/{descriptor}").readlink()
        synced.append((path.name, path.stat().st_size if path.is_file() else 0))
        real(descriptor)

    monkeypatch.setattr(os, "fsync", watch)
    ring = FolderKeyring(tmp_path / "ring")
    ring.append([wrapped_key(1)])
    size = (ring.folder / FILE).stat().st_size
    assert synced == [(tmp_path.name, 0), (FILE, size), ("ring", 0)]
    ring.append([wrapped_key(2)])
    assert synced[3:] == [(FILE, 2 * size)]


@pytest.mark.parametrize("kept", [1, 40, 200])
def test_torn_line(tmp_path: Path, kept: int) -> None:
    """A line that a crash cut short takes no other with it, and what comes after it is found."""
    ring = FolderKeyring(tmp_path)
    before, torn, after = wrapped_key(1), wrapped_key(2), wrapped_key(3)
    ring.append([before, torn])
    file = tmp_path / FILE
    lines = file.read_bytes().splitlines(keepends=True)
    file.write_bytes(lines[0] + lines[1][:kept])
    FolderKeyring(tmp_path).append([after])
    assert (ring.find(before.key_id), ring.find(after.key_id)) == (before, after)
    assert list(ring.records()) == [before, after]


def test_damaged_line(tmp_path: Path) -> None:
    """A line that says it is the key's and cannot be read is corruption, and says where."""
    ring = FolderKeyring(tmp_path)
    key = wrapped_key(1)
    ring.append([key])
    file = tmp_path / FILE
    file.write_bytes(file.read_bytes().replace(b'"wrapped":"', b'"wrapped":"!'))
    with pytest.raises(StoreCorrupt, match=f"{key.key_id.hex()}.*{FILE}"):
        ring.find(key.key_id)


def test_write_failure(tmp_path: Path) -> None:
    """A folder that cannot be written is told as such."""
    (tmp_path / "ring").write_text("a file")
    with pytest.raises(KeyringUnavailable, match="cannot be written"):
        FolderKeyring(tmp_path / "ring").append([wrapped_key(1)])
    with pytest.raises(KeyringUnavailable, match="cannot be read"):
        FolderKeyring(tmp_path / "ring").find(wrapped_key(1).key_id)


def test_no_symbolic_link(tmp_path: Path) -> None:
    """Keys are not written through a link that somebody put there."""
    (tmp_path / FILE).symlink_to(tmp_path / "elsewhere")
    with pytest.raises(KeyringUnavailable):
        FolderKeyring(tmp_path).append([wrapped_key(1)])
    assert not (tmp_path / "elsewhere").exists()


def test_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file that has grown beyond its bound takes no more keys."""
    ring = FolderKeyring(tmp_path)
    ring.append([wrapped_key(1)])
    monkeypatch.setattr(folder_keyring, "_MAX_FILE_BYTES", (tmp_path / FILE).stat().st_size + 10)
    with pytest.raises(KeyringUnavailable, match="full"):
        ring.append([wrapped_key(2)])
    assert ring.find(wrapped_key(2).key_id) is None


def test_empty(tmp_path: Path) -> None:
    """No keys write no file; an empty file and a missing folder hold none."""
    ring = FolderKeyring(tmp_path / "ring")
    ring.append([])
    assert not ring.folder.exists()
    assert list(ring.records()) == []
    ring.folder.mkdir()
    (ring.folder / FILE).touch()
    assert ring.find(wrapped_key(1).key_id) is None


_CHANGE = """
import itertools, os, signal, sys
from pathlib import Path
from gateway.sealing.folder_keyring import FolderKeyring
from tests.gateway.sealing.test_keyring import STONE, wrapped_key
step = int(sys.argv[2])
steps = itertools.count()
def dying(name):
    real = getattr(os, name)
    def call(*args, **kwargs):
        if next(steps) == step:
            os.kill(os.getpid(), signal.SIGKILL)
        return real(*args, **kwargs)
    return call
for name in ("open", "fsync", "rename", "unlink", "close"):
    setattr(os, name, dying(name))
FolderKeyring(Path(sys.argv[1])).destroy([wrapped_key(1).key_id], STONE)
print("done")
"""


def test_killed_at_every_step(tmp_path: Path) -> None:
    """A kill -9 at any step of a destruction leaves the old file or the new one; done again, nothing of the key is
    left in any file."""
    keys = [wrapped_key(1, wrapped=Wrapped("ab" * 8, b"secret wrap of it")), wrapped_key(2)]
    wrap = base64.b64encode(b"secret wrap of it")
    seen = set()
    for step in itertools.count():
        folder = tmp_path / str(step)
        FolderKeyring(folder).append(keys)
        command = [sys.executable, "-c", _CHANGE, str(folder), str(step)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
        found = FolderKeyring(folder).find(keys[0].key_id)
        assert found in (keys[0], DestroyedKey(*keys[0][:5], STONE))
        assert FolderKeyring(folder).find(keys[1].key_id) == keys[1]
        seen.add(type(found))
        FolderKeyring(folder).append([wrapped_key(3)])
        FolderKeyring(folder).destroy([keys[0].key_id], STONE)
        assert list(FolderKeyring(folder).records()) == [DestroyedKey(*keys[0][:5], STONE), keys[1], wrapped_key(3)]
        assert not any(wrap in file.read_bytes() for file in folder.iterdir())
        if done.returncode == 0:
            break
        assert done.returncode == -signal.SIGKILL, done.stderr
    assert step > 5
    assert len(seen) == 2, "some died before the rename and some after it"


def test_what_a_crash_left_is_removed(tmp_path: Path) -> None:
    """A file that was begun and never took its place holds wraps: the next change removes it, whatever its day."""
    ring = FolderKeyring(tmp_path)
    ring.append([wrapped_key(1)])
    left = tmp_path / "2024-01-01.rewriting"
    left.write_bytes(b"wraps")
    ring.destroy([], STONE)
    assert not left.exists()


def test_destruction_keeps_modes_and_torn_lines(tmp_path: Path) -> None:
    """The new file is the owner's alone, and octets that are no record stay as they are."""
    ring = FolderKeyring(tmp_path)
    ring.append([wrapped_key(1)])
    file = tmp_path / FILE
    file.write_bytes(file.read_bytes() + b'{"v":1,"key":"torn')
    ring.destroy([wrapped_key(1).key_id], STONE)
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert file.read_bytes().endswith(b'{"v":1,"key":"torn')
    ring.append([wrapped_key(2)])
    assert ring.find(wrapped_key(2).key_id) == wrapped_key(2)


def test_nothing_to_change(tmp_path: Path) -> None:
    """Where nothing is to be changed the file is not touched."""
    ring = FolderKeyring(tmp_path)
    ring.append([wrapped_key(1)])
    inode = (tmp_path / FILE).stat().st_ino
    assert ring.rewrap([Rewrap(wrapped_key(1).key_id, Wrapped("00", b""), Wrapped("11", b""))]) == 0
    assert (tmp_path / FILE).stat().st_ino == inode
    assert [path.name for path in tmp_path.iterdir()] == [FILE]


def test_locked_by_another(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who cannot get the folder's lock is told so, and readers need none."""
    monkeypatch.setattr(folder_keyring, "_LOCK_S", 0.05)
    ring = FolderKeyring(tmp_path)
    ring.append([wrapped_key(1)])
    descriptor = os.open(tmp_path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        with pytest.raises(KeyringUnavailable, match="keeps the folder locked"):
            ring.append([wrapped_key(2)])
        assert ring.find(wrapped_key(1).key_id) == wrapped_key(1)
    finally:
        os.close(descriptor)
    ring.append([wrapped_key(2)])


def test_files_of_others(tmp_path: Path) -> None:
    """A file whose name is no day is nobody's day."""
    (tmp_path / "notes.keys").write_text("x")
    ring = FolderKeyring(tmp_path)
    ring.append([wrapped_key(1)])
    assert ring.newest_days(9) == [OCTOBER_4]
    assert list(ring.records()) == [wrapped_key(1)]
