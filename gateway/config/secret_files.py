"""Reads secrets from files of their own, and refuses files that others can read, or could put another file in place of.
Public keys that decide who can read messages are read here, too: others may read them, and not write.

A secret file is a regular file, owned by this user or by root, that nobody else has any right to. Links on the way to
it count as what they lead to; they are owned by this user or root as well. The folder that holds the file, and each
that holds a link, belongs to one of both and gives nobody else the right to write; no folder above it is writable by
everybody. A sticky folder, as /tmp, may be: what is in it only its owner replaces.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable
from pathlib import Path, PurePath

from certs.file_rights import open_to
from gateway.config.held_secrets import HELD

_LINKS = 40  # as the kernel: path_resolution(7)


class SecretFileRefused(Exception):
    """A secret cannot be taken from its file; the text says why and what to do."""


def read_secret_file(file: Path, *, max_bytes: int) -> bytes:
    """Return the octets of a secret file, at most `max_bytes`. Raises SecretFileRefused.

    The open file is what is checked, so that it cannot be exchanged in between.
    """
    return _read(_open(file, _check), file, max_bytes)


def _read(descriptor: int, file: Path, max_bytes: int) -> bytes:
    """Return what the open file holds, and close it."""
    try:
        with os.fdopen(descriptor, "rb", closefd=False) as stream:
            octets = stream.read(max_bytes + 1)
    finally:
        os.close(descriptor)
    if len(octets) > max_bytes:
        raise SecretFileRefused(f"{file} is longer than {max_bytes} bytes")
    return octets


def read_guarded_file(file: Path, *, max_bytes: int) -> bytes:
    """Return the octets of a file that others may read, and not write or replace; at most `max_bytes`. Raises
    SecretFileRefused."""
    return _read(_open(file, _check_writers), file, max_bytes)


def check_secret_file(file: Path) -> None:
    """Raise SecretFileRefused for what `read_secret_file` refuses, the length apart, without reading a byte of it.

    It is for files that a library opens by their name: the check is of what is there now.
    """
    os.close(_open(file, _check))


def _open(file: Path, check: Callable[[Path, int], None]) -> int:
    """Return the descriptor of a file that was found to be private, or what `check` wants."""
    try:
        descriptor = os.open(file, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except FileNotFoundError:
        raise SecretFileRefused(f"{file} does not exist") from None
    except OSError as error:
        raise SecretFileRefused(f"{file} cannot be read: {error.strerror}") from None
    try:
        check(file, descriptor)
        _check_way(file)
    except OSError as error:
        os.close(descriptor)
        raise SecretFileRefused(f"{file} cannot be looked at: {error.strerror}") from None
    except SecretFileRefused:
        os.close(descriptor)
        raise
    return descriptor


def _check_writers(file: Path, descriptor: int) -> None:
    mode = _check_kind(file, descriptor).st_mode
    if mode & (stat.S_IWGRP | stat.S_IWOTH):
        raise SecretFileRefused(
            f"others can write to {file} (mode {stat.S_IMODE(mode):04o}), and put a key of theirs there; run: chmod "
            f"go-w {file}"
        )


def _check_kind(file: Path, descriptor: int) -> os.stat_result:
    status = os.fstat(descriptor)
    if not stat.S_ISREG(status.st_mode):
        raise SecretFileRefused(f"{file} is not a regular file")
    if not _ours(status):
        raise SecretFileRefused(f"{file} belongs to another user; chown it to the user that runs smsgw")
    return status


def _check(file: Path, descriptor: int) -> None:
    _check_kind(file, descriptor)
    who = open_to(descriptor)
    if who:
        raise SecretFileRefused(
            f"{file} can be used by {who}; run: chmod 600 {file}, and replace the secret if others may have read it"
        )


def _check_way(file: Path) -> None:
    """Look at every folder and every link on the way to a file. Raises SecretFileRefused or OSError."""
    if HELD.has(file):
        return  # it is in memory, under a name of this process
    names = _names(file.absolute())
    here, links = Path("/"), 0
    while names:
        name = names.pop()
        if name == "..":
            here = here.parent
            continue
        step = here / name
        status = step.lstat()
        if stat.S_ISLNK(status.st_mode):
            links += 1
            if links > _LINKS:
                raise SecretFileRefused(f"{file} is behind more than {_LINKS} links")
            _check_link(step, status)
            target = step.readlink()
            names.extend(_names(target))
            here = Path("/") if target.is_absolute() else here
        elif names:
            _check_above(step, status)
            here = step
        else:
            _check_holder(here)


def _names(path: PurePath) -> list[str]:
    """Return the names in a path, the last one first."""
    return [name for name in reversed(path.parts) if name != "/"]


def _check_link(link: Path, status: os.stat_result) -> None:
    if not _ours(status):
        raise SecretFileRefused(f"{link} is a link of another user; chown -h it to the user that runs smsgw")
    _check_holder(link.parent)


def _check_holder(folder: Path) -> None:
    """Nobody else may put another file, or link, in place of the one in `folder`."""
    status = folder.stat()
    if not _ours(status):
        raise SecretFileRefused(
            f"the folder {folder} belongs to another user, who could put another secret there; chown it to the user "
            "that runs smsgw"
        )
    if status.st_mode & (stat.S_IWGRP | stat.S_IWOTH) and not status.st_mode & stat.S_ISVTX:
        raise _writable(folder, status, "go-w")


def _check_above(folder: Path, status: os.stat_result) -> None:
    if status.st_mode & stat.S_IWOTH and not status.st_mode & stat.S_ISVTX:
        raise _writable(folder, status, "o-w")


def _writable(folder: Path, status: os.stat_result, change: str) -> SecretFileRefused:
    mode = stat.S_IMODE(status.st_mode)
    return SecretFileRefused(
        f"others can write to the folder {folder} (mode {mode:04o}), and put another secret there; run: "
        f"chmod {change} {folder}"
    )


def _ours(status: os.stat_result) -> bool:
    return status.st_uid in {os.geteuid(), 0}
