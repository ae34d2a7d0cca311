"""Hashes and proofs are those of RFC 6962, and no other proof is taken."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.tlog.errors import MalformedLog, NotProven, TlogError
from gateway.tlog.merkle import (
    EMPTY_ROOT,
    fold,
    leaf_hash,
    path_of,
    root_from_path,
    root_of,
    verify_consistency,
    verify_inclusion,
)
from tests.gateway.tlog.trees import (
    LEAVES,
    ROOTS,
    entry,
    leaves,
    reference_consistency,
    reference_path,
    reference_root,
)

HASHES = [leaf_hash(leaf) for leaf in LEAVES]
# Proofs of the reference tree: (leaf, size, path).
INCLUSION = [
    (
        0,
        8,
        (
            "96a296d224f285c67bee93c30f8a309157f0daa35dc5b87e410b78630a09cfc7"
            "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e"
            "6b47aaf29ee3c2af9af889bc1fb9254dabd31177f16232dd6aab035ca39bf6e4"
        ),
    ),
    (
        5,
        8,
        (
            "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b"
            "ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0"
            "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7"
        ),
    ),
    (2, 3, "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125"),
]
CONSISTENCY = [
    (
        1,
        8,
        (
            "96a296d224f285c67bee93c30f8a309157f0daa35dc5b87e410b78630a09cfc7"
            "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e"
            "6b47aaf29ee3c2af9af889bc1fb9254dabd31177f16232dd6aab035ca39bf6e4"
        ),
    ),
    (
        6,
        8,
        (
            "0ebc5d3437fbe2db158b9f126a1d118e308181031d0a949f8dededebc558ef6a"
            "ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0"
            "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7"
        ),
    ),
    (
        2,
        5,
        (
            "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e"
            "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b"
        ),
    ),
]


def hashes(text: str) -> list[bytes]:
    """The hashes that stand one behind the other in hexadecimal digits."""
    octets = bytes.fromhex(text)
    return [octets[at : at + 32] for at in range(0, len(octets), 32)]


def test_the_roots_of_the_reference_tree() -> None:
    """The root at each size is the published one, and that of nothing the hash of nothing."""
    assert [root_of(HASHES[:size]) for size in range(1, 9)] == ROOTS
    assert root_of([]) == EMPTY_ROOT == reference_root([])


@pytest.mark.parametrize(("index", "size", "text"), INCLUSION)
def test_published_proofs_of_inclusion(index: int, size: int, text: str) -> None:
    """A published proof verifies, and is the one that is made."""
    path = hashes(text)
    verify_inclusion(HASHES[index], index, size, path, ROOTS[size - 1])
    assert path_of(HASHES[:size], index) == path


@pytest.mark.parametrize(("size", "new_size", "text"), CONSISTENCY)
def test_published_proofs_of_consistency(size: int, new_size: int, text: str) -> None:
    """A published proof verifies, and with one hash changed it does not."""
    path = hashes(text)
    verify_consistency(size, ROOTS[size - 1], new_size, ROOTS[new_size - 1], path)
    for at in range(len(path)):
        with pytest.raises(NotProven):
            verify_consistency(
                size, ROOTS[size - 1], new_size, ROOTS[new_size - 1], [*path[:at], bytes(32), *path[at + 1 :]]
            )


@pytest.mark.parametrize("size", [*range(1, 18), 31, 32, 33])
def test_all_proofs_of_small_trees(size: int) -> None:
    """Each leaf is proven by the path of the definition, and by no path of another place or size."""
    entries = [entry(number) for number in range(size)]
    root = reference_root(entries)
    own = leaves(0, size)
    assert root_of(own) == root
    for index in range(size):
        path = path_of(own, index)
        assert path == reference_path(index, entries)
        verify_inclusion(own[index], index, size, path, root)
        for other in range(size):
            if other != index:
                with pytest.raises(TlogError):
                    verify_inclusion(own[index], other, size, path, root)
        with pytest.raises(TlogError):
            verify_inclusion(own[index], index, size, [*path, bytes(32)], root)
        with pytest.raises(TlogError):
            verify_inclusion(own[index], index, size, path[:-1] or [bytes(32)], root)


@pytest.mark.parametrize("new_size", [*range(1, 18), 31, 32, 33])
def test_all_beginnings_of_small_trees(new_size: int) -> None:
    """Each beginning is proven by the proof of the definition; with another root, or a hash too many, it is not."""
    entries = [entry(number) for number in range(new_size)]
    root = reference_root(entries)
    for size in range(1, new_size):
        path = reference_consistency(size, entries)
        before = reference_root(entries[:size])
        verify_consistency(size, before, new_size, root, path)
        for wrong in (
            (size, bytes(32), new_size, root, path),
            (size, before, new_size, bytes(32), path),
            (size, before, new_size, root, [*path, bytes(32)]),
            (size, before, new_size, root, path[:-1]),
            (size + 1, before, new_size, root, path),
        ):
            with pytest.raises(TlogError):
                verify_consistency(*wrong)


def test_consistency_of_the_same_size_and_of_nothing() -> None:
    """Two roots of one size are a fork; an empty tree is the beginning of every other; neither needs a proof."""
    verify_consistency(3, ROOTS[2], 3, ROOTS[2], [])
    verify_consistency(0, EMPTY_ROOT, 3, ROOTS[2], [])
    with pytest.raises(NotProven, match="two roots of a tree of 3"):
        verify_consistency(3, ROOTS[2], 3, ROOTS[3], [])
    with pytest.raises(NotProven):
        verify_consistency(0, ROOTS[0], 3, ROOTS[2], [])
    with pytest.raises(MalformedLog):
        verify_consistency(3, ROOTS[2], 3, ROOTS[2], [ROOTS[0]])
    with pytest.raises(MalformedLog, match="not the beginning"):
        verify_consistency(4, ROOTS[3], 3, ROOTS[2], [])


def test_what_is_no_proof_at_all() -> None:
    """Places that there are not, hashes of another length, and endless paths are refused before they are hashed."""
    for index, size in ((-1, 3), (3, 3), (0, 0), (0, 1 << 63)):
        with pytest.raises(MalformedLog):
            root_from_path(bytes(32), index, size, [])
    with pytest.raises(MalformedLog, match="octets"):
        root_from_path(bytes(31), 0, 1, [])
    with pytest.raises(MalformedLog, match="more than 63"):
        root_from_path(bytes(32), 0, 1 << 62, [bytes(32)] * 70)
    with pytest.raises(MalformedLog):
        fold([])


@given(
    st.integers(-2, 40),
    st.integers(-2, 40),
    st.lists(st.binary(min_size=32, max_size=32) | st.binary(max_size=40), max_size=8),
)
@settings(max_examples=200)
def test_random_proofs_are_refused(size: int, new_size: int, path: list[bytes]) -> None:
    """Whatever a proof is, nothing but the documented errors comes of it."""
    with pytest.raises(TlogError):
        verify_consistency(size, b"\1" * 32, new_size, b"\2" * 32, path)
    with pytest.raises(TlogError):
        verify_inclusion(b"\3" * 32, size, new_size, path, b"\4" * 32)
