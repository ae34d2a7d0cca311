"""What was sent is nowhere in the clear in PostgreSQL's files either: tables, write-ahead log, temporary files.

What was erased with `compact` leaves no masked number and no hash in its tables.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest

from carrier.simulator.simulator import Simulator
from gateway.masking import mask_number
from gateway.store.postgres import PostgresStore
from tests.appliance import Appliance
from tests.gateway.operation import Operation, configure, fresh, operating, rewrite, simulators
from tests.gateway.privacy.rig import Rig
from tests.plaintext import Place, Search, files_of
from tests.postgres.server import PostgresServer, shared

# Of this module alone: the server's files have what other tests have left.
NUMBER, TEXT = "+4915598760413", "Diesen Satz hat nur die Suche in PostgreSQL"
PERSON, OTHER, SAID = "+4915598760999", "+4915598760111", "Dieser Satz wird von PostgreSQL vergessen"


def _files(server: PostgresServer) -> Iterator[Place]:
    """Give all files of the server, with all that it has in memory written to them."""
    with server.connect("postgres") as db:
        db.execute("CHECKPOINT")
    yield from files_of(server.folder / "data")


@pytest.fixture
def database() -> Iterator[tuple[PostgresServer, str]]:
    """Give a database of its own."""
    server = shared()
    with server.database() as name:
        yield server, name


@pytest.fixture
async def operation(tmp_path: Path, database: tuple[PostgresServer, str]) -> AsyncIterator[Operation]:
    """Run a node on PostgreSQL, with a carrier that quotes texts in its receipts."""
    server, name = database
    appliance = Appliance.create(tmp_path / "site", operator=True)
    fresh(appliance)
    carriers: dict[str, Simulator]
    async with simulators(appliance, ("acme",), "receipts: {delay_s: 0.01, form: text}") as carriers:
        configure(appliance, carriers)
        section = server.section(name)

        def on_postgres(document: dict[str, Any]) -> None:
            document["store"] = {**document.get("store", {}), **section}

        rewrite(appliance, on_postgres)
        async with operating(appliance, carriers) as running:
            yield running


async def test_no_file_of_the_server_has_what_was_sent(
    operation: Operation, database: tuple[PostgresServer, str]
) -> None:
    """Number and text of messages that went all their way are in no file of the server or the node, in no form."""
    for each in await operation.send(20, text=TEXT, recipient=NUMBER):
        await operation.reach(each, "DELIVERED")
    server, _ = database
    search = Search({"number": NUMBER[1:], "text": TEXT})
    places = list(_files(server))
    assert sum(len(place.octets) for place in places) > 1 << 20
    assert search.leaks(places) == []
    assert search.leaks(files_of(operation.appliance.folder / "data")) == []
    assert any(mask_number(NUMBER).encode() in place.octets for place in places)  # what is there is found


async def test_no_table_has_what_was_erased(tmp_path: Path, database: tuple[PostgresServer, str]) -> None:
    """After an erasure, old versions of rows have masked number and hash, as the answer says; after one with `compact`
    the tables have neither, raw or in hexadecimal; the write-ahead log has both until its files are used again. Number
    and text are nowhere at any time."""
    server, name = database
    store = PostgresStore(server.target(name))
    await store.open()
    try:
        rig = Rig(tmp_path, store)
        mine, other = [rig.message(PERSON, SAID) for _ in range(20)], rig.message(OTHER, "something else")
        await rig.ended(*mine, other)
        await rig.inbound(PERSON, SAID)
        masked, recipient_hash = mine[0].masked_recipient.encode(), mine[0].recipient_hash
        tables = [place for place in _files(server) if "/base/" in place.name]
        assert any(masked in place.octets for place in tables)
        assert any(recipient_hash in place.octets for place in tables)
        traces = (masked, recipient_hash, recipient_hash.hex().encode())
        for compact, found in ((False, True), (True, False)):
            done = await rig.persons.erase(PERSON, "", cancel=False, compact=compact, by="spiffe://x/a")
            wheres = [left.where.split(" ")[0] for left in done.remains]
            assert wheres == ["old", "the", "backups"][0 if found else 1 :]
            places = list(_files(server))
            assert Search({"number": PERSON[1:], "text": SAID}).leaks(places) == []
            tables = [place for place in places if "/base/" in place.name]
            assert any(trace in place.octets for place in tables for trace in traces) is found
            assert any(masked in place.octets for place in places if "/pg_wal/" in place.name)
        assert await rig.text_of(other) == "something else"
    finally:
        await store.close()
