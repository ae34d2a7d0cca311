"""A log as a folder of static files (C2SP tlog-tiles), or a copy of one: its checkpoint, entries and tiles, read."""

from __future__ import annotations

from pathlib import Path

from gateway.tlog.checkpoints import parse_text
from gateway.tlog.entries import Entry, decode
from gateway.tlog.errors import MalformedLog
from gateway.tlog.notes import MAX_NOTE, parse
from gateway.tlog.tiles import CHECKPOINT_PATH, ENTRIES, MAX_ENTRY, WIDTH, Tile, split_bundle, width_at

_MAX_FILE = WIDTH * (MAX_ENTRY + 2)


class NoLog:
    """Where nothing of the log is at hand but checkpoints."""

    def entry(self, _index: int) -> None:
        """There is none."""

    def tile(self, _tile: Tile) -> None:
        """There is none."""


class LogFolder:
    """One folder. What cannot be read in it is as good as missing: whoever compares finds that out."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.note = self._read(CHECKPOINT_PATH, MAX_NOTE) or b""
        self.size = _size(self.note)
        self._bundle: tuple[int, list[bytes]] = (-1, [])  # the one that was read last

    def entry(self, index: int) -> Entry | None:
        """Return the entry at `index`; None beyond the last, and where nothing can be read."""
        number, at = divmod(index, WIDTH)
        if number != self._bundle[0]:
            self._bundle = number, self._entries(number)
        entries = self._bundle[1]
        try:
            return decode(entries[at]) if at < len(entries) else None
        except MalformedLog:
            return None

    def tile(self, tile: Tile) -> bytes | None:
        """Return a tile as it is stored; None where there is none."""
        return self._read(tile.path, _MAX_FILE)

    def _entries(self, number: int) -> list[bytes]:
        width = width_at(ENTRIES, number, self.size)
        bundle = Tile(ENTRIES, number, width)
        octets = self._read(bundle.path, _MAX_FILE) if width else None
        try:
            return [] if octets is None else split_bundle(bundle, octets)
        except MalformedLog:
            return []

    def _read(self, path: str, at_most: int) -> bytes | None:
        try:
            with (self.folder / path).open("rb") as stream:
                return stream.read(at_most + 1)
        except OSError:
            return None


def _size(note: bytes) -> int:
    """Return how many entries a checkpoint says that there are, nothing of it verified; 0 for none."""
    try:
        return parse_text(parse(note).text).size
    except MalformedLog:
        return 0
