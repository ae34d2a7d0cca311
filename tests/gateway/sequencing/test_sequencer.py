"""The sequencer takes every commit once, in order, and what it signs is one history, whatever ends it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from gateway.errors import StoreUnavailable
from gateway.sequencing.files import LogFiles
from gateway.sequencing.notary import Notary
from gateway.sequencing.publishing import Publication
from gateway.sequencing.sequencer import Pace, Progress, Publisher, Sequencer
from gateway.store.contract import Store
from gateway.store.postgres import PostgresStore
from gateway.store.sequencing import LogAppend, LogHead, LogPublish
from gateway.store.sqlite import SqliteStore
from gateway.tlog import proofs
from gateway.tlog.merkle import verify_consistency
from tests.gateway.sequencing.commits import (
    NOW,
    SIGNER,
    Noticeboard,
    commit,
    commits_of,
    opened,
    opened_store,
    root_after,
)
from tests.postgres.server import shared
from visibility.alerts import Alerts
from visibility.catalogue import NODE

PACE = Pace(checkpoint_s=0.001, renewal_s=3600.0, lease_s=10.0)


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[Store]:
    """Give an open store."""
    async with opened_store(tmp_path) as made:
        yield made


@pytest.fixture(params=["sqlite", "postgres"])
async def either(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Store]:
    """Give an open store of each engine in turn."""
    made: Store = PostgresStore(shared().emptied())
    if request.param == "sqlite":
        made = SqliteStore(tmp_path / "smsgw.db")
    await made.open()
    yield made
    await made.close()


def sequencer(store: Any, publisher: Publisher, name: str = "node-1", **more: Any) -> Sequencer:
    """A sequencer that signs at each turn."""
    pace = more.pop("pace", PACE)
    return Sequencer(
        store, Notary(SIGNER), publisher, holder=name, pace=pace, progress=Progress(), now=lambda: NOW, **more
    )


async def turns(one: Sequencer, number: int = 1) -> None:
    """Take turns, each of which may sign."""
    for _ in range(number):
        await one.turn()
        await asyncio.sleep(0.002)


async def require_one_history(store: Store, board: Noticeboard) -> None:
    """All that was published is the audit as it is, and each the beginning of the next."""
    commits = await commits_of(store)
    for checkpoint in board.checkpoints:
        assert checkpoint.root == root_after(commits, checkpoint.size)
    head = await store.log_head()
    assert head.size == len(commits)
    assert opened(head.checkpoint).size == len(commits)


async def test_commits_are_taken_and_signed(store: Store) -> None:
    """Each turn takes what was committed since, and signs it; without anything new nothing is signed."""
    board = Noticeboard()
    one = sequencer(store, board)
    await turns(one)
    assert board.notes == []
    for number in (1, 5, 0, 300):
        await commit(store, number)
        await turns(one)
    assert [checkpoint.size for checkpoint in board.checkpoints] == [1, 6, 306]
    await require_one_history(store, board)
    assert (one.progress.size, one.progress.behind, one.progress.checkpoint_size) == (306, 0, 306)
    assert one.progress.holds
    assert one.progress.checkpoint_at == NOW


async def test_the_same_checkpoint_again_when_it_is_old(store: Store) -> None:
    """A log that does not grow publishes its checkpoint anew now and then."""
    board = Noticeboard()
    one = sequencer(store, board, pace=Pace(checkpoint_s=0.001, renewal_s=0.001, lease_s=10.0))
    await commit(store, 2)
    await turns(one, 3)
    assert [checkpoint.size for checkpoint in board.checkpoints] == [2, 2, 2]


async def test_a_proof_is_made_of_what_is_stored(store: Store) -> None:
    """From the tiles in the database a stranger proves that one checkpoint continues another."""
    board = Noticeboard()
    one = sequencer(store, board)
    for number in (100, 500):
        await commit(store, number)
        await turns(one)
    old, new = board.checkpoints
    needed = proofs.consistency_tiles(old.size, new.size)
    stored = {tile[:2]: tile.octets for tile in await store.log_tiles([tile[:2] for tile in needed])}
    path = proofs.consistency(old.size, new.size, {tile: stored[tile[:2]] for tile in needed})
    verify_consistency(old.size, old.root, new.size, new.root, path)


async def test_two_nodes(either: Store) -> None:
    """While one is the sequencer the other waits; when it ends in order the other goes on at once."""
    store = either
    board = Noticeboard()
    one, two = sequencer(store, board), sequencer(store, board, "node-2")
    await commit(store, 3)
    await turns(one)
    await turns(two)
    assert not two.progress.holds
    await commit(store, 2)
    await one.finish()
    two = sequencer(store, board, "node-2")
    await commit(store, 1)
    await turns(two)
    assert two.progress.holds
    assert [checkpoint.size for checkpoint in board.checkpoints][-2:] == [5, 6]
    await require_one_history(store, board)


class Paused:
    """A store behind which a sequencer sleeps, while its lease runs out and another one works."""

    def __init__(self, store: Store, before: str) -> None:
        self._store, self._before = store, before
        self.reached, self.go_on = asyncio.Event(), asyncio.Event()

    def __getattr__(self, name: str) -> Any:
        if name != self._before:
            return getattr(self._store, name)
        return self._late

    async def _late(self, step: Any) -> Any:
        self.reached.set()
        await self.go_on.wait()
        return await getattr(self._store, self._before)(step)


@pytest.mark.parametrize("before", ["log_append", "log_publish"])
async def test_a_paused_sequencer_cannot_append(either: Store, before: str) -> None:
    """One that wakes up after another has taken over changes nothing, publishes nothing, and is not an alert."""
    store = either
    board = Noticeboard()
    sleeping = Paused(store, before)
    old = sequencer(sleeping, board, pace=Pace(checkpoint_s=0.001, renewal_s=3600.0, lease_s=0.0))
    await commit(store, 4)
    turn = asyncio.create_task(old.turn())
    async with asyncio.timeout(30):
        await sleeping.reached.wait()
    new = sequencer(store, board, "node-2")
    await commit(store, 3)
    await turns(new)
    assert [checkpoint.size for checkpoint in board.checkpoints] == [7]
    sleeping.go_on.set()
    async with asyncio.timeout(30):
        await turn
    assert not old.progress.holds
    assert not old.progress.broken
    assert [checkpoint.size for checkpoint in board.checkpoints] == [7]
    await commit(store, 1)
    await turns(new)
    await require_one_history(store, board)


class _Killed(BaseException):
    """What ends a process at once."""


class Mortal:
    """A store whose process ends at the n-th of its steps: before it is done, or after it and before the answer."""

    def __init__(self, store: Store, at: int, *, after: bool) -> None:
        self._store, self._left, self._after = store, at, after

    async def _step(self, act: Any, *args: Any) -> Any:
        self._left -= 1
        if self._left == 0 and not self._after:
            raise _Killed
        done = await act(*args)
        if self._left == 0:
            raise _Killed
        return done

    async def log_lease(self, holder: str, epoch: int, ttl: int) -> LogHead | None:
        """A step."""
        found: LogHead | None = await self._step(self._store.log_lease, holder, epoch, ttl)
        return found

    async def log_append(self, step: LogAppend) -> bool:
        """A step."""
        return bool(await self._step(self._store.log_append, step))

    async def log_publish(self, step: LogPublish) -> bool:
        """A step."""
        return bool(await self._step(self._store.log_publish, step))

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)


async def live(store: Store, one: Sequencer) -> None:
    """Commit and take turns, for longer than it lives."""
    for _ in range(20):
        await commit(store, 5)
        await turns(one)


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
async def test_an_end_at_any_step(store: Store, tmp_path: Path, after: bool) -> None:
    """Killed before or after each of its writes, again and again, it leaves one history and loses no commit."""
    board = Noticeboard()
    files = LogFiles(tmp_path / "log")

    for at in range(1, 14):
        mortal = sequencer(Mortal(store, at, after=after), board)
        with pytest.raises(_Killed):
            await live(store, mortal)
        if at % 3 == 0 and board.notes:  # the folder is written by some of them
            folder = Publication(store, files, Progress().failures, now=lambda: NOW)
            folder.publish(board.checkpoints[-1], board.notes[-1])
            await folder.flush()
    last = sequencer(store, board)
    await turns(last)
    await last.finish()
    folder = Publication(store, files, Progress().failures, now=lambda: NOW)
    folder.publish(board.checkpoints[-1], board.notes[-1])
    await folder.finish()
    await require_one_history(store, board)
    octets = files.read_checkpoint()
    assert octets is not None
    size = opened(octets).size
    read = {tile: (files.folder / tile.path).read_bytes() for tile in proofs.root_tiles(size)}
    assert proofs.root(size, read) == opened(octets).root == root_after(await commits_of(store), size)


class Failing:
    """A store whose appends fail, as long as it is told."""

    def __init__(self, store: Store) -> None:
        self._store, self.failing = store, True

    async def log_append(self, step: LogAppend) -> bool:
        """Fail."""
        if self.failing:
            raise StoreUnavailable("the disk is full")
        return await self._store.log_append(step)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)


async def test_a_failure_is_told_and_caught_up(store: Store) -> None:
    """While nothing can be written the alert holds; afterwards all is taken, and the alert is over."""
    clock = [0.0]
    alerts = Alerts(NODE, lambda: int(clock[0] * 1_000_000))
    board, failing = Noticeboard(), Failing(store)
    one = sequencer(failing, board, alerts=alerts)
    await commit(store, 3)
    await turns(one, 2)
    clock[0] = 60.0
    await turns(one)
    alerts.look()
    assert board.notes == []
    failing.failing = False
    await turns(one)
    assert alerts.active() == []
    await require_one_history(store, board)


async def test_a_gap_ends_it(tmp_path: Path, store: Store) -> None:
    """An audit whose next commit is gone is not taken up: the alert names it, and the log is left as it is."""
    alerts = Alerts(NODE, lambda: NOW)
    board = Noticeboard()
    one = sequencer(store, board, alerts=alerts)
    await commit(store, 5)
    await turns(one)

    class Gappy:
        """A store that has lost commit 6."""

        async def audit_read(self, after: int, limit: int) -> Any:
            return await store.audit_read(max(after, 6), limit)

        def __getattr__(self, name: str) -> Any:
            return getattr(store, name)

    await commit(store, 2)
    two = sequencer(Gappy(), board, alerts=alerts)
    await turns(two)
    (alert,) = alerts.active()
    assert alert.kind.name == "audit_log_broken"
    assert "commit 6 of the audit is missing" in alert.why
    assert two.progress.broken
    async with asyncio.timeout(30):
        await two.run()  # it does not go on
    assert (await store.log_head()).size == 5
    assert [checkpoint.size for checkpoint in board.checkpoints] == [5]


async def test_one_that_is_stopped(store: Store) -> None:
    """Who is told that a witness knows the log otherwise signs and appends nothing more, also in the midst of it."""
    board, alerts = Noticeboard(), Alerts(NODE)
    one = sequencer(store, board, alerts=alerts)
    await commit(store, 3)
    await turns(one)
    await commit(store, 3)
    turn = asyncio.create_task(one.turn())
    await asyncio.sleep(0)
    one.stop("a witness has seen more")
    await turn
    async with asyncio.timeout(30):
        await one.run()
    await one.finish()
    assert [checkpoint.size for checkpoint in board.checkpoints] == [3]
    assert {alert.kind.name: alert.why for alert in alerts.active()}["audit_log_broken"] == "a witness has seen more"
