"""Proofs are made of tiles, and only of those that they name."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.tlog import proofs
from gateway.tlog.errors import MalformedLog, MissingTile
from gateway.tlog.merkle import root_of, verify_consistency, verify_inclusion
from gateway.tlog.tiles import Tile
from tests.gateway.tlog.trees import entry, grown, leaves, reference_consistency, reference_path

LEAVES = leaves(0, 70_000)
SIZE = 67_000
_, TILES = grown(SIZE)
ROOT = root_of(LEAVES[:SIZE])


@pytest.mark.parametrize("size", [1, 2, 3, 7, 8, 9, 255, 256, 257, 600])
def test_all_are_those_of_the_definition(size: int) -> None:
    """At each size, a proof is the one that RFC 6962 defines."""
    entries = [entry(number) for number in range(size)]
    _, tiles = grown(size)
    for at in {0, 1, size // 3, size // 2, size - 2, size - 1} & set(range(size)):
        assert proofs.inclusion(at, size, tiles) == reference_path(at, entries)
        if at:
            assert proofs.consistency(at, size, tiles) == reference_consistency(at, entries)
    assert proofs.root(size, tiles) == root_of(LEAVES[:size])


@given(st.integers(0, SIZE - 1))
@settings(max_examples=20, deadline=None)
def test_of_a_large_tree(at: int) -> None:
    """A few tiles are enough for the proof of any leaf and of any beginning."""
    needed = proofs.inclusion_tiles(at, SIZE)
    assert len(needed) <= 4
    path = proofs.inclusion(at, SIZE, {tile: TILES[tile] for tile in needed})
    verify_inclusion(LEAVES[at], at, SIZE, path, ROOT)
    if at:
        needed = proofs.consistency_tiles(at, SIZE)
        path = proofs.consistency(at, SIZE, {tile: TILES[tile] for tile in needed})
        verify_consistency(at, root_of(LEAVES[:at]), SIZE, ROOT, path)


def test_the_root_from_its_tiles() -> None:
    """The root is made of the tiles at the edge, and that of nothing of none."""
    needed = proofs.root_tiles(SIZE)
    assert proofs.root(SIZE, {tile: TILES[tile] for tile in needed}) == root_of(LEAVES[:SIZE])
    assert proofs.root_tiles(0) == []
    assert proofs.root(0, {}) == root_of([])
    assert proofs.consistency_tiles(0, SIZE) == proofs.consistency_tiles(SIZE, SIZE) == []


def test_what_is_missing_is_named() -> None:
    """Without a tile there is no proof; with one of another length neither."""
    needed = proofs.inclusion_tiles(300, SIZE)
    assert needed[0] == Tile(0, 1, 256)
    tiles = {tile: TILES[tile] for tile in needed}
    with pytest.raises(MissingTile, match="tile/0/001"):
        proofs.inclusion(300, SIZE, {tile: octets for tile, octets in tiles.items() if tile != needed[0]})
    with pytest.raises(MalformedLog, match="tile/0/001"):
        proofs.inclusion(300, SIZE, tiles | {needed[0]: bytes(31)})
    with pytest.raises(MalformedLog):
        proofs.inclusion_tiles(SIZE, SIZE)
    with pytest.raises(MalformedLog):
        proofs.consistency_tiles(SIZE + 1, SIZE)
