"""Keys of what was erased are destroyed, and what others have under them is kept, whatever ends on the way."""

from __future__ import annotations

import shutil
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from gateway.audit.codec import decode, split
from gateway.audit.records import KeyDestroyed
from gateway.errors import KeyDestroyed as Destroyed
from gateway.errors import StoreUnavailable, Unavailable
from gateway.privacy.person import FoundInbound
from gateway.sealing.envelope import key_id_of
from gateway.sealing.keyring import DestroyedKey, KeyringUnavailable, WrappedKey
from gateway.store.contract import Store
from gateway.store.sqlite import SqliteStore
from tests.gateway.privacy.rig import NODE, Rig
from tests.gateway.store.samples import HOUR, NOW, SECOND, TENANT

PERSON, OTHER = "+4915112345678", "+4915187654321"


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[SqliteStore]:
    """Give an open store."""
    opened = SqliteStore(tmp_path / "store" / "smsgw.db", now=lambda: NOW)
    await opened.open()
    yield opened
    await opened.close()


async def _records(store: Store) -> list[Any]:
    return [decode(octets) for commit in await store.audit_read(0, 1000) for octets in split(commit.records)]


async def test_a_key_goes_and_what_shares_it_stays(tmp_path: Path, store: SqliteStore) -> None:
    """The key of what was erased is destroyed, on record before it is; other messages and those from handsets open."""
    rig = Rig(tmp_path, store)
    mine, other = rig.message(PERSON, "for one"), rig.message(OTHER, "for another")
    await rig.ended(mine, other)
    await rig.inbound(OTHER, "from another")
    key_id = key_id_of(other.content)
    assert key_id == key_id_of(mine.content)
    await store.erase(TENANT, [mine.id], rig.now)
    stands = await rig.retirement.work()
    keys = {key_id, key_id_of(mine.envelope)}
    assert [(stand.key_id, stand.destroyed) for stand in stands] == [(each, True) for each in sorted(keys)]
    assert isinstance(rig.keyring.find(key_id), DestroyedKey)
    assert await rig.text_of(other) == "for another"
    told = [found async for found in rig.persons.tell(OTHER, "")]
    assert [found.parts[0].octets for found in told if isinstance(found, FoundInbound)] == [b"from another"]
    assert await store.retiring() == []
    records = [record for record in await _records(store) if isinstance(record, KeyDestroyed)]
    wanted = {(each.hex(), TENANT, NODE) for each in keys}
    assert {(record.key_id, record.tenant, record.node) for record in records} == wanted
    with pytest.raises(Destroyed):
        rig.box.take(TENANT, mine.id, "content", mine.content)


async def test_an_older_copy_stays_closed(tmp_path: Path, store: SqliteStore) -> None:
    """A backup from before the erasure does not open what was erased, with the keys of now; what is of another quarter
    of an hour opens."""
    rig = Rig(tmp_path, store)
    early = rig.message(OTHER, "earlier")
    rig.now += 1000 * SECOND
    rig.keys.end()
    mine = rig.message(PERSON, "for one")
    await rig.ended(early, mine)
    await store.scrub()
    shutil.copytree(tmp_path / "store", tmp_path / "backup")
    await store.erase(TENANT, [mine.id], rig.now)
    await rig.retirement.work()
    copy = SqliteStore(tmp_path / "backup" / "smsgw.db")
    (tmp_path / "backup" / "smsgw.db.lock").unlink()
    await copy.open()
    try:
        restored = Rig(tmp_path, copy)
        (kept,) = await copy.sealed_of(TENANT, [mine.id])
        assert kept.content == mine.content
        with pytest.raises(Destroyed):
            await restored.text_of(mine)
        assert await restored.text_of(early) == "earlier"
    finally:
        await copy.close()


async def test_many_are_sealed_anew_page_by_page(tmp_path: Path, store: SqliteStore) -> None:
    """With more messages than a page has, each is sealed anew, and the key of now is known to reach so far back."""
    rig = Rig(tmp_path, store, page=7)
    news = [rig.message(OTHER, f"text {n}") for n in range(30)]
    mine = rig.message(PERSON, "for one")
    await rig.ended(*news, mine)
    await store.erase(TENANT, [mine.id], rig.now)
    assert [stand.destroyed for stand in await rig.retirement.work()] == [True, True]
    assert [await rig.text_of(new) for new in news] == [f"text {n}" for n in range(30)]
    await store.erase(TENANT, [news[20].id], rig.now)
    assert [key.oldest for key in await store.retiring()] == [news[0].id] * 2
    assert [stand.destroyed for stand in await rig.retirement.work()] == [True, True]
    assert await rig.text_of(news[0]) == "text 0"


async def test_what_is_in_memory_is_waited_for(tmp_path: Path, store: SqliteStore) -> None:
    """A message on its way keeps its octets and its key; until when at the latest is told, and then the key goes."""
    rig = Rig(tmp_path, store)
    mine, away = rig.message(PERSON, "for one"), rig.message(OTHER, "on its way")
    await rig.ended(mine)
    await store.accept([away])
    await store.erase(TENANT, [mine.id], rig.now)
    stands = await rig.retirement.work()
    assert [(stand.destroyed, stand.until) for stand in stands] == [(False, away.expires_at)] * 2
    assert await rig.retirement.standing() == stands
    assert (await store.sealed_of(TENANT, [away.id]))[0].content == away.content
    await store.cancel(TENANT, away.id, rig.now)
    assert [stand.destroyed for stand in await rig.retirement.work()] == [True, True]
    assert await rig.text_of(away) == "on its way"


async def test_parts_that_wait_keep_their_key(tmp_path: Path, store: SqliteStore) -> None:
    """A part of a message that is not complete keeps the key until it is, or has expired."""
    rig = Rig(tmp_path, store)
    await rig.inbound(PERSON, "mine")
    await rig.inbound(OTHER, "one", 1, 2)
    await store.erase_parts(await store.parts(None, 10), rig.now)
    assert [stand.destroyed for stand in await rig.retirement.work()] == [False]
    await store.purge(rig.now + 25 * HOUR, 100)
    assert [stand.destroyed for stand in await rig.retirement.work()] == [True]


async def test_a_message_waits_for_no_part(tmp_path: Path, store: SqliteStore) -> None:
    """What handsets wrote has keys of its own: a part that waits for others keeps no key of messages."""
    rig = Rig(tmp_path, store)
    mine = rig.message(PERSON, "for one")
    await rig.ended(mine)
    await rig.inbound(OTHER, "one", 1, 2)
    await store.erase(TENANT, [mine.id], rig.now)
    assert [stand.destroyed for stand in await rig.retirement.work()] == [True, True]
    assert len(await store.held_parts()) == 1


async def test_another_nodes_key_is_waited_for(tmp_path: Path, store: SqliteStore) -> None:
    """A key that another node may still seal under is left until its time is over; when that is, is told."""
    rig = Rig(tmp_path, store)
    mine = rig.message(PERSON, "for one")
    await rig.ended(mine)
    await store.erase(TENANT, [mine.id], rig.now)
    rig.retirement._node = "node-2"
    stands = await rig.retirement.work()
    record = rig.keyring.find(key_id_of(mine.content))
    assert isinstance(record, WrappedKey)
    until = (record.usable_until + 3600) * SECOND
    assert [(stand.destroyed, stand.until) for stand in stands] == [(False, until)] * 2
    rig.now = until + SECOND
    assert [stand.destroyed for stand in await rig.retirement.work()] == [True, True]


_STEPS = ("retiring", "find", "sealed_under", "reseal", "parts", "held_parts", "audit", "destroy", "retired")


@pytest.mark.parametrize("step", _STEPS)
@pytest.mark.parametrize("when", ["before", "after"])
async def test_whatever_ends_on_the_way(tmp_path: Path, store: SqliteStore, step: str, when: str) -> None:
    """Whichever step is the last before the end of the process, done or not: the next start brings it to its end, and
    nothing of others is lost."""
    rig = Rig(tmp_path, store)
    mine, others = rig.message(PERSON, "for one"), [rig.message(OTHER, f"text {n}") for n in range(3)]
    await rig.ended(mine, *others)
    await rig.inbound(OTHER, "from another")
    await rig.inbound(PERSON, "mine")
    await store.erase(TENANT, [mine.id], rig.now)
    await store.erase_parts((await store.parts(None, 10))[1:], rig.now)
    owner: Any = rig.keyring if step in ("find", "destroy") else store
    whole = getattr(owner, step)

    def ends(*given: Any) -> Any:
        if when == "after":
            whole(*given)
        raise KeyringUnavailable("the end")

    async def ends_later(*given: Any) -> Any:
        if when == "after":
            await whole(*given)
        raise StoreUnavailable("the end")

    setattr(owner, step, ends if owner is rig.keyring else ends_later)
    with pytest.raises(Unavailable):
        await rig.retirement.work()
    setattr(owner, step, whole)
    rig.keys.forget()  # what was in memory went with the process
    again = Rig(tmp_path, store)
    assert all(stand.destroyed for stand in await again.retirement.work())
    assert await store.retiring() == []
    assert isinstance(again.keyring.find(key_id_of(mine.content)), DestroyedKey)
    assert [await again.text_of(new) for new in others] == [f"text {n}" for n in range(3)]
    told = [found async for found in again.persons.tell(OTHER, "")]
    assert [found.parts[0].octets for found in told if isinstance(found, FoundInbound)] == [b"from another"]
