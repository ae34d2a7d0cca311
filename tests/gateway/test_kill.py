"""kill -9 at any moment, under load, of the node and of the carrier: nothing acknowledged is lost, and every duplicate
is explained, by its cause.

The judges stand outside the node: the load generator's own log says what was acknowledged, the simulated carrier's own
log says what arrived, and the carrier itself says how many PDUs it owed an answer when the node was killed.
"""

from __future__ import annotations

import enum
import json
import os
import random
import secrets
import signal
import socket
import statistics
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

import apsw
import pytest

from gateway.status_socket import read_status
from tests.appliance import SMSGW, Appliance, CarrierSpec, Running
from tests.gateway.audit.agreement import check_database
from tests.postgres.server import PostgresServer

# A failure names its seed; SMSGW_KILL_SEED plays the same kills again.
SEED = int(os.environ.get("SMSGW_KILL_SEED", "0")) or secrets.randbits(32)
RATE = 1200.0  # messages/s offered
ACKNOWLEDGED_A_SECOND = 500
UNANSWERED = 50
WINDOW = 250
_READY_TO_KILL_S = 120.0  # as long as a machine that others use, too, may take to come up to the load
_LONGEST_PAUSE_S = 0.7
_DRAIN_S = 90.0
_SCRIPT = "responses: {delay_s: 0.15}\nreceipts: {delay_s: 0.05, window: 500}\n"


class Carrier:
    """A simulated carrier, which can be killed and comes back at the same address; and its side of the story."""

    def __init__(self, appliance: Appliance) -> None:
        self._folder = appliance.folder
        self._keys = ("--cert", str(appliance.carrier_certificate), "--key", str(appliance.carrier_key))
        self.port, self._control = free_port(), free_port()
        self._lives = 0
        self._process: Running | None = None
        (self._folder / "carrier.yaml").write_text(_SCRIPT)

    def start(self) -> None:
        """Run it, slow enough that much is unanswered."""
        self._lives += 1
        listen = ("--listen", f"127.0.0.1:{self.port}", "--control", f"127.0.0.1:{self._control}", "--quiet")
        script, log = str(self._folder / "carrier.yaml"), str(self._log(self._lives))
        command = [SMSGW, "simulator", *self._keys, *listen, "--script", script, "--log", log]
        self._process = Running(command, log=self._folder / "simulator.log")
        self._process.line_with(r"127\.0\.0\.1:(\d+).*control 127\.0\.0\.1:(\d+)")

    def end(self, how: signal.Signals = signal.SIGTERM) -> None:
        """End it."""
        if self._process is not None:
            self._process.end(how)

    def stats(self) -> dict[str, int]:
        """Return its counts, of this life."""
        with socket.create_connection(("127.0.0.1", self._control), timeout=5) as connection:
            counts: dict[str, int] = json.loads(connection.makefile().readline())
        return counts

    def _log(self, life: int) -> Path:
        return self._folder / f"arrived-{life}.tsv"

    def _rows(self, lives: range) -> list[list[str]]:
        """Return what arrived in these lives: destination, id, part, text. What it did not live to write whole it did
        not live to answer either."""
        logs = [self._log(life) for life in lives]
        rows = [line.split("\t") for log in logs if log.exists() for line in log.read_text().splitlines()]
        return [row for row in rows if len(row) > 3]

    def arrived(self) -> Counter[str]:
        """Return how often each token arrived."""
        return Counter(row[3].split(" ")[0] for row in self._rows(range(1, self._lives + 1)))

    def taken_along(self) -> set[str]:
        """Return the ids that it gave in lives that were ended: their receipts may have gone with it."""
        return {row[1] for row in self._rows(range(1, self._lives))}


@contextmanager
def simulator(appliance: Appliance) -> Iterator[tuple[Carrier, int]]:
    """Run the carrier; it and its port."""
    carrier = Carrier(appliance)
    carrier.start()
    try:
        yield carrier, carrier.port
    finally:
        carrier.end()


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


def drained(appliance: Appliance, awaiting: Callable[[], bool] = lambda: False) -> dict[str, int]:
    """Wait until the node has nothing open, but for messages that await a receipt where `awaiting` says that all of
    them may; its counters."""
    deadline = time.monotonic() + _DRAIN_S
    counts: dict[str, int] = {}
    while time.monotonic() < deadline:
        status = read_status(appliance.folder / "data" / "status.sock")["counts"]
        assert isinstance(status, dict)
        counts = status
        left = {name for name, value in counts.items() if name.startswith("queue.") and value}
        if not left or (left == {"queue.AWAITING"} and awaiting()):
            return counts
        time.sleep(0.2)
    raise AssertionError(f"the node did not finish: {counts}")


@pytest.mark.timeout(400)
def test_twenty_kills_under_load_lose_nothing(tmp_path: Path) -> None:
    """Twenty times, sixteen of the node and four of the carrier: at 500 acknowledgements/s and 50 unanswered PDUs at
    least, kill -9; then everything arrives."""
    check_audit(kill_again_and_again(tmp_path, Kills.shuffled(SEED, node=16, carrier=4)))


@pytest.mark.soak
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("seed", range(4))
def test_two_hundred_kills_under_load_lose_nothing(tmp_path: Path, seed: int) -> None:
    """The same, two hundred times."""
    check_audit(kill_again_and_again(tmp_path, Kills.shuffled(seed, node=40, carrier=10)))


class Victim(enum.Enum):
    """Who is killed."""

    NODE = enum.auto()
    CARRIER = enum.auto()
    SERVER = enum.auto()  # of the database: all its processes


@dataclass(kw_only=True)
class Kills:
    """Who is to be killed, in which order and when; and under which load each was."""

    seed: int
    order: list[Victim]
    random: random.Random
    loads: list[tuple[float, int]] = field(default_factory=list)  # acknowledgements/s, unanswered PDUs

    @classmethod
    def shuffled(cls, seed: int, *, node: int, carrier: int, server: int = 0) -> Self:
        """Kill each so often, in an order and at moments that the seed decides."""
        order = [Victim.NODE] * node + [Victim.CARRIER] * carrier + [Victim.SERVER] * server
        dice = random.Random(seed)  # noqa: S311 - no secret: it has to be played again
        dice.shuffle(order)
        return cls(seed=seed, order=order, random=dice)

    def lives(self) -> Iterator[list[Victim]]:
        """Give what happens in each life of the node: all but the last one end with its own kill."""
        life: list[Victim] = []
        for victim in self.order:
            life.append(victim)
            if victim is Victim.NODE:
                yield life
                life = []
        yield life

    def told(self) -> str:
        """Say who has been killed, and under which load."""
        rates, owed = [rate for rate, _ in self.loads], [number for _, number in self.loads]
        killed = ", ".join(f"{number} of the {victim.name.lower()}" for victim, number in Counter(self.order).items())
        return (
            f"seed {self.seed}; kills: {killed}; acknowledgements/s at a kill: {min(rates):.0f} at least,"
            f" {statistics.median(rates):.0f} at the median; unanswered: {min(owed)}, {statistics.median(owed):.0f}"
        )


def awaited(appliance: Appliance) -> set[str]:
    """Return the carrier's ids of the messages that await a receipt."""
    db = apsw.Connection(str(appliance.folder / "data" / "smsgw.db"), flags=apsw.SQLITE_OPEN_READONLY)
    try:
        return {str(ids) for (ids,) in db.execute("SELECT carrier_ids FROM message WHERE queue = 40")}
    finally:
        db.close()


def kill_again_and_again(
    folder: Path,
    kills: Kills,
    store: Mapping[str, object] | None = None,
    awaited: Callable[[Appliance], set[str]] = awaited,
    server: PostgresServer | None = None,
) -> Appliance:
    """Kill them under load, let the last ones finish, and judge. `store`: that section of smsgw.yaml; `awaited` as of
    that store, and `server` its own."""
    began = time.monotonic()
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
            *lives, last = kills.lives()
            for life in lives:
                with appliance.node() as (node, _):
                    _kill(life, kills, node, carrier, server, acknowledged)
            with appliance.node() as (node, _):
                _kill(last, kills, node, carrier, server, acknowledged)
                wait_until_busy(carrier, acknowledged)
                assert load.end() == 0
                counts = drained(appliance, lambda: awaited(appliance) <= carrier.taken_along())
        print(f"\n{kills.told()}; {time.monotonic() - began:.0f} s")
        killed = Counter(kills.order)
        in_doubt = killed[Victim.NODE] + killed[Victim.SERVER]
        judge(acknowledged, carrier.arrived(), counts, in_doubt, carrier_kills=killed[Victim.CARRIER])
    return appliance


def _kill(
    victims: list[Victim],
    kills: Kills,
    node: Running,
    carrier: Carrier,
    server: PostgresServer | None,
    acknowledged: Path,
) -> None:
    """Kill them one after the other, each at a random moment of full load. All but the node come back at once."""
    for victim in victims:
        wait_until_busy(carrier, acknowledged)
        time.sleep(kills.random.uniform(0.0, _LONGEST_PAUSE_S))  # a moment that nothing else decides
        kills.loads.append(wait_until_busy(carrier, acknowledged))
        assert node.process.poll() is None, f"the node has ended by itself (seed {kills.seed})"
        if victim is Victim.NODE:
            node.end(signal.SIGKILL)
        elif victim is Victim.CARRIER:
            carrier.end(signal.SIGKILL)
            carrier.start()
        else:
            assert server is not None
            server.kill()
            server.start_again()


def check_audit(appliance: Appliance) -> None:
    """Hold the audit against events and messages."""
    audited = check_database(appliance.folder / "data" / "smsgw.db")
    print(f"the audit agrees: {audited['records']} records, {audited['events']} events")


# What may be sent twice, and why: the node was killed before it had written down the answer (or its database, with the
# commit that has it), or the carrier before it gave one. Each kill leaves two windows in doubt at most.
RESTART, NO_ANSWER = "resend.restart", "resend.no_answer"


def judge(
    acknowledged: Path, arrived: Counter[str], counts: dict[str, int], node_kills: int, *, carrier_kills: int = 0
) -> None:
    """Nothing acknowledged is missing; duplicates stay within two windows a kill, and the node counted each, by what
    they come from."""
    tokens = acknowledged.read_text().split()
    assert len(tokens) == len(set(tokens))
    lost = [token for token in tokens if not arrived[token]]
    assert not lost, f"{len(lost)} of {len(tokens)} acknowledged messages never arrived: {lost[:5]}"
    duplicates = sum(count - 1 for count in arrived.values())
    resent = {name: counts.get(name, 0) for name in (RESTART, NO_ANSWER)}
    assert duplicates <= sum(resent.values()), f"{duplicates} duplicates, and the node knew of {resent}"
    assert resent[RESTART] <= node_kills * 2 * WINDOW
    assert resent[NO_ANSWER] <= (node_kills + carrier_kills) * 2 * WINDOW  # connections end with the node, too
    doubts = {name: number for name, number in counts.items() if name.startswith(("resend.", "doubt.", "retry."))}
    print(f"{len(tokens)} acknowledged, none lost; {duplicates} duplicates, {resent}; {doubts}")
