"""Nodes in processes of their own, on one database, with a load on each: for tests that take nodes away."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from gateway.status_socket import read_status
from tests.appliance import SMSGW, Appliance, CarrierSpec, Running
from tests.gateway.next_version import INSTALLED, Tree
from tests.gateway.test_kill import Carrier, free_port, lines
from tests.postgres.server import PostgresServer
from tests.postgres.severed import Line, line

WAIT_S = 90.0
_TOKENS = 100_000_000  # of one load


class Member:
    """One node: its configuration, its process, its load."""

    def __init__(self, site: Appliance, number: int, document: dict[str, dict[str, object]]) -> None:
        self.name = f"node-{number}"
        self.port = free_port()
        self._site = site
        self._folder = site.folder
        self.pki = site.folder / "pki"
        self._data = site.folder / f"data-{number}"
        self._data.mkdir(mode=0o700)
        self._config = site.folder / f"{self.name}.yaml"
        mine = {
            **document,
            "node": {**document["node"], "name": self.name, "data_dir": self._data.name},
            "api": {**document["api"], "listen": f"127.0.0.1:{self.port}"},
        }
        self._config.write_text(yaml.safe_dump(mine, sort_keys=False))
        self.acknowledged = site.folder / f"acknowledged-{number}.log"
        self._first = number * _TOKENS
        self.process: Running | None = None
        self.tree = INSTALLED  # what it runs, from its next start on

    def launch(self) -> None:
        """Run it."""
        command = [SMSGW, "serve", "--config", str(self._config)]
        environment = self.tree.environment()
        self.process = Running(command, log=self._folder / f"{self.name}.log", environment=environment)

    def start(self) -> None:
        """Run it, if it does not run, and return when it is ready."""
        if self.process is None:
            self.launch()
        assert self.process is not None
        self.process.line_with(r"127\.0\.0\.1:(\d+)", WAIT_S)

    def end(self, how: signal.Signals = signal.SIGTERM) -> None:
        """End it."""
        process, self.process = self.process, None
        if process is not None:
            process.end(how)

    def send(self, how: signal.Signals) -> None:
        """Stop it, or let it go on."""
        assert self.process is not None
        os.kill(self.process.pid, how)

    def load(self, rate: float, *, careful: bool = False, tree: Tree = INSTALLED) -> Running:
        """Send to it; `careful`: by the client that is shipped with `tree`, which ends where a call fails."""
        module = f"tests.gateway.{'careful_load' if careful else 'kill_load'}"
        pki = str(self._folder / "pki")
        arguments = [str(self.port), pki, str(self.acknowledged), str(rate), str(self._first)]
        log, environment = self._folder / f"load-{self.name}.log", tree.environment()
        return Running([sys.executable, "-m", module, *arguments], log=log, environment=environment)

    def watch(self, told: Path, *, tree: Tree = INSTALLED) -> Running:
        """Follow the events at it, by the client that is shipped with `tree`."""
        command = [sys.executable, "-m", "tests.gateway.careful_watch", str(self.port), str(self._folder / "pki")]
        log, environment = self._folder / f"watch-{self.name}.log", tree.environment()
        return Running([*command, str(told)], log=log, environment=environment)

    def version(self) -> str:
        """Return the version that it says it is."""
        return str(self._status()["version"])

    def _status(self) -> Any:
        return read_status(self._data / "status.sock")

    def alerts(self) -> set[str]:
        """Return what it raises."""
        return {str(alert["alert"]) for alert in self._status()["alerts"]}

    def links(self) -> list[str]:
        """Return the states of its links."""
        return [str(link["state"]) for link in self._status()["links"]]

    def log(self) -> Mapping[str, object]:
        """Return what it says of the log over the audit."""
        found = read_status(self._data / "status.sock")["audit_log"]
        assert isinstance(found, dict)
        return found

    def until(self, wanted: Callable[[Mapping[str, object]], bool]) -> None:
        """Wait until it says of the log what is wanted."""
        until = time.monotonic() + WAIT_S
        while not wanted(found := self.log()):
            assert time.monotonic() < until, found
            time.sleep(0.05)

    def counts(self) -> dict[str, int]:
        """Return its counters, which are those of all."""
        counts: dict[str, int] = self._status()["counts"]
        return counts


class Site:
    """All of it."""

    def __init__(self, members: list[Member], last_line: Line, carrier: Carrier) -> None:
        self.members = members
        self.once = False  # whether nothing may arrive twice
        self.line = last_line  # by which the last one goes to the database
        self.carrier = carrier

    def acknowledged(self) -> int:
        """Return how many messages have been acknowledged."""
        return sum(lines(member.acknowledged) for member in self.members)

    def wait_for(self, more: int, member: Member | None = None) -> None:
        """Wait until so many more messages have been acknowledged, altogether or by one node."""
        files = [each.acknowledged for each in ([member] if member else self.members)]
        wanted = sum(map(lines, files)) + more
        until = time.monotonic() + WAIT_S
        while sum(map(lines, files)) < wanted:
            assert time.monotonic() < until, f"{member.name if member else 'nobody'} acknowledges nothing"
            time.sleep(0.05)

    def drained(self) -> dict[str, int]:
        """Wait until nothing is open; the counters."""
        until = time.monotonic() + WAIT_S
        counts: dict[str, int] = {}
        while time.monotonic() < until:
            counts = self.members[0].counts()
            if counts and not sum(value for name, value in counts.items() if name.startswith("queue.")):
                return counts
            time.sleep(0.2)
        raise AssertionError(f"something stays open: {counts}")

    def judge(self, counts: dict[str, int], others: Sequence[str] = ()) -> None:
        """Hold what arrived against what was acknowledged, to `others` too: nothing is lost, and no duplicate without
        its cause."""
        acknowledged = {*others} | {
            token for member in self.members for token in member.acknowledged.read_text().split()
        }
        arrived = self.carrier.arrived()
        lost = acknowledged - arrived.keys()
        assert not lost, f"{len(lost)} lost, {sorted(lost)[:5]}; {counts}"
        again = sum(Counter({token: times - 1 for token, times in arrived.items()}).values())
        causes = {name: number for name, number in counts.items() if name.startswith(("resend.", "doubt.", "retry."))}
        print(f"\n{len(acknowledged)} acknowledged, {len(lost)} lost, {again} arrived again; {causes}")
        assert not (again and self.once), f"{again} arrived again: {counts}"
        explained = sum(number for name, number in counts.items() if name.startswith(("resend.", "retry.")))
        assert again <= explained, f"{again} arrived again, and {explained} were sent again: {counts}"


def raw_callers(site: Site, acknowledged: Path) -> Running:
    """Send to all nodes by callers that make no call again but by RetryInfo (`tests.gateway.raw_callers`)."""
    targets = ",".join(f"127.0.0.1:{member.port}" for member in site.members)
    arguments = [targets, str(site.members[0].pki), str(acknowledged), str(8 * _TOKENS)]
    command = [sys.executable, "-m", "tests.gateway.raw_callers", *arguments]
    return Running(command, log=acknowledged.with_suffix(".err"))


@contextlib.contextmanager
def nodes(
    appliance: Appliance,
    server: PostgresServer,
    databases: tuple[str, str],
    carrier: Carrier,
    spec: CarrierSpec,
    count: int = 3,
    tree: Tree = INSTALLED,
    linger: str = "0s",
) -> Iterator[Site]:
    """Run so many nodes of that version; the last one's way to its databases, of messages and of keys, can be
    severed."""
    database, keys = databases
    with tempfile.TemporaryDirectory(prefix="smsgw-line-") as folder, line(Path(folder), server.folder) as last_line:
        appliance.configure(spec, store=server.section(database), linger=linger)
        document = yaml.safe_load((appliance.folder / "smsgw.yaml").read_text())
        document.pop("telemetry")
        wrapped = {"host": str(server.folder), "database": keys, "user": document["store"]["postgres"]["user"]}
        document["keys"]["wrapped"] = {"postgres": wrapped}
        members = [Member(appliance, number, document) for number in range(count - 1)]
        document["store"]["postgres"]["host"] = document["keys"]["wrapped"]["postgres"]["host"] = folder
        members.append(Member(appliance, count - 1, document))
        try:
            for member in members:
                member.tree = tree
                member.launch()
            for member in members:
                member.start()
            yield Site(members, last_line, carrier)
        finally:
            last_line.mend()
            for member in members:
                with contextlib.suppress(ProcessLookupError, AssertionError):
                    member.send(signal.SIGCONT)
                member.end()
