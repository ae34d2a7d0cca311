"""A secret is taken from a private regular file only."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from gateway.config.secret_files import (
    SecretFileRefused,
    check_secret_file,
    read_guarded_file,
    read_secret_file,
)


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


@pytest.fixture
def way(tmp_path: Path) -> Path:
    """Return outer/inner/link -> ../store/kept/secret, with a private file at its end."""
    for folder in ("outer", "outer/inner", "outer/store", "outer/store/kept"):
        (tmp_path / folder).mkdir(mode=0o700)
    secret = tmp_path / "outer/store/kept/secret"
    secret.write_bytes(b"12345678")
    secret.chmod(0o600)
    link = tmp_path / "outer/inner/link"
    link.symlink_to("../store/kept/secret")
    return link


@pytest.mark.parametrize(
    ("folder", "mode", "change"),
    [
        ("outer/inner", 0o700, ""),
        ("outer/inner", 0o755, ""),
        ("outer/inner", 0o1777, ""),
        ("outer/inner", 0o770, "chmod go-w"),
        ("outer/inner", 0o702, "chmod o-w"),
        ("outer/store/kept", 0o1777, ""),
        ("outer/store/kept", 0o720, "chmod go-w"),
        ("outer/store/kept", 0o777, "chmod o-w"),
        ("outer/store", 0o770, ""),
        ("outer/store", 0o777, "chmod o-w"),
        ("outer/store", 0o1777, ""),
        ("outer", 0o702, "chmod o-w"),
        ("outer", 0o775, ""),
    ],
)
def test_folders_on_the_way(way: Path, folder: str, mode: int, change: str) -> None:
    """Whoever can write where the file or a link to it lies could put another one there."""
    place = way.parent.parent.parent / folder
    place.chmod(mode)
    if not change:
        check_secret_file(way)
        return
    with pytest.raises(SecretFileRefused, match=f"{change} {place}$"):
        read_secret_file(way, max_bytes=8)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files away")
@pytest.mark.parametrize(
    ("given", "text"),
    [
        ("outer/store/kept/secret", "belongs to another user; chown it"),
        ("outer/store/kept", "the folder .*kept belongs to another user"),
        ("outer/inner/link", "link is a link of another user"),
        ("outer/inner", "the folder .*inner belongs to another user"),
    ],
)
def test_things_of_other_users(way: Path, given: str, text: str) -> None:
    """File, link and the folders that hold them are this user's or root's."""
    os.chown(way.parent.parent.parent / given, 65534, 65534, follow_symlinks=False)
    with pytest.raises(SecretFileRefused, match=text):
        check_secret_file(way)


def test_folder_that_is_a_link(way: Path, tmp_path: Path) -> None:
    """A link in the middle of the way is followed, and what holds its target looked at."""
    (tmp_path / "short").symlink_to("outer/store")
    check_secret_file(tmp_path / "short/kept/../kept/secret")
    (tmp_path / "outer").chmod(0o777)
    with pytest.raises(SecretFileRefused, match="chmod o-w"):
        check_secret_file(tmp_path / "short/kept/secret")


def test_links_in_a_circle(tmp_path: Path) -> None:
    """Links that lead nowhere end in a refusal."""
    (tmp_path / "a").symlink_to("b")
    (tmp_path / "b").symlink_to("a")
    with pytest.raises(SecretFileRefused, match="cannot be read"):
        check_secret_file(tmp_path / "a")


def test_checked_and_not_read(secret: Path) -> None:
    """What is opened by a library later is held to the same."""
    check_secret_file(secret)
    secret.chmod(0o640)
    with pytest.raises(SecretFileRefused, match=r"its group .*chmod 600"):
        check_secret_file(secret)


@pytest.mark.parametrize(("mode", "taken"), [(0o644, True), (0o600, True), (0o664, False), (0o646, False)])
def test_guarded_file(secret: Path, mode: int, *, taken: bool) -> None:
    """What others may read is taken, what others may write is not; the folder is looked at as that of a secret."""
    secret.chmod(mode)
    if not taken:
        with pytest.raises(SecretFileRefused, match="chmod go-w"):
            read_guarded_file(secret, max_bytes=8)
        return
    assert read_guarded_file(secret, max_bytes=8) == b"12345678"
    secret.parent.chmod(0o777)
    with pytest.raises(SecretFileRefused, match="others can write to the folder"):
        read_guarded_file(secret, max_bytes=8)
