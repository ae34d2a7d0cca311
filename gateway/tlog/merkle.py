"""The Merkle tree of RFC 6962 §2.1: hashes, roots, and proofs as their readers verify them.

    leaf hash  =  SHA-256(0x00 ‖ entry)
    node hash  =  SHA-256(0x01 ‖ left ‖ right)

The algorithms of verification are those of RFC 9162 §2.1.3.2 and §2.1.4.2, which are the same tree.
"""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import sha256
from hmac import compare_digest

from gateway.tlog.errors import MalformedLog, NotProven

HASH_BYTES = 32
MAX_SIZE = 1 << 62  # leaves
MAX_PROOF = 63  # hashes
EMPTY_ROOT = sha256(b"").digest()


def leaf_hash(entry: bytes) -> bytes:
    """Return the hash of a leaf."""
    return sha256(b"\x00" + entry).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """Return the hash of a node over its two children."""
    return sha256(b"\x01" + left + right).digest()


def root_of(hashes: Sequence[bytes]) -> bytes:
    """Return the root over these leaf hashes, in order (hot: once over the records of each commit).

    Level by level, an odd last node going up as it is: the tree that §2.1 defines by its largest power of two.
    """
    if not hashes:
        return EMPTY_ROOT
    level = list(hashes)
    while len(level) > 1:
        above = [sha256(b"\x01" + left + right).digest() for left, right in zip(level[::2], level[1::2], strict=False)]
        if len(level) & 1:
            above.append(level[-1])
        level = above
    return level[0]


def fold(hashes: Sequence[bytes]) -> bytes:
    """Return the root over complete subtrees that become smaller from left to right. Raises MalformedLog for none."""
    if not hashes:
        raise MalformedLog("there is no subtree to make a root of")
    root = hashes[-1]
    for left in reversed(hashes[:-1]):
        root = node_hash(left, root)
    return root


def path_of(hashes: Sequence[bytes], index: int) -> list[bytes]:
    """Return the proof that the leaf at `index` is one of these (RFC 6962 §2.1.1). Raises MalformedLog for an index
    beyond them."""
    require_index(index, len(hashes))
    path: list[bytes] = []
    level = list(hashes)
    while len(level) > 1:
        beside = index ^ 1
        if beside < len(level):
            path.append(level[beside])
        above = [node_hash(left, right) for left, right in zip(level[::2], level[1::2], strict=False)]
        level = above + level[len(above) * 2 :]
        index >>= 1
    return path


def require_index(index: int, size: int) -> None:
    """Raise MalformedLog unless there is such a leaf in a tree of such a size."""
    if not 0 < size <= MAX_SIZE:
        raise MalformedLog(f"a tree of {size} leaves proves nothing")
    if not 0 <= index < size:
        raise MalformedLog(f"there is no leaf {index} in a tree of {size}")


def root_from_path(leaf: bytes, index: int, size: int, path: Sequence[bytes]) -> bytes:
    """Return the root that a proof of inclusion leads to. Raises MalformedLog for a path of another length."""
    require_index(index, size)
    _require_hashes([leaf, *path])
    node, last, root = index, size - 1, leaf
    for hash_ in path:
        if last == 0:
            raise MalformedLog("the proof has more hashes than the tree has levels")
        if node & 1 or node == last:
            root = node_hash(hash_, root)
            while not node & 1 and node:  # the levels at which this node stands alone
                node >>= 1
                last >>= 1
        else:
            root = node_hash(root, hash_)
        node >>= 1
        last >>= 1
    if last:
        raise MalformedLog("the proof has fewer hashes than the tree has levels")
    return root


def verify_inclusion(leaf: bytes, index: int, size: int, path: Sequence[bytes], root: bytes) -> None:
    """Return when `path` proves that the leaf hash `leaf` stands at `index` of the tree of `size` leaves with this root
    (RFC 9162 §2.1.3.2). Raises MalformedLog or NotProven."""
    if not compare_digest(root_from_path(leaf, index, size, path), root):
        raise NotProven(f"leaf {index} is not in the tree of {size} leaves: its proof leads to another root")


def verify_consistency(size: int, root: bytes, new_size: int, new_root: bytes, path: Sequence[bytes]) -> None:
    """Return when `path` proves that the tree of `size` leaves is the beginning of that of `new_size`
    (RFC 9162 §2.1.4.2; an empty tree is that of every other). Raises MalformedLog or NotProven."""
    if not 0 <= size <= new_size <= MAX_SIZE:
        raise MalformedLog(f"a tree of {size} leaves is not the beginning of one of {new_size}")
    _require_hashes([root, new_root, *path])
    if size in (0, new_size):
        if path:
            raise MalformedLog("there is nothing to prove, and a proof")
        expected = new_root if size else EMPTY_ROOT
        if not compare_digest(root, expected):
            raise NotProven(f"there are two roots of a tree of {size} leaves")
        return
    old, new = _roots_from_path(size, root, new_size, path)
    if not (compare_digest(old, root) and compare_digest(new, new_root)):
        raise NotProven(f"the tree of {size} leaves is not the beginning of that of {new_size}")


def _roots_from_path(size: int, root: bytes, new_size: int, path: Sequence[bytes]) -> tuple[bytes, bytes]:
    """Return both roots that a proof of consistency leads to."""
    node, last = size - 1, new_size - 1
    while node & 1:
        node >>= 1
        last >>= 1
    hashes = list(path) if size & (size - 1) else [root, *path]
    if not hashes:
        raise MalformedLog("the proof of consistency is empty")
    old = new = hashes[0]
    for hash_ in hashes[1:]:
        if last == 0:
            raise MalformedLog("the proof has more hashes than the tree has levels")
        if node & 1 or node == last:
            old = node_hash(hash_, old)
            new = node_hash(hash_, new)
            while not node & 1 and node:
                node >>= 1
                last >>= 1
        else:
            new = node_hash(new, hash_)
        node >>= 1
        last >>= 1
    if last:
        raise MalformedLog("the proof has fewer hashes than the tree has levels")
    return old, new


def _require_hashes(hashes: Sequence[bytes]) -> None:
    if len(hashes) > MAX_PROOF + 2:
        raise MalformedLog(f"the proof has more than {MAX_PROOF} hashes")
    if any(len(hash_) != HASH_BYTES for hash_ in hashes):
        raise MalformedLog(f"a hash has not {HASH_BYTES} octets")
