"""A tree grows at its right edge: what is known of it there is enough for its root, and for all tiles that change."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from gateway.tlog.errors import MalformedLog, MissingTile
from gateway.tlog.merkle import EMPTY_ROOT, HASH_BYTES, MAX_SIZE, fold, root_of
from gateway.tlog.tiles import HEIGHT, WIDTH, Tile, edge_of, split_tile


@dataclass(frozen=True, slots=True, kw_only=True)
class Edge:
    """A tree of `size` leaves by its partial tiles: the hashes of each, the lowest level first."""

    size: int = 0
    levels: tuple[tuple[bytes, ...], ...] = ()

    @property
    def root(self) -> bytes:
        """The root hash of the tree."""
        if not self.size:
            return EMPTY_ROOT
        subtrees: list[bytes] = []
        for hashes in reversed(self.levels):
            subtrees += _complete(hashes)
        return fold(subtrees)


def _complete(hashes: Sequence[bytes]) -> list[bytes]:
    """Return the roots of the complete subtrees that these hashes make, the largest first."""
    roots, at = [], 0
    for bit in reversed(range(len(hashes).bit_length())):
        width = 1 << bit
        if len(hashes) & width:
            roots.append(root_of(hashes[at : at + width]))
            at += width
    return roots


def edge_from(size: int, tiles: Mapping[Tile, bytes]) -> Edge:
    """Return the edge of a tree of `size` leaves whose partial tiles (`edge_of`) these are. Raises MissingTile, or
    MalformedLog."""
    levels: list[tuple[bytes, ...]] = []
    for tile in edge_of(size):
        if tile not in tiles:
            raise MissingTile(f"{tile.path} is missing")
        levels += [()] * (tile.level - len(levels))
        levels.append(tuple(split_tile(tile, tiles[tile])))
    return Edge(size=size, levels=tuple(levels))


def grow(edge: Edge, leaves: Sequence[bytes]) -> tuple[Edge, dict[Tile, bytes]]:
    """Return the edge with these leaf hashes behind it, and all tiles that have become others: partial ones only as
    they are at the end. Raises MalformedLog for no hash, or a tree that would be too large."""
    if edge.size + len(leaves) > MAX_SIZE or any(len(leaf) != HASH_BYTES for leaf in leaves):
        raise MalformedLog("these are no leaves for this tree")
    changed: dict[Tile, bytes] = {}
    levels = [list(hashes) for hashes in edge.levels]
    size, level, new = edge.size, 0, list(leaves)
    while new:
        if level == len(levels):
            levels.append([])
        hashes = levels[level] + new
        index = (size >> (HEIGHT * level)) // WIDTH
        new = []
        while len(hashes) >= WIDTH:
            full, hashes = hashes[:WIDTH], hashes[WIDTH:]
            changed[Tile(level, index, WIDTH)] = b"".join(full)
            new.append(root_of(full))
            index += 1
        if hashes:
            changed[Tile(level, index, len(hashes))] = b"".join(hashes)
        levels[level] = hashes
        level += 1
    while levels and not levels[-1]:
        levels.pop()
    return Edge(size=size + len(leaves), levels=tuple(map(tuple, levels))), changed
