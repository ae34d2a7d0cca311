"""A secret is taken from a private regular file only."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from gateway.config.secret_files import SecretFileRefused, read_secret_file


@pytest.fixture
def secret(tmp_path: Path) -> Path:
    """Return a private file with eight octets."""
    file = tmp_path / "secret"
    file.write_bytes(b"12345678")
    file.chmod(0o600)
    return file


@pytest.mark.parametrize("mode", [0o600, 0o400])
def test_private_file(secret: Path, mode: int) -> None:
    """What only its owner can use is read, up to the bound."""
    secret.chmod(mode)
    assert read_secret_file(secret, max_bytes=8) == b"12345678"


@pytest.mark.parametrize("mode", [0o640, 0o620, 0o610, 0o604, 0o602, 0o601, 0o777])
def test_open_file(secret: Path, mode: int) -> None:
    """Any right of group or others is refused, with the command that takes it away."""
    secret.chmod(mode)
    with pytest.raises(SecretFileRefused, match="chmod 600"):
        read_secret_file(secret, max_bytes=8)


def test_link_to_an_open_file(secret: Path, tmp_path: Path) -> None:
    """The mode that counts is that of the file that is read."""
    secret.chmod(0o644)
    (tmp_path / "link").symlink_to(secret)
    with pytest.raises(SecretFileRefused, match="chmod 600"):
        read_secret_file(tmp_path / "link", max_bytes=8)


def test_file_that_is_too_long(secret: Path) -> None:
    """The bound is on what is read."""
    with pytest.raises(SecretFileRefused, match="longer than 7"):
        read_secret_file(secret, max_bytes=7)


def test_what_is_no_file(tmp_path: Path) -> None:
    """Nothing, a folder and a pipe are refused; a pipe does not block."""
    with pytest.raises(SecretFileRefused, match="does not exist"):
        read_secret_file(tmp_path / "gone", max_bytes=8)
    with pytest.raises(SecretFileRefused, match="not a regular file"):
        read_secret_file(tmp_path, max_bytes=8)
    os.mkfifo(tmp_path / "pipe", 0o600)
    with pytest.raises(SecretFileRefused, match="not a regular file"):
        read_secret_file(tmp_path / "pipe", max_bytes=8)
