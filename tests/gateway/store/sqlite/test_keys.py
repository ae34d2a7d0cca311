"""Idempotency keys on SQLite: in memory, in runs and of before, each key that is held is found, and no other."""

from __future__ import annotations

import asyncio
import random
import signal
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import apsw
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule

from gateway.store.contract import Accepted, NewMessage, Verdict
from gateway.store.sqlite import SqliteStore, key_filters, keys, schema
from tests.gateway.store.samples import HOUR, NOW, SECOND, digest, key, message
from tests.gateway.store.sqlite import keying

# Records that a whole run should have, and has not; and entries that lead to no record.
_MISSED = """
    SELECT r.no FROM key_record AS r JOIN key_run AS k ON k.no = r.no >> 3 AND k.parts = 16
    WHERE NOT EXISTS (SELECT 1 FROM key_entry AS e WHERE e.run = k.no AND e.key_hash = r.key_hash AND e.no = r.no)
"""
_LEFT = (
    "SELECT * FROM key_entry AS e WHERE NOT EXISTS (SELECT 1 FROM key_record WHERE no = e.no AND key_hash = e.key_hash)"
)
_ASTRAY = "SELECT * FROM key_entry AS e WHERE run NOT IN (SELECT no FROM key_run) OR run <> no >> 3"
_TWICE = "SELECT key_hash FROM key_record GROUP BY key_hash HAVING count(*) > 1"


@pytest.fixture(autouse=True)
def _small() -> Iterator[None]:
    with keying.small():
        yield


@pytest.fixture
async def store(path: Path) -> AsyncIterator[SqliteStore]:
    """Give an open store whose runs are small."""
    opened = SqliteStore(path)
    await opened.open()
    yield opened
    await opened.close()


def _look(path: Path, query: str) -> list[tuple[Any, ...]]:
    db = apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READONLY)
    try:
        return db.execute(query).fetchall()
    finally:
        db.close()


def _require_sound(path: Path) -> None:
    for query in (_MISSED, _LEFT, _ASTRAY, _TWICE):
        assert _look(path, query) == [], query


async def _merge(store: SqliteStore, most: int = 10_000) -> int:
    """Do so many steps, or all there are; returns how many."""
    for number in range(most):
        if not await store.merge():
            return number
    return most


def _keyed(names: list[str], now: int = NOW, life: int = HOUR, content: str = "content") -> list[NewMessage]:
    return [message(idempotency=key(name, content, expires_at=now + life), accepted_at=now) for name in names]


async def _answers(store: SqliteStore, names: list[str], now: int = NOW) -> list[bytes | None]:
    """Return which message holds each key, as those are told who only ask."""
    answers = await store.replays([key(name) for name in names], now)
    return [answer and answer.id for answer in answers]


@pytest.mark.parametrize("steps", [0, 1, 7, 16, 17, 40, 10_000])
async def test_a_key_is_held_wherever_it_is(path: Path, steps: int) -> None:
    """In memory, in a half written run, in a whole one, before and after a start: a replay gets its message."""
    store = SqliteStore(path)
    await store.open()
    names = [str(n) for n in range(keying.GENERATION * 3 + 5)]
    news = [new for name in names for new in _keyed([name])]
    for first in range(0, len(news), 10):
        await store.accept(news[first : first + 10])
    await _merge(store, steps)
    wanted = [new.id for new in news]
    for _ in range(2):
        assert await _answers(store, names) == wanted
        assert await _answers(store, ["none", "nor this"]) == [None, None]
        assert [answer.id for answer in await store.accept(_keyed(names))] == wanted
        (clash,) = await store.accept(_keyed(["3"], content="another"))
        assert clash.verdict is Verdict.CONFLICT
        _require_sound(path)
        await store.close()
        store = SqliteStore(path)
        await store.open()
    await store.close()


async def test_who_accepts_writes_runs_when_nobody_else_does(store: SqliteStore, path: Path) -> None:
    """Without quiet moments memory keeps to its bound, and every key is found."""
    names = [str(n) for n in range(400)]
    most = 0
    for first in range(0, 400, 4):
        await store.accept(_keyed(names[first : first + 4]))
        most = max(most, len(_keys(store).newest))
    assert most <= (keys.MOST_RUNS + 2) * keying.RUN
    assert None not in await _answers(store, names)
    _require_sound(path)


def _keys(store: SqliteStore) -> keys.Keys:
    tx = store._writer._tx
    assert tx is not None
    found: keys.Keys = tx._keys  # type: ignore[attr-defined]  # of this engine
    return found


@pytest.mark.parametrize("steps", [0, 5, 20, 10_000])
async def test_an_expired_key_is_taken_anew(store: SqliteStore, path: Path, steps: int) -> None:
    """Its record goes, with its entry, and the new message holds it, also by a clock that is set back."""
    names = [str(n) for n in range(20)]
    await store.accept(_keyed(names))
    await _merge(store, steps)
    later = NOW + HOUR
    again = _keyed(names[::3], later)
    assert {answer.verdict for answer in await store.accept(again)} == {Verdict.STORED}
    await _merge(store, 4)
    for now in (NOW, later):
        assert await _answers(store, names[::3], now) == [new.id for new in again]
    _require_sound(path)
    assert _look(path, "SELECT count(*) FROM key_record") == [(20,)]


@pytest.mark.parametrize("steps", [0, 3, 19, 10_000])
async def test_what_is_rolled_back_is_not_held(store: SqliteStore, path: Path, steps: int) -> None:
    """When a commit fails, new keys are free, expired ones are where they were, and the others are found."""
    names = [str(n) for n in range(20)]
    first = _keyed(names)
    await store.accept(first)
    await _merge(store, steps)
    bad = first[0]._replace(idempotency=key("fresh"))  # its id is stored: the insert fails
    retaken = _keyed(names[:5], NOW + HOUR)
    with pytest.raises(apsw.ConstraintError):
        await store.accept([*retaken, *_keyed(["fresh"]), bad._replace(idempotency=None)])
    assert await _answers(store, [*names, "fresh"]) == [*[new.id for new in first], None]
    await _merge(store)
    assert await _answers(store, names) == [new.id for new in first]
    (answer,) = await store.accept(_keyed(["fresh"]))
    assert answer.verdict is Verdict.STORED
    _require_sound(path)


async def test_a_failed_commit_that_was_done(store: SqliteStore) -> None:
    """Where the database has what a rollback should have undone, memory is loaded and not undone: the key is held."""
    (new,) = _keyed(["k"])
    await store.accept([new])
    memory, tx = _keys(store), store._writer._tx
    assert tx is not None
    memory._undo.append((digest("k", 32)[:16], None))  # as if its commit were not over
    tx.reload()
    assert [answer.id for answer in await store.accept(_keyed(["k"]))] == [new.id]


@pytest.mark.parametrize("steps", [0, 9, 10_000])
async def test_runs_go_with_their_records(store: SqliteStore, path: Path, steps: int) -> None:
    """When all have expired, entries, runs and filters go; numbers are not given again, and what comes then is held."""
    await store.accept(_keyed([str(n) for n in range(100)]))
    await _merge(store, steps)
    if steps > 1_000:
        assert _look(path, "SELECT count(*) > 0 FROM key_filter") == [(1,)]
        assert len(_keys(store).filters._filters) > 3
    while await store.purge(NOW + HOUR, 30):
        await store.merge()
    await _merge(store)
    assert _look(path, "SELECT count(*) FROM key_record UNION ALL SELECT count(*) FROM key_entry") == [(0,), (0,)]
    assert _look(path, "SELECT count(*) FROM key_run") == [(1,)]
    assert _look(path, "SELECT count(*) FROM key_filter") == [(0,)]
    assert len(_keys(store).filters._filters) <= 2
    await store.close()
    again = SqliteStore(path)
    await again.open()
    names = [f"new {n}" for n in range(50)]
    await again.accept(_keyed(names, NOW + HOUR))
    await _merge(again)
    assert None not in await _answers(again, names, NOW + HOUR)
    assert {answer.verdict for answer in await again.accept(_keyed(names, NOW + HOUR))} == {Verdict.REPLAYED}
    await again.close()
    _require_sound(path)


async def test_numbers_of_a_run_are_not_given_again(store: SqliteStore, path: Path) -> None:
    """When the last records of a whole run are gone, what comes after a start goes into the next, and is held."""
    await store.accept([*_keyed([str(n) for n in range(keying.RUN - 2)]), *_keyed(["a", "b"], life=SECOND)])
    await _merge(store)
    assert await store.purge(NOW + SECOND, 100) == 2
    news = [*_keyed(["new"]), *_keyed(["new"])]
    for new in news:
        await store.close()
        store = SqliteStore(path)
        await store.open()
        assert [answer.id for answer in await store.accept([new])] == [news[0].id]
    assert await _answers(store, ["new", "a"]) == [news[0].id, None]
    await store.close()


def test_what_is_rolled_back_was_no_part_of_a_run(tmp_path: Path) -> None:
    """A step that follows an expired key's taking, and is rolled back with it, leaves no gap in the run."""
    (tmp_path / "x.db").touch()
    db = schema.connect(tmp_path / "x.db", None)
    schema.migrate(db, tmp_path / "x.db", schema.migrations())
    memory = keys.Keys()
    memory.load(db)
    taking = keys.Taking(memory)
    hashes = [digest(str(n)) for n in range(keying.RUN)]
    with db:
        assert taking.count(db, [(each, b"", 1, each, NOW, NOW + SECOND) for each in hashes]) == keying.RUN
    memory.committed()
    db.execute("BEGIN")
    assert taking.count(db, [(hashes[3], b"", 1, b"another", NOW + SECOND, NOW + HOUR)]) == 1
    assert memory.step(db)
    db.execute("ROLLBACK")
    memory.load(db)
    while memory.step(db):
        memory.committed()
    again = keys.Keys()
    again.load(db)
    assert again.newest == {}
    for known in (memory, again):
        assert sorted(known.numbers(db, hashes)) == [(n, n) for n in range(keying.RUN)]
    db.close()


async def test_a_forgotten_key_is_nowhere_in_the_file(store: SqliteStore, path: Path) -> None:
    """What purge has deleted from runs is zeroes in the database and its log."""
    names = [str(n) for n in range(100)]
    await store.accept(_keyed(names[:50], life=SECOND))
    await store.accept(_keyed(names[50:]))
    await _merge(store)
    assert await store.purge(NOW + SECOND, 1_000) == 50
    await store.scrub()
    octets = b"".join(file.read_bytes() for file in sorted(path.parent.iterdir()))
    assert [digest(name, 32)[:16] in octets for name in names] == [False] * 50 + [True] * 50


async def test_filters_of_whole_generations_are_read(store: SqliteStore, path: Path) -> None:
    """A start reads what was stored of a filter, and what it tells is the same; without a part it is made anew."""
    names = [str(n) for n in range(keying.GENERATION * 4)]
    await store.accept(_keyed(names))
    await _merge(store)
    before = dict(_keys(store).filters._filters)
    parts = 2 * keying.GENERATION // keying.PART_OCTETS
    assert _look(path, "SELECT generation, count(*) FROM key_filter GROUP BY 1") == [(n, parts) for n in range(4)]
    await store.close()
    db = apsw.Connection(str(path))
    db.execute("UPDATE key_filter SET bits = zeroblob(length(bits)) WHERE generation = 1")  # to see which it takes
    db.execute("DELETE FROM key_filter WHERE generation = 2 AND part = 1")
    db.close()
    memory, db = keys.Keys(), apsw.Connection(str(path))
    memory.load(db)
    assert dict(memory.filters._filters) == {**before, 1: bytearray(2 * keying.GENERATION)}
    db.close()


@pytest.mark.parametrize("purged", [False, True])
async def test_records_of_before_runs(path: Path, purged: bool) -> None:
    """They are found while there are any, taken anew when they have expired, and nothing asks for them any more when
    the last one is gone."""
    store = SqliteStore(path)
    await store.open()
    first = [*_keyed(["a", "b"]), *_keyed(["c"], life=9 * HOUR)]
    await store.accept(first)
    await store.close()
    db = schema.connect(path, None)
    db.execute("INSERT INTO idempotency SELECT * FROM key_record; DELETE FROM key_record")
    db.close()
    store = SqliteStore(path)
    await store.open()
    assert await _answers(store, ["a", "c", "d"]) == [first[0].id, first[2].id, None]
    answers = await store.accept(_keyed(["a", "new", "c", "new"]))
    assert [answer.verdict.name for answer in answers] == ["REPLAYED", "STORED", "REPLAYED", "REPLAYED"]
    if purged:
        assert await store.purge(NOW + HOUR, 2) == 2  # the new one, and the oldest
    again = _keyed(["b", "c"], NOW + HOUR)
    assert [answer.verdict.name for answer in await store.accept(again)] == ["STORED", "REPLAYED"]
    assert await _answers(store, ["a", "b", "c"]) == [None if purged else first[0].id, again[0].id, first[2].id]
    assert _keys(store).old
    assert await store.purge(NOW + 9 * HOUR, 100) > 0
    await store.merge()
    assert not _keys(store).old
    await store.close()


async def test_an_index_key_is_in_use_wherever_its_keys_are(store: SqliteStore) -> None:
    """In memory, in runs and nowhere."""
    versions = [bytes([16, n]) for n in range(3)]

    async def used() -> list[bool]:
        return [(await store.index_use(version)).keys for version in versions]

    def hashed(number: int, names: str) -> list[NewMessage]:
        expiring = [key(name)._replace(key_hash=versions[number] + digest(name, 30)) for name in names]
        return [message(idempotency=each) for each in expiring]

    assert await used() == [False] * 3
    await store.accept(hashed(0, "abcdefgh"))
    assert await used() == [True, False, False]
    await _merge(store)
    await store.accept(hashed(1, "ijk"))
    assert await used() == [True, True, False]
    await store.purge(NOW + 72 * HOUR, 8)
    assert await used() == [False, True, False]


class Machine(RuleBasedStateMachine):
    """Whatever happens, keys are held by the messages that a dict says."""

    def __init__(self) -> None:
        super().__init__()
        self._runner = asyncio.Runner()
        self._now = NOW
        self._held: dict[str, tuple[bytes, int]] = {}

    @initialize()
    def begin(self) -> None:
        """Open a store on an empty file."""
        self._small = keying.small()
        self._small.__enter__()
        self._folder = tempfile.TemporaryDirectory()
        self._path = Path(self._folder.name) / "store" / "smsgw.db"
        self._open()

    def _open(self) -> None:
        self._store = SqliteStore(self._path)
        self._runner.run(self._store.open())

    @rule(numbers=st.lists(st.integers(0, 60), max_size=30), life=st.integers(1, 30))
    def accept(self, numbers: list[int], life: int) -> None:
        """Messages come, some with keys that are held, or twice."""
        news = _keyed([str(n) for n in numbers], self._now, life * SECOND)
        answers: list[Accepted] = self._runner.run(self._store.accept(news))
        for number, new, answer in zip(numbers, news, answers, strict=True):
            holder = self._held.get(str(number))
            if holder is None or holder[1] <= self._now:
                assert answer.verdict is Verdict.STORED
                self._held[str(number)] = (new.id, self._now + life * SECOND)
            else:
                assert (answer.verdict, answer.id) == (Verdict.REPLAYED, holder[0])

    @rule(number=st.integers(0, 60), some=st.lists(st.integers(0, 60), max_size=9))
    def fail(self, number: int, some: list[int]) -> None:
        """A commit fails after keys were taken."""
        (new,) = _keyed([f"failing {number}"], self._now, SECOND)
        twice = new._replace(idempotency=None)
        with pytest.raises(apsw.ConstraintError):
            self._runner.run(self._store.accept([*_keyed([str(n) for n in some], self._now), new, twice]))

    @rule(steps=st.integers(1, 60))
    def merge(self, steps: int) -> None:
        """Quiet moments."""
        self._runner.run(_merge(self._store, steps))

    @rule(seconds=st.integers(0, 20), limit=st.integers(1, 40))
    def pass_time(self, seconds: int, limit: int) -> None:
        """Time passes, and what has expired goes."""
        self._now += seconds * SECOND
        self._runner.run(self._store.purge(self._now, limit))
        gone = {name for name, (_, until) in self._held.items() if until <= self._now}
        self._held = {name: held for name, held in self._held.items() if name not in gone}

    @rule(killed=st.booleans())
    def restart(self, killed: bool) -> None:
        """The node stops, or its files are found as they are, as after a kill."""
        if not killed:
            self._runner.run(self._store.close())
            return self._open()
        copied = self._path.parent.with_name(f"{self._path.parent.name}+")
        copied.mkdir(mode=0o700)
        for file in self._path.parent.iterdir():
            if not file.name.endswith("-shm"):
                (copied / file.name).write_bytes(file.read_bytes())
        self._runner.run(self._store.close())
        self._path = copied / self._path.name
        return self._open()

    @rule()
    def ask(self) -> None:
        """Who only asks is told of every key."""
        names = [str(number) for number in range(61)]
        wanted = [held[0] if (held := self._held.get(name)) and held[1] > self._now else None for name in names]
        assert self._runner.run(_answers(self._store, names, self._now)) == wanted
        _require_sound(self._path)

    def teardown(self) -> None:
        """End."""
        if hasattr(self, "_store"):
            self.ask()
            self._runner.run(self._store.close())
            self._folder.cleanup()
            self._small.__exit__(None, None, None)
        self._runner.close()


TestWhateverHappens = Machine.TestCase
TestWhateverHappens.settings = settings(max_examples=30, stateful_step_count=25, deadline=None)


def test_no_key_is_missed_by_its_filter() -> None:
    """Of a full filter of full size: all that it has, and about one in two hundred that it has not."""
    chance = random.Random(5)  # noqa: S311 - not a secret
    filters = key_filters.Filters()
    mine = [chance.randbytes(16) for _ in range(keying.GENERATION)]
    for each in mine:
        filters.add(7, each)
    assert all(filters.generations(each) == [7] for each in mine)
    others = sum(len(filters.generations(chance.randbytes(16))) for _ in range(2_000))
    assert others < 60


@pytest.fixture
def taker(path: Path) -> Iterator[subprocess.Popen[str]]:
    """Give a process that takes keys without end, until it is killed."""
    command = [sys.executable, "-m", "tests.gateway.store.sqlite.keying", str(path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        yield process
        process.kill()


async def test_killed_in_the_middle(path: Path, taker: subprocess.Popen[str]) -> None:
    """kill -9 between and within steps: every key that was acknowledged and has not expired is held."""
    assert taker.stdout is not None
    acknowledged = [int(taker.stdout.readline()) for _ in range(240)]
    taker.send_signal(signal.SIGKILL)
    acknowledged += [int(line) for line in taker.stdout if line.endswith("\n")]
    taker.wait()
    store = SqliteStore(path)
    await store.open()
    try:
        for _ in range(2):
            _require_sound(path)
            last = max(acknowledged)
            now = NOW + (last - 2) * SECOND
            names = [str(n) for n in acknowledged if n // 3 * 3 * SECOND + NOW + keying.LIFE > now]
            assert len(names) > 30
            assert None not in await _answers(store, names, now)
            await _merge(store)
    finally:
        await store.close()
