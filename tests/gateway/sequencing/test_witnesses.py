"""A witness that verifies by the letter cosigns a log that only grows, and what it does not cosign is not published."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from gateway.audit.records import NodeStopped
from gateway.sequencing.errors import LogBroken, NotArchived
from gateway.sequencing.files import LogFiles
from gateway.sequencing.http_post import Resource
from gateway.sequencing.publishing import Publication
from gateway.sequencing.sequencer import Progress
from gateway.sequencing.witnesses import Witness, Witnesses
from gateway.store.contract import Store
from gateway.store.sqlite import SqliteStore
from gateway.tlog.checkpoints import Checkpoint, parse_text
from gateway.tlog.cosignatures import Cosigner, require_quorum
from gateway.tlog.notes import Note, parse, sign
from tests.gateway.sequencing.commits import NOW, ORIGIN, SIGNER, Noticeboard, commit, opened_store
from tests.gateway.sequencing.servers import (
    JudgingWitness,
    Reply,
    answer,
    place,
    posting,
    server_context,
    tls_files,
)
from tests.gateway.sequencing.test_sequencer import sequencer, turns
from visibility.alerts import Alerts
from visibility.catalogue import NODE

STRANGER = Cosigner("witness.example/1", Ed25519PrivateKey.from_private_bytes(b"\2" * 32))


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[Store]:
    """Give an open store."""
    async with opened_store(tmp_path) as made:
        yield made


def judge(seed: int = 1) -> JudgingWitness:
    """A witness of our log."""
    return JudgingWitness(f"witness.example/{seed}", seed, SIGNER.key, ORIGIN)


def witness_at(port: int, folder: Path, key: JudgingWitness | None) -> Witness:
    """The log's side of a witness."""
    where = place(port, tls_files(folder))
    chosen = (key or judge()).cosigner.key
    return Witness(key=chosen, resource=Resource(place=where, authority="localhost", path="/w1"))


async def signed(store: Store, number: int) -> tuple[Checkpoint, Note]:
    """Commit, take it up, and return the newest checkpoint."""
    board = Noticeboard()
    await commit(store, number)
    await turns(sequencer(store, board))
    return board.checkpoints[-1], board.notes[-1]


async def test_a_log_that_grows(store: Store, tmp_path: Path) -> None:
    """Each checkpoint is proven to continue the last one that the witness saw, and the cosignature verifies."""
    witness = judge()
    async with posting(server_context(tmp_path), witness.reply) as (port, _):
        ours = witness_at(port, tmp_path, witness)
        for number in (3, 300, 1):
            checkpoint, note = await signed(store, number)
            line = await ours.cosign(store, checkpoint, note)
            assert witness.latest == checkpoint
            (cosigned,) = require_quorum(Note(note.text, (*note.signatures, line)), [witness.cosigner.key], 1)
            assert cosigned.at == witness.at
        # A log that has been started anew learns from the witness what that has seen.
        again = witness_at(port, tmp_path, witness)
        checkpoint, note = await signed(store, 5)
        await again.cosign(store, checkpoint, note)
        assert witness.refusals == [409]
        await again.cosign(store, checkpoint, note)  # and the same once more


async def test_another_history_is_not_cosigned(store: Store, tmp_path: Path) -> None:
    """A witness that has seen another tree of this log, or more of it, says no."""
    witness = judge()
    witness.latest = Checkpoint(origin=ORIGIN, size=3, root=b"\7" * 32)
    async with posting(server_context(tmp_path), witness.reply) as (port, _):
        checkpoint, note = await signed(store, 5)
        with pytest.raises(NotArchived, match="has seen another history"):
            await witness_at(port, tmp_path, witness).cosign(store, checkpoint, note)
        witness.latest = Checkpoint(origin=ORIGIN, size=9, root=b"\7" * 32)
        with pytest.raises(NotArchived, match="has cosigned 9 commits"):
            await witness_at(port, tmp_path, witness).cosign(store, checkpoint, note)
        stranger = sign(note.text, [type(SIGNER)(ORIGIN, Ed25519PrivateKey.from_private_bytes(b"\x12" * 32))])
        with pytest.raises(NotArchived, match="answers 403"):
            await witness_at(port, tmp_path, judge()).cosign(store, checkpoint, stranger)


@pytest.mark.parametrize(
    "said",
    [
        answer(200),
        answer(200, b"nonsense\n"),
        answer(200, STRANGER.cosign("x\n", 1).line.encode()),
        answer(200, judge().cosigner.cosign("another text\n", 1).line.encode()),
        answer(409, b"none\n", "text/x.tlog.size"),
        answer(409, b"3\n", "text/plain"),
        answer(409, b"2\n", "text/x.tlog.size"),
        answer(503),
    ],
)  # fmt: skip
async def test_what_is_no_cosignature(store: Store, tmp_path: Path, said: bytes) -> None:
    """An answer without a cosignature of the witness's key over this checkpoint counts for nothing."""
    checkpoint, note = await signed(store, 3)
    async with posting(server_context(tmp_path), lambda _head, _body: said) as (port, _):
        with pytest.raises(NotArchived):
            await witness_at(port, tmp_path, judge()).cosign(store, checkpoint, note)


async def test_two_of_three(store: Store, tmp_path: Path) -> None:
    """With two asked for, a checkpoint is published with two; with one it is not, and the alert says what was said."""
    judges = [judge(seed) for seed in (1, 2, 3)]
    well = [True, True]

    def reply_of(number: int) -> Reply:
        def reply(head: bytes, body: bytes) -> bytes:
            return judges[number].reply(head, body) if number < 2 and well[number] else answer(503)

        return reply

    clock = [NOW]
    alerts = Alerts(NODE, lambda: clock[0])
    context = server_context(tmp_path)
    async with (
        posting(context, reply_of(0)) as (one, _),
        posting(context, reply_of(1)) as (two, _),
        posting(context, reply_of(2)) as (three, _),
    ):
        witnesses = Witnesses(
            store=store,
            all=[witness_at(port, tmp_path, key) for port, key in zip((one, two, three), judges, strict=True)],
            required=2,
        )
        files = LogFiles(tmp_path / "log")
        kept: list[Note] = []

        async def keep(_checkpoint: Checkpoint, note: Note) -> None:
            kept.append(note)

        publication = Publication(
            store, files, Progress().failures, witnesses=witnesses, now=lambda: NOW, alerts=alerts
        )
        publication.keep = keep
        publication.publish(*await signed(store, 4))
        await publication.flush()
        well[1] = False
        publication.publish(*await signed(store, 4))
        await publication.flush()
    octets = files.read_checkpoint()
    assert octets is not None
    assert parse_text(parse(octets).text).size == 4  # that of eight is not published
    keys = [one.cosigner.key for one in judges]
    assert len(require_quorum(parse(octets), keys, 2)) == 2
    assert [note.encode() for note in kept] == [octets]
    assert witnesses.failures == {"witness.example/3": 2, "witness.example/2": 1}
    clock[0] += 60_000_000
    alerts.look()
    (alert,) = alerts.active()
    assert alert.kind.name == "audit_not_witnessed"
    assert "witness.example/2 answers 503" in alert.why


async def test_a_witness_that_knows_more(store: Store, tmp_path: Path) -> None:
    """At a start it is refused that a witness has seen more than there is, or another history; one that is away, or has
    seen less, is no reason; nor is a log of another name."""
    witness, other = judge(), SqliteStore(tmp_path / "other.db")
    await other.open()
    try:
        async with posting(server_context(tmp_path), witness.reply) as (port, _):
            ours = Witnesses(store=store, all=[witness_at(port, tmp_path, witness)])
            await ours.require_agreement(ORIGIN)  # nothing is signed yet
            checkpoint, note = await signed(store, 3)
            await ours.require_agreement(ORIGIN)  # and it has seen nothing
            await ours.all[0].cosign(store, checkpoint, note)
            await ours.require_agreement(ORIGIN)  # just this
            restored = Witnesses(store=other, all=[witness_at(port, tmp_path, witness)])
            await signed(other, 2)
            with pytest.raises(LogBroken, match="has cosigned 3 commits of this log, and it has 2") as caught:
                await restored.require_agreement(ORIGIN)
            assert "give audit.log.origin another name" in str(caught.value)
            await restored.require_agreement("example.org/smsgw-2")
        await restored.require_agreement(ORIGIN)  # it is away: nobody knows
    finally:
        await other.close()


async def test_a_witness_that_tells_later(store: Store, tmp_path: Path) -> None:
    """A running node is told when a witness has seen more, or another history; not when another node was faster."""
    witness, other = judge(), SqliteStore(tmp_path / "other.db")
    await other.open()
    told: list[str] = []
    try:
        async with posting(server_context(tmp_path), witness.reply) as (port, _):
            ours = Witnesses(store=store, all=[witness_at(port, tmp_path, witness)])
            ours.contradicted = told.append
            early = await signed(store, 3)
            assert (await ours.cosigned(*await signed(store, 3)))[1] == 1
            assert (await ours.cosigned(*early))[1] == 0  # of a node that was paused: the log has what was seen
            assert told == []
            restored = Witnesses(store=other, all=[witness_at(port, tmp_path, witness)])
            restored.contradicted = told.append
            await other.audit([NodeStopped(NOW, "another")])
            assert (await restored.cosigned(*await signed(other, 2)))[1] == 0
            assert (await restored.cosigned(*await signed(other, 6)))[1] == 0
    finally:
        await other.close()
    assert [text.partition(" has ")[2] for text in told] == [
        "cosigned 6 commits of this log, and it has 3",
        "seen another history of this log",
    ]
