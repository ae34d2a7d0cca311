"""What was changed long ago is found while the node runs, and named."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from gateway.errors import StoreUnavailable
from gateway.sequencing.notary import Notary
from gateway.sequencing.scrubbing import IDLE_S, Scrub, ScrubPace, ScrubProgress
from gateway.sequencing.sequencer import DATABASE
from gateway.store.contract import Store
from gateway.store.sequencing import LogPrune
from gateway.store.sqlite import SqliteStore
from tests.gateway.sequencing.commits import NOW, SIGNER
from tests.gateway.sequencing.test_consistency import Engine, Execute, edit_sqlite, flipped, made, records
from tests.gateway.sequencing.test_consistency import engine as each_engine
from visibility.alerts import Alerts
from visibility.catalogue import NODE

__all__ = ["each_engine"]  # a fixture

SIZE = 600  # two full bundles, and one that is not
FAST = ScrubPace(pass_s=3.0, bytes_per_s=1e9)


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Make a log, once; the folder of its database."""
    folder = tmp_path_factory.mktemp("original")
    asyncio.run(made(_in(folder), 3, SIZE))
    return folder


def _in(folder: Path) -> Engine:
    path = folder / "smsgw.db"
    return Engine(lambda: SqliteStore(path), lambda: edit_sqlite(path))


@pytest.fixture
def engine(original: Path, tmp_path: Path) -> Engine:
    """Give a copy of the log."""
    return _in(shutil.copytree(original, tmp_path / "copy"))


class Scrubbed:
    """A scrub of a store, and what it says."""

    def __init__(self, store: Store, checkpoint: bytes, *, pace: ScrubPace = FAST, begin: int = 0) -> None:
        self.store, self.checkpoint = store, checkpoint
        self.alerts = Alerts(NODE)
        self.progress = ScrubProgress()
        notary = Notary(SIGNER)
        signed = notary.remember(checkpoint, DATABASE)
        assert signed is not None
        self.signed = signed.size
        self.pauses: list[float] = []
        self.scrub = Scrub(
            store,
            notary,
            pace=pace,
            progress=self.progress,
            signed=lambda: self.signed,
            now=lambda: NOW,
            alerts=self.alerts,
            begin=lambda bundles: begin % bundles,
        )

    async def go_round(self) -> str:
        """Make one pass; what the alert says, "" without one."""
        self.progress.done_at = 0
        for _ in range(1000):
            self.pauses.append(await self.scrub.step())
            if self.progress.done_at:
                break
        else:
            raise AssertionError("it does not come round")
        return "; ".join(alert.why for alert in self.alerts.active())


@asynccontextmanager
async def scrubbed(engine: Engine, begin: int = 0) -> AsyncIterator[Scrubbed]:
    """Open what `made` has made, and scrub it."""
    store = engine.store()
    await store.open()
    try:
        yield Scrubbed(store, (await store.log_head()).checkpoint, begin=begin)
    finally:
        await store.close()


@pytest.mark.parametrize("begin", [0, 1, 2])
async def test_what_agrees(engine: Engine, begin: int) -> None:
    """Nothing is found where nothing is wrong, wherever it begins, and each commit is looked at once."""
    async with scrubbed(engine, begin) as one:
        assert await one.go_round() == ""
        assert one.progress == ScrubProgress(walked=SIZE, size=SIZE, done_at=NOW, findings=0)
        assert one.pauses == [1.0, 1.0, 1.0]  # a third of the pass each


def alter(execute: Execute) -> None:
    """Change a bit of a record of an old commit."""
    execute("UPDATE audit_commit SET records = %s WHERE seq = 6", (flipped(records(execute, 6)),))


def swap(execute: Execute) -> None:
    """Exchange two commits of different bundles."""
    rows = {seq: execute("SELECT at, count, records FROM audit_commit WHERE seq = %s", (seq,))[0] for seq in (7, 301)}
    for seq, other in ((7, 301), (301, 7)):
        execute("UPDATE audit_commit SET at = %s, count = %s, records = %s WHERE seq = %s", (*rows[other], seq))


def leave_out(execute: Execute) -> None:
    """Remove a commit among others."""
    execute("DELETE FROM audit_commit WHERE seq = 100", ())


def cut_off(execute: Execute) -> None:
    """Remove the last commits."""
    execute("DELETE FROM audit_commit WHERE seq > 590", ())


def _change_tile(execute: Execute, level: int, number: int, at: int) -> None:
    ((octets,),) = execute("SELECT octets FROM log_tile WHERE level = %s AND number = %s", (level, number))
    row = (flipped(bytes(octets), at), level, number)
    execute("UPDATE log_tile SET octets = %s WHERE level = %s AND number = %s", row)


def change_leaf(execute: Execute) -> None:
    """Change the hash of a commit in an old tile."""
    _change_tile(execute, 0, 0, 32 * 8)


def change_above(execute: Execute) -> None:
    """Change the hash of an old tile in the tile above."""
    _change_tile(execute, 1, 0, 32)


def change_edge(execute: Execute) -> None:
    """Change the hash of a commit in the last, partial tile."""
    _change_tile(execute, 0, 2, 32 * 5)


def change_entry(execute: Execute) -> None:
    """Change the time in an old entry."""
    _change_tile(execute, -1, 0, 2 + 16)


def lose_tile(execute: Execute) -> None:
    """Remove an old tile."""
    execute("DELETE FROM log_tile WHERE level = 0 AND number = 1", ())


CHANGES: dict[Callable[[Execute], None], tuple[str, ...]] = {
    alter: ("commit 6 of the audit was changed: record 2",),
    swap: (
        "commit 7 of the audit was changed",
        "commit 301 of the audit was changed: it holds the records of commit 7",
    ),
    leave_out: ("commit 100 of the audit: missing",),
    cut_off: ("commits 591 to 600 are gone from the audit",),
    change_leaf: ("entry 9 of the log was changed", "tile/0/000 of the log was changed, or the tile above it"),
    change_above: ("tile/0/001 of the log was changed, or the tile above it: of commits 257 to 512",),
    change_edge: (
        "entry 518 of the log was changed",
        "the first 600 commits of the log are not those that were signed",
    ),
    change_entry: ("entry 1 of the log was changed: its hash is not the one in the tree",),
    lose_tile: ("commits 257 to 512: tile/0/001 of the log is missing",),
}


@pytest.mark.parametrize("change", CHANGES, ids=lambda change: change.__name__)
async def test_what_was_changed(engine: Engine, change: Callable[[Execute], None]) -> None:
    """It is named, and only that, at each pass."""
    with engine.edit() as execute:
        change(execute)
    async with scrubbed(engine) as one:
        why = await one.go_round()
        for text in CHANGES[change]:
            assert text in why
        assert 1 <= one.progress.findings <= 3
        assert await one.go_round() == why


async def test_an_alert_ends_with_a_pass_that_finds_nothing(each_engine: Engine) -> None:
    """And not before: half a pass says nothing. On both databases."""
    engine = each_engine
    await made(engine, 3, SIZE)
    with engine.edit() as execute:
        whole = records(execute, 6)
        alter(execute)
    async with scrubbed(engine) as one:
        assert await one.go_round() != ""
        with engine.edit() as execute:
            execute("UPDATE audit_commit SET records = %s WHERE seq = 6", (whole,))
        await one.scrub.step()
        assert (one.progress.findings, len(one.alerts.active())) == (1, 1)
        assert await one.go_round() == ""
        assert one.progress.findings == 0


async def test_what_was_deleted_by_the_node_is_not_missing(engine: Engine) -> None:
    """Of pruned commits the entries are looked at."""
    store = engine.store()
    await store.open()
    head = await store.log_lease("node-1", -1, 10_000_000)
    assert head is not None
    assert await store.log_prune(LogPrune(head.epoch, 300))
    await store.log_release(head.epoch)
    await store.close()
    async with scrubbed(engine) as one:
        assert await one.go_round() == ""
    with engine.edit() as execute:
        change_entry(execute)
    async with scrubbed(engine) as one:
        assert "entry 1 of the log was changed" in await one.go_round()


class Away:
    """A store that does not answer any more."""

    async def audit_read(self, after_seq: int, limit: int) -> list[object]:
        """Answer nothing."""
        raise StoreUnavailable(f"no answer about {limit} commits behind {after_seq}")


async def test_it_waits(engine: Engine) -> None:
    """For who does not append, while the database is away, and as long as what it has read allows."""
    async with scrubbed(engine) as one:
        signed, one.signed = one.signed, 0
        assert await one.scrub.step() == IDLE_S
        one.signed = signed
        assert one.progress.size == 0
        slow = Scrubbed(one.store, one.checkpoint, pace=ScrubPace(pass_s=60.0, bytes_per_s=10.0))
        assert await slow.scrub.step() > 100.0
        away = Scrubbed(Away(), one.checkpoint)  # type: ignore[arg-type]  # it is asked for nothing else
        assert await away.scrub.step() == IDLE_S
        assert away.alerts.active() == []
        assert away.progress.walked == 0
