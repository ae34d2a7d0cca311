"""A real appliance in processes of their own, for tests and benchmarks that judge from outside.

Everything goes through the command line that an operator has: `smsgw ca` makes the keys, `smsgw serve` runs the node.
All files are below one folder; every process started here is ended here.
"""

from __future__ import annotations

import contextlib
import os
import queue
import re
import secrets
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Self

import yaml

from gateway.policy.default_set import default_files
from gateway.revocation.keys import new_key_pair
from gateway.sequencing.keys import new_key as new_log_key

SMSGW = str(Path(sys.executable).parent / "smsgw")
LOG_ORIGIN = "appliance.example/smsgw"
TRUST_DOMAIN = "appliance.example"
SERVER_NAME = "gateway.appliance.example"
TENANT = "demo"
OPERATOR = f"spiffe://{TRUST_DOMAIN}/admin/ann"
PASSWORD = "secret08"
_LITTLE_ROOM = {"reserve_bytes": 2 << 20, "least_bytes": 1 << 20}  # which a server writes for each database
_START_S = 30.0
_STOP_S = 20.0


class ProcessFailed(Exception):
    """A process ended, or did not say what was awaited; the text ends with its last lines."""


class Running:
    """A process, with the lines of its standard output and a file for its standard error. A context manager."""

    def __init__(
        self,
        command: Sequence[str],
        *,
        log: Path,
        environment: Mapping[str, str] | None = None,
        stdin: bool = False,
        wrapped: bool = False,
    ) -> None:
        """`wrapped`: the command runs another one (strace does) and ends with it; signals are meant for that one."""
        self.command = list(command)
        self._wrapped = wrapped
        self.log = log
        self._lines: queue.Queue[str | None] = queue.Queue()
        with log.open("ab") as errors:
            self.process = subprocess.Popen(
                self.command,
                stdin=subprocess.PIPE if stdin else subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
                env={**os.environ, **(environment or {})},
            )
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    @property
    def pid(self) -> int:
        """Return its process id."""
        return self.process.pid

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self._lines.put(line.rstrip("\n"))
        self._lines.put(None)

    def line(self, timeout_s: float = _START_S) -> str:
        """Return the next line of its standard output. Raises ProcessFailed when there is none in time."""
        try:
            line = self._lines.get(timeout=timeout_s)
        except queue.Empty:
            raise ProcessFailed(f"no line within {timeout_s} s from {self._told()}") from None
        if line is None:
            self._lines.put(None)
            raise ProcessFailed(f"no further line from {self._told()}")
        return line

    def line_with(self, pattern: str, timeout_s: float = _START_S) -> re.Match[str]:
        """Return the match of the first line from now on that has one. Raises ProcessFailed."""
        deadline = time.monotonic() + timeout_s
        while True:
            found = re.search(pattern, self.line(max(0.0, deadline - time.monotonic())))
            if found:
                return found

    def write(self, text: str) -> None:
        """Write to its standard input, which has to have been asked for."""
        assert self.process.stdin is not None
        self.process.stdin.write(text)
        self.process.stdin.flush()

    def _told(self) -> str:
        tail = self.log.read_text(errors="replace")[-3000:] if self.log.exists() else ""
        return f"{' '.join(self.command)} (exit code {self.process.poll()}); its log ends:\n{tail}"

    def end(self, how: signal.Signals = signal.SIGTERM) -> int:
        """End it, if it has not ended; its exit code. What does not end in time is killed."""
        if self.process.poll() is None:
            self._signal(how)
        try:
            return self.process.wait(_STOP_S)
        except subprocess.TimeoutExpired:
            self.process.kill()
            return self.process.wait()
        finally:
            self._reader.join(5)
            for stream in (self.process.stdin, self.process.stdout):
                if stream is not None:
                    with contextlib.suppress(BrokenPipeError):
                        stream.close()

    def _signal(self, how: signal.Signals) -> None:
        children = Path(f"/proc/{self.pid}/task/{self.pid}/children").read_text().split() if self._wrapped else []
        for child in children:
            with contextlib.suppress(ProcessLookupError):
                os.kill(int(child), how)
        if not children:
            self.process.send_signal(how)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.end()


def run(*arguments: str) -> str:
    """Run one `smsgw` command to its end; its standard output. Raises ProcessFailed."""
    done = subprocess.run([SMSGW, *arguments], capture_output=True, text=True, timeout=60, check=False)
    if done.returncode != 0:
        raise ProcessFailed(f"smsgw {' '.join(arguments)} ended with {done.returncode}: {done.stderr or done.stdout}")
    return done.stdout


@dataclass(frozen=True, slots=True, kw_only=True)
class Caller:
    """What a client needs to be recognised."""

    bundle: Path
    certificate: Path
    key: Path


@dataclass(frozen=True, slots=True, kw_only=True)
class CarrierSpec:
    """The carrier that a node is told of. `ca_file` None: plain text on loopback."""

    port: int
    host: str = "127.0.0.1"
    ca_file: Path | None
    server_name: str = "localhost"
    window: int = 50
    rate: float = 500.0
    binds: int = 1
    enquire_link: str = "30s"

    def section(self) -> dict[str, object]:
        """Return its section of smsgw.yaml."""
        link: dict[str, object] = {
            "name": "carrier",
            "host": self.host,
            "port": self.port,
            "system_id": "smsgw",
            "password_file": "carrier.password",
            "binds": self.binds,
            "window": self.window,
            "rate": self.rate,
            "enquire_link": self.enquire_link,
            "reconnect_min": "100ms",
            "reconnect_max": "1s",
        }
        if self.ca_file is None:
            link["insecure"] = True
        else:
            link["tls"] = {"ca_file": str(self.ca_file), "server_name": self.server_name}
        return link


@dataclass(slots=True, kw_only=True)
class Appliance:
    """The folder of one appliance: keys, configuration, data, logs."""

    folder: Path
    callers: tuple[Caller, ...] = field(default=())

    @classmethod
    def create(cls, folder: Path, *, callers: int = 1, operator: bool = False) -> Appliance:
        """Make an authority, the node's SVID, SVIDs for so many callers and for an operator, and a certificate for a
        simulated carrier."""
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        ca, pki = str(folder / "ca"), folder / "pki"
        run("ca", "init", "--dir", ca, "--trust-domain", TRUST_DOMAIN)
        pki.mkdir(mode=0o700)
        own = ("--spiffe-id", f"spiffe://{TRUST_DOMAIN}/gateway", "--dns", SERVER_NAME)
        run("ca", "issue", "--dir", ca, *own, "--out", str(pki / "gateway"))
        made = []
        for number in range(callers):
            spiffe_id = f"spiffe://{TRUST_DOMAIN}/{TENANT}/caller-{number}"
            run("ca", "issue", "--dir", ca, "--spiffe-id", spiffe_id, "--out", str(pki / f"caller-{number}"))
            made.append(
                Caller(
                    bundle=pki / "bundle.pem",
                    certificate=pki / f"caller-{number}.pem",
                    key=pki / f"caller-{number}.key",
                )
            )
        if operator:
            run("ca", "issue", "--dir", ca, "--spiffe-id", OPERATOR, "--out", str(pki / "operator"))
        run("ca", "bundle", "--dir", ca, "--out", str(pki / "bundle.pem"))
        run("ca", "dev-carrier", "--out", str(folder / "carrier"))
        signing, public = new_key_pair()
        (folder / "deny-list.pub").write_bytes(public)
        secret_files = {
            "audit-log.key": new_log_key(LOG_ORIGIN)[0],
            "deny-list.key": signing,
            "index.key": secrets.token_bytes(32),
            "kek.key": secrets.token_bytes(32),
            "carrier.password": PASSWORD.encode(),
        }
        for name, octets in secret_files.items():
            (folder / name).touch(mode=0o600)
            (folder / name).write_bytes(octets)
        policy = folder / "policy"
        policy.mkdir(mode=0o700)
        for name, octets in default_files().items():
            (policy / name).touch(mode=0o600)
            (policy / name).write_bytes(octets)
        return cls(folder=folder, callers=tuple(made))

    @property
    def carrier_ca(self) -> Path:
        """Return the authority of the simulated carrier's certificate."""
        return self.folder / "carrier" / "carrier-ca.pem"

    @property
    def carrier_certificate(self) -> Path:
        """Return the simulated carrier's certificate."""
        return self.folder / "carrier" / "carrier.pem"

    @property
    def carrier_key(self) -> Path:
        """Return the simulated carrier's key."""
        return self.folder / "carrier" / "carrier.key"

    def configure(
        self,
        carrier: CarrierSpec | None,
        *,
        inbound_numbers: Sequence[str] = (),
        telemetry: Mapping[str, object] | None = None,
        store: Mapping[str, object] | None = None,
        linger: str = "0s",
    ) -> Path:
        """Write smsgw.yaml for this carrier, or for a node without any; its path. `telemetry`, `store`: more of that
        section. `linger`: how long it refuses calls before it ends, which most tests need not wait for."""
        tenant = {
            "name": TENANT,
            "spiffe_ids": [f"spiffe://{TRUST_DOMAIN}/{TENANT}"],
            "inbound_numbers": list(inbound_numbers),
        }
        document = {
            "node": {"name": "node-1", "trust_domain": TRUST_DOMAIN, "data_dir": "data"},
            "api": {
                "listen": "127.0.0.1:0",
                "drain_linger": linger,
                "svid_file": "pki/gateway.pem",
                "svid_key_file": "pki/gateway.key",
            },
            "identity": {"bundles": {TRUST_DOMAIN: "pki/bundle.pem"}},
            "tenants": [tenant],
            "store": {"index_key_file": "index.key", **(store or {})},
            "audit": {
                **(_LITTLE_ROOM if store else {}),
                "log": {
                    "origin": LOG_ORIGIN,
                    "signing_key_file": "audit-log.key",
                    "archives": [{"name": "file", "file": "checkpoints.jsonl"}],
                },
            },
            "keys": {"kek_file": "kek.key"},
            "revocation": {"signing_key_file": "deny-list.key"},
            "carriers": [] if carrier is None else [carrier.section()],
            "telemetry": {"metrics": {"listen": "127.0.0.1:0", "insecure": True}, **(telemetry or {})},
            "limits": {"messages_per_recipient_burst": 10_000},  # tests write to the same few numbers
        }
        path = self.folder / "smsgw.yaml"
        path.write_text(yaml.safe_dump(document, sort_keys=False))
        return path

    def serve_command(self) -> list[str]:
        """Return the command that runs the node."""
        return [SMSGW, "serve", "--config", str(self.folder / "smsgw.yaml")]

    @contextlib.contextmanager
    def node(self, command: Sequence[str] | None = None, *, wrapped: bool = True) -> Iterator[tuple[Running, int]]:
        """Run the node; the process, and the port of its API. `command`: what to run instead, `wrapped` when that runs
        the node itself."""
        log = self.folder / "node.log"
        with Running(command or self.serve_command(), log=log, wrapped=wrapped and command is not None) as process:
            port = int(process.line_with(r"127\.0\.0\.1:(\d+)").group(1))
            yield process, port
