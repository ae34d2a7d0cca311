"""The transparency log in the database: its one row of a head, its tiles, and the coroutines of
`gateway.store.sequencing.SequencingStore`.

A step compares epoch and size and sets them in the same statement: of two that think they may, one changes a row.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from gateway.store.engine.calls import Calls
from gateway.store.engine.database import Look
from gateway.store.engine.transaction import Transaction
from gateway.store.engine.writer import Kind
from gateway.store.sequencing import LogAppend, LogHead, LogPrune, LogPublish, LogTile

MAX_TILES = 512  # of one look-up: 4 MiB


class _Lease(NamedTuple):
    holder: str
    epoch: int
    ttl: int


def _lease(tx: Transaction, batch: Sequence[_Lease]) -> list[LogHead | None]:
    found: list[LogHead | None] = []
    for lease in batch:
        rows = tx.sql.sequencing.lease.fetch(tx.db, lease)
        found.append(LogHead._make(rows[0]) if rows else None)
    return found


def _release(tx: Transaction, batch: Sequence[int]) -> list[None]:
    for epoch in batch:
        tx.sql.sequencing.release.change(tx.db, (epoch,))
    return [None] * len(batch)


def _append(tx: Transaction, batch: Sequence[LogAppend]) -> list[bool]:
    done: list[bool] = []
    for step in batch:
        may = tx.sql.sequencing.advance.change(tx.db, (step.new_size, step.epoch, step.size)) > 0
        if may:
            tx.sql.sequencing.put.run(tx.db, step.tiles)
        done.append(may)
    return done


def _publish(tx: Transaction, batch: Sequence[LogPublish]) -> list[bool]:
    publish = tx.sql.sequencing.publish
    return [publish.change(tx.db, (step.checkpoint, step.size, step.epoch)) > 0 for step in batch]


def _cosigned(tx: Transaction, batch: Sequence[LogPublish]) -> list[bool]:
    keep = tx.sql.sequencing.cosigned
    return [keep.change(tx.db, (step.checkpoint, step.size, step.epoch)) > 0 for step in batch]


def _prune(tx: Transaction, batch: Sequence[LogPrune]) -> list[bool]:
    done: list[bool] = []
    for step in batch:
        may = tx.sql.sequencing.allow_prune.change(tx.db, (step.seq, step.epoch)) > 0
        if may:  # the head says first what may go: the triggers let nothing else
            tx.sql.sequencing.prune.change(tx.db, (step.seq,))
        done.append(may)
    return done


def _read_head(look: Look) -> LogHead:
    (row,) = look.sql.sequencing.head.fetch(look.db)
    return LogHead._make(row)


def _read_tiles(look: Look, places: Sequence[tuple[int, int]]) -> list[LogTile]:
    found: list[LogTile] = []
    for first in range(0, len(places), MAX_TILES):
        rows = look.sql.sequencing.tiles.find(look.db, list(places[first : first + MAX_TILES]))
        found += [LogTile._make(row[1:]) for row in rows]
    return found


_LEASE = Kind(30, "log_lease", _lease)
_RELEASE = Kind(31, "log_release", _release)
_APPEND = Kind(32, "log_append", _append)
_PUBLISH = Kind(33, "log_publish", _publish)
_PRUNE = Kind(34, "log_prune", _prune)
_COSIGNED = Kind(35, "log_cosigned", _cosigned)


class SequencingCalls(Calls):
    """What the sequencer of the log asks."""

    async def log_lease(self, holder: str, epoch: int, ttl: int) -> LogHead | None:
        """Take the lease, or keep it; None while another holds it."""
        head: LogHead | None = await self._write(_LEASE, [_Lease(holder, epoch, ttl)], single=True)
        return head

    async def log_release(self, epoch: int) -> None:
        """Give the lease back, if it is still held under this epoch."""
        await self._write(_RELEASE, [epoch], single=True)

    async def log_append(self, step: LogAppend) -> bool:
        """Append leaves; False when the lease is another's, or the log has another size."""
        done: bool = await self._write(_APPEND, [step], single=True)
        return done

    async def log_publish(self, step: LogPublish) -> bool:
        """Keep a checkpoint; False when the lease is another's, or the log is not as large."""
        done: bool = await self._write(_PUBLISH, [step], single=True)
        return done

    async def log_cosigned(self, step: LogPublish) -> bool:
        """Keep a cosigned checkpoint; False when the lease is another's, or one of more leaves is kept."""
        done: bool = await self._write(_COSIGNED, [step], single=True)
        return done

    async def log_prune(self, step: LogPrune) -> bool:
        """Delete records of commits that the log has."""
        done: bool = await self._write(_PRUNE, [step], single=True)
        return done

    async def log_head(self) -> LogHead:
        """Return the log as it stands."""
        head: LogHead = await self._read(_read_head)
        return head

    async def log_tiles(self, places: Sequence[tuple[int, int]]) -> list[LogTile]:
        """Return the tiles at these places, as they are now."""
        tiles: list[LogTile] = await self._read(lambda look: _read_tiles(look, places))
        return tiles
