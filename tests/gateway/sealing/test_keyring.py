"""The conformance suite of keyrings: both homes do what `gateway.sealing.keyring.Keyring` says."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator
from datetime import date
from pathlib import Path

import pytest

from gateway.sealing.folder_keyring import FolderKeyring
from gateway.sealing.keyring import (
    DestroyedKey,
    Keyring,
    Rewrap,
    Selection,
    Tombstone,
    WrappedKey,
    context_of,
    day_of,
    first_id_of,
    new_key_id,
    wrap_context,
)
from gateway.sealing.postgres_keyring import PostgresKeyring
from gateway.sealing.providers import Wrapped
from tests.postgres.server import shared

DAY = 86_400
NOW = 20_000 * DAY + 3600  # 2024-10-04T01:00:00Z
OCTOBER_4 = date(2024, 10, 4)
STONE = Tombstone(NOW + DAY, "spiffe://example.org/admin/ada", 'a "reason",\nwith "key":"0000000000000000" in it')

Rings = Callable[[], Keyring]  # each call gives another object on the same home


def wrapped_key(number: int, made_at: int = NOW, **changes: object) -> WrappedKey:
    """Return a record."""
    key_id = new_key_id(made_at, number.to_bytes(6, "big"))
    record = WrappedKey(key_id, "node-1", "demo", made_at, made_at + 900, Wrapped("ab" * 8, b"\x00\xff" * 30))
    return record._replace(**changes)  # type: ignore[arg-type]  # the test says what it changes


@pytest.fixture(scope="session")
def keys_database() -> Iterator[str]:
    """Make the database that the tests of keyrings empty before they use it."""
    with shared().database() as name:
        yield name


def emptied(name: str) -> None:
    """Take all keys out of a database, if it has ever had any."""
    with shared().connect(name) as db:
        if db.execute("SELECT to_regnamespace('smsgw_keys') IS NOT NULL").fetchone() == (True,):
            db.execute("DELETE FROM smsgw_keys.wrapped_key")


@pytest.fixture(params=["folder", "postgres"])
def rings(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Rings]:
    """Give each home in turn."""
    with contextlib.ExitStack() as opened:
        if request.param == "folder":
            yield lambda: FolderKeyring(tmp_path / "ring")
            return
        name = request.getfixturevalue("keys_database")
        emptied(name)

        def another() -> Keyring:
            ring = PostgresKeyring(shared().target(name))
            opened.callback(ring.close)
            return ring

        yield another


def test_found_again(rings: Rings) -> None:
    """What was appended is found by its id, by another object too; what was not is None."""
    keys = [wrapped_key(n, tenant=f'tenänt {n}\n"') for n in range(5)]
    first = rings()
    first.append(keys[:2])
    rings().append(keys[2:])
    ring = rings()
    assert [ring.find(key.key_id) for key in keys] == keys
    assert [first.find(key.key_id) for key in keys] == keys
    assert ring.find(wrapped_key(9).key_id) is None
    assert list(ring.records()) == keys


def test_nothing_appended(rings: Rings) -> None:
    """No keys are no error, and an empty home has none."""
    ring = rings()
    ring.append([])
    assert list(ring.records()) == []
    assert ring.newest_days(3) == []
    assert ring.rewrap([]) == 0
    assert ring.destroy([wrapped_key(1).key_id], STONE) == []


def test_selected(rings: Rings) -> None:
    """Records are listed by tenant, by key-encryption key, by the days on which they were made, and by all of it."""
    ring = rings()
    other = Wrapped("cd" * 8, b"x")
    keys = [
        wrapped_key(1),
        wrapped_key(2, tenant="b"),
        wrapped_key(3, wrapped=other),
        wrapped_key(4, NOW + DAY),
        wrapped_key(5, NOW + 2 * DAY, tenant="b"),
    ]
    ring.append(keys[:3])
    ring.append(keys[3:4])
    ring.append(keys[4:])

    def numbers(**which: object) -> list[int]:
        return [record.key_id[-1] for record in ring.records(Selection(**which))]  # type: ignore[arg-type]  # the test's

    assert numbers() == [1, 2, 3, 4, 5]
    assert numbers(tenant="b") == [2, 5]
    assert numbers(kek_id="cd" * 8) == [3]
    assert (numbers(node="elsewhere"), numbers(node=keys[0].node, tenant="b")) == ([], [2, 5])
    assert numbers(first_day=date(2024, 10, 5)) == [4, 5]
    assert numbers(last_day=date(2024, 10, 5)) == [1, 2, 3, 4]
    assert numbers(first_day=OCTOBER_4, last_day=OCTOBER_4, tenant="demo") == [1, 3]
    assert ring.newest_days(2) == [date(2024, 10, 5), date(2024, 10, 6)]


def test_more_than_a_page(rings: Rings) -> None:
    """As many as there are, in order."""
    ring = rings()
    keys = [wrapped_key(n) for n in range(2001)]
    ring.append(keys)
    assert list(ring.records()) == keys


def test_destroyed(rings: Rings) -> None:
    """A destroyed key has no wrap; it says when, by whom and why, to whoever asks, and its neighbours are as before."""
    ring, watching = rings(), rings()
    keys = [wrapped_key(n) for n in range(3)]
    ring.append(keys)
    assert watching.find(keys[1].key_id) == keys[1]
    assert ring.destroy([keys[1].key_id, wrapped_key(8).key_id], STONE) == [keys[1].key_id]
    left = DestroyedKey(*keys[1][:5], STONE)
    for each in (ring, watching, rings()):
        assert [each.find(key.key_id) for key in keys] == [keys[0], left, keys[2]]
    assert list(ring.records()) == [keys[0], left, keys[2]]
    assert list(ring.records(Selection(kek_id="ab" * 8))) == [keys[0], keys[2]]
    assert list(ring.records(Selection(tenant="demo"))) == [keys[0], left, keys[2]]


def test_destroyed_once(rings: Rings) -> None:
    """The first tombstone stays, and what is new is appended beside it."""
    ring = rings()
    ring.append([wrapped_key(1)])
    assert ring.destroy([wrapped_key(1).key_id], STONE) != []
    assert ring.destroy([wrapped_key(1).key_id], Tombstone(NOW, "another", "again")) == []
    ring.append([wrapped_key(2)])
    found = ring.find(wrapped_key(1).key_id)
    assert isinstance(found, DestroyedKey)
    assert found.stone == STONE
    assert ring.find(wrapped_key(2).key_id) == wrapped_key(2)


def test_days_are_destroyed_together(rings: Rings) -> None:
    """Keys of several days in one call."""
    ring = rings()
    ring.append([wrapped_key(1)])
    ring.append([wrapped_key(2, NOW + DAY)])
    ids = [wrapped_key(2, NOW + DAY).key_id, wrapped_key(1).key_id]
    assert sorted(ring.destroy(ids, STONE)) == sorted(ids)
    assert [type(record) for record in ring.records()] == [DestroyedKey, DestroyedKey]


def test_rewrapped(rings: Rings) -> None:
    """A wrap is replaced where it is the one that was read, and by nobody who read another one."""
    ring = rings()
    keys = [wrapped_key(n) for n in range(3)]
    ring.append(keys)
    new, late = Wrapped("cd" * 8, b"new"), Wrapped("ef" * 8, b"late")
    changes = [Rewrap(key.key_id, key.wrapped, new) for key in keys[:2]]
    assert ring.rewrap([*changes, Rewrap(wrapped_key(9).key_id, new, new)]) == 2
    assert [record.wrapped for record in ring.records() if isinstance(record, WrappedKey)] == [
        new,
        new,
        keys[2].wrapped,
    ]
    assert ring.rewrap([Rewrap(keys[0].key_id, keys[0].wrapped, late)]) == 0
    assert ring.rewrap([Rewrap(keys[0].key_id, new, late)]) == 1
    found = rings().find(keys[0].key_id)
    assert isinstance(found, WrappedKey)
    assert found == keys[0]._replace(wrapped=late)


def test_no_wrap_for_what_is_destroyed(rings: Rings) -> None:
    """Who rewraps a key that is destroyed meanwhile does not bring it back."""
    ring = rings()
    key = wrapped_key(1)
    ring.append([key])
    ring.destroy([key.key_id], STONE)
    assert ring.rewrap([Rewrap(key.key_id, key.wrapped, Wrapped("cd" * 8, b"new"))]) == 0
    assert isinstance(ring.find(key.key_id), DestroyedKey)


def test_written_by_several(rings: Rings) -> None:
    """Appending, rewrapping and destroying at the same time lose nothing of each other."""
    old = [wrapped_key(n) for n in range(40)]
    fresh = [wrapped_key(100 + n) for n in range(40)]
    rings().append(old)
    new = Wrapped("cd" * 8, b"new")
    appending, rewrapping, destroying = rings(), rings(), rings()
    works = (
        lambda n: appending.append([fresh[n]]),
        lambda n: rewrapping.rewrap([Rewrap(old[n].key_id, old[n].wrapped, new)]) if n % 2 else None,
        lambda n: destroying.destroy([old[n].key_id], STONE) if n % 8 == 0 else None,
    )

    def do(work: Callable[[int], object]) -> None:
        for number in range(40):
            work(number)

    threads = [threading.Thread(target=do, args=(work,)) for work in works]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    found = {record.key_id: record for record in rings().records()}
    assert len(found) == 80
    for n in range(40):
        assert found[fresh[n].key_id] == fresh[n]
        record = found[old[n].key_id]
        assert isinstance(record, DestroyedKey) == (n % 8 == 0)
        assert not isinstance(record, WrappedKey) or (record.wrapped == new) == bool(n % 2)


def test_context_binds() -> None:
    """Key id, node, tenant and period are all part of what a wrap is bound to."""
    base = (b"12345678", "node", "tenant", 1, 2)
    others = [
        (b"12345679", "node", "tenant", 1, 2),
        (b"12345678", "nodet", "enant", 1, 2),
        (b"12345678", "node", "other", 1, 2),
        (b"12345678", "node", "tenant", 2, 2),
        (b"12345678", "node", "tenant", 1, 3),
    ]
    assert len({wrap_context(*each) for each in (base, *others)}) == 6
    key = wrapped_key(1)
    assert context_of(key) == wrap_context(*key[:5]) == context_of(DestroyedKey(*key[:5], STONE))


def test_key_ids() -> None:
    """A key id has eight octets, whatever the source of randomness gives, and names its day."""
    assert len(new_key_id(NOW, bytes(6))) == 8
    assert day_of(new_key_id(NOW, b"\xff" * 6)) == OCTOBER_4
    assert first_id_of(OCTOBER_4) == new_key_id(NOW, bytes(6))
    assert first_id_of(date(1900, 1, 1)) == bytes(8)
    assert first_id_of(date(9999, 1, 1))[:2] == b"\xff\xff"
    with pytest.raises(ValueError, match="6 random octets"):
        new_key_id(NOW, bytes(5))
