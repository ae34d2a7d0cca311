"""Key-encryption keys from files."""

from __future__ import annotations

from pathlib import Path

import pytest

from gateway.config.secret_files import SecretFileRefused
from gateway.sealing.providers import FileKeyProvider, UnwrapRefused, Wrapped, kek_id
from tests.gateway.sealing.boxes import kek_file

KEY = b"k" * 32


def test_round_trip(tmp_path: Path) -> None:
    """A wrapped key unwraps under its context; it does not show, and is never wrapped to the same octets."""
    provider = FileKeyProvider(kek_file(tmp_path))
    first, second = provider.wrap(KEY, b"context"), provider.wrap(KEY, b"context")
    assert provider.unwrap(first, b"context") == provider.unwrap(second, b"context") == KEY
    assert first.octets != second.octets
    assert KEY not in first.octets
    assert len(first.octets) == 12 + 32 + 16


@pytest.mark.parametrize("at", range(60))
def test_tampered(tmp_path: Path, at: int) -> None:
    """A wrap with any octet changed is refused."""
    provider = FileKeyProvider(kek_file(tmp_path))
    wrapped = provider.wrap(KEY, b"context")
    octets = bytearray(wrapped.octets)
    octets[at] ^= 0x80
    with pytest.raises(UnwrapRefused, match="restore"):
        provider.unwrap(Wrapped(wrapped.kek_id, bytes(octets)), b"context")


@pytest.mark.parametrize("length", [0, 1, 11, 12, 27, 59])
def test_cut(tmp_path: Path, length: int) -> None:
    """A wrap that was cut short is refused."""
    provider = FileKeyProvider(kek_file(tmp_path))
    wrapped = provider.wrap(KEY, b"context")
    with pytest.raises(UnwrapRefused):
        provider.unwrap(Wrapped(wrapped.kek_id, wrapped.octets[:length]), b"context")


def test_context(tmp_path: Path) -> None:
    """Under another context a wrap is refused."""
    provider = FileKeyProvider(kek_file(tmp_path))
    with pytest.raises(UnwrapRefused):
        provider.unwrap(provider.wrap(KEY, b"context"), b"contexT")


def test_replaced_key(tmp_path: Path) -> None:
    """A new key wraps; the older one still unwraps while it is listed, and is named when it is not."""
    old = FileKeyProvider(kek_file(tmp_path, "old.key"))
    wrapped = old.wrap(KEY, b"")
    both = FileKeyProvider(kek_file(tmp_path, "new.key"), [tmp_path / "old.key"])
    assert both.unwrap(wrapped, b"") == KEY
    assert both.wrap(KEY, b"").kek_id == kek_id((tmp_path / "new.key").read_bytes()) != wrapped.kek_id
    with pytest.raises(UnwrapRefused, match=f"{old.kek_id}.*older_kek_files"):
        FileKeyProvider(tmp_path / "new.key").unwrap(wrapped, b"")


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660, 0o777])
def test_open_file(tmp_path: Path, mode: int) -> None:
    """A key that others can use is refused, the older ones too."""
    file, fine = kek_file(tmp_path), kek_file(tmp_path, "fine.key")
    file.chmod(mode)
    with pytest.raises(SecretFileRefused, match="chmod 600"):
        FileKeyProvider(file)
    with pytest.raises(SecretFileRefused, match="chmod 600"):
        FileKeyProvider(fine, [file])


@pytest.mark.parametrize("size", [0, 16, 31, 33])
def test_wrong_size(tmp_path: Path, size: int) -> None:
    """A file that does not hold 32 octets is refused."""
    file = kek_file(tmp_path)
    file.write_bytes(b"k" * size)
    with pytest.raises(SecretFileRefused, match="32"):
        FileKeyProvider(file)


def test_id_tells_nothing(tmp_path: Path) -> None:
    """The id and the text form show no octet of the key."""
    file = kek_file(tmp_path)
    provider = FileKeyProvider(file)
    assert repr(provider) == f"FileKeyProvider({provider.kek_id})"
    assert file.read_bytes()[:4].hex() not in provider.kek_id
    assert len(provider.kek_id) == 16
