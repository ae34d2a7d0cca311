"""Do audit, log and signed checkpoints agree? Looked at when a node starts, before it does anything.

    checkpoints    those in the database, in the folder and in archive files, against the tree that is stored
    recent part    the newest commits whole: each against its entry, its leaf and the tiles above
    older parts    by the hashes of tiles: each full tile against its hash in the tile above

It is bounded, so that a start is: some thousand commits and some thousand tiles. The rest is `smsgw audit verify`'s
matter, which goes through everything. What is found is named: which commit, and which record where that can be told.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

from gateway.sequencing.errors import LogBroken
from gateway.sequencing.growth import HINTS, StoredCommit, read_commit
from gateway.sequencing.notary import Notary
from gateway.sequencing.tiles import TileStore, fetch
from gateway.store.sequencing import LogHead
from gateway.tlog import proofs
from gateway.tlog.entries import Entry, decode
from gateway.tlog.errors import TlogError
from gateway.tlog.merkle import HASH_BYTES, leaf_hash, root_of
from gateway.tlog.tiles import ENTRIES, HEIGHT, MAX_LEVEL, WIDTH, Tile, split_bundle, split_tile, tiles_of

RECENT = 2_048  # commits that are read whole
RECENT_OCTETS = 32 << 20
TILES = 512  # of each level, the newest, that are held against the one above
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
            found += await _roots(store, head.size, notary)
            first = max(0, before_oldest, head.size - RECENT)
            commits, wrong = await _recent(store, first, head.size)
            tiles, torn = await _older(store, head.size)
            found = [*wrong, *torn, *found]
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
                f" {checkpoint.size}, and the log in the database has {head.size}. Was a backup put back?"
            )


async def _roots(store: CheckedStore, size: int, notary: Notary) -> list[str]:
    """Return which checkpoints are not of this tree."""
    found: list[str] = []
    for where, checkpoint in notary.seen.items():
        tiles = await fetch(store, proofs.root_tiles(checkpoint.size))
        if checkpoint.size <= size and proofs.root(checkpoint.size, tiles) != checkpoint.root:
            found.append(
                f"the first {checkpoint.size} commits of the log are not those that were signed: their root is not that"
                f" of the checkpoint in {where}"
            )
    return found


async def _recent(store: CheckedStore, first: int, size: int) -> tuple[int, list[str]]:
    """Hold the commits behind `first`, up to `size`, against their entries and leaves; how many, and what is wrong."""
    found: list[str] = []
    octets, after = 0, first
    entries = await _stored(store, ENTRIES, first, size)
    hints = await _stored(store, HINTS, first, size)
    leaves = await _leaves(store, first, size)
    while after < size and octets < RECENT_OCTETS and len(found) <= MOST:
        commits = await store.audit_read(after, min(_PAGE, size - after))
        if not commits:
            found.append(f"commits {after + 1} to {size} are gone from the audit")
            break
        found += await asyncio.to_thread(_compare, commits, after, entries, hints, leaves)
        octets += sum(len(commit.records) for commit in commits)
        after = commits[-1].seq
    return after - first, found


def _compare(
    commits: Sequence[StoredCommit],
    after: int,
    entries: Mapping[int, bytes],
    hints: Mapping[int, bytes],
    leaves: Mapping[int, bytes],
) -> list[str]:
    """Return what is wrong with commits that should follow `after`."""
    found: list[str] = []
    for commit in commits:
        if commit.seq != after + 1:
            gone = f"commit {after + 1}" if commit.seq == after + 2 else f"commits {after + 1} to {commit.seq - 1}"
            found.append(f"{gone} of the audit: missing")
        after = commit.seq
        entry = entries.get(after, b"")
        if leaf_hash(entry) != leaves.get(after):
            found.append(f"entry {after} of the log was changed: its hash is not the one in the tree")
        try:
            now, hint = read_commit(commit, after)
        except LogBroken as error:
            found.append(str(error))
        else:
            if now.encode() != entry:
                found.append(_difference(now, hint, decode(entry), hints.get(after, b""), entries))
    return found


def _difference(now: Entry, hint: bytes, then: Entry, hinted: bytes, entries: Mapping[int, bytes]) -> str:
    """Return in which way a commit is not what it was."""
    place = f"commit {now.seq} of the audit was changed"
    for seq, octets in entries.items():
        if seq != now.seq and decode(octets)[2:] == now[2:] and now.number:
            return f"{place}: it holds the records of commit {seq}"
    if now.root == then.root:
        return f"{place}: its time was another"
    if now.number != then.number:
        return f"{place}: it has {now.number} records instead of {then.number}"
    records = [str(number) for number, (a, b) in enumerate(zip(hint, hinted, strict=False)) if a != b]
    if not records or len(hinted) != len(hint):
        return f"{place}: one or more of its {now.number} records"
    return f"{place}: record {', '.join(records[:10])}"


async def _stored(store: CheckedStore, level: int, first: int, size: int) -> dict[int, bytes]:
    """Return what bundles have of commits, by seq."""
    tiles = await fetch(store, tiles_of(level, first, size, size))
    found: dict[int, bytes] = {}
    for tile, octets in tiles.items():
        for at, entry in enumerate(split_bundle(tile, octets)):
            found[tile.number * WIDTH + at + 1] = entry
    return found


async def _leaves(store: CheckedStore, first: int, size: int) -> dict[int, bytes]:
    """Return the hashes of leaves, by the seq of their commits."""
    tiles = await fetch(store, tiles_of(0, first, size, size))
    return {
        tile.number * WIDTH + at + 1: hash_
        for tile, octets in tiles.items()
        for at, hash_ in enumerate(split_tile(tile, octets))
    }


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
        found += await asyncio.to_thread(_torn, tiles, above)
        looked += full - first
    return looked, found


def _torn(tiles: Mapping[Tile, bytes], above: Mapping[Tile, bytes]) -> list[str]:
    """Return which tiles do not make the hash that the tile above has of them."""
    by_number = {tile.number: octets for tile, octets in above.items()}
    found: list[str] = []
    for tile, octets in tiles.items():
        at = tile.number % WIDTH * HASH_BYTES
        if root_of(split_tile(tile, octets)) != by_number[tile.number // WIDTH][at : at + HASH_BYTES]:
            low, high = (number << (HEIGHT * (tile.level + 1)) for number in (tile.number, tile.number + 1))
            found.append(f"{tile.path} of the log was changed, or the tile above it: of commits {low + 1} to {high}")
    return found
