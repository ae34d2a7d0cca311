"""Hashes of recipients are written anew under another index key, and it is told when the old one can go."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from gateway.errors import StoreUnavailable
from gateway.privacy.rekeying import Rekeying
from gateway.records import IndexKeys
from gateway.store.contract import ListFilter, Store
from gateway.store.retention import Rule, Stage
from tests.gateway.privacy.rig import INDEX_KEY, Rig
from tests.gateway.store.conftest import Engine, engine
from tests.gateway.store.samples import HOUR, NOW, TENANT, TRANSACTIONAL

PERSON = "+4915112345678"
NEW_KEY = bytes(32)
AGES = 72 * HOUR
__all__ = ["engine"]  # the engines of the conformance suite


@pytest.fixture
async def store(engine: Engine) -> AsyncIterator[Store]:
    """Give an open store of each engine."""
    opened = engine()
    await opened.open()
    yield opened
    await opened.close()


def _rekeying(rig: Rig, keys: IndexKeys, page: int = 3) -> Rekeying:
    return Rekeying(store=rig.store, box=rig.box, keys=keys, now=lambda: rig.now, ages=AGES, page=page)


async def _found(store: Store, keys: IndexKeys) -> int:
    where = ListFilter((), keys.recipient_hashes(PERSON))
    return len(await store.list_messages(TENANT, where, None, 100))


async def test_a_key_is_replaced(tmp_path: Path, store: Store) -> None:
    """Under both keys everything is found all the time; afterwards under the new one alone, and the old one can go when
    the hashes have aged that nobody can write anew."""
    rig = Rig(tmp_path, store)
    await _rekeying(rig, rig.index).round()
    news = [rig.message(PERSON, f"text {n}") for n in range(8)]
    await rig.ended(*news)
    rig.now += HOUR
    both, alone = IndexKeys(NEW_KEY, [INDEX_KEY]), IndexKeys(NEW_KEY)
    rekeying = _rekeying(rig, both)
    assert (await _found(store, both), await _found(store, alone)) == (8, 0)
    (newest, old) = await rekeying.standing()
    assert (newest.newest, old.removable, old.use.messages) == (True, False, 8)
    assert await rekeying.round() == 8
    assert (await _found(store, both), await _found(store, alone)) == (8, 8)
    (_, old) = await rekeying.standing()
    assert (old.removable, old.use.messages, old.removable_at) == (False, 0, rig.now + AGES)
    rig.now += AGES
    (_, old) = await rekeying.standing()
    assert old.removable
    assert await rekeying.round() == 0


async def test_what_nobody_can_write_anew_is_told(tmp_path: Path, store: Store) -> None:
    """A message whose recipient is not kept stays under the old key until it goes itself; a key that was removed too
    early is told, too."""
    rig = Rig(tmp_path, store)
    await rig.ended(rig.message(PERSON, "a"))
    await store.retain(Rule(TENANT, 1 << TRANSACTIONAL, int(Stage.ENVELOPE), 0), NOW + HOUR, 10)
    rig.now += 2 * AGES
    rekeying = _rekeying(rig, IndexKeys(NEW_KEY, [INDEX_KEY]))
    assert await rekeying.round() == 0
    (_, old) = await rekeying.standing()
    assert (old.removable, old.use.unrecoverable, old.configured) == (False, 1, True)
    (_, lost) = await _rekeying(rig, IndexKeys(NEW_KEY)).standing()
    assert (lost.removable, lost.configured) == (False, False)
    assert "not in the configuration" in lost.why


@pytest.mark.parametrize("calls", [0, 1, 2])
async def test_whatever_ends_on_the_way(tmp_path: Path, store: Store, calls: int) -> None:
    """Whichever page is the last before the end of the process, the next start writes the rest."""
    rig = Rig(tmp_path, store)
    await rig.ended(*[rig.message(PERSON, f"text {n}") for n in range(8)])
    keys = IndexKeys(NEW_KEY, [INDEX_KEY])
    rehash, left = store.rehash, [None] * calls

    async def ends(*given: Any) -> int:
        if not left:
            raise StoreUnavailable("the end")
        left.pop()
        return await rehash(*given)

    store.rehash = ends  # type: ignore[method-assign, assignment]  # to fail
    with pytest.raises(StoreUnavailable):
        await _rekeying(rig, keys).round()
    store.rehash = rehash  # type: ignore[method-assign]  # as before
    assert await _rekeying(rig, keys).round() == 8 - 3 * calls
    assert await _found(store, IndexKeys(NEW_KEY)) == 8
