"""Trees as RFC 6962 §2.1 defines them, recursively: what the code is compared with."""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import sha256

from gateway.tlog.tiles import WIDTH, Tile
from gateway.tlog.tree import Edge, grow

# The reference tree of Certificate Transparency (merkletree_test.cc): eight leaves, and its root at each size.
LEAVES = [
    bytes.fromhex(leaf)
    for leaf in ("", "00", "10", "2021", "3031", "40414243", "5051525354555657", "606162636465666768696a6b6c6d6e6f")
]
ROOTS = [
    bytes.fromhex(root)
    for root in (
        "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
        "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
        "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
        "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
        "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
        "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
        "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
        "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
    )
]


def reference_root(entries: Sequence[bytes]) -> bytes:
    """MTH(D[n])."""
    if not entries:
        return sha256(b"").digest()
    if len(entries) == 1:
        return sha256(b"\0" + entries[0]).digest()
    k = 1 << (len(entries) - 1).bit_length() - 1
    return sha256(b"\1" + reference_root(entries[:k]) + reference_root(entries[k:])).digest()


def reference_path(m: int, entries: Sequence[bytes]) -> list[bytes]:
    """PATH(m, D[n])."""
    if len(entries) == 1:
        return []
    k = 1 << (len(entries) - 1).bit_length() - 1
    if m < k:
        return [*reference_path(m, entries[:k]), reference_root(entries[k:])]
    return [*reference_path(m - k, entries[k:]), reference_root(entries[:k])]


def reference_consistency(m: int, entries: Sequence[bytes], whole: bool = True) -> list[bytes]:
    """SUBPROOF(m, D[n], b)."""
    if m == len(entries):
        return [] if whole else [reference_root(entries)]
    k = 1 << (len(entries) - 1).bit_length() - 1
    if m <= k:
        return [*reference_consistency(m, entries[:k], whole), reference_root(entries[k:])]
    return [*reference_consistency(m - k, entries[k:], False), reference_root(entries[:k])]


def entry(number: int) -> bytes:
    """Some entry."""
    return f"entry {number}".encode()


def leaves(first: int, end: int) -> list[bytes]:
    """The hashes of entries."""
    return [sha256(b"\0" + entry(number)).digest() for number in range(first, end)]


def grown(size: int, step: int = 1000) -> tuple[Edge, dict[Tile, bytes]]:
    """A tree of `size` leaves, and all its tiles as they are at that size."""
    edge, tiles = Edge(), dict[Tile, bytes]()
    for first in range(0, size, step):
        edge, changed = grow(edge, leaves(first, min(first + step, size)))
        for tile in changed:
            for width in range(1, WIDTH):
                tiles.pop(Tile(tile.level, tile.number, width), None)
        tiles.update(changed)
    return edge, tiles
