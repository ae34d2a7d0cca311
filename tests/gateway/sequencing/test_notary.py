"""The notary signs what follows from all that was signed before, and nothing else."""

from __future__ import annotations

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from gateway.sequencing.errors import LogBroken
from gateway.sequencing.notary import Notary
from gateway.tlog.checkpoints import Checkpoint
from gateway.tlog.notes import Signer, sign
from gateway.tlog.tiles import Tile
from tests.gateway.sequencing.commits import ORIGIN, SIGNER, opened
from tests.gateway.tlog.trees import grown


def signed(size: int, root: bytes, signer: Signer = SIGNER) -> bytes:
    """A checkpoint, signed."""
    return sign(Checkpoint(origin=signer.key.name, size=size, root=root).text(), [signer]).encode()


def test_one_after_the_other() -> None:
    """Growing trees are signed, from the tiles that it asks for; so is the same once more."""
    notary = Notary(SIGNER)
    assert notary.last is None
    for size in (1, 5, 5, 256, 300, 700):
        edge, tiles = grown(size)
        note = notary.sign(size, edge.root, {tile: tiles[tile] for tile in notary.needs(size)})
        assert opened(note.encode()) == notary.last == Checkpoint(origin=ORIGIN, size=size, root=edge.root)


def test_a_smaller_tree_is_not_signed() -> None:
    """What was signed is not taken back, wherever it was seen."""
    notary = Notary(SIGNER)
    edge, _ = grown(20)
    notary.remember(signed(20, edge.root), "the archive")
    with pytest.raises(LogBroken, match="19 commits, and a checkpoint of 20"):
        notary.needs(19)


def test_another_history_is_not_signed() -> None:
    """A tree that does not begin with what was signed is refused, also at the same size."""
    _, tiles = grown(300)
    other = {tile: bytes(32) + octets[32:] for tile, octets in tiles.items() if tile.level == 0}
    tiles = tiles | other
    for size in (300, 256):
        notary = Notary(SIGNER)
        notary.remember(signed(size, grown(size)[0].root), "the archive")
        changed = grown(300)[0].root if size == 256 else bytes(32)
        with pytest.raises(LogBroken):
            notary.sign(300, changed, {tile: tiles[tile] for tile in notary.needs(300)})


def test_tiles_that_make_another_root() -> None:
    """What is in memory and what is stored have to be the same tree."""
    edge, tiles = grown(10)
    with pytest.raises(LogBroken, match="another root"):
        Notary(SIGNER).sign(10, edge.root, tiles | {Tile(0, 0, 10): bytes(320)})


def test_what_is_no_checkpoint_of_this_log() -> None:
    """Another key, another name, another form: it is said where that stands."""
    stranger = Signer(ORIGIN, Ed25519PrivateKey.from_private_bytes(b"\x12" * 32))
    other = Signer("example.org/other", Ed25519PrivateKey.from_private_bytes(b"\x11" * 32))
    assert Notary(SIGNER).remember(signed(1, bytes(32), other), "the archive") is None  # of another log
    for octets in (signed(1, bytes(32), stranger), b"", b"\xff\n\n\n"):
        with pytest.raises(LogBroken, match="the archive"):
            Notary(SIGNER).remember(octets, "the archive")


def test_two_histories_are_named() -> None:
    """Two checkpoints of one size that differ are a fork, and both places are named."""
    notary = Notary(SIGNER)
    notary.remember(signed(7, b"a" * 32), "the database")
    with pytest.raises(LogBroken, match=r"two histories are signed: .* the database, .* the archive"):
        notary.remember(signed(7, b"b" * 32), "the archive")
