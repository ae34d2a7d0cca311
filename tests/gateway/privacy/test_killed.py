"""A node that is killed while it erases or writes hashes anew: the next one ends it, and others lose nothing."""

from __future__ import annotations

import asyncio
import signal
import sys
from pathlib import Path

import pytest

from gateway.privacy.rekeying import Rekeying
from gateway.records import IndexKeys
from gateway.sealing.envelope import key_id_of
from gateway.sealing.keyring import DestroyedKey
from gateway.store.sqlite import SqliteStore
from tests.gateway.privacy.killed import NEW_KEY, OTHER, PERSON
from tests.gateway.privacy.rig import INDEX_KEY, Rig
from tests.gateway.store.samples import HOUR


@pytest.mark.parametrize("step", ["rehash", "erase", "reseal", "destroy"])
async def test_kill_9(tmp_path: Path, step: str) -> None:
    """Killed after one commit of each sort: nothing is half done for good, and the erased message opens for nobody."""
    store = SqliteStore(tmp_path / "store" / "smsgw.db")
    await store.open()
    rig = Rig(tmp_path, store)
    mine, others = rig.message(PERSON, "for one"), [rig.message(OTHER, f"text {n}") for n in range(5)]
    await rig.ended(mine, *others)
    await store.close()
    command = [sys.executable, "-m", "tests.gateway.privacy.killed", str(tmp_path), step]
    child = await asyncio.create_subprocess_exec(*command)
    async with asyncio.timeout(60):
        assert await child.wait() == -signal.SIGKILL
    store = SqliteStore(tmp_path / "store" / "smsgw.db")
    await store.open()
    try:
        keys = IndexKeys(NEW_KEY, [INDEX_KEY])
        rig = Rig(tmp_path, store, index=keys)
        await Rekeying(store=store, box=rig.box, keys=keys, now=lambda: rig.now, ages=72 * HOUR).round()
        await rig.persons.erase(PERSON, "", cancel=False, compact=False, by="spiffe://example.org/admin/a")
        assert await store.retiring() == []
        assert isinstance(rig.keyring.find(key_id_of(mine.content)), DestroyedKey)
        assert (await rig.persons.find(PERSON, "")).number == 0
        alone = Rig(tmp_path, store, index=IndexKeys(NEW_KEY))
        assert (await alone.persons.find(OTHER, "")).number == 5
        assert [await alone.text_of(new) for new in others] == [f"text {n}" for n in range(5)]
    finally:
        await store.close()
