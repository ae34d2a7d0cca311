"""Tiles have their places and widths by C2SP tlog-tiles."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.tlog.errors import MalformedLog
from gateway.tlog.tiles import (
    ENTRIES,
    MAX_ENTRY,
    Tile,
    bundle,
    edge_of,
    parse_path,
    split_bundle,
    split_tile,
    tiles_of,
    width_at,
)

PATHS = [
    (Tile(0, 1234067, 256), "tile/0/x001/x234/067"),  # the example of the specification
    (Tile(ENTRIES, 1234067, 8), "tile/entries/x001/x234/067.p/8"),
    (Tile(0, 0, 1), "tile/0/000.p/1"),
    (Tile(1, 999, 255), "tile/1/999.p/255"),
    (Tile(7, 1000, 256), "tile/7/x001/000"),
    (Tile(63, 0, 256), "tile/63/000"),
]


@pytest.mark.parametrize(("tile", "path"), PATHS)
def test_paths(tile: Tile, path: str) -> None:
    """A tile has one path, and the path leads to it."""
    assert tile.path == path
    assert parse_path(path) == tile


@pytest.mark.parametrize(
    "path",
    [
        "",
        "checkpoint",
        "tile/0/1",
        "tile/00/001",
        "tile/64/001",
        "tile/0/x000/001",
        "tile/0/001.p/256",
        "tile/0/001.p/0",
        "tile/0/001.p/01",
        "tile/0/001.p/300",
        "tile/-1/001",
        "tile/0/001/",
        "tile/0/../checkpoint",
        "tile/0/001\n",
        "tile/0/\u0661\u0661\u0661",
        "tile/0/" + "x001/" * 9 + "001",
    ],
)
def test_what_is_no_path(path: str) -> None:
    """A path in another form, and everything else, is refused."""
    with pytest.raises(MalformedLog):
        parse_path(path)


@given(st.integers(ENTRIES, 63), st.integers(0, 10**18), st.integers(1, 256))
def test_every_tile_has_its_path(level: int, index: int, width: int) -> None:
    """Path and tile are the same thing."""
    tile = Tile(level, index, width)
    assert parse_path(tile.path) == tile


@given(st.text(max_size=80))
def test_texts_are_no_paths(text: str) -> None:
    """A text is a path in its one form, or refused."""
    try:
        assert parse_path(text).path == text
    except MalformedLog:
        return


def test_the_tiles_of_seventy_thousand() -> None:
    """The example of the specification: 273 full tiles and one of 112, one full and one of 17, one of 1."""
    assert [width_at(0, index, 70_000) for index in (0, 272, 273, 274)] == [256, 256, 112, 0]
    assert [width_at(1, index, 70_000) for index in (0, 1, 2)] == [256, 17, 0]
    assert [width_at(2, index, 70_000) for index in (0, 1)] == [1, 0]
    assert list(edge_of(70_000)) == [Tile(0, 273, 112), Tile(1, 1, 17), Tile(2, 0, 1)]
    assert list(edge_of(256)) == [Tile(1, 0, 1)]
    assert list(edge_of(0)) == []
    assert list(tiles_of(0, 255, 257, 70_000)) == [Tile(0, 0, 256), Tile(0, 1, 256)]
    with pytest.raises(MalformedLog):
        list(edge_of(-1))


def test_the_hashes_of_a_tile() -> None:
    """A tile of another length is refused, and its path named."""
    assert split_tile(Tile(0, 0, 2), b"a" * 32 + b"b" * 32) == [b"a" * 32, b"b" * 32]
    with pytest.raises(MalformedLog, match=r"tile/0/000.p/2 has 63 octets"):
        split_tile(Tile(0, 0, 2), bytes(63))


def test_bundles() -> None:
    """Entries stand behind their lengths, and a bundle holds as many as its path says."""
    tile = Tile(ENTRIES, 0, 3)
    octets = bundle([b"", b"ab", b"c" * MAX_ENTRY])
    assert octets[:6] == b"\0\0\0\2ab"
    assert split_bundle(tile, octets) == [b"", b"ab", b"c" * MAX_ENTRY]
    for wrong in (octets[:-1], octets + b"\0", octets + b"\0\0", b"\0\0", b""):
        with pytest.raises(MalformedLog):
            split_bundle(tile, wrong)
    with pytest.raises(MalformedLog):
        bundle([bytes(MAX_ENTRY + 1)])


@given(st.binary(max_size=60), st.integers(1, 20))
def test_octets_are_bundles_in_one_form(octets: bytes, width: int) -> None:
    """Octets are the bundle that their entries make, or refused."""
    try:
        assert bundle(split_bundle(Tile(ENTRIES, 0, width), octets)) == octets
    except MalformedLog:
        return
