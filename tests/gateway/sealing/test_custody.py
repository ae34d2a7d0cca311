"""What operators do with keys: nothing that is needed is destroyed, and whatever is cut off can be done again."""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Sequence
from datetime import date
from pathlib import Path

import pytest

from gateway.errors import KeyDestroyed, Unavailable, WrongState
from gateway.sealing.box import SealingBox
from gateway.sealing.custody import Chosen, Custody, DayUse
from gateway.sealing.data_keys import SPARE_S, DataKeys, Use
from gateway.sealing.keyring import DestroyedKey, KeyringUnavailable, Rewrap, Selection, Tombstone, WrappedKey
from gateway.sealing.openers import Openers
from gateway.sealing.provider_set import ProviderSet
from gateway.sealing.providers import FileKeyProvider, kek_id
from tests.gateway.sealing.boxes import MemoryKeyring, kek_file

DAY_S = 86_400.0
ID = bytes(16)


class DyingKeyring(MemoryKeyring):
    """Goes away after so many changes."""

    def __init__(self) -> None:
        super().__init__()
        self.changes = -1

    def rewrap(self, changes: Sequence[Rewrap]) -> int:
        """Replace wraps, one by one, until it is enough."""
        done = 0
        for change in changes:
            self._one()
            done += super().rewrap([change])
        return done

    def destroy(self, key_ids: Collection[bytes], stone: Tombstone) -> list[bytes]:
        """Destroy, one by one, until it is enough."""
        gone: list[bytes] = []
        for key_id in key_ids:
            self._one()
            gone += super().destroy([key_id], stone)
        return gone

    def _one(self) -> None:
        if self.changes == 0:
            raise KeyringUnavailable("killed")
        self.changes -= 1


class Rig:
    """A node's keys, and the messages that wait."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.now = 20_000 * DAY_S
        self.ring = DyingKeyring()
        self.providers = ProviderSet(FileKeyProvider(kek_file(folder)))
        self.openers = Openers(provider=self.providers, keyring=self.ring, clock=lambda: self.now)
        self.keys = DataKeys(
            node="n", provider=self.providers, keyring=self.ring, openers=self.openers,
            wall=lambda: self.now, clock=lambda: self.now,
        )  # fmt: skip
        self.box = SealingBox(self.keys, self.openers)
        self.waiting: list[bytes] = []  # ids of keys of unfinished messages
        self.settled = 0
        self.meanwhile: Callable[[], object] = lambda: None  # what happens while what was sealed is committed
        self.custody = Custody(
            node="n", keyring=self.ring, provider=self.providers, data=self.keys, openers=self.openers, in_use=self,
            settled=self.settle, wall=lambda: self.now,
        )  # fmt: skip

    async def unfinished_under(self, key_ids: Collection[bytes]) -> int:
        """Return how many messages wait."""
        return sum(key_id in key_ids for key_id in self.waiting)

    async def settle(self) -> None:
        """Let something happen meanwhile."""
        self.settled += 1
        self.meanwhile()

    def put(self, tenant: str = "demo") -> bytes:
        """Seal a field."""
        return self.box.put(tenant, ID, "content", b"payload")

    def take(self, stored: bytes, tenant: str = "demo") -> bytes:
        """Open it."""
        return self.box.take(tenant, ID, "content", stored)

    def next_key(self) -> str:
        """Go over to another key-encryption key, as a reload does; its id."""
        new = kek_file(self.folder, f"{os.urandom(4).hex()}.key")
        older = [file for file in self.folder.glob("*.key") if file != new]
        self.providers.use(ProviderSet(FileKeyProvider(new, older)))
        return kek_id(new.read_bytes())

    def keks(self) -> set[str]:
        """The keys that have wrapped something."""
        return {record.wrapped.kek_id for record in self.ring.kept.values() if isinstance(record, WrappedKey)}


@pytest.fixture
def rig(tmp_path: Path) -> Rig:
    """Give keys of a node."""
    return Rig(tmp_path)


async def test_listed(rig: Rig) -> None:
    """By key-encryption key and by day and tenant, the newest day first; what was destroyed is told with its reason."""
    first = kek_id(kek_file(rig.folder).read_bytes())
    rig.put("a")
    rig.now += DAY_S
    rig.put("b")
    rig.put("a")
    rig.ring.destroy([key for key in rig.ring.kept if rig.ring.kept[key].tenant == "b"], Tombstone(7, "ada", "why"))
    found = await rig.custody.list()
    assert [kek[:2] + kek[3:] for kek in found.keks] == [(first, True, 2)]
    assert found.days == [
        DayUse("2024-10-05", "b", 0, 1, Tombstone(7, "ada", "why")),
        DayUse("2024-10-05", "a", 1, 0, None),
        DayUse("2024-10-04", "a", 1, 0, None),
    ]
    assert (found.home, found.more) == ("memory", False)
    only = await rig.custody.list(Selection(tenant="a", last_day=date(2024, 10, 4)))
    assert [day.day for day in only.days] == ["2024-10-04"]


async def test_from_one_key_to_the_next(rig: Rig) -> None:
    """Rotated, new keys are wrapped by the new key; rewrapped, old ones too; the old key may go, all still opens."""
    stored = [rig.put(tenant) for tenant in ("a", "b")]
    old = rig.keks()
    new = rig.next_key()
    assert await rig.custody.rotate(["a", "b"]) == (new, 6)
    stored += [rig.put(tenant) for tenant in ("a", "b")]
    assert rig.keks() == {*old, new}
    found = {kek.kek_id: (kek.newest, kek.keys) for kek in (await rig.custody.list()).keks}
    assert found == {new: (True, 6), old.pop(): (False, 2)}
    assert (await rig.custody.rewrap())[:3] == (new, 2, 0)
    assert (await rig.custody.rewrap())[:3] == (new, 0, 0)
    assert rig.keks() == {new}
    only = [file for file in rig.folder.glob("*.key") if kek_id(file.read_bytes()) == new]
    rig.providers.use(ProviderSet(FileKeyProvider(only[0])))
    rig.openers.clear()
    assert [rig.take(each, "ab"[n % 2]) for n, each in enumerate(stored)] == [b"payload"] * 4


async def test_what_cannot_be_unwrapped_stays(rig: Rig) -> None:
    """A key under a key-encryption key that is not there is counted, and left as it is."""
    rig.put("a")
    lost = rig.keks()
    rig.providers.use(ProviderSet(FileKeyProvider(kek_file(rig.folder, "new.key"))))
    rig.put("b")
    done = await rig.custody.rewrap()
    assert (done.rewrapped, done.failed) == (0, 1)
    assert "older_kek" in done.why
    assert lost < rig.keks()
    assert {kek.configured for kek in (await rig.custody.list()).keks if kek.kek_id in lost} == {False}


@pytest.mark.parametrize("changes", range(4))
async def test_a_rewrap_that_is_cut_off(rig: Rig, changes: int) -> None:
    """Wherever it is cut off each key has its old wrap or its new one and opens; done again, it is done."""
    stored = {tenant: rig.put(tenant) for tenant in "abcd"}
    new = rig.next_key()
    rig.ring.changes = changes
    with pytest.raises(Unavailable, match="killed"):
        await rig.custody.rewrap()
    rig.openers.clear()
    assert [rig.take(each, tenant) for tenant, each in stored.items()] == [b"payload"] * 4
    rig.ring.changes = -1
    assert (await rig.custody.rewrap()).rewrapped == 4 - changes
    assert rig.keks() == {new}


async def test_destroyed(rig: Rig) -> None:
    """What is past is destroyed: nothing opens it any more, from memory neither, and it says who meant it."""
    stored = rig.put()
    kept = rig.put("other")
    rig.now += 2 * DAY_S
    chosen = await rig.custody.choose(Selection(tenant="demo"))
    assert (len(chosen.key_ids), chosen.already) == (1, 0)
    assert await rig.custody.destroy(chosen.key_ids, Tombstone(int(rig.now), "ada", "contract ended")) == 1
    with pytest.raises(KeyDestroyed, match="by ada: contract ended"):
        rig.take(stored)
    assert rig.take(kept, "other") == b"payload"
    assert await rig.custody.choose(Selection(tenant="demo")) == Chosen([], 1)


async def test_not_while_another_node_may_seal(rig: Rig) -> None:
    """A key that may still seal on another node is not destroyed: what it seals next would be lost. It is said which
    nodes these are, and until when; this node's own, or earlier ones, can be asked for alone."""
    edge = DataKeys(node="edge-1", provider=rig.providers, keyring=rig.ring, wall=lambda: rig.now)
    edge.make([Use("demo", "content")])
    rig.put()
    rig.now += 2 * SPARE_S + 899
    with pytest.raises(WrongState, match=r"1 of these 2 keys .* edge-1 until 2024-10-04 12:15 UTC\.") as refusal:
        await rig.custody.choose(Selection(tenant="demo"))
    assert refusal.value.reason == "KEYS_STILL_SEAL"
    assert len((await rig.custody.choose(Selection(tenant="demo", node="n"))).key_ids) == 1
    rig.now += 2
    assert len((await rig.custody.choose(Selection(tenant="demo"))).key_ids) == 2


async def test_its_own_are_ended(rig: Rig) -> None:
    """A key that this node seals under, one that it has in store and one that is just being made are destroyed at once:
    none of them seals any more, others do, and what they have sealed opens."""
    stored = rig.put()
    rig.keys.keep(rig.keys.make([Use("demo", "content")]))
    half = rig.keys.make([Use("demo", "content")])  # its wrap is there, and it comes from its thread later
    chosen = await rig.custody.choose(Selection(tenant="demo"))
    assert (len(chosen.key_ids), rig.settled) == (3, 0)
    await rig.custody.end(chosen)
    rig.keys.keep(half)
    assert rig.settled == 1
    assert await rig.custody.destroy(chosen.key_ids, Tombstone(1, "ada", "why")) == 3
    with pytest.raises(KeyDestroyed):
        rig.take(stored)
    after = [rig.put() for _ in range(3)]
    assert [rig.take(each) for each in after] == [b"payload"] * 3
    assert not {each[1:9] for each in after} & set(chosen.key_ids)


async def test_what_was_sealed_in_the_last_moment(rig: Rig) -> None:
    """A message that was sealed before its key was ended, and is committed afterwards, keeps the key; one whose commit
    does not end is waited for, and not for ever."""
    rig.put()
    chosen = await rig.custody.choose(Selection(tenant="demo"))
    rig.meanwhile = lambda: rig.waiting.extend(chosen.key_ids)
    with pytest.raises(WrongState, match="1 messages under these keys") as refusal:
        await rig.custody.end(chosen)
    assert refusal.value.reason == "KEYS_IN_USE"

    def never() -> None:
        raise TimeoutError

    rig.meanwhile = never
    with pytest.raises(Unavailable, match="not committed yet"):
        await rig.custody.end(chosen)


async def test_not_while_messages_need_it(rig: Rig) -> None:
    """A key of messages that are not finished is not destroyed, and it is said how many there are."""
    rig.put()
    rig.now += DAY_S
    rig.waiting = [*rig.ring.kept, *rig.ring.kept, b"another!"]
    with pytest.raises(WrongState, match="2 messages under these keys are not finished") as refusal:
        await rig.custody.choose(Selection(last_day=date(2024, 10, 4)))
    assert refusal.value.reason == "KEYS_IN_USE"


@pytest.mark.parametrize("changes", range(4))
async def test_a_destruction_that_is_cut_off(rig: Rig, changes: int) -> None:
    """Wherever it is cut off each key has its wrap or its tombstone; done again, all are gone."""
    for tenant in "abcd":
        rig.put(tenant)
    rig.now += 2 * DAY_S
    chosen = await rig.custody.choose(Selection(last_day=date(2024, 10, 4)))
    rig.ring.changes = changes
    with pytest.raises(Unavailable, match="killed"):
        await rig.custody.destroy(chosen.key_ids, Tombstone(1, "ada", "first"))
    rig.ring.changes = -1
    again = await rig.custody.choose(Selection(last_day=date(2024, 10, 4)))
    assert (len(again.key_ids), again.already) == (4 - changes, changes)
    assert await rig.custody.destroy(again.key_ids, Tombstone(2, "ada", "again")) == 4 - changes
    assert all(isinstance(record, DestroyedKey) for record in rig.ring.kept.values())
