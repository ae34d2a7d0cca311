"""Wrapped data keys in a folder of its own, with one file of lines for each UTC day.

The key id names the day, and so the file. New keys are appended; what changes a line writes the file anew beside it and
renames it, so that a crash leaves the old file or the new one. Who writes holds a lock on the folder (flock), whatever
its process. A line that a crash cut short belongs to a key that was never used: it is left behind, and the next line
begins anew.

What was in a file's old blocks is the disk's business until it uses them again: see docs/keys.md.
"""

from __future__ import annotations

import contextlib
import fcntl
import mmap
import os
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Collection, Iterator, Sequence
from datetime import date
from pathlib import Path

from gateway.errors import StoreCorrupt
from gateway.sealing.keyring import (
    EVERY_KEY,
    KeyRecord,
    KeyringUnavailable,
    Rewrap,
    Selection,
    Tombstone,
    WrappedKey,
    day_of,
    destroyed,
)
from gateway.sealing.keyring_lines import MAX_LINE_BYTES, line_of, record_of, words_of

WRAPPED_KEYS = "keys-wrapped"  # the folder's name in the data folder

_SUFFIX = ".keys"
_BEGUN = ".rewriting"  # of a file that takes another's place when it is whole
_MAX_FILE_BYTES = 256 << 20  # a million keys
_LOCK_S = 10.0
_LOOK_S = 0.02

_Change = Callable[[KeyRecord], KeyRecord | None]


class FolderKeyring:
    """The folder of wrapped keys (`gateway.sealing.keyring.Keyring`)."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._writing = threading.Lock()

    @property
    def name(self) -> str:
        """The folder."""
        return str(self.folder)

    def append(self, keys: Sequence[WrappedKey]) -> None:
        """Put `keys` on disk: file and folder are synced on return. Raises KeyringUnavailable; use none of them then.

        All keys of one call were made on the same UTC day, which their ids name.
        """
        if not keys:
            return
        path = self._file(day_of(keys[0].key_id))
        lines = b"".join(line_of(key) for key in keys)
        with self._locked(f"written to {path}"):
            _append(path, lines)

    def find(self, key_id: bytes) -> KeyRecord | None:
        """Return a key's record, None when there is none. Raises KeyringUnavailable, StoreCorrupt."""
        path = self._file(day_of(key_id))
        try:
            line = _line_with(path, words_of(key_id))
        except FileNotFoundError:
            return None
        except OSError as error:
            raise KeyringUnavailable(f"wrapped keys cannot be read from {path}: {error.strerror}") from error
        if line is None:
            return None
        record = record_of(line)
        if record is None or record.key_id != key_id:
            raise StoreCorrupt(
                f"the data key {key_id.hex()} cannot be read: its line in {path} is damaged; restore it from a copy"
            )
        return record

    def records(self, which: Selection = EVERY_KEY) -> Iterator[KeyRecord]:
        """Yield the records that are meant and can be read, oldest file first. Raises KeyringUnavailable."""
        try:
            for day in self._days():
                for record in map(record_of, _lines(self._file(day)) if which.has_day(day) else ()):
                    if record is not None and which.has(record):
                        yield record
        except OSError as error:
            raise KeyringUnavailable(f"wrapped keys cannot be read from {self.folder}: {error.strerror}") from error

    def newest_days(self, count: int) -> list[date]:
        """Return the newest days of which there are keys, newest last. Raises KeyringUnavailable."""
        try:
            return self._days()[-count:]
        except OSError as error:
            raise KeyringUnavailable(f"wrapped keys cannot be read from {self.folder}: {error.strerror}") from error

    def rewrap(self, changes: Sequence[Rewrap]) -> int:
        """Put each new wrap in the place of the old one, unless another is there by now; how many were replaced.

        Raises KeyringUnavailable.
        """
        wanted = {change.key_id: change for change in changes}

        def change(record: KeyRecord) -> KeyRecord | None:
            made = wanted.get(record.key_id)
            if made is None or not isinstance(record, WrappedKey) or record.wrapped != made.old:
                return None
            return record._replace(wrapped=made.new)

        return len(self._change(wanted, change))

    def destroy(self, key_ids: Collection[bytes], stone: Tombstone) -> list[bytes]:
        """Destroy keys for good, and leave the tombstone; the ids of those that were not destroyed yet.

        Raises KeyringUnavailable.
        """
        wanted = frozenset(key_ids)

        def change(record: KeyRecord) -> KeyRecord | None:
            if record.key_id not in wanted or not isinstance(record, WrappedKey):
                return None
            return destroyed(record, stone)

        return self._change(wanted, change)

    def close(self) -> None:
        """Nothing is held."""

    def _change(self, key_ids: Collection[bytes], change: _Change) -> list[bytes]:
        """Write the files of these keys anew, with their records changed; the ids of those that were."""
        days: dict[date, set[bytes]] = defaultdict(set)
        for key_id in key_ids:
            days[day_of(key_id)].add(key_id)
        changed: list[bytes] = []
        with self._locked(f"rewritten in {self.folder}"):
            for begun in self.folder.glob(f"*{_BEGUN}"):  # a crash left it; it may hold what is to be destroyed
                begun.unlink()
            _sync(self.folder)
            for day, wanted in sorted(days.items()):
                changed += self._rewrite(self._file(day), wanted, change)
        return changed

    def _rewrite(self, path: Path, wanted: set[bytes], change: _Change) -> list[bytes]:
        """Write one file anew, and put it in its place when it is on disk."""
        if not path.exists():
            return []
        changed: list[bytes] = []
        begun = path.with_suffix(_BEGUN)
        descriptor = os.open(begun, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        with os.fdopen(descriptor, "wb") as stream:
            for line in _lines(path):
                record = record_of(line)
                new = change(record) if record is not None and record.key_id in wanted else None
                if new is not None:
                    changed.append(new.key_id)
                stream.write(line if new is None else line_of(new))
            stream.flush()
            os.fsync(stream.fileno())
        if changed:
            begun.rename(path)
        else:
            begun.unlink()
        _sync(self.folder)
        return changed

    def _file(self, day: date) -> Path:
        return self.folder / f"{day.isoformat()}{_SUFFIX}"

    def _days(self) -> list[date]:
        days = []
        for file in self.folder.glob(f"*{_SUFFIX}"):
            with contextlib.suppress(ValueError):  # a file of somebody else's
                days.append(date.fromisoformat(file.stem))
        return sorted(days)

    @contextlib.contextmanager
    def _locked(self, doing: str) -> Iterator[None]:
        """Keep every other writer of the folder out. Raises KeyringUnavailable, also for what fails inside."""
        with self._writing:
            try:
                self._make_folder()
                descriptor = os.open(self.folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
                try:
                    _lock(descriptor)
                    yield
                finally:
                    os.close(descriptor)  # the lock goes with it
            except OSError as error:
                raise KeyringUnavailable(f"wrapped keys cannot be {doing}: {error.strerror or error}") from error

    def _make_folder(self) -> None:
        if self.folder.is_dir():
            return
        self.folder.mkdir(mode=0o700, parents=True)
        _sync(self.folder.parent)


def _lock(descriptor: int) -> None:
    """Take the folder's lock. Raises TimeoutError when somebody else keeps it."""
    until = time.monotonic() + _LOCK_S
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() > until:
                raise TimeoutError("another process keeps the folder locked") from None
            time.sleep(_LOOK_S)
        else:
            return


def _append(path: Path, lines: bytes) -> None:
    descriptor = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    try:
        size = os.fstat(descriptor).st_size
        if size + len(lines) > _MAX_FILE_BYTES:
            raise KeyringUnavailable(f"{path} is full ({size} bytes): this node has made too many keys today")
        if size and os.pread(descriptor, 1, size - 1) != b"\n":
            lines = b"\n" + lines
        rest = memoryview(lines)
        while rest:
            rest = rest[os.write(descriptor, rest) :]
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    if not size:
        _sync(path.parent)


def _sync(folder: Path) -> None:
    """Put a folder's entries on disk."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _lines(path: Path) -> Iterator[bytes]:
    with path.open("rb") as stream:
        while line := stream.readline(MAX_LINE_BYTES):
            yield line


def _line_with(path: Path, words: bytes) -> bytes | None:
    """Return the first line of a file that has `words` in it. The file is mapped: it may be large."""
    with path.open("rb") as stream:
        if not os.fstat(stream.fileno()).st_size:
            return None
        with mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ) as text:
            at = text.find(words)
            if at < 0:
                return None
            start = text.rfind(b"\n", max(0, at - MAX_LINE_BYTES), at) + 1
            end = text.find(b"\n", at, at + MAX_LINE_BYTES)
            return text[start : end if end >= 0 else at + MAX_LINE_BYTES]
