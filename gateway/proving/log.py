"""The log as it is needed for proofs: read, in whatever place it is kept."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

from gateway.store.sequencing import LogHead, LogTile
from gateway.tlog.merkle import HASH_BYTES
from gateway.tlog.tiles import Tile


class ProofLog(Protocol):
    """A log that grows meanwhile. Both raise Unavailable when it cannot be read."""

    async def checkpoint(self) -> bytes:
        """Return the newest checkpoint that has been signed, with its cosignatures; none before the first."""

    async def tiles(self, tiles: Sequence[Tile]) -> Mapping[Tile, bytes]:
        """Return these tiles, in the width that is asked for: also when a partial one has grown since. One that is not
        there is left out."""


class LogStore(Protocol):
    """The part of the store that is needed here (`gateway.store.sequencing.SequencingStore`)."""

    async def log_head(self) -> LogHead:
        """Return the log as it stands."""

    async def log_tiles(self, places: Sequence[tuple[int, int]]) -> list[LogTile]:
        """Return the tiles at these places (level, number), as they are now."""


class StoredLog:
    """The log that this node's store keeps, whichever node appends to it."""

    def __init__(self, store: LogStore) -> None:
        self._store = store

    async def checkpoint(self) -> bytes:
        """Return the newest checkpoint; none before the first."""
        return (await self._store.log_head()).checkpoint

    async def tiles(self, tiles: Sequence[Tile]) -> Mapping[Tile, bytes]:
        """Return these tiles, in the width that is asked for."""
        stored = await self._store.log_tiles([(tile.level, tile.number) for tile in tiles])
        octets = {(tile.level, tile.number): tile.octets for tile in stored}
        return {
            tile: octets[tile.level, tile.number][: tile.width * HASH_BYTES]
            for tile in tiles
            if (tile.level, tile.number) in octets
        }
