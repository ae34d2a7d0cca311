"""What somebody did to the database, with rights to do anything there, is found at the next start, and named."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import apsw
import pytest

from gateway.audit.codec import frames
from gateway.audit.records import NodeStopped
from gateway.sequencing.consistency import Checked, Signed, check_log
from gateway.sequencing.errors import LogBroken
from gateway.sequencing.notary import Notary
from gateway.sequencing.sequencer import Progress, Sequencer
from gateway.store.contract import Store
from gateway.store.postgres import PostgresStore
from gateway.store.sequencing import LogPrune
from gateway.store.sqlite import SqliteStore
from tests.gateway.sequencing.commits import NOW, SIGNER, Noticeboard, commit
from tests.gateway.sequencing.test_sequencer import PACE, sequencer, turns
from tests.postgres.server import shared

Execute = Callable[[str, Sequence[Any]], list[Any]]
SIZE = 300


class Engine:
    """A database: a store on it, and a way past all that guards it."""

    def __init__(self, store: Callable[[], Store], edit: Callable[[], Any]) -> None:
        self.store, self.edit = store, edit


@contextmanager
def edit_sqlite(path: Path) -> Iterator[Execute]:
    """Write past what guards it."""
    db = apsw.Connection(str(path))
    try:
        for (name,) in db.execute("SELECT name FROM sqlite_schema WHERE type = 'trigger'").fetchall():
            db.execute(f"DROP TRIGGER {name}")
        with db:
            yield lambda text, bindings: db.execute(text.replace("%s", "?"), tuple(bindings)).fetchall()
    finally:
        db.close()


@contextmanager
def _edit_postgres() -> Iterator[Execute]:
    with shared().connect("postgres") as db:
        db.execute("SET session_replication_role = replica")
        db.execute("SET search_path = smsgw")

        def execute(text: str, bindings: Sequence[Any]) -> list[Any]:
            done = db.execute(text.encode(), tuple(bindings))
            return done.fetchall() if done.description else []

        with db.transaction():
            yield execute
            db.execute("UPDATE sequencer SET audit_seq = (SELECT coalesce(max(seq), 0) FROM audit_commit)")


@pytest.fixture(params=["sqlite", "postgres"])
def engine(request: pytest.FixtureRequest, tmp_path: Path) -> Engine:
    """Give each engine in turn."""
    if request.param == "sqlite":
        path = tmp_path / "smsgw.db"
        return Engine(lambda: SqliteStore(path), lambda: edit_sqlite(path))
    target = shared().emptied()
    return Engine(lambda: PostgresStore(target), _edit_postgres)


async def made(engine: Engine, *sizes: int) -> list[bytes]:
    """Make an audit with a log, signed at these sizes; the checkpoints."""
    board = Noticeboard()
    for size in (0, *sizes):
        if size:
            with engine.edit() as execute:
                written(execute, size)
        store = engine.store()
        await store.open()
        try:
            await turns(sequencer(store, board))
        finally:
            await store.close()
    return list(dict.fromkeys(note.encode() for note in board.notes))


def written(execute: Execute, size: int) -> None:
    """Write so many commits as a node does, of one to three records, all at once: it is not what is tested here."""
    ((first,),) = execute("SELECT coalesce(max(seq), 0) FROM audit_commit", ())
    for seq in range(first + 1, size + 1):
        number = (seq - 1) % 3 + 1
        octets = frames([NodeStopped(NOW + seq, f"node-{copy}") for copy in range(number)])
        row = (seq, NOW + seq, number, octets)
        execute("INSERT INTO audit_commit (seq, at, count, records) VALUES (%s, %s, %s, %s)", row)


async def check(engine: Engine, *elsewhere: bytes) -> Checked:
    """Check as a start does."""
    store = engine.store()
    await store.open()
    try:
        return await check_log(store, Notary(SIGNER), [Signed(one, "the archive") for one in elsewhere])
    finally:
        await store.close()


async def refused(engine: Engine, *elsewhere: bytes) -> str:
    """What a start says that is refused."""
    with pytest.raises(LogBroken) as caught:
        await check(engine, *elsewhere)
    assert caught.value.reason == "AUDIT_LOG_BROKEN"
    return str(caught.value)


def records(execute: Execute, seq: int) -> bytes:
    """Return what a commit has."""
    ((found,),) = execute("SELECT records FROM audit_commit WHERE seq = %s", (seq,))
    return bytes(found)


def flipped(octets: bytes, at: int = -1) -> bytes:
    """Return octets with one bit changed."""
    changed = bytearray(octets)
    changed[at] ^= 1
    return bytes(changed)


async def test_what_agrees(engine: Engine) -> None:
    """A log that nobody has touched is found well: with commits behind it, with pruned ones, and when it is empty."""
    assert await made(engine) == []
    assert await check(engine) == Checked(size=0, signed=0, commits=0, tiles=0)
    notes = await made(engine, 3, SIZE)
    assert await check(engine, notes[0]) == Checked(size=SIZE, signed=2, commits=SIZE, tiles=1)
    store = engine.store()
    await store.open()
    head = await store.log_lease("node-1", -1, 10_000_000)
    assert head is not None
    assert await store.log_prune(LogPrune(head.epoch, 100))
    await commit(store, 3)
    await store.close()
    assert await check(engine, notes[1]) == Checked(size=SIZE, signed=2, commits=SIZE - 100, tiles=1)


async def test_an_audit_that_was_cut_off(engine: Engine) -> None:
    """The newest commits are deleted: which, is said."""
    await made(engine, SIZE)
    with engine.edit() as execute:
        execute("DELETE FROM audit_commit WHERE seq > %s", (SIZE - 2,))
    assert "commits 299 to 300 are gone from the audit" in await refused(engine)


async def test_a_commit_that_was_taken_out(engine: Engine) -> None:
    """One in the middle is deleted; the first ones are deleted: which, is said."""
    await made(engine, SIZE)
    with engine.edit() as execute:
        execute("DELETE FROM audit_commit WHERE seq = %s", (150,))
    assert "commit 150 of the audit: missing" in await refused(engine)
    with engine.edit() as execute:
        execute("DELETE FROM audit_commit WHERE seq < %s", (5,))
    assert "commits 1 to 4 are gone from the audit, and were not deleted by this node" in await refused(engine)


async def test_a_record_that_was_changed(engine: Engine) -> None:
    """One bit of one record: the commit and the record are named."""
    await made(engine, SIZE)
    with engine.edit() as execute:
        octets = records(execute, 279)
        first = int.from_bytes(octets[:2], "big") + 2
        second = flipped(octets, first + 10)
        execute("UPDATE audit_commit SET records = %s WHERE seq = %s", (second, 279))
    said = await refused(engine)
    assert said == "commit 279 of the audit was changed: record 1"


async def test_a_time_and_a_number_that_were_changed(engine: Engine) -> None:
    """What a commit says of itself is part of what was signed."""
    await made(engine, SIZE)
    with engine.edit() as execute:
        execute("UPDATE audit_commit SET at = at - 1 WHERE seq = %s", (7,))
        execute("UPDATE audit_commit SET count = count + 1 WHERE seq = %s", (8,))
    said = await refused(engine)
    assert "commit 7 of the audit was changed: its time was another" in said
    assert "commit 8 of the audit has" in said


async def test_a_record_that_was_taken_out(engine: Engine) -> None:
    """A commit with a record less, and the number put right: how many there were, is said."""
    await made(engine, SIZE)
    with engine.edit() as execute:
        octets = records(execute, 3)
        end = len(octets) - (int.from_bytes(octets[:2], "big") + 2)  # its records are of one length
        execute("UPDATE audit_commit SET records = %s, count = count - 1 WHERE seq = %s", (octets[:end], 3))
    assert "commit 3 of the audit was changed: it has 2 records instead of 3" in await refused(engine)


async def test_commits_in_another_order(engine: Engine) -> None:
    """Two are exchanged: each is named with the one that it was."""
    await made(engine, SIZE)
    with engine.edit() as execute:
        one, other = records(execute, 151), records(execute, 154)  # of as many records
        execute("UPDATE audit_commit SET records = %s WHERE seq = %s", (other, 151))
        execute("UPDATE audit_commit SET records = %s WHERE seq = %s", (one, 154))
    said = await refused(engine)
    assert "commit 151 of the audit was changed: it holds the records of commit 154" in said
    assert "commit 154 of the audit was changed: it holds the records of commit 151" in said


async def test_a_log_that_was_changed_with_the_audit(engine: Engine) -> None:
    """Who changes the entry, too, leaves a hash in the tree; who changes that, a hash above it; who changes all, a root
    that was not signed."""
    notes = await made(engine, SIZE)
    with engine.edit() as execute:
        for level, number in ((-1, 0), (0, 0)):
            ((octets,),) = execute("SELECT octets FROM log_tile WHERE level = %s AND number = %s", (level, number))
            changed = flipped(bytes(octets), 40)
            execute("UPDATE log_tile SET octets = %s WHERE level = %s AND number = %s", (changed, level, number))
    said = await refused(engine)
    assert "entry 1 of the log was changed: its hash is not the one in the tree" in said
    assert "tile/0/000 of the log was changed, or the tile above it: of commits 1 to 256" in said
    with engine.edit() as execute:
        ((octets,),) = execute("SELECT octets FROM log_tile WHERE level = %s AND number = %s", (1, 0))
        changed = flipped(bytes(octets), 0)
        execute("UPDATE log_tile SET octets = %s WHERE level = %s AND number = %s", (changed, 1, 0))
    assert "the first 300 commits of the log are not those that were signed" in await refused(engine, *notes)


async def test_a_database_that_was_put_back(engine: Engine) -> None:
    """A log that is older than a checkpoint elsewhere: from which commit on it is gone, and where that is known."""
    notes = await made(engine, 3, SIZE)
    with engine.edit() as execute:
        execute("DELETE FROM audit_commit WHERE seq > %s", (3,))
        execute("UPDATE log_head SET size = 3, checkpoint = %s, checkpoint_size = 3", (notes[0],))
    said = await refused(engine, notes[1])
    assert "commits 4 to 300 are gone from the log: the archive has a checkpoint of 300" in said


async def test_a_log_that_was_made_anew(engine: Engine) -> None:
    """Another history of the same length, signed by nobody but whole in itself, is not the one in the archive."""
    (note,) = await made(engine, SIZE)
    with engine.edit() as execute:
        execute("UPDATE audit_commit SET at = at + 1 WHERE seq = %s", (1,))
        execute("DELETE FROM log_tile", ())
        execute("UPDATE log_head SET size = 0, checkpoint = %s, checkpoint_size = 0, held_until = 0", (b"",))
    await made(engine, SIZE)  # takes everything up again, and signs it: its key was stolen
    said = await refused(engine, note)
    assert said == (
        "two histories are signed: of 300 commits there is one checkpoint in the database, and another in the archive"
    )


async def test_tiles_that_are_gone(engine: Engine) -> None:
    """A tile that is missing, or too short, is named."""
    await made(engine, SIZE)
    with engine.edit() as execute:
        execute("UPDATE log_tile SET octets = %s WHERE level = %s AND number = %s", (bytes(32), 0, 1))
    assert "tile/0/001.p/44 of the log has another length" in await refused(engine)
    with engine.edit() as execute:
        execute("DELETE FROM log_tile WHERE level = %s AND number = %s", (0, 1))
    assert "tile/0/001.p/44 of the log is missing" in await refused(engine)


async def test_a_checkpoint_that_was_forged(engine: Engine) -> None:
    """A checkpoint that this log's key has not signed is no checkpoint, wherever it lies."""
    notes = await made(engine, SIZE)
    with engine.edit() as execute:
        forged = notes[0].replace(b"\n300\n", b"\n299\n")
        execute("UPDATE log_head SET checkpoint = %s", (forged,))
    assert "the database holds no checkpoint of example.org/smsgw signed by this log" in await refused(engine)


async def test_a_new_name_begins_a_new_log(engine: Engine) -> None:
    """After a database was put back for good reason, a log of another name goes on from there."""
    notes = await made(engine, SIZE)
    other = type(SIGNER)("example.org/smsgw-2", SIGNER._private)
    store = engine.store()
    await store.open()
    notary = Notary(other)
    checked = await check_log(store, notary, [Signed(notes[0], "the archive")])
    assert (checked.size, checked.signed) == (SIZE, 0)

    class Board:
        """Keeps sizes."""

        def __init__(self) -> None:
            self.sizes: list[int] = []

        def publish(self, checkpoint: Any, note: Any) -> None:
            """Keep one."""
            self.sizes.append(checkpoint.size)

    board = Board()
    one = Sequencer(store, notary, board, holder="node-1", pace=PACE, progress=Progress(), now=lambda: NOW)
    await turns(one)
    await commit(store, 1)
    await turns(one)
    assert board.sizes == [SIZE, SIZE + 1]
    await store.close()
