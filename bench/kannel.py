"""Kannel (https://www.kannel.org, Debian's package `kannel`) as a second gateway beside ours, on the same sink.

Its two processes are started with a configuration of the benchmark's: one SMPP transceiver over TLS with our window,
HTTP on loopback. It asks for receipts (`dlr-mask`) and keeps what it needs for them in memory; where to it stores
messages is what `Store` says. It verifies no certificate, seals nothing, and makes no fsync.
"""

from __future__ import annotations

import contextlib
import enum
import shutil
import time
from collections.abc import Iterator
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPException
from pathlib import Path

from bench.inside import free_port
from bench.sink import Sink
from tests.appliance import ProcessFailed, Running

SENDSMS = "/cgi-bin/sendsms"
USER = {"username": "bench", "password": "bench"}
_ADMIN = "bench"
_WINDOW = 500
_START_S = 30.0
_PROGRAMS = ("bearerbox", "smsbox")
_SBIN = "/usr/sbin:/usr/local/sbin"


class Store(enum.StrEnum):
    """Where messages are until the carrier has taken them."""

    FILE = "file"  # one log, written through without fsync
    SPOOL = "spool"  # a file for each message
    NONE = "none"  # memory only


@dataclass(frozen=True, slots=True, kw_only=True)
class Kannel:
    """A Kannel that runs."""

    pids: dict[str, int]
    target: str  # HOST:PORT of its HTTP API


def programs() -> dict[str, str]:
    """Return where its programs are. Raises ProcessFailed when they are not installed."""
    found = {name: shutil.which(name) or shutil.which(name, path=_SBIN) for name in _PROGRAMS}
    missing = [name for name, path in found.items() if path is None]
    if missing:
        raise ProcessFailed(
            f"{' and '.join(missing)} not found: sudo apt-get install -y --no-install-recommends kannel"
        )
    return {name: str(path) for name, path in found.items()}


def configuration(folder: Path, sink: Sink, store: Store, ports: dict[str, int]) -> str:
    """Return its configuration file. `ports`: of "admin", "box" and "http"."""
    groups: list[dict[str, object]] = [
        {
            "group": "core",
            "admin-port": ports["admin"],
            "admin-interface": "127.0.0.1",
            "admin-password": _ADMIN,
            "smsbox-port": ports["box"],
            "smsbox-interface": "127.0.0.1",
            "box-allow-ip": "127.0.0.1",
            "box-deny-ip": "*.*.*.*",
            "log-file": folder / "bearerbox.log",
            "log-level": 3,
            "dlr-storage": "internal",
            "sms-outgoing-queue-limit": 1_000_000,
            **_store(folder, store),
        },
        {
            "group": "smsc",
            "smsc": "smpp",
            "smsc-id": "sink",
            "host": sink.host,
            "port": sink.port,
            **({"use-ssl": 1} if sink.ca_file else {}),
            "transceiver-mode": "true",
            "smsc-username": "bench",
            "smsc-password": "bench",
            "system-type": "",
            "max-pending-submits": _WINDOW,
            "reconnect-delay": 1,
        },
        {
            "group": "smsbox",
            "bearerbox-host": "127.0.0.1",
            "bearerbox-port": ports["box"],
            "sendsms-port": ports["http"],
            "sendsms-interface": "127.0.0.1",
            "log-file": folder / "smsbox.log",
            "log-level": 3,
        },
        {"group": "sendsms-user", **USER, "max-messages": 3, "concatenation": "true"},
    ]
    return "\n\n".join("\n".join(f"{key} = {_value(value)}" for key, value in group.items()) for group in groups) + "\n"


def _value(value: object) -> str:
    return f'"{value}"' if isinstance(value, Path) or "*" in str(value) else str(value) or '""'


def _store(folder: Path, store: Store) -> dict[str, object]:
    if store is Store.NONE:
        return {}
    return {"store-type": store.value, "store-location": folder / ("kannel.store" if store is Store.FILE else "spool")}


@contextlib.contextmanager
def kannel(folder: Path, sink: Sink, store: Store) -> Iterator[Kannel]:
    """Run Kannel in a folder of its own, bound to the sink. Raises ProcessFailed."""
    commands = programs()
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    (folder / "spool").mkdir(exist_ok=True)
    ports = {name: free_port() for name in ("admin", "box", "http")}
    file = folder / "kannel.conf"
    file.write_text(configuration(folder, sink, store, ports))
    with contextlib.ExitStack() as stack:
        pids: dict[str, int] = {}
        for name, ready in (("bearerbox", _Bound(ports["admin"])), ("smsbox", _Listening(ports["http"]))):
            process = stack.enter_context(Running([commands[name], str(file)], log=folder / f"{name}.err"))
            _await(ready, name, folder)
            pids[name] = process.pid
        yield Kannel(pids=pids, target=f"127.0.0.1:{ports['http']}")


@dataclass(frozen=True, slots=True)
class _Bound:
    """Says whether bearerbox has bound its link."""

    port: int

    def __call__(self) -> bool:
        return b"(online" in _page(self.port, f"/status.txt?password={_ADMIN}")


@dataclass(frozen=True, slots=True)
class _Listening:
    """Says whether smsbox answers; that it lets nobody in without a password is answer enough."""

    port: int

    def __call__(self) -> bool:
        return bool(_page(self.port, SENDSMS))


def _page(port: int, path: str) -> bytes:
    with contextlib.closing(HTTPConnection("127.0.0.1", port, timeout=5)) as connection:
        try:
            connection.request("GET", path)
            return connection.getresponse().read()
        except (OSError, HTTPException):
            return b""


def _await(ready: _Bound | _Listening, name: str, folder: Path) -> None:
    deadline = time.monotonic() + _START_S
    while not ready():
        if time.monotonic() > deadline:
            told = (folder / f"{name}.err").read_text(errors="replace")[-2000:]
            raise ProcessFailed(f"{name} was not ready within {_START_S:.0f} s; it said:\n{told}")
        time.sleep(0.1)
