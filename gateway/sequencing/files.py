"""The log as a folder of static files (C2SP tlog-tiles), which any web server can serve.

    checkpoint                  the newest checkpoint
    tile/0/x001/x234/067        hashes;  tile/entries/... entries;  ....p/12 what is partial

The database is where the log is; these files are made of it, and made again where they are missing. A checkpoint gets
its place after all that it needs. Every file is replaced in one step. They hold hashes, times and numbers of records,
and are readable for everybody; the folder above them is not, unless somebody opens it.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path

from gateway.sequencing.errors import LogNotWritten
from gateway.tlog.notes import MAX_NOTE
from gateway.tlog.tiles import CHECKPOINT_PATH, ENTRIES, HEIGHT, MAX_LEVEL, Tile, tiles_of

STEP = 1 << 14  # leaves that are written at once: 64 tiles and as many bundles
_TILES = "tile"
_FILE_MODE, _FOLDER_MODE = 0o644, 0o755


def tiles_between(size: int, new_size: int) -> Iterator[Tile]:
    """Yield the tiles and bundles that a tree of `new_size` has and one of `size` has not."""
    for level in (ENTRIES, *range(MAX_LEVEL + 1)):
        shift = HEIGHT * max(level, 0)
        if size >> shift < new_size >> shift:
            yield from tiles_of(level, size >> shift, new_size >> shift, new_size)


class LogFiles:
    """One folder. Its methods block: they are for a thread. Raises LogNotWritten, everywhere."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @property
    def has_tiles(self) -> bool:
        """Whether there are any."""
        return (self.folder / _TILES).is_dir()

    def clear(self) -> None:
        """Remove all tiles and bundles, and the checkpoint before them."""
        try:
            (self.folder / CHECKPOINT_PATH).unlink(missing_ok=True)
            if self.has_tiles:
                shutil.rmtree(self.folder / _TILES)
        except OSError as error:
            raise LogNotWritten(f"{error.filename or self.folder}: {error.strerror}") from error

    def read_checkpoint(self) -> bytes | None:
        """Return the checkpoint that was published here last, unverified; None when there is none."""
        path = self.folder / CHECKPOINT_PATH
        try:
            with path.open("rb") as stream:
                return stream.read(MAX_NOTE + 1)
        except FileNotFoundError:
            return None
        except OSError as error:
            raise LogNotWritten(f"{path}: {error.strerror}") from error

    def write_tiles(self, tiles: Mapping[Tile, bytes]) -> None:
        """Write these. The partial ones before a full one go."""
        for tile, octets in tiles.items():
            path = self.folder / tile.path
            self._write(path, octets, sync=False)
            if tile.full:
                shutil.rmtree(f"{path}.p", ignore_errors=True)

    def write_checkpoint(self, octets: bytes) -> None:
        """Replace the checkpoint, and put it on disk: the next start believes it."""
        self._write(self.folder / CHECKPOINT_PATH, octets, sync=True)

    def _write(self, path: Path, octets: bytes, *, sync: bool) -> None:
        fresh = path.with_name(f".{path.name}.{secrets.token_hex(6)}")
        try:
            _make(path.parent, self.folder)
            descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, _FILE_MODE)
            try:
                with os.fdopen(descriptor, "wb") as stream:
                    os.fchmod(stream.fileno(), _FILE_MODE)
                    stream.write(octets)
                    stream.flush()
                    if sync:
                        os.fsync(stream.fileno())
                fresh.replace(path)
            except BaseException:
                with contextlib.suppress(OSError):
                    fresh.unlink(missing_ok=True)
                raise
        except OSError as error:
            raise LogNotWritten(f"{path}: {error.strerror}") from error


def _make(folder: Path, top: Path) -> None:
    """Make a folder below `top`, and what is missing above it."""
    if folder.is_dir():
        return
    if folder != top:
        _make(folder.parent, top)
    folder.mkdir(parents=folder == top, exist_ok=True)
    folder.chmod(_FOLDER_MODE)
