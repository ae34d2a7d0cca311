"""Old records go, on record; what proves them stays, and so does what is young, unsigned or needed at a start."""

from __future__ import annotations

from pathlib import Path

import pytest

from gateway.sequencing import pruning
from gateway.sequencing.consistency import check_log
from gateway.sequencing.notary import Notary
from gateway.sequencing.pruning import Pruner
from gateway.store.sqlite import SqliteStore
from tests.gateway.sequencing.commits import SIGNER, Noticeboard, commit
from tests.gateway.sequencing.test_sequencer import sequencer, turns

HOUR = 3600 * 1_000_000


@pytest.mark.parametrize(("kept_hours", "gone"), [(100, 0), (85, 15), (1, 80)])
async def test_what_goes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kept_hours: int, gone: int) -> None:
    """Commits are made an hour apart: those beyond their time go, but never the newest, and in small steps."""
    monkeypatch.setattr(pruning, "NEWEST", 20)
    monkeypatch.setattr(pruning, "STEP", 7)
    clock = [0]

    def hours() -> int:
        clock[0] += HOUR
        return clock[0]

    store = SqliteStore(tmp_path / "smsgw.db", now=hours)
    await store.open()
    await commit(store, 100)
    told: list[tuple[int, int]] = []
    keep = kept_hours * HOUR + HOUR // 2
    pruner = Pruner(store, keep, lambda: 101 * HOUR, lambda first, last: told.append((first, last)))
    board = Noticeboard()
    one = sequencer(store, board, pruner=pruner)
    await turns(one, 20)
    before_oldest, newest = await store.audit_bounds()
    assert (before_oldest, newest) == (gone, 100)
    assert told == [(first + 1, min(first + 7, gone)) for first in range(0, gone, 7)]
    assert (await check_log(store, Notary(SIGNER), [])).size == 100
    await commit(store, 3)
    await turns(one)
    assert board.checkpoints[-1].size == 103
    await store.close()


async def test_what_is_not_signed_stays(tmp_path: Path) -> None:
    """Without a checkpoint over them, commits are not deleted, however old."""
    store = SqliteStore(tmp_path / "smsgw.db", now=lambda: 1)
    await store.open()
    await commit(store, 5)
    pruner = Pruner(store, 1, lambda: 10**15, lambda _first, _last: None)
    assert not await pruner.step(0, 0)
    assert await store.audit_bounds() == (0, 5)
    await store.close()
