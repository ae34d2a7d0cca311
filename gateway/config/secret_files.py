"""Reads secrets from files of their own, and refuses files that others can read.

A secret file is a regular file, owned by this user or by root, that neither group nor others may read or write.
"""

from __future__ import annotations

import os
import stat
from pathlib import Path


class SecretFileRefused(Exception):
    """A secret cannot be taken from its file; the text says why and what to do."""


def read_secret_file(file: Path, *, max_bytes: int) -> bytes:
    """Return the octets of a secret file, at most `max_bytes`. Raises SecretFileRefused.

    The open file is what is checked, so that it cannot be exchanged in between.
    """
    try:
        descriptor = os.open(file, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except FileNotFoundError:
        raise SecretFileRefused(f"{file} does not exist") from None
    except OSError as error:
        raise SecretFileRefused(f"{file} cannot be read: {error.strerror}") from None
    try:
        _check(file, os.fstat(descriptor))
        with os.fdopen(descriptor, "rb", closefd=False) as stream:
            octets = stream.read(max_bytes + 1)
    finally:
        os.close(descriptor)
    if len(octets) > max_bytes:
        raise SecretFileRefused(f"{file} is longer than {max_bytes} bytes")
    return octets


def _check(file: Path, status: os.stat_result) -> None:
    if not stat.S_ISREG(status.st_mode):
        raise SecretFileRefused(f"{file} is not a regular file")
    if status.st_uid not in {os.geteuid(), 0}:
        raise SecretFileRefused(f"{file} belongs to another user; chown it to the user that runs smsgw")
    if status.st_mode & (stat.S_IRWXG | stat.S_IRWXO):
        mode = stat.S_IMODE(status.st_mode)
        raise SecretFileRefused(f"{file} can be used by others (mode {mode:04o}); run: chmod 600 {file}")
