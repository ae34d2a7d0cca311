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
from gateway.records import decode_envelope
from gateway.sealing.envelope import FieldSealer, key_id_of
from gateway.sealing.keyring import DestroyedKey, WrappedKey, new_key_id, wrap_context
from gateway.sealing.providers import FileKeyProvider
from gateway.store.sqlite import SqliteStore
from smsgw.v1 import message_pb2
from tests.gateway.privacy.periods import read_periods
from tests.gateway.privacy.rig import NODE, Rig
from tests.gateway.store.samples import HOUR, SECOND, TENANT

PERSON = "+4915112345678"
DAY = 24 * HOUR
CONTENT_FIRST = (
    "{content: {transactional: 2d, promotional: 2d}, envelope: {otp: 30d, transactional: 30d, promotional: 30d}}"
)


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[SqliteStore]:
    """Give an open store."""
    opened = SqliteStore(tmp_path / "store" / "smsgw.db")
    await opened.open()
    yield opened
    await opened.close()


def _parts(rig: Rig, store: SqliteStore, periods: Periods | None = None) -> tuple[Retention, KeySweep]:
    retention = Retention(store, periods or Periods(read_periods("{}")), lambda: rig.now)
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
    rig.keys.end()
    rig.now += HOUR
    early = rig.message(PERSON, "due")
    await rig.ended(early)
    rig.keys.end()
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
    assert await sweep.round() == 2
    assert await sweep.round() == 0
    assert isinstance(rig.keyring.find(key_id_of(early.content)), DestroyedKey)
    assert isinstance(rig.keyring.find(key_id_of(early.envelope)), DestroyedKey)
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
    assert record.purpose == "inbound"
    rig.now += 6 * DAY
    await retention.round()
    assert await sweep.round() == 0
    rig.now += 3 * DAY
    await retention.round()
    assert await sweep.round() == 1
    assert isinstance(rig.keyring.find(record.key_id), DestroyedKey)


async def test_the_parts_of_one_message_come_over_a_day(tmp_path: Path, store: SqliteStore) -> None:
    """A part that came long before the last one keeps its key for as long as the message is kept."""
    rig = Rig(tmp_path, store)
    retention, sweep = _parts(rig, store)
    await rig.inbound(PERSON, "the first part, ", 1, 2)
    rig.now += 23 * HOUR
    await rig.inbound(PERSON, "and the last", 2, 2)
    ended = rig.now
    for _ in range(10):
        rig.now += 20 * HOUR
        await retention.round()
        await sweep.round()
        parts = await store.parts(None, 10)
        assert len(parts) == (2 if rig.now < ended + 7 * DAY else 0)
        for part in parts:
            assert rig.box.take(TENANT, part.payload[:16], "inbound", part.payload[16:])
    rig.now += 2 * DAY
    await sweep.round()
    assert all(isinstance(found, DestroyedKey) for found in rig.keyring.records())


async def test_contents_go_from_backups_before_envelopes(tmp_path: Path, store: SqliteStore) -> None:
    """With an old backup and the keys as they are, an attacker reads no content whose time is over; recipients, labels
    and references stay readable for theirs, and then go as well."""
    rig = Rig(tmp_path, store)
    periods = Periods(read_periods(CONTENT_FIRST))
    retention, sweep = _parts(rig, store, periods)
    new = rig.message(PERSON, "what only the person may know")
    await rig.ended(new)
    assert key_id_of(new.envelope) != key_id_of(new.content)
    backup = new.envelope, new.content

    def attacked() -> tuple[str | None, str | None]:
        """Return recipient and text, as a new node with the folder of keys reads them from the backup."""
        box = Rig(tmp_path, store).box
        found: list[str | None] = []
        for name, stored in zip(("envelope", "content"), backup, strict=True):
            try:
                octets = box.take(TENANT, new.id, name, stored)
            except KeyDestroyed:
                found.append(None)
            else:
                text = message_pb2.Content.FromString(octets).text if name == "content" else ""
                found.append(text or decode_envelope(octets).recipient)
        return found[0], found[1]

    assert attacked() == (PERSON, "what only the person may know")
    rig.now += 3 * DAY
    await retention.round()
    assert await sweep.round() == 1
    assert attacked() == (PERSON, None)
    rig.now += 26 * DAY
    await retention.round()
    assert (await sweep.round(), attacked()) == (0, (PERSON, None))
    rig.now += 3 * DAY
    await retention.round()
    assert (await sweep.round(), attacked()) == (1, (None, None))


async def test_keys_from_before_they_had_a_purpose(tmp_path: Path, store: SqliteStore) -> None:
    """What they sealed opens, and they go with the last of what they sealed: the envelopes, here."""
    rig = Rig(tmp_path, store)
    periods = Periods(read_periods(CONTENT_FIRST))
    retention, sweep = _parts(rig, store, periods)
    key, key_id = bytes(range(32)), new_key_id(rig.now // SECOND, b"before")
    head = (key_id, NODE, TENANT, rig.now // SECOND, rig.now // SECOND + 900)
    rig.keyring.append([WrappedKey(*head, FileKeyProvider(tmp_path / "kek.key").wrap(key, wrap_context(*head)))])
    sealer, new = FieldSealer(key_id, key, TENANT), rig.message(PERSON, "sealed before")
    opened = {name: rig.box.take(TENANT, new.id, name, getattr(new, name)) for name in ("envelope", "content")}
    envelope, content = (sealer.seal(new.id, name, octets) for name, octets in opened.items())
    old = new._replace(envelope=envelope, content=content)
    await rig.ended(old)
    assert await rig.text_of(old) == "sealed before"
    for days, destroyed in ((3, False), (26, False), (3, True)):
        rig.now += days * DAY
        await retention.round()
        await sweep.round()
        assert isinstance(rig.keyring.find(key_id), DestroyedKey) is destroyed
