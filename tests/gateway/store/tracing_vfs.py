"""A file system for SQLite that tells what is written and synced, can hold a sync, and can fail.

It stands between SQLite and the real files (an apsw VFS), so that a test sees the order of things on disk: while `hold`
is in force no fdatasync of the write-ahead log returns, and whoever answers meanwhile answers too early.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import NamedTuple

import apsw

WAIT_S = 20.0  # at most, for anything that a test waits for


class Step(NamedTuple):
    """Something done to a file: "write" or "sync", and the end of the file's name ("-wal", or "" for the database)."""

    what: str
    file: str


class TracingVFS(apsw.VFS):
    """Registered under `name` until `close`. The attributes may be changed at any time, from any thread."""

    def __init__(self, name: str) -> None:
        super().__init__(name, "")
        self.name = name
        self.steps: list[Step] = []
        self.failing_write: type[apsw.Error] | None = None
        self.failing_sync: type[apsw.Error] | None = None
        self.failing_database_sync: type[apsw.Error] | None = None  # and not of the log
        self.failing_read: type[apsw.Error] | None = None
        self.sync_takes_s = 0.0  # each sync of the log, beside what the disk takes
        self.writes_until_failure: int | None = None  # then one write fails with FullError
        self._released = threading.Event()
        self._released.set()
        self._entered = threading.Event()

    def xOpen(self, name: str | apsw.URIFilename | None, flags: list[int]) -> apsw.VFSFile:  # noqa: N802 - SQLite's name
        """Open a file that reports to this object."""
        return _TracingFile(self, name, flags)

    def excepthook(
        self, etype: type[BaseException] | None, evalue: BaseException | None, etraceback: TracebackType | None
    ) -> bool:
        """Say nothing of errors that a test asked for: they come back from the statement."""
        return True

    @contextmanager
    def hold(self) -> Iterator[None]:
        """Keep every sync of the log from returning until the block ends."""
        self._entered.clear()
        self._released.clear()
        try:
            yield
        finally:
            self._released.set()

    def wait_for_sync(self) -> None:
        """Return when a sync is held. Blocks: not for the event loop."""
        if not self._entered.wait(WAIT_S):
            raise TimeoutError("nothing was synced")

    def count(self, what: str, file: str) -> int:
        """Return how often this was done."""
        return self.steps.count(Step(what, file))

    def close(self) -> None:
        """Unregister."""
        self._released.set()
        self.unregister()

    def note(self, step: Step) -> None:
        """Take note of a step, and fail or hold it as asked."""
        self.steps.append(step)
        failing = self.failing_write if step.what == "write" else self.failing_sync
        if step.what == "write" and self.writes_until_failure is not None:
            self.writes_until_failure -= 1
            if self.writes_until_failure < 0:
                self.writes_until_failure = None
                failing = apsw.FullError
        if step == Step("sync", ""):
            failing = failing or self.failing_database_sync
        if failing is not None:
            raise failing(f"a {step.what} that fails as the test wants it")
        if step == Step("sync", "-wal") and self.sync_takes_s:
            time.sleep(self.sync_takes_s)  # a slow disk, in the thread that waits for it
        if step == Step("sync", "-wal") and not self._released.is_set():
            self._entered.set()
            self._released.wait(WAIT_S)


class _TracingFile(apsw.VFSFile):
    def __init__(self, vfs: TracingVFS, name: str | apsw.URIFilename | None, flags: list[int]) -> None:
        super().__init__("", name, flags)
        filename = name.filename() if isinstance(name, apsw.URIFilename) else name or ""
        self._vfs = vfs
        self._file = "-wal" if filename.endswith("-wal") else ""

    def xRead(self, amount: int, offset: int) -> bytes:  # noqa: N802 - SQLite's name
        """Read, or fail."""
        if self._vfs.failing_read is not None:
            raise self._vfs.failing_read("a read that fails as the test wants it")
        return super().xRead(amount, offset)

    def xWrite(self, data: bytes, offset: int) -> None:  # noqa: N802 - SQLite's name
        """Note it, and write."""
        self._vfs.note(Step("write", self._file))
        super().xWrite(data, offset)

    def xSync(self, flags: int) -> None:  # noqa: N802 - SQLite's name
        """Sync, and note it: a held sync has reached the disk and does not return."""
        super().xSync(flags)
        self._vfs.note(Step("sync", self._file))
