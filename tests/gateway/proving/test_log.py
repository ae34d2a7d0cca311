"""A receipt is made of a checkpoint that those have cosigned who are asked to, or of none yet."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from gateway.errors import Unavailable
from gateway.proving.log import Asked, StoredLog
from gateway.sequencing.files import LogFiles
from gateway.sequencing.notary import Notary
from gateway.sequencing.publishing import Publication
from gateway.sequencing.sequencer import Progress, Sequencer
from gateway.sequencing.witnesses import Witnesses
from gateway.store.contract import Store
from gateway.store.sequencing import NO_EPOCH, LogPublish
from gateway.tlog import proofs
from gateway.tlog.checkpoints import Checkpoint, parse_text
from gateway.tlog.cosignatures import Cosigner
from gateway.tlog.notes import Note, parse
from gateway.tlog.witnessing import with_signatures
from tests.gateway.sequencing.commits import NOW, ORIGIN, SIGNER, commit, commits_of, opened_store, root_after
from tests.gateway.sequencing.test_sequencer import PACE

COSIGNERS = [Cosigner(f"witness.example/{n}", Ed25519PrivateKey.from_private_bytes(bytes([n] * 32))) for n in (1, 2, 3)]
ASKED = Asked(origin=ORIGIN, witnesses=tuple(one.key for one in COSIGNERS[:2]), required=1)


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[Store]:
    """Give an open store."""
    async with opened_store(tmp_path) as made:
        yield made


@dataclass(kw_only=True)
class Cosigning(Witnesses):
    """Witnesses of which so many answer."""

    answering: int = 0

    async def cosigned(self, checkpoint: Checkpoint, note: Note) -> tuple[Note, int, str]:
        """Return a note with the cosignatures that were had."""
        signatures = [one.cosign(note.text, NOW // 1_000_000) for one in COSIGNERS[: self.answering]]
        return with_signatures(note, signatures), len(signatures), "no answer"


class Node:
    """What signs and publishes."""

    def __init__(self, store: Store, folder: Path) -> None:
        self.witnesses = Cosigning(store=store, required=1)
        files, progress = LogFiles(folder / "log"), Progress()
        self.publication = Publication(store, files, progress.failures, witnesses=self.witnesses, now=lambda: NOW)
        self.sequencer = Sequencer(
            store, Notary(SIGNER), self.publication, holder="n", pace=PACE, progress=progress, now=lambda: NOW
        )
        self.publication.keep = self.sequencer.keep_cosigned

    async def sign(self, *, answering: int) -> None:
        """Take up what is committed, sign and publish it, while so many witnesses answer."""
        self.witnesses.answering = answering
        await self.sequencer.turn()
        await self.publication.flush()


def size_of(octets: bytes) -> int:
    """Return how much a checkpoint covers."""
    return parse_text(parse(octets).text).size


async def not_yet(log: StoredLog, covering: int) -> str:
    """Return what is said while there is no checkpoint."""
    with pytest.raises(Unavailable) as caught:
        await log.checkpoint(covering)
    assert caught.value.reason == "PROOF_NOT_READY"
    return str(caught.value)


async def test_the_newest_that_is_cosigned(store: Store, tmp_path: Path) -> None:
    """While the log grows on without witnesses, what they have cosigned proves what it covers, and nothing proves more;
    when they are back, the newest is cosigned without a new one."""
    node, log = Node(store, tmp_path), StoredLog(store, ASKED)
    assert "has not taken up" in await not_yet(log, 1)
    await commit(store, 5)
    await node.sign(answering=1)
    await commit(store, 300)
    await node.sign(answering=0)
    cosigned = await log.checkpoint(5)
    assert size_of(cosigned) == 5
    assert len(parse(cosigned).signatures) == 2
    assert "is cosigned by 1 witnesses yet" in await not_yet(log, 6)
    assert "has not taken up" in await not_yet(log, 306)
    tiles = await log.tiles(proofs.inclusion_tiles(4, 5))
    assert proofs.root(5, await log.tiles(proofs.root_tiles(5))) == root_after(await commits_of(store), 5)
    assert tiles
    node.witnesses.answering = 2
    await node.publication.flush()
    assert size_of(await log.checkpoint(6)) == 305
    assert len(parse(await log.checkpoint(1)).signatures) == 3


async def test_others_are_asked_for_now(store: Store, tmp_path: Path) -> None:
    """What is stored counts by the witnesses of the configuration: another key, a greater number, another log."""
    node = Node(store, tmp_path)
    await commit(store, 5)
    await node.sign(answering=1)
    keys = tuple(one.key for one in COSIGNERS)
    assert size_of(await StoredLog(store, ASKED).checkpoint(5)) == 5
    for asked in (
        Asked(origin=ORIGIN, witnesses=keys[1:], required=1),
        Asked(origin=ORIGIN, witnesses=keys, required=2),
        Asked(origin="example.org/other", witnesses=keys, required=1),
    ):
        await not_yet(StoredLog(store, asked), 5)


async def test_none_is_asked_for(store: Store, tmp_path: Path) -> None:
    """Then the newest checkpoint proves all that it covers; one that somebody has cosigned is taken where it does."""
    node = Node(store, tmp_path)
    log = StoredLog(store, Asked(origin=ORIGIN, witnesses=ASKED.witnesses))
    await commit(store, 5)
    await node.sign(answering=1)
    await commit(store, 5)
    await node.sign(answering=0)
    assert (size_of(await log.checkpoint(5)), size_of(await log.checkpoint(6))) == (5, 10)


async def test_what_was_changed_is_none(store: Store, tmp_path: Path) -> None:
    """A stored checkpoint that cannot be read, or whose cosignature is not one, proves nothing."""
    node, log = Node(store, tmp_path), StoredLog(store, ASKED)
    await commit(store, 5)
    await node.sign(answering=1)
    note = parse(await log.checkpoint(5))
    head = await store.log_lease("n", NO_EPOCH, 1)
    assert head is not None
    forged = with_signatures(Note(note.text, note.signatures[:1]), [COSIGNERS[0].cosign("another text\n", 1)])
    for octets in (b"nonsense", forged.encode()):
        assert await store.log_cosigned(LogPublish(head.epoch, 5, octets))
        await not_yet(log, 5)
