"""Whole nodes on PostgreSQL: kill -9 of the node, and of the server, loses nothing that was acknowledged."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from gateway.store.postgres import PostgresStore
from tests.appliance import TENANT, Appliance, CarrierSpec, Running
from tests.gateway.audit.agreement import check, records_of
from tests.gateway.test_kill import (
    RATE,
    WINDOW,
    drained,
    free_port,
    judge,
    kill_again_and_again,
    simulator,
    wait_until_busy,
)
from tests.postgres.server import PostgresServer

KILLS = 2


@pytest.fixture(scope="module")
def own_server() -> Iterator[PostgresServer]:
    """Give a server that these tests may kill."""
    server = PostgresServer()
    yield server
    server.stop()


async def _check_audit(server: PostgresServer, database: str) -> int:
    """Hold the audit against all events; how many messages there are."""
    store = PostgresStore(server.target(database))
    await store.open()
    try:
        events = await store.events(TENANT, 0, 1_000_000)
        return len(check({TENANT: events}, await records_of(store)))
    finally:
        await store.close()


@pytest.mark.timeout(300)
async def test_kills_of_the_node_under_load_lose_nothing(own_server: PostgresServer, tmp_path: Path) -> None:
    """As on SQLite: what was acknowledged arrives, duplicates are counted, and the audit agrees."""
    with own_server.database() as database:
        appliance = kill_again_and_again(tmp_path, KILLS, own_server.section(database))
        acknowledged = (tmp_path / "acknowledged.log").read_text().split()
        assert await _check_audit(own_server, database) >= len(acknowledged)
        assert not (appliance.folder / "data" / "smsgw.db").exists()


@pytest.mark.timeout(300)
async def test_kills_of_the_server_under_load_lose_nothing(own_server: PostgresServer, tmp_path: Path) -> None:
    """All sessions end at once, with commits under way: the node goes on by itself when the server is back."""
    with own_server.database() as database:
        appliance = Appliance.create(tmp_path / "appliance")
        acknowledged = tmp_path / "acknowledged.log"
        with simulator(appliance) as (carrier, smpp_port):
            spec = CarrierSpec(port=smpp_port, ca_file=appliance.carrier_ca, window=WINDOW, rate=5000.0)
            config = appliance.configure(spec, store=own_server.section(database))
            port = free_port()
            config.write_text(config.read_text().replace("listen: 127.0.0.1:0", f"listen: 127.0.0.1:{port}", 1))
            pki = str(appliance.folder / "pki")
            command = [sys.executable, "-m", "tests.gateway.kill_load", str(port), pki, str(acknowledged), str(RATE)]
            with Running(command, log=tmp_path / "load.log") as load, appliance.node() as (node, _):
                for _ in range(KILLS):
                    wait_until_busy(carrier, acknowledged)
                    _kill_the_writers_process(own_server, database)
                wait_until_busy(carrier, acknowledged)
                assert load.end() == 0
                counts = drained(appliance)
                assert node.process.poll() is None
            # A resend after a lost commit is one of no more than a window for each kill, as after a kill of the node.
            judge(acknowledged, carrier.arrived(), counts, KILLS)
        assert await _check_audit(own_server, database) >= len(acknowledged.read_text().split())


def _kill_the_writers_process(server: PostgresServer, database: str) -> None:
    """Kill one process of the server: it ends all the others then, and recovers from its log."""
    query = "SELECT pid FROM pg_stat_activity WHERE application_name = 'smsgw writer' AND datname = %s"
    with server.connect("postgres") as db:
        row = db.execute(query, (database,)).fetchone()
    assert row is not None
    os.kill(int(str(row[0])), signal.SIGKILL)


@pytest.mark.soak
@pytest.mark.timeout(3600)
async def test_fifty_kills_of_the_node(own_server: PostgresServer, tmp_path: Path) -> None:
    """As above, fifty times."""
    with own_server.database() as database:
        kill_again_and_again(tmp_path, 50, own_server.section(database))
        acknowledged = (tmp_path / "acknowledged.log").read_text().split()
        assert await _check_audit(own_server, database) >= len(acknowledged)
