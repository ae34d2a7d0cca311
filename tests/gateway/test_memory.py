"""Memory stays flat while messages pile up: a whole node without its carrier, which takes more and more."""

from __future__ import annotations

import sys
import time
from pathlib import Path

import pytest

from bench import usage
from tests.appliance import Appliance, CarrierSpec, Running
from tests.gateway.test_kill import free_port, lines

IN_MEMORY = 120_000  # messages after which lanes and caches of pages are full
PILED_UP = 500_000
RATE = 10_000.0  # offered: more than the node takes, so that it refuses as well
MOST_GROWTH_MB = 30
MOST_MB = 300  # the design's line
_WITHIN_S = 900.0


@pytest.mark.soak
@pytest.mark.timeout(1800)
def test_memory_stays_while_messages_pile_up(tmp_path: Path) -> None:
    """Half a million messages wait in the database, and the node is as large as with a quarter of that."""
    appliance = Appliance.create(tmp_path / "appliance")
    appliance.configure(CarrierSpec(port=free_port(), ca_file=appliance.carrier_ca))
    acknowledged, pki = tmp_path / "acknowledged.log", str(appliance.folder / "pki")
    with appliance.node(wrapped=False) as (node, port):
        command = [sys.executable, "-m", "tests.gateway.kill_load", str(port), pki, str(acknowledged), str(RATE)]
        with Running(command, log=tmp_path / "load.log") as load:
            _wait(acknowledged, IN_MEMORY)
            before = usage.read(node.pid).resident_bytes / 1e6
            _wait(acknowledged, PILED_UP)
            assert load.end() == 0
        after = usage.read(node.pid)
    print(f"\n{before:.0f} MB with {IN_MEMORY:,}, {after.resident_bytes / 1e6:.0f} MB with {PILED_UP:,}")
    assert after.resident_bytes / 1e6 - before <= MOST_GROWTH_MB
    assert after.peak_bytes / 1e6 <= MOST_MB


def _wait(acknowledged: Path, number: int) -> None:
    deadline = time.monotonic() + _WITHIN_S
    while lines(acknowledged) < number:
        assert time.monotonic() < deadline, f"{lines(acknowledged)} of {number} acknowledgements came"
        time.sleep(0.5)
