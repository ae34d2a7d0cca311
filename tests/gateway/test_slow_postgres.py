"""A whole node on a PostgreSQL whose disk syncs slowly, and then not at all until its power is lost."""

from __future__ import annotations

import re
import sys
import time
from pathlib import Path

import pytest

from tests.appliance import Appliance, CarrierSpec, Running
from tests.gateway.test_kill import RATE, WINDOW, Carrier, drained, judge, lines, simulator, wait_until_busy
from tests.postgres.slow_sync import FOREVER_MS, SlowServer, slow_server

_WITHIN_S = 120.0


@pytest.mark.soak
@pytest.mark.timeout(600)
def test_syncs_get_slow_then_stand_still_then_power_is_lost(tmp_path: Path) -> None:
    """Under load, with syncs of 300 ms, messages are acknowledged and arrive. When none returns the node ends its
    carrier's links as its lease runs out, and makes them again by itself. Later none returns again, and power is lost.
    All that was acknowledged arrives, and no more of it twice than was counted."""
    with slow_server() as slow, slow.server.database() as database:
        appliance, acknowledged = Appliance.create(tmp_path / "appliance"), tmp_path / "acknowledged.log"
        with simulator(appliance) as (carrier, smpp_port):
            spec = CarrierSpec(port=smpp_port, ca_file=appliance.carrier_ca, window=WINDOW, rate=5000.0)
            appliance.configure(spec, store=slow.server.section(database))
            with appliance.node() as (node, port):
                pki = str(appliance.folder / "pki")
                command = [
                    sys.executable,
                    "-m",
                    "tests.gateway.kill_load",
                    str(port),
                    pki,
                    str(acknowledged),
                    str(RATE),
                ]
                with Running(command, log=tmp_path / "load.log") as load:
                    _slow_and_still(slow, node, carrier, acknowledged)
                    slow.syncs_take(FOREVER_MS)
                    slow.wait_for_commit()
                    print(f"{slow.lose_power()} octets of the log were lost")
                    slow.server.start_again()
                    wait_until_busy(carrier, acknowledged)
                    assert load.end() == 0
                counts = drained(appliance)
                assert node.process.poll() is None
            judge(acknowledged, carrier.arrived(), counts, 2)


def _slow_and_still(slow: SlowServer, node: Running, carrier: Carrier, acknowledged: Path) -> None:
    wait_until_busy(carrier, acknowledged)
    slow.syncs_take(300)
    _more_come(acknowledged, 500)
    slow.syncs_take(FOREVER_MS)
    slow.wait_for_commit()
    _told(node, "lease_over_links_end")
    slow.syncs_take(0)
    wait_until_busy(carrier, acknowledged)
    slow.syncs_take(1000)  # a careful caller waits for five seconds, and there are several syncs in them
    _more_come(acknowledged, 10)
    slow.syncs_take(0)
    wait_until_busy(carrier, acknowledged)


def _more_come(acknowledged: Path, number: int) -> None:
    wanted, until = lines(acknowledged) + number, time.monotonic() + _WITHIN_S
    while lines(acknowledged) < wanted:
        assert time.monotonic() < until, f"{wanted - lines(acknowledged)} acknowledgements did not come"
        time.sleep(0.05)


def _told(node: Running, event: str) -> None:
    """Wait until the node's log has an event."""
    until = time.monotonic() + _WITHIN_S
    while not re.search(event, node.log.read_text()):
        assert time.monotonic() < until, f"the log does not say {event}"
        time.sleep(0.1)
