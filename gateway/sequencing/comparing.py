"""Holds commits, entries and tiles against each other, at a start and while a node runs, and names what is wrong."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from gateway.sequencing.errors import LogBroken
from gateway.sequencing.growth import StoredCommit, read_commit
from gateway.sequencing.tiles import TileStore, fetch
from gateway.tlog import proofs
from gateway.tlog.checkpoints import Checkpoint
from gateway.tlog.entries import Entry, decode
from gateway.tlog.merkle import HASH_BYTES, leaf_hash, root_of
from gateway.tlog.tiles import HEIGHT, WIDTH, Tile, split_bundle, split_tile, tiles_of


def compare(
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
            if now.encode() != entry and leaf_hash(now.encode()) != leaves.get(after):
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


async def stored(store: TileStore, level: int, first: int, size: int) -> dict[int, bytes]:
    """Return what bundles have of commits, by seq."""
    tiles = await fetch(store, tiles_of(level, first, size, size))
    found: dict[int, bytes] = {}
    for tile, octets in tiles.items():
        for at, entry in enumerate(split_bundle(tile, octets)):
            found[tile.number * WIDTH + at + 1] = entry
    return found


async def leaves_of(store: TileStore, first: int, size: int) -> dict[int, bytes]:
    """Return the hashes of leaves, by the seq of their commits."""
    tiles = await fetch(store, tiles_of(0, first, size, size))
    return {
        tile.number * WIDTH + at + 1: hash_
        for tile, octets in tiles.items()
        for at, hash_ in enumerate(split_tile(tile, octets))
    }


def torn(tiles: Mapping[Tile, bytes], above: Mapping[Tile, bytes]) -> list[str]:
    """Return which tiles do not make the hash that the tile above has of them."""
    by_number = {tile.number: octets for tile, octets in above.items()}
    found: list[str] = []
    for tile, octets in tiles.items():
        at = tile.number % WIDTH * HASH_BYTES
        if root_of(split_tile(tile, octets)) != by_number[tile.number // WIDTH][at : at + HASH_BYTES]:
            low, high = (number << (HEIGHT * (tile.level + 1)) for number in (tile.number, tile.number + 1))
            found.append(f"{tile.path} of the log was changed, or the tile above it: of commits {low + 1} to {high}")
    return found


async def wrong_roots(store: TileStore, size: int, seen: Mapping[str, Checkpoint]) -> list[str]:
    """Return which of these checkpoints, by where they are, are not of the tree that is stored."""
    found: list[str] = []
    for where, checkpoint in seen.items():
        tiles = await fetch(store, proofs.root_tiles(checkpoint.size))
        if checkpoint.size <= size and proofs.root(checkpoint.size, tiles) != checkpoint.root:
            found.append(
                f"the first {checkpoint.size} commits of the log are not those that were signed: their root is not that"
                f" of the checkpoint in {where}"
            )
    return found
