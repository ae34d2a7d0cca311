"""The log as it is needed for proofs: read, in whatever place it is kept."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from gateway.errors import Unavailable
from gateway.store.sequencing import LogHead, LogTile
from gateway.tlog.checkpoints import parse_text
from gateway.tlog.cosignatures import require_quorum
from gateway.tlog.errors import TlogError
from gateway.tlog.merkle import HASH_BYTES
from gateway.tlog.notes import VerifyingKey, parse
from gateway.tlog.tiles import Tile

_NOT_READY = "PROOF_NOT_READY"


class ProofLog(Protocol):
    """A log that grows meanwhile. Both raise Unavailable when it cannot be read."""

    async def checkpoint(self, covering: int) -> bytes:
        """Return a signed checkpoint of `covering` commits or more, with as many cosignatures as are asked for: the
        newest. Raises Unavailable (PROOF_NOT_READY) while there is none: that passes."""

    async def tiles(self, tiles: Sequence[Tile]) -> Mapping[Tile, bytes]:
        """Return these tiles, in the width that is asked for: also when a partial one has grown since. One that is not
        there is left out."""


class LogStore(Protocol):
    """The part of the store that is needed here (`gateway.store.sequencing.SequencingStore`)."""

    async def log_head(self) -> LogHead:
        """Return the log as it stands."""

    async def log_tiles(self, places: Sequence[tuple[int, int]]) -> list[LogTile]:
        """Return the tiles at these places (level, number), as they are now."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What a checkpoint has to be to be shown: of this log, and cosigned by `required` of these witnesses."""

    origin: str
    witnesses: tuple[VerifyingKey, ...] = ()
    required: int = 0

    def covers(self, octets: bytes, size: int) -> bool:
        """Say whether a stored checkpoint is of this log, and of so many commits or more."""
        try:
            found = parse_text(parse(octets).text)
        except TlogError:
            return False
        return found.origin == self.origin and found.size >= size

    def cosigned(self, octets: bytes) -> bool:
        """Say whether a stored checkpoint has the cosignatures: it may have been stored when others were asked for."""
        try:
            require_quorum(parse(octets), self.witnesses, self.required)
        except TlogError:
            return False
        return True


class StoredLog:
    """The log that this node's store keeps, whichever node appends to it."""

    def __init__(self, store: LogStore, asked: Asked) -> None:
        self._store, self._asked = store, asked

    async def checkpoint(self, covering: int) -> bytes:
        """Return the newest checkpoint that covers so many commits and may be shown."""
        head, asked = await self._store.log_head(), self._asked
        if asked.covers(head.cosigned, covering) and asked.cosigned(head.cosigned):
            return head.cosigned
        if not asked.covers(head.checkpoint, covering):
            raise not_ready()
        if not asked.cosigned(head.checkpoint):
            raise _not_cosigned(asked.required)
        return head.checkpoint

    async def tiles(self, tiles: Sequence[Tile]) -> Mapping[Tile, bytes]:
        """Return these tiles, in the width that is asked for."""
        stored = await self._store.log_tiles([(tile.level, tile.number) for tile in tiles])
        octets = {(tile.level, tile.number): tile.octets for tile in stored}
        return {
            tile: octets[tile.level, tile.number][: tile.width * HASH_BYTES]
            for tile in tiles
            if (tile.level, tile.number) in octets
        }


def not_ready() -> Unavailable:
    """Return the error for what the log has not taken up yet."""
    return Unavailable("the log has not taken up all records of this message yet: retry", reason=_NOT_READY)


def _not_cosigned(required: int) -> Unavailable:
    text = f"no checkpoint that covers all records of this message is cosigned by {required} witnesses yet: retry"
    return Unavailable(text, reason=_NOT_READY)
