"""The life of data keys, with a clock that the test moves."""

from __future__ import annotations

import itertools
import os
import subprocess
import sys
from pathlib import Path

import pytest

from gateway.errors import KeyDestroyed, StoreCorrupt, Unavailable, Unsupported
from gateway.sealing.box import SealingBox
from gateway.sealing.data_keys import SPARE_S, DataKeys, Use
from gateway.sealing.envelope import key_id_of
from gateway.sealing.folder_keyring import FolderKeyring
from gateway.sealing.keyring import Keyring, KeyringUnavailable, Tombstone
from gateway.sealing.openers import Openers
from gateway.sealing.providers import ProviderUnavailable
from tests.gateway.sealing.boxes import MemoryKeyring, PlainProvider

ID = bytes(16)
LIFETIME_S = 900.0
CONTENT = "content"


def _wanted(keys: DataKeys, tenants: list[str]) -> list[str]:
    """Return the tenants that want a key for contents."""
    return [use.tenant for use in keys.wanted(tenants) if use.purpose == CONTENT]


class Rig:
    """Data keys over fakes; `now` is both clocks."""

    def __init__(self, keyring: Keyring | None = None, *, max_fields: int = 1000, openers: int = 8) -> None:
        self.now = 1_700_000_000.0
        self.memory = MemoryKeyring()
        self.provider = PlainProvider()
        self.taken = 0
        ring = keyring or self.memory
        self.openers = Openers(provider=self.provider, keyring=ring, kept=openers, clock=lambda: self.now)
        self.keys = DataKeys(
            node="node-1",
            provider=self.provider,
            keyring=ring,
            lifetime_s=LIFETIME_S,
            max_fields=max_fields,
            openers=self.openers,
            wall=lambda: self.now,
            clock=lambda: self.now,
        )
        self.keys.on_taken = self._count
        self.box = SealingBox(self.keys, self.openers)

    def _count(self) -> None:
        self.taken += 1

    def put(self, tenant: str = "demo", payload: bytes = b"payload") -> bytes:
        """Seal a field."""
        return self.box.put(tenant, ID, "content", payload)

    def take(self, stored: bytes, tenant: str = "demo") -> bytes:
        """Open it."""
        return self.box.take(tenant, ID, "content", stored)


def test_a_key_for_each_tenant() -> None:
    """Tenants share no key, and what one sealed is refused to another, in the words for anything else."""
    rig = Rig()
    one, other = rig.put("a"), rig.put("b")
    assert key_id_of(one) != key_id_of(other)
    with pytest.raises(StoreCorrupt, match="not what was sealed there"):
        rig.take(one, "b")
    with pytest.raises(StoreCorrupt, match="not what was sealed there"):
        rig.take(one[:9] + other[9:], "a")


def test_a_key_for_each_purpose() -> None:
    """Envelopes, contents and what handsets wrote share no key, and what is none of these is not sealed."""
    rig = Rig()
    sealed = {name: rig.box.put("demo", ID, name, b"payload") for name in ("envelope", "content", "inbound")}
    assert {rig.memory.kept[key_id_of(stored)].purpose for stored in sealed.values()} == set(sealed)
    assert [rig.box.take("demo", ID, name, stored) for name, stored in sealed.items()] == [b"payload"] * 3
    with pytest.raises(KeyError):
        rig.box.put("demo", ID, "another", b"payload")


def test_period() -> None:
    """A key seals for its lifetime from its first field, to the second; then the next one does."""
    rig = Rig()
    first = key_id_of(rig.put())
    rig.now += LIFETIME_S - 1
    assert key_id_of(rig.put()) == first
    rig.now += 1
    assert key_id_of(rig.put()) != first


def test_count_of_fields() -> None:
    """After its last field the next key seals, and all of them are opened."""
    rig = Rig(max_fields=3)
    sealed = [rig.put(payload=b"%d" % n) for n in range(10)]
    sizes = [len(list(group)) for _, group in itertools.groupby(map(key_id_of, sealed))]
    assert sizes == [3, 3, 3, 1]
    assert [rig.take(stored) for stored in sealed] == [b"%d" % n for n in range(10)]
    assert len({(key_id_of(stored), stored[9:21]) for stored in sealed}) == 10


def test_on_disk_before_use() -> None:
    """The wrap is in the keyring before a field is sealed by the key; without it nothing is sealed."""
    rig = Rig()
    rig.memory.failure = KeyringUnavailable("no space left")
    with pytest.raises(Unavailable, match="keys at the moment"):
        rig.put()
    assert not rig.memory.kept
    rig.memory.failure = None
    rig.now += 5
    stored = rig.put()
    assert key_id_of(stored) in rig.memory.kept


def test_a_failure_is_not_repeated_at_once() -> None:
    """After a failure in the event loop a second passes before it waits for the disk again."""
    rig = Rig()
    rig.provider.failure = ProviderUnavailable("away")
    with pytest.raises(Unavailable):
        rig.put()
    rig.provider.failure = None
    with pytest.raises(Unavailable):
        rig.put()
    rig.now += 1
    assert rig.take(rig.put()) == b"payload"


def test_spares() -> None:
    """A spare made ahead is the one that seals next; taking it is told, and another is wanted."""
    rig = Rig()
    assert _wanted(rig.keys, ["a", "b"]) == ["a", "b"]
    rig.keys.keep(rig.keys.make([Use("a", CONTENT), Use("b", CONTENT)]))
    assert _wanted(rig.keys, ["a", "b"]) == []
    made = set(rig.memory.kept)
    assert {key_id_of(rig.put("a")), key_id_of(rig.put("b"))} == made
    assert rig.taken == 2
    assert _wanted(rig.keys, ["a", "b"]) == ["a", "b"]


def test_a_spare_keeps_a_tenant_going() -> None:
    """While the keyring is full, the spare still seals for a whole period."""
    rig = Rig()
    rig.keys.keep(rig.keys.make([Use("demo", CONTENT)]))
    rig.memory.failure = KeyringUnavailable("no space left")
    for _ in range(3):
        rig.put()
        rig.now += 299
    rig.now += 10
    with pytest.raises(Unavailable):
        rig.put()


def test_old_spares() -> None:
    """A spare that nobody took is replaced after some hours, and not used after twice that time."""
    rig = Rig()
    rig.keys.keep(rig.keys.make([Use("demo", CONTENT)]))
    (first,) = rig.memory.kept
    rig.now += SPARE_S
    assert _wanted(rig.keys, ["demo"]) == ["demo"]
    rig.now += SPARE_S
    stored = rig.put()
    assert key_id_of(stored) != first
    record = rig.memory.kept[key_id_of(stored)]
    assert record.usable_until == int(rig.now + 2 * SPARE_S + LIFETIME_S)


def test_usable_until_is_true() -> None:
    """A key seals nothing after the time that its record names."""
    rig = Rig()
    rig.keys.keep(rig.keys.make([Use("demo", CONTENT)]))
    (record,) = rig.memory.kept.values()
    rig.now += 2 * SPARE_S - 1
    last = rig.now
    for _ in range(100):
        rig.now += 10
        if key_id_of(rig.put()) == record.key_id:
            last = rig.now
    assert 0 < last - record.made_at <= record.usable_until - record.made_at


def test_restart() -> None:
    """A new process opens what the one before sealed, and seals with a key of its own."""
    before = Rig()
    stored = before.put()
    after = Rig(before.memory)
    after.now += 86_400
    assert after.take(stored) == b"payload"
    assert key_id_of(after.put()) != key_id_of(stored)


def test_an_opened_key_never_seals() -> None:
    """A key that came from disk only opens: its counter would begin anew and repeat nonces."""
    before = Rig()
    stored = before.put()
    after = Rig(before.memory)
    after.take(stored)
    sealed = [after.put() for _ in range(5)]
    assert key_id_of(stored) not in {key_id_of(each) for each in sealed}


def test_openers_are_bounded() -> None:
    """The least recently used key is dropped, and unwrapped again when it is needed."""
    rig = Rig(openers=2)
    stored = {tenant: rig.put(tenant) for tenant in "abc"}  # "a" is pushed out
    assert rig.provider.unwrapped == 0
    rig.take(stored["b"], "b")
    rig.take(stored["a"], "a")  # pushes "c" out
    assert rig.provider.unwrapped == 1
    rig.take(stored["b"], "b")
    assert rig.provider.unwrapped == 1
    rig.take(stored["c"], "c")
    assert rig.provider.unwrapped == 2


def test_rest() -> None:
    """A key that two rests in a row found unused leaves memory; one in use stays."""
    rig = Rig()
    used, idle = rig.put("used"), rig.put("idle")
    rig.keys.rest()
    rig.take(used, "used")
    rig.keys.rest()
    rig.take(used, "used")
    assert rig.provider.unwrapped == 0
    rig.take(idle, "idle")
    assert rig.provider.unwrapped == 1


def test_sweep_drops_what_is_over() -> None:
    """Keys whose period is over are not held for sealing, nor spares that may not be used."""
    rig = Rig()
    rig.put("demo")
    rig.keys.keep(rig.keys.make([Use("demo", CONTENT)]))
    rig.now += 2 * SPARE_S
    rig.keys.sweep()
    assert not any(rig.keys._sealing.values())
    assert rig.keys._spares == {}


def test_forget() -> None:
    """A node that stops drops every key: what was sealed is opened from its wrap."""
    rig = Rig()
    stored = rig.put()
    rig.keys.forget()
    assert rig.take(stored) == b"payload"
    assert rig.provider.unwrapped == 1


def test_lost_key() -> None:
    """A key that is not in the keyring is named, with what to do."""
    rig = Rig()
    stored = rig.put()
    rig.keys.forget()
    rig.memory.kept.clear()
    with pytest.raises(StoreCorrupt, match=f"{key_id_of(stored).hex()}.*restore"):
        rig.take(stored)


def test_destroyed_key() -> None:
    """What a destroyed key sealed is told apart from what is damaged: it was meant, and who meant it is named."""
    rig = Rig()
    stored = rig.put()
    rig.keys.forget()
    rig.memory.destroy([key_id_of(stored)], Tombstone(1_700_000_000, "ada", "erasure"))
    with pytest.raises(KeyDestroyed, match="destroyed on purpose, on 2023-11-14 by ada: erasure") as refusal:
        rig.take(stored)
    assert refusal.value.reason == "KEY_DESTROYED"


@pytest.mark.parametrize(
    "change",
    [
        {"tenant": "other"},
        {"purpose": "inbound"},
        {"purpose": ""},
        {"node": "other"},
        {"made_at": 1},
        {"usable_until": 2_000_000_000},
    ],
)
def test_altered_record(change: dict[str, object]) -> None:
    """A record that was altered does not unwrap: tenant, node and period are part of the wrap."""
    rig = Rig()
    stored = rig.put()
    rig.keys.forget()
    record = rig.memory.kept[key_id_of(stored)]
    rig.memory.kept[record.key_id] = record._replace(**change)  # type: ignore[arg-type]  # one field of its type
    with pytest.raises(StoreCorrupt, match=f"{record.key_id.hex()} cannot be unwrapped"):
        rig.take(stored)


def test_swapped_records() -> None:
    """One key's record under another's id does not unwrap."""
    rig = Rig()
    stored, other = rig.put("demo"), rig.put("other")
    rig.keys.forget()
    rig.memory.kept[key_id_of(stored)] = rig.memory.kept[key_id_of(other)]
    with pytest.raises(StoreCorrupt):
        rig.take(stored)


def test_outages() -> None:
    """A provider or a keyring that cannot be asked is a fault of the server, and passes."""
    rig = Rig()
    stored = rig.put()
    for part in (rig.provider, rig.memory):
        rig.keys.forget()
        part.failure = ProviderUnavailable("away") if part is rig.provider else KeyringUnavailable("away")
        with pytest.raises(Unavailable) as refusal:
            rig.take(stored)
        assert refusal.value.reason == "KEYS_UNAVAILABLE"
        assert "away" not in str(refusal.value)
        part.failure = None
        assert rig.take(stored) == b"payload"


def test_crash_between_wrap_and_use(tmp_path: Path) -> None:
    """A key whose wrap reached the disk and which sealed nothing is simply left; the next process makes its own."""
    before = Rig(FolderKeyring(tmp_path))
    before.keys.keep(before.keys.make([Use("demo", CONTENT)]))
    after = Rig(FolderKeyring(tmp_path))
    stored = after.put()
    assert len(list(FolderKeyring(tmp_path).records())) == 2
    assert Rig(FolderKeyring(tmp_path)).take(stored) == b"payload"


_FORK = """
import os, sys
def tell(text): os.write(1, text.encode() + b"\\n")  # in one piece: two processes write here
from tests.gateway.sealing.boxes import memory_box
box = memory_box()
tell(box.put("demo", bytes(16), "content", b"x")[1:21].hex())
child = os.fork()
tell(box.put("demo", bytes(16), "content", b"x")[1:21].hex())
if child:
    assert os.waitpid(child, 0)[1] == 0
"""


def test_fork() -> None:
    """A forked child seals with a key of its own: no key and nonce are used twice."""
    done = subprocess.run([sys.executable, "-c", _FORK], capture_output=True, text=True, timeout=60, check=True)
    used = done.stdout.split()
    assert len(set(used)) == 3
    assert len({each[:16] for each in used}) == 2


def test_new_keys_are_told() -> None:
    """Each key that is made is told with its tenant, also one that was made in the event loop."""
    rig = Rig()
    told: list[tuple[bytes, str]] = []
    rig.keys.on_made = told.extend
    rig.keys.keep(rig.keys.make([Use("a", CONTENT), Use("b", CONTENT)]))
    rig.put("c")
    assert dict(told) == {key_id: record.tenant for key_id, record in rig.memory.kept.items()}


def test_same_random_ids() -> None:
    """Keys that are made together have different ids, even when the random source repeats itself."""
    numbers = itertools.count()
    keyring = MemoryKeyring()
    keys = DataKeys(
        node="n",
        provider=PlainProvider(),
        keyring=keyring,
        random_bytes=lambda size: (next(numbers) // 3).to_bytes(size, "big"),
    )
    keys.make([Use("a", CONTENT), Use("b", CONTENT), Use("c", CONTENT)])
    assert len(keyring.kept) == 3


def test_bounds() -> None:
    """A lifetime above 15 minutes is refused."""
    for lifetime_s in (0.0, 901.0):
        with pytest.raises(ValueError, match="900 s"):
            DataKeys(node="n", provider=PlainProvider(), keyring=MemoryKeyring(), lifetime_s=lifetime_s)


def test_nothing_shows() -> None:
    """The text forms of keys and box say nothing."""
    rig = Rig()
    rig.keys.keep(rig.keys.make([Use("demo", CONTENT)]))
    assert (repr(rig.keys), repr(rig.box)) == ("DataKeys(**)", "SealingBox(**)")
    assert repr(rig.keys._spares[Use("demo", CONTENT)]).startswith("Spare(")
    assert rig.keys._spares[Use("demo", CONTENT)].key.hex() not in repr(rig.keys._spares)


def test_keys_are_overwritten() -> None:
    """The octets of a key are overwritten when the ciphers have them, when a spare is dropped or replaced, and when
    its wrap could not be kept."""
    rig = Rig()
    made: list[bytes] = []

    def random_bytes(size: int) -> bytes:
        made.append(os.urandom(size))
        return made[-1]

    def keys() -> list[bytes]:
        return [octets for octets in made if len(octets) == 32]

    rig.keys._random_bytes = random_bytes
    rig.put()
    assert keys() == [bytes(32)]
    for _ in range(2):
        rig.keys.keep(rig.keys.make([Use("demo", CONTENT)]))
    assert keys()[1] == bytes(32) != keys()[2]
    rig.now += 2 * SPARE_S
    rig.keys.sweep()
    assert keys()[2] == bytes(32)
    rig.keys.keep(rig.keys.make([Use("demo", CONTENT)]))
    rig.keys.forget()
    assert keys()[3] == bytes(32)
    rig.memory.failure = KeyringUnavailable("away")
    with pytest.raises(Unavailable):
        rig.keys.make([Use("demo", CONTENT)])
    assert keys()[4:] == [bytes(32)]


def test_not_in_the_event_loop() -> None:
    """Where a key takes a service's time, none is made there and then: the upkeep is told, and the caller waits."""
    rig = Rig()
    rig.keys.at_once = False
    with pytest.raises(Unavailable) as refusal:
        rig.put()
    assert (refusal.value.reason, rig.taken, rig.memory.kept) == ("KEYS_UNAVAILABLE", 1, {})
    rig.keys.keep(rig.keys.make([Use("demo", CONTENT)]))
    assert rig.take(rig.put()) == b"payload"


async def test_a_box_that_only_seals() -> None:
    """On a node that only accepts nothing is opened, and no key stays in memory for it."""
    rig = Rig()
    box = SealingBox(DataKeys(node="n", provider=rig.provider, keyring=rig.memory), None)
    stored = box.put("demo", ID, "content", b"payload")
    assert rig.take(stored) == b"payload"
    assert (box.opens, rig.box.opens, box.at_hand([stored])) == (False, True, False)
    with pytest.raises(Unsupported) as refusal:
        box.take("demo", ID, "content", stored)
    assert refusal.value.reason == "NOT_OPENED_HERE"
    with pytest.raises(Unsupported):
        await box.ready([stored])
