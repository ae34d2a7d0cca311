"""Do audit, log and signed checkpoints agree? Looked at when a node starts, before it does anything.

    checkpoints    those in the database, in the folder and in archive files, against the tree that is stored
    recent part    the newest commits whole: each against its entry, its leaf and the tiles above
    older parts    by the hashes of tiles: each full tile against its hash in the tile above

It is bounded, so that a start is: some thousand commits and some thousand tiles. The rest is looked at while the node
runs (`gateway.sequencing.scrubbing`), and by `smsgw audit verify`. What is found is named: which commit, and which
record where that can be told.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

from gateway.sequencing.comparing import compare, leaves_of, stored, torn, wrong_roots
from gateway.sequencing.errors import LogBroken
from gateway.sequencing.growth import HINTS, StoredCommit
from gateway.sequencing.notary import Notary
from gateway.sequencing.tiles import TileStore, fetch
from gateway.store.sequencing import LogHead
from gateway.tlog.errors import TlogError
from gateway.tlog.tiles import ENTRIES, HEIGHT, MAX_LEVEL, WIDTH, Tile, tiles_of

RECENT = 2_048  # commits that are read whole
RECENT_OCTETS = 32 << 20
TILES = 512  # of each level, the newest, that are held against the one above
WAS_IT_PUT_BACK = (
    "Was a backup put back? Then this log has ended: give audit.log.origin another name (docs/audit.md, A log that has"
    " ended)"
)
MOST = 20  # findings that are told
_PAGE = 256


class CheckedStore(TileStore, Protocol):
    """The part of the store that is needed here (`gateway.store.contract.Store`)."""

    async def audit_read(self, after_seq: int, limit: int) -> Sequence[StoredCommit]:
        """Return commits above `after_seq`, in order."""

    async def audit_bounds(self) -> tuple[int, int]:
        """Return (the seq before the oldest commit, the seq of the newest)."""

    async def log_head(self) -> LogHead:
        """Return the log as it stands."""


class Signed(NamedTuple):
    """A checkpoint that exists somewhere: its octets, unverified, and the name of the place."""

    octets: bytes
    where: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Checked:
    """What was looked at, for the log of the node."""

    size: int
    signed: int  # places with a checkpoint
    commits: int
    tiles: int


async def check_log(store: CheckedStore, notary: Notary, elsewhere: Sequence[Signed]) -> Checked:
    """Return what was looked at, all of which agrees. Raises LogBroken with what does not.

    `elsewhere`: checkpoints beside that in the database. The notary knows all of them afterwards.
    """
    before_oldest, _ = await store.audit_bounds()  # before the head: another node may be deleting, and appending
    head = await store.log_head()
    _, newest = await store.audit_bounds()
    own = [Signed(head.checkpoint, "the database")] if head.checkpoint else []
    for signed in (*own, *elsewhere):
        notary.remember(signed.octets, signed.where)
    found = list(_ends(head, before_oldest, newest, notary))
    commits = tiles = 0
    try:
        if not found:  # else nothing more can be said of a log that is cut off
            found += await wrong_roots(store, head.size, notary.seen)
            first = max(0, before_oldest, head.size - RECENT)
            commits, wrong = await _recent(store, first, head.size)
            tiles, older = await _older(store, head.size)
            found = [*wrong, *older, *found]
    except TlogError as error:
        raise LogBroken(f"the log is damaged: {error}") from error
    if found:
        more = f"; and {len(found) - MOST} more" if len(found) > MOST else ""
        raise LogBroken("; ".join(found[:MOST]) + more)
    return Checked(size=head.size, signed=len(notary.seen), commits=commits, tiles=tiles)


def _ends(head: LogHead, before_oldest: int, newest: int, notary: Notary) -> Iterator[str]:
    """Yield what is gone from the ends of audit and log."""
    if newest < head.size:
        yield f"commits {newest + 1} to {head.size} are gone from the audit: it ends before them, and the log has them"
    if before_oldest > head.pruned:
        yield f"commits {head.pruned + 1} to {before_oldest} are gone from the audit, and were not deleted by this node"
    for where, checkpoint in notary.seen.items():
        if checkpoint.size > head.size:
            yield (
                f"commits {head.size + 1} to {checkpoint.size} are gone from the log: {where} has a checkpoint of"
                f" {checkpoint.size}, and the log in the database has {head.size}. {WAS_IT_PUT_BACK}"
            )


async def _recent(store: CheckedStore, first: int, size: int) -> tuple[int, list[str]]:
    """Hold the commits behind `first`, up to `size`, against their entries and leaves; how many, and what is wrong."""
    found: list[str] = []
    octets, after = 0, first
    entries = await stored(store, ENTRIES, first, size)
    hints = await stored(store, HINTS, first, size)
    leaves = await leaves_of(store, first, size)
    while after < size and octets < RECENT_OCTETS and len(found) <= MOST:
        commits = await store.audit_read(after, min(_PAGE, size - after))
        if not commits:
            found.append(f"commits {after + 1} to {size} are gone from the audit")
            break
        found += await asyncio.to_thread(compare, commits, after, entries, hints, leaves)
        octets += sum(len(commit.records) for commit in commits)
        after = commits[-1].seq
    return after - first, found


async def _older(store: CheckedStore, size: int) -> tuple[int, list[str]]:
    """Hold the newest full tiles of each level against the level above; how many, and what is wrong."""
    found: list[str] = []
    looked = 0
    for level in range(MAX_LEVEL):
        full = size >> (HEIGHT * (level + 1))
        if not full:
            break
        first = max(0, full - TILES)
        tiles = await fetch(store, (Tile(level, number, WIDTH) for number in range(first, full)))
        above = await fetch(store, tiles_of(level + 1, first, full, size))
        found += await asyncio.to_thread(torn, tiles, above)
        looked += full - first
    return looked, found
