"""Data keys under which nothing is kept any more are destroyed by themselves, and no others."""

from __future__ import annotations

import shutil
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from gateway.errors import KeyDestroyed
from gateway.privacy.periods import Periods
from gateway.privacy.retention import Retention
from gateway.privacy.sweeping import KeySweep
from gateway.sealing.envelope import key_id_of
from gateway.sealing.keyring import DestroyedKey, WrappedKey
from gateway.store.sqlite import SqliteStore
from tests.gateway.privacy.periods import read_periods
from tests.gateway.privacy.rig import NODE, Rig
from tests.gateway.store.samples import HOUR, TENANT

PERSON = "+4915112345678"
DAY = 24 * HOUR


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[SqliteStore]:
    """Give an open store."""
    opened = SqliteStore(tmp_path / "store" / "smsgw.db")
    await opened.open()
    yield opened
    await opened.close()


def _parts(rig: Rig, store: SqliteStore) -> tuple[Retention, KeySweep]:
    retention = Retention(store, Periods(read_periods("{}")), lambda: rig.now)
    sweep = KeySweep(
        store=store,
        keyring=rig.keyring,
        periods=lambda: retention.periods,
        retirement=rig.retirement,
        now=lambda: rig.now,
    )
    return retention, sweep


async def test_keys_go_with_what_they_sealed(tmp_path: Path, store: SqliteStore) -> None:
    """The key of what was let go of is destroyed, and an older backup stays closed; the key of what is not due opens it
    there, as does that of a message which is still on its way."""
    rig = Rig(tmp_path, store)
    retention, sweep = _parts(rig, store)
    open_ = rig.message(PERSON, "still on its way", expires_at=rig.now + 30 * DAY)
    await store.accept([open_])
    rig.keys.give_up(TENANT, key_id_of(open_.content))
    rig.now += HOUR
    early = rig.message(PERSON, "due")
    await rig.ended(early)
    rig.keys.give_up(TENANT, key_id_of(early.content))
    rig.now += 4 * DAY
    late = rig.message(PERSON, "not due")
    await rig.ended(late)
    await store.scrub()
    shutil.copytree(tmp_path / "store", tmp_path / "backup")
    await retention.round()
    assert await sweep.round() == 0  # nothing is due
    rig.now += 4 * DAY
    assert await sweep.round() == 0  # it is due, and not gone yet
    await retention.round()
    assert await sweep.round() == 1
    assert await sweep.round() == 0
    assert isinstance(rig.keyring.find(key_id_of(early.content)), DestroyedKey)
    (tmp_path / "backup" / "smsgw.db.lock").unlink()
    copy = SqliteStore(tmp_path / "backup" / "smsgw.db")
    await copy.open()
    try:
        restored = Rig(tmp_path, copy)
        with pytest.raises(KeyDestroyed):
            await restored.text_of(early)
        assert await restored.text_of(late) == "not due"
        assert await restored.text_of(open_) == "still on its way"
    finally:
        await copy.close()


async def test_another_nodes_keys_are_not_judged(tmp_path: Path, store: SqliteStore) -> None:
    """Where the keyring has keys of nodes whose messages are elsewhere, they are left alone."""
    rig = Rig(tmp_path, store)
    rig.box.put(TENANT, bytes(16), "content", b"elsewhere")
    rig.now += 30 * DAY
    retention = Retention(store, Periods(read_periods("{}")), lambda: rig.now)
    destroyed = []
    for node in ("another", NODE):
        sweep = KeySweep(
            store=store,
            keyring=rig.keyring,
            periods=lambda: retention.periods,
            retirement=rig.retirement,
            now=lambda: rig.now,
            node=node,
        )
        destroyed.append(await sweep.round())
    assert destroyed == [0, 1]


async def test_what_handsets_wrote_keeps_its_key(tmp_path: Path, store: SqliteStore) -> None:
    """A key under which something of a handset is kept stays until that goes too."""
    rig = Rig(tmp_path, store)
    retention, sweep = _parts(rig, store)
    await rig.inbound(PERSON, "hello")
    (record,) = [found for found in rig.keyring.records() if isinstance(found, WrappedKey)]
    rig.now += 6 * DAY
    await retention.round()
    assert await sweep.round() == 0
    rig.now += 3 * DAY
    await retention.round()
    assert await sweep.round() == 1
    assert isinstance(rig.keyring.find(record.key_id), DestroyedKey)
