"""Whole nodes on PostgreSQL: kill -9 of the node, and of the server, loses nothing that was acknowledged."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

import pytest

from gateway.store.contract import EventRow
from gateway.store.postgres import PostgresStore
from tests.appliance import TENANT, Appliance, CarrierSpec, Running
from tests.gateway.audit.agreement import check, records_of
from tests.gateway.sequencing.commits import commits_of
from tests.gateway.sequencing.judge import judge_log
from tests.gateway.test_kill import (
    RATE,
    WINDOW,
    Kills,
    drained,
    free_port,
    judge,
    kill_again_and_again,
    simulator,
    wait_until_busy,
)
from tests.postgres.server import PostgresServer, expendable

_PAGE = 5000  # events that are read at once: a look-up has five seconds, on a busy machine, too


async def _events(store: PostgresStore) -> list[EventRow]:
    """Return all events, page by page."""
    events: list[EventRow] = []
    while page := await store.events(TENANT, events[-1].seq if events else 0, _PAGE):
        events += page
    return events


async def _check_audit(server: PostgresServer, database: str, appliance: Appliance) -> int:
    """Hold the audit against all events, and its log against the audit; how many messages there are."""
    store = PostgresStore(server.target(database))
    await store.open()
    try:
        assert judge_log(appliance.folder, await commits_of(store)) > 0
        return len(check({TENANT: await _events(store)}, await records_of(store)))
    finally:
        await store.close()


@pytest.mark.timeout(300)
async def test_kills_of_server_and_node_under_load_lose_nothing(tmp_path: Path) -> None:
    """All sessions end at once with commits under way, then all of the server's processes, and the node goes on by
    itself; then it is killed too. What was acknowledged arrives, duplicates are counted, and the audit agrees."""
    server = expendable()
    with server.database() as database:
        appliance = Appliance.create(tmp_path / "appliance")
        acknowledged = tmp_path / "acknowledged.log"
        with simulator(appliance) as (carrier, smpp_port):
            spec = CarrierSpec(port=smpp_port, ca_file=appliance.carrier_ca, window=WINDOW, rate=5000.0)
            config = appliance.configure(spec, store=server.section(database))
            port = free_port()
            config.write_text(config.read_text().replace("listen: 127.0.0.1:0", f"listen: 127.0.0.1:{port}", 1))
            pki = str(appliance.folder / "pki")
            command = [sys.executable, "-m", "tests.gateway.kill_load", str(port), pki, str(acknowledged), str(RATE)]
            with Running(command, log=tmp_path / "load.log") as load:
                with appliance.node() as (node, _):
                    wait_until_busy(carrier, acknowledged)
                    _kill_the_writers_process(server, database)
                    wait_until_busy(carrier, acknowledged)
                    server.kill()
                    server.start_again()
                    wait_until_busy(carrier, acknowledged)
                    assert node.process.poll() is None
                    node.end(signal.SIGKILL)
                with appliance.node():
                    wait_until_busy(carrier, acknowledged)
                    assert load.end() == 0
                    counts = drained(appliance)
                    _check_room(server, database)
            # A resend after a lost commit is one of no more than a window for each kill, as after a kill of the node.
            judge(acknowledged, carrier.arrived(), counts, 3)
        assert await _check_audit(server, database, appliance) >= len(acknowledged.read_text().split())
        assert not (appliance.folder / "data" / "smsgw.db").exists()


def _check_room(server: PostgresServer, database: str) -> None:
    """Room for the audit is held again, though the server fell over: by the node's own watch."""
    with server.connect(database) as db:
        row = db.execute("SELECT reserve_octets, least_octets FROM smsgw.audit_room()").fetchone()
    assert row is not None
    assert [int(str(octets)) >= 1 << 20 for octets in row] == [True, True]


def _kill_the_writers_process(server: PostgresServer, database: str) -> None:
    """Kill one process of the server: it ends all the others then, and recovers from its log."""
    query = "SELECT pid FROM pg_stat_activity WHERE application_name = 'smsgw writer' AND datname = %s"
    with server.connect("postgres") as db:
        row = db.execute(query, (database,)).fetchone()
    assert row is not None
    os.kill(int(str(row[0])), signal.SIGKILL)


@pytest.mark.soak
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("seed", range(2))
async def test_fifty_kills_of_node_carrier_and_server(tmp_path: Path, seed: int) -> None:
    """As on SQLite, and all processes of the database's server, its first one too, are killed as well: the node goes on
    by itself when the server is back."""
    server = expendable()
    with server.database() as database:

        def awaited(appliance: Appliance) -> set[str]:
            del appliance
            with server.connect(database) as db:
                return {str(ids) for (ids,) in db.execute("SELECT carrier_ids FROM smsgw.message WHERE queue = 40")}

        kills = Kills.shuffled(seed, node=13, carrier=4, server=8)
        appliance = kill_again_and_again(tmp_path, kills, server.section(database), awaited, server)
        acknowledged = (tmp_path / "acknowledged.log").read_text().split()
        assert await _check_audit(server, database, appliance) >= len(acknowledged)
