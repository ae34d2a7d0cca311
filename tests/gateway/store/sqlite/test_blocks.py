"""Recipients by blocks: what is found, and in which order, whatever block it is in; and databases of before."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator
from pathlib import Path

import apsw
import pytest

from gateway.store.contract import ListFilter, NewMessage
from gateway.store.indexing import Hashed, Rehashed
from gateway.store.retention import Rule, Stage
from gateway.store.sqlite import SqliteStore, blocks, schema
from tests.gateway.store.samples import HOUR, NOW, TENANT, TRANSACTIONAL, message

A_BLOCK = 4
BEFORE = 16  # migrations until blocks
VERSION, NEWER = b"\x10\x01", b"\x10\x02"
ONE, OTHER = VERSION + b"a" * 14, NEWER + b"b" * 14
GONE = Rule(TENANT, 1 << TRANSACTIONAL, int(Stage.MESSAGE), 24 * HOUR)


@pytest.fixture(autouse=True)
def _small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(blocks, "SIZE", A_BLOCK)


@pytest.fixture
async def store(path: Path) -> AsyncIterator[SqliteStore]:
    """Give an open store whose blocks are small."""
    opened = SqliteStore(path)
    await opened.open()
    yield opened
    await opened.close()


def _some(number: int, recipient: bytes = ONE) -> list[NewMessage]:
    return [message(recipient_hash=recipient) for _ in range(number)]


async def _ids(store: SqliteStore, recipient: bytes = ONE, *, page: int = 100) -> list[bytes]:
    """Return the ids of one recipient's messages, taken page by page."""
    found: list[bytes] = []
    while True:
        rows = await store.list_messages(TENANT, ListFilter((), (recipient,)), found[-1] if found else None, page)
        found += [row.id for row in rows]
        if len(rows) < page:
            return found


def _look(path: Path, query: str) -> list[tuple[object, ...]]:
    db = apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READONLY)
    try:
        return db.execute(query).fetchall()
    finally:
        db.close()


def _astray(path: Path) -> list[tuple[object, ...]]:
    """Return the messages that are in another block than their id belongs to."""
    belongs = "(SELECT no FROM block WHERE from_id <= id ORDER BY from_id DESC LIMIT 1)"
    return _look(path, f"SELECT id, block FROM message WHERE block IS NOT {belongs}")  # noqa: S608 - a constant


@pytest.mark.parametrize("seed", range(3))
async def test_in_the_order_of_ids(store: SqliteStore, path: Path, seed: int) -> None:
    """Commits in any order, of two recipients and tenants: pages of any size give the newest first, each once."""
    chance = random.Random(seed)  # noqa: S311 - not a secret
    news = [
        message(recipient_hash=chance.choice((ONE, OTHER)), tenant=chance.choice((TENANT, TENANT, "other")))
        for _ in range(60)
    ]
    late = sorted(news, key=lambda new: news.index(new) + chance.randrange(15))
    while late:
        some = chance.randrange(1, 8)
        await store.accept(late[:some])
        late = late[some:]
    mine = [new.id for new in reversed(news) if (new.recipient_hash, new.tenant) == (ONE, TENANT)]
    for page in (1, 3, 100):
        assert await _ids(store, page=page) == mine
    within = ListFilter((), (ONE,), mine[-3])
    assert [row.id for row in await store.list_messages(TENANT, within, mine[2], 100)] == mine[3:-2]
    assert _look(path, "SELECT count(*) > 4 FROM block") == [(1,)]
    assert _astray(path) == []


async def test_counting_goes_on_after_a_start(path: Path) -> None:
    """A block that was begun is filled after the next start; a new one begins behind the greatest id."""
    news = _some(11)
    for start, end in ((0, 2), (2, 7), (7, 11)):
        store = SqliteStore(path)
        await store.open()
        await store.accept(news[start:end])
        await store.close()
    assert _look(path, "SELECT block, count(*) FROM message GROUP BY block ORDER BY block") == [(1, 4), (2, 4), (3, 3)]
    assert _astray(path) == []


async def test_a_commit_that_fails_begins_no_block(store: SqliteStore, path: Path) -> None:
    """What it had begun is forgotten with it."""
    news = _some(9)
    with pytest.raises(apsw.ConstraintError):
        await store.accept([*news, news[0]])
    assert _look(path, "SELECT no FROM block") == [(1,)]
    await store.accept(news)
    assert await _ids(store) == [new.id for new in reversed(news)]
    assert _astray(path) == []


async def test_blocks_go_with_their_messages(store: SqliteStore, path: Path) -> None:
    """A block that retention has emptied is forgotten, the newest two and the first stay, and an id of its time that
    comes after all is found where it belongs."""
    news = _some(20)
    stays, late = news[9], news[14]
    await store.accept([new for new in news if new is not late])
    assert _look(path, "SELECT no FROM block") == [(1,), (2,), (3,), (4,), (5,)]
    for new in news:
        if new is not stays and new is not late:
            await store.cancel(TENANT, new.id, NOW)
    assert (await store.retain(GONE, NOW + 48 * HOUR, 100)).removed == 18
    assert _look(path, "SELECT no FROM block") == [(1,), (3,), (4,), (5,)]
    await store.accept([late, *(more := _some(3))])
    assert await _ids(store) == [new.id for new in (*reversed(more), late, stays)]
    assert _astray(path) == []


async def _database_of_before(path: Path, news: list[NewMessage]) -> None:
    """Make a database as it was before there were blocks, with these messages in it."""
    made = SqliteStore(path.parent / "made" / "smsgw.db")
    await made.open()
    await made.accept(news)
    await made.close()
    _make_old(path)


def _make_old(path: Path) -> None:
    path.touch(mode=0o600)
    db = schema.connect(path, None)
    try:
        schema.migrate(db, path, schema.migrations()[:BEFORE])
        db.execute("ATTACH ? AS made", (str(path.parent / "made" / "smsgw.db"),))
        for table in ("tenant", "message", "body", "event"):
            columns = ", ".join(str(row[1]) for row in db.execute(f"PRAGMA main.table_info({table})"))
            db.execute(f"INSERT INTO main.{table} ({columns}) SELECT {columns} FROM made.{table}")  # noqa: S608 - names of this test
    finally:
        db.close()


async def test_a_database_of_before(path: Path) -> None:
    """Messages of before are found with the others, in the order of their ids, and the file is sound."""
    news = _some(12)
    old = [new for number, new in enumerate(news) if number < 6 or number == 10]
    path.parent.mkdir(mode=0o700)
    await _database_of_before(path, old)
    store = SqliteStore(path)
    await store.open()
    try:
        await store.accept([new for new in news if new not in old])
        for page in (1, 5, 100):
            assert await _ids(store, page=page) == [new.id for new in reversed(news)]
        assert await store.index_versions() == [VERSION]
        assert (await store.index_use(VERSION)).messages == 12
        await _rehash_all(store, news)
        assert await _ids(store, OTHER) == [new.id for new in reversed(news)]
    finally:
        await store.close()
    assert _look(path, "SELECT count(*) FROM message WHERE block IS NULL") == [(len(old),)]
    assert _look(path, "PRAGMA integrity_check") == [("ok",)]


async def _rehash_all(store: SqliteStore, news: list[NewMessage]) -> None:
    """Go through all of a version as `gateway.privacy.rekeying` does: each message comes once, whatever stays."""
    seen: list[Hashed] = []
    after = (b"", b"")
    while rows := await store.hashed_under(TENANT, VERSION, after, 5):
        seen += rows
        after = (rows[-1].recipient_hash, rows[-1].id)
        await store.rehash([Rehashed(TENANT, row.id, row.recipient_hash, OTHER) for row in rows[::2]])
    assert sorted(row.id for row in seen) == [new.id for new in news]
    await store.rehash([Rehashed(TENANT, new.id, ONE, OTHER) for new in news])


async def test_versions_over_blocks_and_tenants(store: SqliteStore) -> None:
    """Each version is found in whatever block it is, and its messages are counted over all tenants."""
    news = [message(recipient_hash=VERSION + bytes(14), tenant=f"t{number % 3}") for number in range(10)]
    await store.accept([*news, message(recipient_hash=NEWER + bytes(14), tenant="t1")])
    assert await store.index_versions() == [VERSION, NEWER]
    assert ((await store.index_use(VERSION)).messages, (await store.index_use(NEWER)).messages) == (10, 1)
    assert len(await store.hashed_under("t0", VERSION, (b"", b""), 100)) == 4
