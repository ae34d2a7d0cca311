"""Wrapped keys on disk: found again, durable, and nothing lost by a torn line."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from gateway.errors import StoreCorrupt
from gateway.sealing import keyring as keyring_module
from gateway.sealing.keyring import Keyring, KeyringUnavailable, WrappedKey, new_key_id, wrap_context
from gateway.sealing.providers import Wrapped

DAY = 86_400
NOW = 20_000 * DAY + 3600  # 2024-10-04T01:00:00Z
FILE = "2024-10-04.keys"


def wrapped_key(number: int, made_at: int = NOW, **changes: object) -> WrappedKey:
    """Return a record."""
    key_id = new_key_id(made_at, number.to_bytes(6, "big"))
    record = WrappedKey(key_id, "node-1", "demo", made_at, made_at + 900, Wrapped("ab" * 8, b"\x00\xff" * 30))
    return record._replace(**changes)  # type: ignore[arg-type]  # the test says what it changes


def test_found_again(tmp_path: Path) -> None:
    """What was appended is found by its id, by another object too; what was not is None."""
    keys = [wrapped_key(n, tenant=f'tenänt {n}\n"') for n in range(5)]
    Keyring(tmp_path / "ring").append(keys[:2])
    Keyring(tmp_path / "ring").append(keys[2:])
    ring = Keyring(tmp_path / "ring")
    assert [ring.find(key.key_id) for key in keys] == keys
    assert ring.find(wrapped_key(9).key_id) is None
    assert list(ring.records()) == keys


def test_one_file_a_day(tmp_path: Path) -> None:
    """The key id names the day, and the day the file."""
    ring = Keyring(tmp_path)
    today, tomorrow = wrapped_key(1), wrapped_key(2, NOW + DAY)
    ring.append([today])
    ring.append([tomorrow])
    assert sorted(path.name for path in tmp_path.iterdir()) == [FILE, "2024-10-05.keys"]
    assert list(ring.records(1)) == [tomorrow]
    (tmp_path / FILE).unlink()
    assert (ring.find(today.key_id), ring.find(tomorrow.key_id)) == (None, tomorrow)


def test_private(tmp_path: Path) -> None:
    """Folder and files are the owner's alone."""
    ring = Keyring(tmp_path / "a" / "ring")
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
    ring = Keyring(tmp_path / "ring")
    ring.append([wrapped_key(1)])
    size = (ring.folder / FILE).stat().st_size
    assert synced == [(tmp_path.name, 0), (FILE, size), ("ring", 0)]
    ring.append([wrapped_key(2)])
    assert synced[3:] == [(FILE, 2 * size)]


@pytest.mark.parametrize("kept", [1, 40, 200])
def test_torn_line(tmp_path: Path, kept: int) -> None:
    """A line that a crash cut short takes no other with it, and what comes after it is found."""
    ring = Keyring(tmp_path)
    before, torn, after = wrapped_key(1), wrapped_key(2), wrapped_key(3)
    ring.append([before, torn])
    file = tmp_path / FILE
    lines = file.read_bytes().splitlines(keepends=True)
    file.write_bytes(lines[0] + lines[1][:kept])
    Keyring(tmp_path).append([after])
    assert (ring.find(before.key_id), ring.find(after.key_id)) == (before, after)
    assert list(ring.records()) == [before, after]


def test_damaged_line(tmp_path: Path) -> None:
    """A line that says it is the key's and cannot be read is corruption, and says where."""
    ring = Keyring(tmp_path)
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
        Keyring(tmp_path / "ring").append([wrapped_key(1)])
    with pytest.raises(KeyringUnavailable, match="cannot be read"):
        Keyring(tmp_path / "ring").find(wrapped_key(1).key_id)


def test_no_symbolic_link(tmp_path: Path) -> None:
    """Keys are not written through a link that somebody put there."""
    (tmp_path / FILE).symlink_to(tmp_path / "elsewhere")
    with pytest.raises(KeyringUnavailable):
        Keyring(tmp_path).append([wrapped_key(1)])
    assert not (tmp_path / "elsewhere").exists()


def test_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file that has grown beyond its bound takes no more keys."""
    ring = Keyring(tmp_path)
    ring.append([wrapped_key(1)])
    monkeypatch.setattr(keyring_module, "_MAX_FILE_BYTES", (tmp_path / FILE).stat().st_size + 10)
    with pytest.raises(KeyringUnavailable, match="full"):
        ring.append([wrapped_key(2)])
    assert ring.find(wrapped_key(2).key_id) is None


def test_empty(tmp_path: Path) -> None:
    """No keys write no file; an empty file and a missing folder hold none."""
    ring = Keyring(tmp_path / "ring")
    ring.append([])
    assert not ring.folder.exists()
    assert list(ring.records()) == []
    ring.folder.mkdir()
    (ring.folder / FILE).touch()
    assert ring.find(wrapped_key(1).key_id) is None


def test_context_binds() -> None:
    """Key id, node, tenant and period are all part of what a wrap is bound to."""
    base = (b"12345678", "node", "tenant", 1, 2)
    others = [
        (b"12345679", "node", "tenant", 1, 2),
        (b"12345678", "nodet", "enant", 1, 2),
        (b"12345678", "node", "other", 1, 2),
        (b"12345678", "node", "tenant", 2, 2),
        (b"12345678", "node", "tenant", 1, 3),
    ]
    assert len({wrap_context(*each) for each in (base, *others)}) == 6


def test_key_id_length() -> None:
    """A key id has eight octets, whatever the source of randomness gives."""
    assert len(new_key_id(NOW, bytes(6))) == 8
    with pytest.raises(ValueError, match="6 random octets"):
        new_key_id(NOW, bytes(5))
