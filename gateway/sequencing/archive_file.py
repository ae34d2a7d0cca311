"""An archive in a file: a line is added for each checkpoint, and on disk before the next."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

from gateway.sequencing.archive_forms import MAX_LINE, line_of
from gateway.sequencing.archiving import Archived
from gateway.sequencing.errors import NotArchived

_FLAGS = os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
_TAIL = 2 * MAX_LINE


class FileArchive:
    """The file is opened for each line, so that it can be moved away."""

    def __init__(self, path: Path) -> None:
        self._path = path

    async def put(self, one: Archived) -> None:
        """Add a line. Raises NotArchived."""
        await asyncio.to_thread(self._put, line_of(one))

    async def close(self) -> None:
        """Nothing is held."""

    def _put(self, line: bytes) -> None:
        try:
            descriptor = os.open(self._path, _FLAGS, 0o600)
            try:
                size = os.fstat(descriptor).st_size
                if size and os.pread(descriptor, 1, size - 1) != b"\n":
                    line = b"\n" + line  # one that a crash cut off stays what it is
                written = os.write(descriptor, line)
                os.fsync(descriptor)
            finally:
                os.close(descriptor)
        except OSError as error:
            raise NotArchived(f"{self._path}: {error.strerror}") from error
        if written != len(line):
            raise NotArchived(f"{self._path}: the disk is full")


def last_lines(path: Path) -> list[bytes]:
    """Return the whole lines at the end of an archive, the newest last; none when there is no file. Raises OSError."""
    try:
        with path.open("rb") as stream:
            size = stream.seek(0, os.SEEK_END)
            stream.seek(max(0, size - _TAIL))
            octets = stream.read(_TAIL)
    except FileNotFoundError:
        return []
    lines = octets.split(b"\n")[:-1]  # what is behind the last newline was cut off
    return [line for line in (lines[1:] if size > _TAIL else lines) if line]
