"""Runs: whatever is merged, and whatever happens meanwhile, a recipient's messages are found, and nothing else is."""

from __future__ import annotations

import random
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import apsw
import pytest

from gateway.store.contract import ListFilter, NewMessage
from gateway.store.indexing import Rehashed
from gateway.store.retention import Rule, Stage
from gateway.store.sqlite import SqliteStore, blocks, runs
from tests.gateway.store.samples import HOUR, NOW, TENANT, TRANSACTIONAL, digest, message
from tests.gateway.store.sqlite import merging

PEOPLE = [b"\x10\x01" + bytes([number]) * 14 for number in range(3)]
GONE = Rule(TENANT, 1 << TRANSACTIONAL, int(Stage.MESSAGE), 24 * HOUR)
# Messages whose copies in the runs that are asked are not exactly one, though their block is in such a run.
_WRONG = """
    SELECT m.id FROM message AS m WHERE m.block <= (SELECT max(last) FROM run WHERE state = 1) AND 1 <> (
        SELECT count(*) FROM recipient AS r JOIN run AS k ON k.no = r.run AND k.state = 1
        WHERE r.id = m.id AND r.tenant_no = m.tenant_no AND r.hash = m.recipient_hash)
"""
# Copies, in whatever run, of what is not there, or not so.
_LEFT = """
    SELECT r.run, r.id FROM recipient AS r LEFT JOIN message AS m ON m.tenant_no = r.tenant_no AND m.id = r.id
        AND m.recipient_hash = r.hash LEFT JOIN run AS k ON k.no = r.run AND m.block BETWEEN k.first AND k.last
    WHERE m.id IS NULL OR k.no IS NULL
"""


@pytest.fixture(autouse=True)
def _small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(blocks, "SIZE", merging.SIZE)
    monkeypatch.setattr(runs, "FANOUT", merging.FANOUT)
    monkeypatch.setattr(runs, "STRETCH", merging.STRETCH)


@pytest.fixture
async def store(path: Path) -> AsyncIterator[SqliteStore]:
    """Give an open store whose blocks and runs are small."""
    opened = SqliteStore(path)
    await opened.open()
    yield opened
    await opened.close()


def _look(path: Path, query: str) -> list[tuple[object, ...]]:
    db = apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READONLY)
    try:
        return db.execute(query).fetchall()
    finally:
        db.close()


def _octets(path: Path) -> bytes:
    """Return all that is in the database's files."""
    return b"".join(file.read_bytes() for file in sorted(path.parent.iterdir()))


def _require_sound(path: Path) -> None:
    assert _look(path, _WRONG) == []
    assert _look(path, _LEFT) == []


async def _ids(store: SqliteStore, person: bytes, page: int, tenant: str = TENANT) -> list[bytes]:
    found: list[bytes] = []
    while True:
        rows = await store.list_messages(tenant, ListFilter((), (person,)), found[-1] if found else None, page)
        found += [row.id for row in rows]
        if len(rows) < page:
            return found


async def _merge(store: SqliteStore, most: int = 10_000) -> int:
    """Do so many steps, or all there are; returns how many."""
    for number in range(most):
        if not await store.merge():
            return number
    return most


class Model:
    """What a recipient's messages should be, and changes to them (mutable)."""

    def __init__(self, store: SqliteStore, chance: random.Random) -> None:
        self._store, self._chance = store, chance
        self._tenants: dict[bytes, str] = {}
        self._people: dict[bytes, bytes] = {}  # of messages that are there
        self._late: list[NewMessage] = []

    async def accept(self) -> None:
        """Messages of two tenants come; some wait, and come when their block has long been full."""
        chance = self._chance
        news = [
            message(recipient_hash=chance.choice(PEOPLE), tenant=chance.choice((TENANT, TENANT, "other")))
            for _ in range(chance.randrange(1, 30))
        ]
        chance.shuffle(news)
        cut = chance.randrange(4)
        self._late += news[:cut]
        come = news[cut:]
        if chance.random() < 0.2:
            come, self._late = come + self._late, []
        await self._store.accept(come)
        self._tenants.update({new.id: new.tenant for new in come})
        self._people.update({new.id: new.recipient_hash for new in come})

    async def merge(self) -> None:
        """Some steps are done."""
        await _merge(self._store, self._chance.randrange(1, 40))

    async def rehash(self) -> None:
        """Some are hashed anew, and perhaps back again."""
        for at in self._some():
            old, new = self._people[at], self._chance.choice(PEOPLE)
            assert await self._store.rehash([Rehashed(self._tenants[at], at, old, new)]) == 1
            self._people[at] = new

    async def erase(self) -> None:
        """Some are erased: nobody's messages any more."""
        for at in self._some():
            await self._store.cancel(self._tenants[at], at, NOW)
            await self._store.erase(self._tenants[at], [at], NOW)
            self._people[at] = b""

    async def retain(self) -> None:
        """Those of one tenant that have ended go, the oldest first."""
        mine = sorted(at for at, tenant in self._tenants.items() if tenant == TENANT and at in self._people)
        for at in mine[: self._chance.randrange(len(mine) + 1)]:
            await self._store.cancel(TENANT, at, NOW)
        await self._store.retain(GONE, NOW + 48 * HOUR, len(self._tenants))
        await self._store.retain_left({(TENANT, TRANSACTIONAL, int(Stage.MESSAGE)): HOUR}, NOW + 96 * HOUR, 1_000)
        for at in list(self._people):
            if self._tenants[at] == TENANT and await self._store.get_message(TENANT, at) is None:
                del self._people[at]

    def _some(self) -> list[bytes]:
        there = [at for at, person in self._people.items() if person]
        return self._chance.sample(there, min(len(there), 5))

    async def require(self) -> None:
        """Compare."""
        for person in PEOPLE:
            for tenant in (TENANT, "other"):
                wanted = [at for at in self._people if self._people[at] == person and self._tenants[at] == tenant]
                page = self._chance.choice((1, 7, 1_000))
                assert await _ids(self._store, person, page, tenant) == sorted(wanted, reverse=True)


@pytest.mark.parametrize("seed", range(4))
async def test_whatever_happens_in_between(store: SqliteStore, path: Path, seed: int) -> None:
    """Messages come, also late, are erased, hashed anew and let go while runs are written and deleted."""
    chance = random.Random(seed)  # noqa: S311 - not a secret
    model = Model(store, chance)
    for _ in range(30):
        acts = [model.accept] * 5 + [model.merge] * 5 + [model.rehash, model.erase, model.retain]
        await chance.choice(acts)()
        await model.require()
        _require_sound(path)
    await _merge(store)
    await model.require()
    _require_sound(path)


async def test_levels(store: SqliteStore, path: Path) -> None:
    """However many blocks there are, a look-up asks few: less than `FANOUT` runs of each level, and as many blocks."""
    news = [message(recipient_hash=PEOPLE[number % 2]) for number in range(merging.SIZE * merging.FANOUT**3 + 40)]
    await store.accept(news)
    assert await _ids(store, PEOPLE[0], 1_000) == [new.id for new in reversed(news[::2])]
    await _merge(store)
    levels = Counter(str(level) for (level,) in _look(path, "SELECT level FROM run"))
    assert max(levels) == "3"
    assert all(number < merging.FANOUT for number in levels.values())
    ((behind,),) = _look(path, "SELECT count(*) FROM block WHERE no > (SELECT max(last) FROM run)")
    assert isinstance(behind, int)
    assert behind < merging.FANOUT + 2  # the newest two are not full, or take what is late
    assert _look(path, "SELECT count(*) FROM recipient") == [(len(news) - _in_blocks(path),)]
    assert await _ids(store, PEOPLE[0], 3) == [new.id for new in reversed(news[::2])]
    within = ListFilter((), (PEOPLE[1],), news[21].id)
    assert [row.id for row in await store.list_messages(TENANT, within, news[99].id, 1_000)] == [
        new.id for new in reversed(news[21:99:2])
    ]
    _require_sound(path)


def _in_blocks(path: Path) -> int:
    ((number,),) = _look(path, "SELECT count(*) FROM message WHERE block > (SELECT max(last) FROM run)")
    assert isinstance(number, int)
    return number


async def test_steps_are_small(path: Path) -> None:
    """None changes more entries than a stretch of each of what is merged, however the hashes lie: one recipient has
    half of all messages."""
    store = SqliteStore(path)
    await store.open()
    news = [message(recipient_hash=PEOPLE[0] if number % 2 else digest(f"{number}")) for number in range(400)]
    await store.accept(news)
    await store.close()
    db, most = apsw.Connection(str(path)), runs.FANOUT * runs.STRETCH + 2 * runs.FANOUT
    try:
        steps, before = 0, db.total_changes()
        while runs.step(db):
            steps, changed, before = steps + 1, db.total_changes() - before, db.total_changes()
            assert changed <= most
        assert steps > 400 // most
    finally:
        db.close()
    _require_sound(path)


async def test_a_late_message_of_a_merged_block(store: SqliteStore, path: Path) -> None:
    """It has no block, and stands where its id belongs."""
    news = [message(recipient_hash=PEOPLE[0]) for _ in range(merging.SIZE * merging.FANOUT * 2)]
    late = news[5]
    await store.accept([new for new in news if new is not late])
    await _merge(store)
    await store.accept([late])
    assert _look(path, "SELECT count(*) FROM message WHERE block IS NULL") == [(1,)]
    for page in (1, 4, 1_000):
        assert await _ids(store, PEOPLE[0], page) == [new.id for new in reversed(news)]


async def test_runs_go_with_their_messages(store: SqliteStore, path: Path) -> None:
    """When retention has deleted all messages of a run it is forgotten, and what comes then is merged anew."""
    news = [message(recipient_hash=PEOPLE[0]) for _ in range(merging.SIZE * merging.FANOUT**2)]
    await store.accept(news)
    await _merge(store)
    assert _look(path, "SELECT count(*) > 0 FROM run") == [(1,)]
    for new in news:
        await store.cancel(TENANT, new.id, NOW)
    assert (await store.retain(GONE, NOW + 48 * HOUR, 1_000)).removed == len(news)
    assert _look(path, "SELECT count(*) FROM recipient") == [(0,)]
    await _merge(store)
    assert _look(path, "SELECT count(*) FROM run") == [(0,)]
    more = [message(recipient_hash=PEOPLE[0]) for _ in range(merging.SIZE * merging.FANOUT * 2)]
    await store.accept(more)
    assert await _merge(store) > 0
    assert await _ids(store, PEOPLE[0], 5) == [new.id for new in reversed(more)]
    _require_sound(path)


@pytest.mark.parametrize("steps", [0, 1, 7, 10_000])
async def test_an_erased_hash_is_nowhere_in_the_file(store: SqliteStore, path: Path, steps: int) -> None:
    """Not in a run that is asked, is being written, or on its way out: its octets are in neither file."""
    mine = digest("a person who wants to be forgotten")
    news = [
        message(recipient_hash=mine if number % 9 == 0 else digest(f"{number}"))
        for number in range(merging.SIZE * merging.FANOUT**2 + 20)
    ]
    await store.accept(news)
    await _merge(store, steps)
    found = await _ids(store, mine, 1_000)
    for each in found:
        await store.cancel(TENANT, each, NOW)
    erased = await store.erase(TENANT, found, NOW)
    assert erased.messages == len(found) == len(news[::9])
    await store.scrub()
    files = _octets(path)
    assert mine not in files
    assert digest("1") in files  # another person's: octets are found where they are
    _require_sound(path)


@pytest.fixture
def merger(path: Path) -> Iterator[subprocess.Popen[str]]:
    """Give a process that accepts and merges without end, until it is killed."""
    command = [sys.executable, "-m", "tests.gateway.store.sqlite.merging", str(path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        yield process
        process.kill()


async def test_killed_in_the_middle(path: Path, merger: subprocess.Popen[str]) -> None:
    """kill -9 between and within steps: what was acknowledged is found, and merging goes on to its end."""
    assert merger.stdout is not None
    acknowledged = [bytes.fromhex(merger.stdout.readline()) for _ in range(150)]
    merger.send_signal(signal.SIGKILL)
    acknowledged += [bytes.fromhex(line) for line in merger.stdout if len(line) == 33]
    merger.wait()
    store = SqliteStore(path)
    await store.open()
    try:
        assert set(acknowledged) <= set(await _ids(store, merging.PERSON, 1_000))
        _require_sound(path)
        assert await _merge(store) < 10_000
        found = await _ids(store, merging.PERSON, 50)
        assert set(acknowledged) <= set(found)
        assert found == sorted(found, reverse=True)
    finally:
        await store.close()
    _require_sound(path)
    assert _look(path, "SELECT count(*) FROM run WHERE state <> 1") == [(0,)]
    assert _look(path, "PRAGMA integrity_check") == [("ok",)]
