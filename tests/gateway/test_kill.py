"""kill -9 at any moment, under load: nothing acknowledged is lost, and every duplicate is explained.

The judges stand outside the node: the load generator's own log says what was acknowledged, the simulated carrier's own
log says what arrived, and the carrier itself says how many PDUs it owed an answer when the node was killed.
"""

from __future__ import annotations

import json
import signal
import socket
import sys
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import pytest

from gateway.status_socket import read_status
from tests.appliance import SMSGW, Appliance, CarrierSpec, Running
from tests.gateway.audit.agreement import check_database, commits_in
from tests.gateway.sequencing.judge import judge_log

RATE = 1200.0  # messages/s offered
ACKNOWLEDGED_A_SECOND = 500
UNANSWERED = 50
WINDOW = 250
_READY_TO_KILL_S = 30.0
_DRAIN_S = 90.0
_SCRIPT = "responses: {delay_s: 0.15}\nreceipts: {delay_s: 0.05, window: 500}\n"


class Carrier:
    """The simulated carrier's side of the story."""

    def __init__(self, control: int, log: Path) -> None:
        self._control = control
        self._log = log

    def stats(self) -> dict[str, int]:
        """Return its counts."""
        with socket.create_connection(("127.0.0.1", self._control), timeout=5) as connection:
            counts: dict[str, int] = json.loads(connection.makefile().readline())
        return counts

    def arrived(self) -> Counter[str]:
        """Return how often each token arrived."""
        lines = self._log.read_text().splitlines() if self._log.exists() else []
        return Counter(line.split("\t")[3].split(" ")[0] for line in lines)


@contextmanager
def simulator(appliance: Appliance) -> Iterator[tuple[Carrier, int]]:
    """Run the carrier, slow enough that much is unanswered; it and its port."""
    script, log = appliance.folder / "carrier.yaml", appliance.folder / "arrived.tsv"
    script.write_text(_SCRIPT)
    keys = ("--cert", str(appliance.carrier_certificate), "--key", str(appliance.carrier_key))
    control = ("--control", "127.0.0.1:0", "--listen", "127.0.0.1:0", "--quiet")
    command = [SMSGW, "simulator", *keys, *control, "--script", str(script), "--log", str(log)]
    with Running(command, log=appliance.folder / "simulator.log") as process:
        ready = process.line_with(r"127\.0\.0\.1:(\d+).*control 127\.0\.0\.1:(\d+)")
        yield Carrier(int(ready.group(2)), log), int(ready.group(1))


def free_port() -> int:
    """Return a port that was free a moment ago: the node keeps it over its restarts."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def lines(path: Path) -> int:
    """Return how many lines a log has."""
    return path.read_bytes().count(b"\n") if path.exists() else 0


def wait_until_busy(carrier: Carrier, acknowledged: Path) -> tuple[float, int]:
    """Wait until the load runs as it has to; (acknowledgements/s, unanswered PDUs) at the moment of the kill."""
    deadline = time.monotonic() + _READY_TO_KILL_S
    rate, owed = 0.0, 0
    while time.monotonic() < deadline:
        began, before = time.monotonic(), lines(acknowledged)
        time.sleep(0.3)
        rate = (lines(acknowledged) - before) / (time.monotonic() - began)
        owed = carrier.stats()["owed"]
        if rate >= ACKNOWLEDGED_A_SECOND and owed >= UNANSWERED:
            return rate, owed
    raise AssertionError(f"the load did not come up: {rate:.0f} acknowledgements/s, {owed} unanswered PDUs")


def drained(appliance: Appliance) -> dict[str, int]:
    """Wait until the node has nothing open; its counters."""
    deadline = time.monotonic() + _DRAIN_S
    counts: dict[str, int] = {}
    while time.monotonic() < deadline:
        status = read_status(appliance.folder / "data" / "status.sock")["counts"]
        assert isinstance(status, dict)
        counts = status
        if not sum(value for name, value in counts.items() if name.startswith("queue.")):
            return counts
        time.sleep(0.2)
    raise AssertionError(f"the node did not finish: {counts}")


@pytest.mark.timeout(400)
def test_twenty_kills_under_load_lose_nothing(tmp_path: Path) -> None:
    """Twenty times: at 500 acknowledgements/s and 50 unanswered PDUs at least, kill -9; then everything arrives."""
    check_audit(kill_again_and_again(tmp_path, 20))


@pytest.mark.soak
@pytest.mark.timeout(3600)
def test_two_hundred_kills_under_load_lose_nothing(tmp_path: Path) -> None:
    """The same, two hundred times."""
    check_audit(kill_again_and_again(tmp_path, 200))


def kill_again_and_again(folder: Path, kills: int, store: Mapping[str, object] | None = None) -> Appliance:
    """Kill a node under load so many times, let the last one finish, and judge. `store`: that section of smsgw.yaml."""
    appliance = Appliance.create(folder / "appliance")
    acknowledged = folder / "acknowledged.log"
    with simulator(appliance) as (carrier, smpp_port):
        spec = CarrierSpec(port=smpp_port, ca_file=appliance.carrier_ca, window=WINDOW, rate=5000.0)
        config = appliance.configure(spec, store=store)
        port = free_port()
        config.write_text(config.read_text().replace("listen: 127.0.0.1:0", f"listen: 127.0.0.1:{port}", 1))  # the API
        pki = str(appliance.folder / "pki")
        command = [sys.executable, "-m", "tests.gateway.kill_load", str(port), pki, str(acknowledged), str(RATE)]
        with Running(command, log=folder / "load.log") as load:
            for _ in range(kills):
                with appliance.node() as (node, _):
                    wait_until_busy(carrier, acknowledged)
                    node.end(signal.SIGKILL)
            with appliance.node():
                wait_until_busy(carrier, acknowledged)
                assert load.end() == 0
                counts = drained(appliance)
        judge(acknowledged, carrier.arrived(), counts, kills)
    return appliance


def check_audit(appliance: Appliance) -> None:
    """Hold the audit against events and messages."""
    audited = check_database(appliance.folder / "data" / "smsgw.db")
    assert judge_log(appliance.folder, commits_in(appliance.folder / "data" / "smsgw.db")) > 0
    print(f"the audit agrees: {audited['records']} records, {audited['events']} events")


def judge(acknowledged: Path, arrived: Counter[str], counts: dict[str, int], kills: int) -> None:
    """Nothing acknowledged is missing; duplicates stay within two windows a kill, and the node counted each."""
    tokens = acknowledged.read_text().split()
    assert len(tokens) == len(set(tokens))
    lost = [token for token in tokens if not arrived[token]]
    assert not lost, f"{len(lost)} of {len(tokens)} acknowledged messages never arrived: {lost[:5]}"
    duplicates = sum(count - 1 for count in arrived.values())
    resent = counts.get("resend.restart", 0) + counts.get("resend.no_answer", 0)
    assert duplicates <= resent <= kills * 2 * WINDOW
    print(f"\n{len(tokens)} acknowledged, none lost; {duplicates} duplicates, {resent} resends, {kills} kills")
