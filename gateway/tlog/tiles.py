"""Tiles: the hashes of a tree in files of up to 256, and its entries in bundles of as many (C2SP tlog-tiles).

Tile `number` of a level has the hashes of the complete subtrees of 256^level leaves from `number` * 256 on; a full
one is one hash of the level above. Entry bundles stand beside the tiles of level 0.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from gateway.tlog.errors import MalformedLog
from gateway.tlog.merkle import HASH_BYTES, MAX_SIZE

HEIGHT = 8
WIDTH = 1 << HEIGHT
MAX_LEVEL = 7  # the hashes of level 7 stand for 2^56 leaves each: more levels than MAX_SIZE has
MAX_ENTRY = 0xFFFF  # octets
ENTRIES = -1  # the level of entry bundles, where tiles and bundles are told apart by it
CHECKPOINT_PATH = "checkpoint"

_PATH = re.compile(
    r"tile/(?P<level>entries|[0-9]|[1-5][0-9]|6[0-3])/(?P<index>(?:x[0-9]{3}/){0,6}[0-9]{3})"
    r"(?:\.p/(?P<width>[1-9][0-9]{0,2}))?",
    re.ASCII,
)
_MAX_PATH = 64  # octets


class Tile(NamedTuple):
    """Which tile, or (at level ENTRIES) which bundle of entries. `width`: how many hashes, or entries, 1 to 256."""

    level: int
    number: int
    width: int

    @property
    def path(self) -> str:
        """Where it stands below the log's prefix."""
        groups = [f"{self.number % 1000:03}"]
        rest = self.number // 1000
        while rest:
            groups.append(f"x{rest % 1000:03}")
            rest //= 1000
        level = "entries" if self.level == ENTRIES else str(self.level)
        partial = f".p/{self.width}" if self.width < WIDTH else ""
        return f"tile/{level}/{'/'.join(reversed(groups))}{partial}"

    @property
    def full(self) -> bool:
        """Whether it will never change."""
        return self.width == WIDTH


def parse_path(path: str) -> Tile:
    """Return the tile that stands at `path`. Raises MalformedLog for what is no such path, or not in its one form."""
    match = _PATH.fullmatch(path) if len(path) <= _MAX_PATH else None
    if match is None:
        raise MalformedLog("it is no path of a tile")
    level = ENTRIES if match["level"] == "entries" else int(match["level"])
    tile = Tile(level, int(match["index"].replace("x", "").replace("/", "")), int(match["width"] or WIDTH))
    if tile.path != path or (match["width"] and tile.full):
        raise MalformedLog("it is no path of a tile in its shortest form")
    return tile


def width_at(level: int, number: int, size: int) -> int:
    """Return how many hashes tile `number` of `level` has in a tree of `size` leaves: 0 to 256."""
    hashes = size >> (HEIGHT * max(level, 0))
    return min(max(hashes - number * WIDTH, 0), WIDTH)


def tiles_of(level: int, first: int, end: int, size: int) -> Iterator[Tile]:
    """Yield the tiles that the hashes `first` to `end` (excluded) of a level stand in, in a tree of `size` leaves."""
    for number in range(first // WIDTH, -(-end // WIDTH)):
        yield Tile(level, number, width_at(level, number, size))


def edge_of(size: int) -> Iterator[Tile]:
    """Yield the partial tiles of a tree of `size` leaves: at most one a level, the lowest first."""
    if not 0 <= size <= MAX_SIZE:
        raise MalformedLog(f"no tree has {size} leaves")
    for level in range(MAX_LEVEL + 1):
        hashes = size >> (HEIGHT * level)
        if hashes % WIDTH:
            yield Tile(level, hashes // WIDTH, hashes % WIDTH)


def split_tile(tile: Tile, octets: bytes) -> list[bytes]:
    """Return the hashes of a tile. Raises MalformedLog when it has another number of them."""
    if len(octets) != tile.width * HASH_BYTES:
        raise MalformedLog(f"{tile.path} has {len(octets)} octets instead of {tile.width * HASH_BYTES}")
    return [octets[at : at + HASH_BYTES] for at in range(0, len(octets), HASH_BYTES)]


def bundle(entries: Sequence[bytes]) -> bytes:
    """Return entries as they stand in a bundle. Raises MalformedLog for an entry that is too long."""
    if any(len(entry) > MAX_ENTRY for entry in entries):
        raise MalformedLog(f"an entry has more than {MAX_ENTRY} octets")
    return b"".join(len(entry).to_bytes(2, "big") + entry for entry in entries)


def split_bundle(tile: Tile, octets: bytes) -> list[bytes]:
    """Return the entries of a bundle. Raises MalformedLog when it has another number of them, or ends within one."""
    entries: list[bytes] = []
    at, end = 0, len(octets)
    while at < end:
        start = at + 2
        at = start + int.from_bytes(octets[at:start], "big")
        if start > end or at > end or len(entries) == tile.width:
            raise MalformedLog(f"{tile.path} does not end with its last entry")
        entries.append(octets[start:at])
    if len(entries) != tile.width:
        raise MalformedLog(f"{tile.path} has {len(entries)} entries instead of {tile.width}")
    return entries
