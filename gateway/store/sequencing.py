"""The part of the store's contract that serves the transparency log over the audit: its head, its tiles, its lease.

The commits of the audit get their order from the database, and the log takes them in that order (`audit_read`): leaf n
is commit n + 1. What is kept here is what was made of them. Tiles are octets to the store; a tile is replaced while it
is partial, and stays when it is full.

There is one sequencer in a deployment. It holds a lease, by the database's clock, under an epoch: each time somebody
else takes the lease over the epoch rises, and what comes under an older one changes nothing. So a sequencer that was
paused, or cut off, cannot append beside its successor. See `gateway.store.contract` for what holds of every call.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, Protocol

NO_EPOCH = -1  # of who holds no lease yet


class LogHead(NamedTuple):
    """The log as it stands. `checkpoint`: the newest signed note, b"" before the first. `pruned`: commits up to this
    one may be gone from the audit; the log has their leaves. `cosigned`: the newest note that enough witnesses have
    cosigned, b"" before the first."""

    epoch: int
    holder: str
    size: int
    checkpoint: bytes
    pruned: int
    cosigned: bytes = b""


class LogTile(NamedTuple):
    """A tile, or a bundle of entries (`gateway.tlog.tiles.ENTRIES`), with as many hashes or entries as `width` says."""

    level: int
    number: int
    width: int
    octets: bytes


class LogAppend(NamedTuple):
    """Leaves behind the first `size`: what changed of the tiles. Nothing changes unless the log has this size still,
    and `epoch` is that of the lease."""

    epoch: int
    size: int
    new_size: int
    tiles: tuple[LogTile, ...]


class LogPublish(NamedTuple):
    """A signed checkpoint of `size` leaves, not fewer than that of the one before. Of the holder of the lease."""

    epoch: int
    size: int
    checkpoint: bytes


class LogPrune(NamedTuple):
    """Commits up to `seq`, which the log has: their records are deleted. Of the holder of the lease."""

    epoch: int
    seq: int


class SequencingStore(Protocol):
    """What `Store` does for the log. False: the lease is another's now, or the log is not as the call thinks."""

    async def log_lease(self, holder: str, epoch: int, ttl: int) -> LogHead | None:
        """Take the lease for `ttl` microseconds from now, or keep it. None while another holds it.

        `epoch`: NO_EPOCH to take it, which somebody of the same name may at once; else that under which it is held.
        """

    async def log_release(self, epoch: int) -> None:
        """Give the lease back, if it is still held under this epoch."""

    async def log_append(self, step: LogAppend) -> bool:
        """Append leaves: sizes and tiles change together."""

    async def log_publish(self, step: LogPublish) -> bool:
        """Keep a checkpoint."""

    async def log_cosigned(self, step: LogPublish) -> bool:
        """Keep a checkpoint that enough witnesses have cosigned, beside the newest."""

    async def log_prune(self, step: LogPrune) -> bool:
        """Delete records of commits, of as many as one step is good for; the newest commit always stays."""

    async def log_head(self) -> LogHead:
        """Return the log as it stands, whoever holds the lease."""

    async def log_tiles(self, places: Sequence[tuple[int, int]]) -> list[LogTile]:
        """Return the tiles at these places (level, number), as they are now; those that are missing are left out."""
