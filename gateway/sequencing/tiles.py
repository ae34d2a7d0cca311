"""Tiles as the store has them, at the width that a tree of some size has: for proofs, and for the files."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Protocol

from gateway.sequencing.errors import LogBroken
from gateway.store.sequencing import LogTile
from gateway.tlog.errors import MalformedLog
from gateway.tlog.merkle import HASH_BYTES
from gateway.tlog.tiles import Tile, bundle, split_bundle


class TileStore(Protocol):
    """The part of the store that is needed here (`gateway.store.sequencing.SequencingStore`)."""

    async def log_tiles(self, places: Sequence[tuple[int, int]]) -> list[LogTile]:
        """Return the tiles at these places."""


async def fetch(store: TileStore, tiles: Iterable[Tile]) -> dict[Tile, bytes]:
    """Return the octets of these tiles. Raises LogBroken for one that is missing or narrower: it is named."""
    wanted = list(tiles)
    found = {(one.level, one.number): one for one in await store.log_tiles([tile[:2] for tile in wanted])}
    return {tile: _cut(tile, found.get(tile[:2])) for tile in wanted}


def _cut(tile: Tile, stored: LogTile | None) -> bytes:
    """Return the first hashes, or entries, of a stored tile that may have grown since."""
    if stored is None or stored.width < tile.width:
        raise LogBroken(f"{tile.path} of the log is missing")
    try:
        if tile.level < 0:
            return bundle(split_bundle(Tile(*tile[:2], stored.width), stored.octets)[: tile.width])
    except MalformedLog as error:
        raise LogBroken(f"the log is damaged: {error}") from error
    if len(stored.octets) != stored.width * HASH_BYTES:
        raise LogBroken(f"{tile.path} of the log has another length than it says")
    return stored.octets[: tile.width * HASH_BYTES]
