"""A tree that grows in steps is the tree that was there at once."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.tlog.errors import MalformedLog, MissingTile
from gateway.tlog.merkle import EMPTY_ROOT, root_of
from gateway.tlog.tiles import Tile, edge_of, width_at
from gateway.tlog.tree import Edge, edge_from, grow
from tests.gateway.tlog.trees import grown, leaves

LEAVES = leaves(0, 70_000)


@pytest.mark.parametrize("size", [0, 1, 2, 255, 256, 257, 511, 512, 65_535, 65_536, 65_537, 70_000])
def test_roots_and_tiles_at_each_border(size: int) -> None:
    """Root and tiles are those of the specification, whichever tiles have become full on the way."""
    edge, tiles = grown(size)
    assert edge.root == root_of(LEAVES[:size])
    assert edge.size == size
    assert b"".join(tiles[tile] for tile in sorted(tiles) if tile.level == 0) == b"".join(LEAVES[:size])
    assert all(tile.width == width_at(tile.level, tile.number, size) for tile in tiles)
    above = [tile for tile in tiles if tile.level == 1]
    assert sum(tile.width for tile in above) == size // 256
    for tile in above:
        for at in range(tile.width):
            first = (tile.number * 256 + at) * 256
            assert tiles[tile][at * 32 : at * 32 + 32] == root_of(LEAVES[first : first + 256])
    assert edge_from(size, tiles) == edge


@given(st.lists(st.integers(0, 600), max_size=8))
@settings(max_examples=50, deadline=None)
def test_any_steps_lead_to_the_same_tree(steps: list[int]) -> None:
    """However leaves come, the edge is the same, and can be taken up again from its partial tiles."""
    edge, tiles = Edge(), dict[Tile, bytes]()
    for step in steps:
        before = edge.size
        edge, changed = grow(edge, LEAVES[before : before + step])
        tiles.update(changed)
        partial = {tile: tiles[tile] for tile in edge_of(edge.size)}
        assert edge_from(edge.size, partial) == edge
    total = sum(steps)
    assert edge == grow(Edge(), LEAVES[:total])[0]
    assert edge.root == (root_of(LEAVES[:total]) if total else EMPTY_ROOT)


def test_what_cannot_be_taken_up() -> None:
    """A tile that is missing, or of another length, is named; what is no hash is no leaf."""
    _, tiles = grown(300)
    with pytest.raises(MissingTile, match=r"tile/1/000\.p/1"):
        edge_from(300, {tile: octets for tile, octets in tiles.items() if tile.level == 0})
    with pytest.raises(MalformedLog, match=r"tile/0/001\.p/44"):
        edge_from(300, {**tiles, Tile(0, 1, 44): bytes(32)})
    with pytest.raises(MalformedLog):
        grow(Edge(), [b"short"])
    with pytest.raises(MalformedLog):
        grow(Edge(size=1 << 62), [bytes(32)])
