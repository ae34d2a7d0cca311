"""Proofs are made of tiles: first which tiles are needed, then the hashes.

    tiles = inclusion_tiles(index, size)           fetch them, wherever they are
    path = inclusion(index, size, {tile: octets})

A proof is a list of ranges of leaves (RFC 6962 §2.1.1, §2.1.2), the hash of each being made of complete subtrees, and
each of these of a stretch of one tile.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from gateway.tlog.errors import MalformedLog, MissingTile
from gateway.tlog.merkle import EMPTY_ROOT, HASH_BYTES, MAX_SIZE, fold, require_index, root_of
from gateway.tlog.tiles import HEIGHT, WIDTH, Tile, width_at

_Range = tuple[int, int]  # leaves from, to (excluded)


def root_tiles(size: int) -> list[Tile]:
    """Return the tiles that the root of the first `size` leaves is made of, in a tree that has no more."""
    return _tiles([(0, size)] if size else [], size)


def root(size: int, tiles: Mapping[Tile, bytes]) -> bytes:
    """Return the root of a tree of `size` leaves. Raises MissingTile or MalformedLog."""
    return _hash_of((0, size), size, tiles) if size else EMPTY_ROOT


def inclusion_tiles(index: int, size: int) -> list[Tile]:
    """Return the tiles that a proof of inclusion is made of. Raises MalformedLog for a leaf that there is not."""
    return _tiles(_inclusion(index, size), size)


def inclusion(index: int, size: int, tiles: Mapping[Tile, bytes]) -> list[bytes]:
    """Return the proof that leaf `index` is in the tree of `size` leaves. Raises MissingTile or MalformedLog."""
    return [_hash_of(range_, size, tiles) for range_ in _inclusion(index, size)]


def consistency_tiles(size: int, new_size: int) -> list[Tile]:
    """Return the tiles that a proof of consistency is made of. Raises MalformedLog for sizes that have none."""
    return _tiles(_consistency(size, new_size), new_size)


def consistency(size: int, new_size: int, tiles: Mapping[Tile, bytes]) -> list[bytes]:
    """Return the proof that the tree of `size` leaves is the beginning of that of `new_size`; nothing to prove for an
    empty tree, and the same. Raises MissingTile or MalformedLog."""
    return [_hash_of(range_, new_size, tiles) for range_ in _consistency(size, new_size)]


def _split(size: int) -> int:
    """Return the largest power of two below `size` (2 at least)."""
    return 1 << (size - 1).bit_length() - 1


def _inclusion(index: int, size: int) -> list[_Range]:
    require_index(index, size)
    first, end, path = 0, size, []
    while end - first > 1:
        middle = first + _split(end - first)
        if index < middle:
            path.append((middle, end))
            end = middle
        else:
            path.append((first, middle))
            first = middle
    return path[::-1]


def _consistency(size: int, new_size: int) -> list[_Range]:
    if not 0 <= size <= new_size <= MAX_SIZE:
        raise MalformedLog(f"a tree of {size} leaves is not the beginning of one of {new_size}")
    if size in (0, new_size):
        return []
    first, end, path = 0, new_size, []
    while size != end:
        middle = first + _split(end - first)
        if size <= middle:
            path.append((middle, end))
            end = middle
        else:
            path.append((first, middle))
            first = middle
    if first:  # else the old tree is a subtree of the new one, whose root the reader has
        path.append((first, end))
    return path[::-1]


def _subtrees(range_: _Range) -> Iterator[tuple[int, int]]:
    """Yield the complete subtrees that a range is made of, the largest first: (log2 of its leaves, its number)."""
    first, end = range_
    while first < end:
        bits = (end - first).bit_length() - 1
        yield bits, first >> bits
        first += 1 << bits


def _place(bits: int, number: int, size: int) -> tuple[Tile, int, int]:
    """Return the tile that a subtree's root is made of, and which of its hashes: from, to."""
    level, above = divmod(bits, HEIGHT)
    first = number << above
    index = first // WIDTH
    return Tile(level, index, width_at(level, index, size)), first % WIDTH, first % WIDTH + (1 << above)


def _tiles(ranges: Sequence[_Range], size: int) -> list[Tile]:
    places = (_place(bits, number, size) for range_ in ranges for bits, number in _subtrees(range_))
    return list(dict.fromkeys(tile for tile, _, _ in places))


def _hash_of(range_: _Range, size: int, tiles: Mapping[Tile, bytes]) -> bytes:
    return fold([_subtree(*_place(bits, number, size), tiles) for bits, number in _subtrees(range_)])


def _subtree(tile: Tile, first: int, end: int, tiles: Mapping[Tile, bytes]) -> bytes:
    octets = tiles.get(tile)
    if octets is None:
        raise MissingTile(f"{tile.path} is missing")
    if len(octets) != tile.width * HASH_BYTES:
        raise MalformedLog(f"{tile.path} has {len(octets)} octets instead of {tile.width * HASH_BYTES}")
    return root_of([octets[at : at + HASH_BYTES] for at in range(first * HASH_BYTES, end * HASH_BYTES, HASH_BYTES)])
