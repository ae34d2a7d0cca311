"""The database's files: who may read them, and that one node alone uses them."""

from __future__ import annotations

import fcntl
import os
import stat
from pathlib import Path

from gateway.errors import StoreUnavailable


class NodeLock:
    """Held from `open` to `close`: one node for one database file. The kernel frees it when the process dies."""

    def __init__(self, database: Path) -> None:
        self.path = database.with_name(database.name + ".lock")
        self._file: int | None = None

    def take(self) -> None:
        """Lock. Raises StoreUnavailable when another node holds it."""
        descriptor = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            holder = os.read(descriptor, 32).decode("ascii", "replace").strip() or "unknown"
            os.close(descriptor)
            raise StoreUnavailable(
                f"the database of {self.path} is in use by another node (process {holder}): stop it, or give this node"
                " a database of its own"
            ) from error
        os.ftruncate(descriptor, 0)
        os.write(descriptor, b"%d\n" % os.getpid())
        self._file = descriptor

    def free(self) -> None:
        """Unlock. Idempotent."""
        if self._file is not None:
            os.close(self._file)
            self._file = None


def prepare(database: Path) -> None:
    """Create the directory (0700) and the file (0600) where they are missing, and close an open file to others.

    SQLite gives its log and its index of the log the mode of the database. Raises StoreUnavailable when the directory
    could be written by others: they could put another database in place of this one.
    """
    try:
        database.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        mode = database.parent.stat().st_mode
        if mode & (stat.S_IWGRP | stat.S_IWOTH):
            raise StoreUnavailable(
                f"the directory {database.parent} can be written by others (mode {mode & 0o7777:04o}): chmod 700 it"
            )
        os.close(os.open(database, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
        for suffix in ("", "-wal", "-shm"):
            path = Path(f"{database}{suffix}")
            if path.exists() and path.stat().st_mode & 0o077:
                path.chmod(0o600)
    except OSError as error:
        raise StoreUnavailable(f"the database {database} cannot be opened: {error.strerror}") from error
