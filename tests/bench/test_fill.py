"""The filler: what it copies is what the store would have written, and the store works on it."""

from __future__ import annotations

import apsw
import pytest

from bench.fill import KEYS_END, TEMPLATE, VALIDITY_ENDS, Filled
from gateway.states import Category, State
from gateway.store import soundness
from gateway.store.contract import ListFilter
from gateway.store.sqlite import SqliteStore
from tests.gateway.store.samples import NOW, TENANT


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> Filled:
    """Give a database of 3,000 delivered messages and 2,000 that wait, grown in two steps."""
    made = Filled(tmp_path_factory.mktemp("filled") / "store" / "smsgw.db")
    made.grow(delivered=TEMPLATE, waiting=TEMPLATE)
    made.grow(delivered=3 * TEMPLATE, waiting=2 * TEMPLATE)
    return made


def test_counted(filled: Filled) -> None:
    """Every table has the rows of so many messages, ids differ, and all that `smsgw db check` looks at holds."""
    db = apsw.Connection(str(filled.path), flags=apsw.SQLITE_OPEN_READONLY)
    try:
        first = 1  # the message that gave tenant and carrier their numbers
        for table, rows in (("message", 5), ("body", 5), ("carrier_ref", 3), ("event", 3 * 3 + 2)):
            ((found,),) = db.execute(f"SELECT count(*) FROM {table}").fetchall()  # noqa: S608 - names of this test
            assert int(str(found)) - rows * TEMPLATE == (3 * first if table == "event" else first)
        assert db.execute("SELECT count(DISTINCT id) FROM message").fetchall() == [(filled.stored + first,)]
        assert db.execute("SELECT count(DISTINCT recipient_hash) FROM message").fetchall() == [(filled.stored + first,)]
        broken = {text: db.execute(query).fetchall() for text, query in soundness.RULES}
        assert {text: found for text, found in broken.items() if found != [(0,)]} == {}
        assert db.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    finally:
        db.close()


async def test_the_store_works_on_it(filled: Filled) -> None:
    """What waits is claimed, what is over ends, keys are forgotten, and everything can be read."""
    store = SqliteStore(filled.path)
    await store.open()
    try:
        claimed = await store.claim(Category.PROMOTIONAL, 100, NOW + 1)
        assert len({message.id for message in claimed}) == 100
        assert await store.close_due(VALIDITY_ENDS + (1 << 30), 50) == 50
        assert await store.purge(KEYS_END + (1 << 30), 100) == 100
        page = await store.list_messages(TENANT, ListFilter((State.DELIVERED,), ()), None, 10)
        assert len(page) == 10
        events = await store.events(TENANT, 0, 20_000)
        assert [event.seq for event in events] == sorted({event.seq for event in events})
    finally:
        await store.close()
