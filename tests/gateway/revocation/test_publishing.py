"""The publisher and its file: changes on disk first, offline changes, damage, rollback, denied.json, heartbeats."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from gateway.revocation.calls import RevokedCalls
from gateway.revocation.codec import read, verify
from gateway.revocation.entries import MARGIN, DenyList
from gateway.revocation.errors import (
    BadDenyList,
    BadEntry,
    DenyListError,
    DenyListFileError,
    ForgedDenyList,
    OldDenyList,
)
from gateway.revocation.files import LIST, SEEN, ListFiles
from gateway.revocation.legacy import FILE, refuse_legacy
from gateway.revocation.publishing import Edition, Publisher
from tests.gateway.revocation.samples import KEY, KEYS, NOW, OTHER_KEY, SECOND, certificate, identity

WAIT_S = 10.0


class Told:
    """Who listens."""

    def __init__(self) -> None:
        self.versions: list[int] = []
        self.errors: list[Exception] = []
        self.read_again = 0

    def in_force(self, deny: DenyList, digest: str, cut: int) -> None:
        """Write down which."""
        assert len(digest) == 64
        assert cut == 0
        self.versions.append(deny.version)

    def read(self) -> None:
        """Count it."""
        self.read_again += 1

    def not_read(self, error: Exception) -> None:
        """Write down why."""
        self.errors.append(error)


class Clock:
    """Microseconds, moved on by each look."""

    def __init__(self) -> None:
        self.now = NOW

    def __call__(self) -> int:
        self.now += 1
        return self.now


def edition(folder: Path) -> Edition:
    """Return the list of a folder."""
    return Edition(ListFiles(folder), KEY, 60 * SECOND)


@asynccontextmanager
async def running(folder: Path, told: Told, clock: Clock) -> AsyncIterator[Publisher]:
    """Run a publisher with quick heartbeats."""
    publisher = Publisher(edition(folder), RevokedCalls(DenyList()), told, clock, heartbeat_s=0.2)
    publisher.open()
    task = asyncio.create_task(publisher.run())
    try:
        yield publisher
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def until(done: object) -> None:
    """Wait until `done()`."""
    assert callable(done)
    async with asyncio.timeout(WAIT_S):
        while not done():
            await asyncio.sleep(0.01)


def test_a_new_node_begins_with_an_empty_list(tmp_path: Path) -> None:
    """It is signed and on disk, readable by its owner alone, and is what the next start finds."""
    made = edition(tmp_path).load(NOW)
    assert made == DenyList(version=NOW)
    assert (tmp_path / LIST).stat().st_mode & 0o077 == 0
    assert edition(tmp_path).load(NOW + SECOND) == made


def test_changes_are_on_disk_and_remembered(tmp_path: Path) -> None:
    """A change is read by whoever has the public key; the version that was seen goes with it."""
    first = edition(tmp_path)
    first.load(NOW)
    deny = first.change([identity()], (), NOW + 1)
    first.remember(deny)
    _, found = read((tmp_path / LIST).read_bytes(), KEYS)
    assert found == deny
    assert json.loads((tmp_path / SEEN).read_text())["version"] == deny.version
    with pytest.raises(BadEntry):
        first.change([identity("demo")], (), NOW + 2)
    assert first.load(NOW + 3) == deny


def test_the_first_change_of_a_node_that_never_ran(tmp_path: Path) -> None:
    """`smsgw revoke --offline` needs no list that is there."""
    deny = edition(tmp_path).change([identity()], (), NOW)
    assert edition(tmp_path).load(NOW + SECOND) == deny


def test_a_list_that_was_put_back_stops_the_start(tmp_path: Path) -> None:
    """An older copy would let somebody back in; so would none at all, and one of another key."""
    first = edition(tmp_path)
    first.load(NOW)
    old = (tmp_path / LIST).read_bytes()
    first.remember(first.change([identity()], (), NOW + 1))
    good = (tmp_path / LIST).read_bytes()
    (tmp_path / LIST).write_bytes(old)
    with pytest.raises(OldDenyList, match="newest copy"):
        edition(tmp_path).load(NOW + 2)
    (tmp_path / LIST).unlink()
    with pytest.raises(DenyListFileError, match="gone"):
        edition(tmp_path).load(NOW + 2)
    (tmp_path / LIST).write_bytes(good)
    with pytest.raises(ForgedDenyList):
        Edition(ListFiles(tmp_path), OTHER_KEY, SECOND).load(NOW + 2)
    rotated = Edition(ListFiles(tmp_path), OTHER_KEY, SECOND, KEYS)
    deny = rotated.load(NOW + 2)
    assert verify(rotated.signed(deny, NOW + 2).head, [OTHER_KEY.public_key()]).version == deny.version


@pytest.mark.parametrize("text", ["", "{}", '{"format": 2}', '{"format": 1, "version": "x", "digest": ""}'])
def test_a_damaged_memory_stops_the_start(tmp_path: Path, text: str) -> None:
    """Without it nobody could tell an old list from the newest."""
    edition(tmp_path).load(NOW)
    (tmp_path / SEEN).write_text(text)
    with pytest.raises(DenyListFileError, match="damaged"):
        edition(tmp_path).load(NOW)


def test_the_list_of_before_is_taken_over_for_good(tmp_path: Path) -> None:
    """denied.json is read once, whole or not at all, and put aside; a node that follows refuses to start beside it."""
    (tmp_path / FILE).write_text(
        '{"version": 1, "certificates": [{"authority_key_id": "1E44", "serial": "03d54"}],'
        ' "spiffe_ids": ["spiffe://example.org/demo/robbed"]}'
    )
    with pytest.raises(DenyListFileError, match="revoke there"):
        refuse_legacy(tmp_path)
    deny = edition(tmp_path).load(NOW)
    assert {(entry.spiffe_id, entry.serial) for entry in deny.entries} == {
        ("spiffe://example.org/demo/robbed", ""),
        ("", "3d54"),
    }
    assert not (tmp_path / FILE).exists()
    assert edition(tmp_path).load(NOW + 1) == deny
    refuse_legacy(tmp_path)


@pytest.mark.parametrize(
    "text", ["[]", "{", '{"version": 2}', '{"version": 1, "certificates": [{}], "spiffe_ids": []}']
)
def test_a_damaged_list_of_before_stops_the_start(tmp_path: Path, text: str) -> None:
    """Nothing in it is skipped."""
    (tmp_path / FILE).write_text(text)
    with pytest.raises(DenyListFileError, match="no deny list"):
        edition(tmp_path).load(NOW)
    assert not (tmp_path / LIST).exists()


async def test_heartbeats_sign_anew(tmp_path: Path) -> None:
    """Whoever waits is woken by each, and finds the same list with a later time; nobody is told of a new list."""
    told, clock = Told(), Clock()
    async with running(tmp_path, told, clock) as publisher:
        before = verify(publisher.signed.head, KEYS)
        changed = publisher.changed()
        clock.now += SECOND
        async with asyncio.timeout(WAIT_S):
            await changed.wait()
        after = verify(publisher.signed.head, KEYS)
        assert (after.version, after.digest) == (before.version, before.digest)
        assert after.issued_at > before.issued_at
        assert after.expires_at == after.issued_at + 60 * SECOND
        assert told.versions == [before.version]


async def test_a_change_beside_the_node_is_taken_up(tmp_path: Path) -> None:
    """What `smsgw revoke --offline` writes is in force a moment later, and the node's next change goes on from it."""
    told, clock = Told(), Clock()
    async with running(tmp_path, told, clock) as publisher:
        await publisher.change([certificate("1")])
        offline = edition(tmp_path).change([certificate("2")], (), clock())
        await until(lambda: publisher.deny == offline)
        deny = await publisher.change([certificate("3")])
        assert [entry.serial for entry in deny.entries] == ["1", "2", "3"]
        assert told.errors == []


async def test_a_damaged_file_leaves_the_list_in_force_and_signed(tmp_path: Path) -> None:
    """It is told once; heartbeats go on, so that nobody who follows grows stale; the next change writes it anew."""
    told, clock = Told(), Clock()
    async with running(tmp_path, told, clock) as publisher:
        deny = await publisher.change([identity()])
        (tmp_path / LIST).write_bytes(b"damaged")
        await until(lambda: told.errors)
        signed = publisher.signed.head
        await until(lambda: publisher.signed.head != signed)
        assert publisher.deny == deny
        assert [type(error) for error in told.errors] == [BadDenyList]
        repaired = await publisher.change([certificate()])
        assert len(repaired.entries) == 2
        assert edition(tmp_path).load(clock()) == repaired
        await until(lambda: told.read_again)


async def test_a_file_that_is_put_back_under_a_running_node(tmp_path: Path) -> None:
    """It does not let anybody back in."""
    told, clock = Told(), Clock()
    async with running(tmp_path, told, clock) as publisher:
        old = (tmp_path / LIST).read_bytes()
        deny = await publisher.change([identity()])
        (tmp_path / LIST).write_bytes(old)
        await until(lambda: told.errors)
        assert isinstance(told.errors[0], OldDenyList)
        assert publisher.deny == deny


async def test_entries_leave_when_they_have_ended(tmp_path: Path) -> None:
    """By themselves, with a heartbeat, as a new version."""
    told, clock = Told(), Clock()
    async with running(tmp_path, told, clock) as publisher:
        await publisher.change([certificate(ends_at=clock.now + SECOND), identity()])
        clock.now += SECOND + MARGIN + SECOND
        await until(lambda: len(publisher.deny.entries) == 1)
        assert told.versions == sorted(set(told.versions))


async def test_changes_at_once_are_all_made(tmp_path: Path) -> None:
    """From the node and beside it: none is lost."""
    told, clock = Told(), Clock()
    async with running(tmp_path, told, clock) as publisher:
        beside = [
            asyncio.to_thread(edition(tmp_path).change, [certificate(f"b{number}")], (), clock()) for number in range(5)
        ]
        await asyncio.gather(*beside, *[publisher.change([certificate(f"a{number}")]) for number in range(5)])
        await until(lambda: len(publisher.deny.entries) == 10)
        assert told.errors == []


def test_nothing_is_told_before_it_was_read(tmp_path: Path) -> None:
    """A publisher that has read nothing has no list to give."""
    publisher = Publisher(edition(tmp_path), RevokedCalls(DenyList()), Told(), Clock(), heartbeat_s=1)
    with pytest.raises(DenyListError):
        _ = publisher.signed
    assert publisher.signed_at == 0
