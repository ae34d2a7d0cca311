"""TLS for the simulator's tests: made once, by an authority that shares no code with ours."""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from carrier.simulator.script_file import parse_script
from carrier.simulator.simulator import Simulator
from tests.certificates import TestAuthority


@dataclass(frozen=True, slots=True, kw_only=True)
class Tls:
    """Files and contexts of a simulator and of those who bind to it."""

    cert: Path
    key: Path
    ca: Path

    def server(self) -> ssl.SSLContext:
        """The simulator's side."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.cert, self.key)
        return context

    def client(self) -> ssl.SSLContext:
        """Our side: verifies chain and host name."""
        return ssl.create_default_context(cafile=str(self.ca))


@pytest.fixture(scope="session")
def tls(tmp_path_factory: pytest.TempPathFactory) -> Tls:
    """A certificate for localhost."""
    directory = tmp_path_factory.mktemp("carrier-tls")
    authority = TestAuthority("carrier.test")
    cert, key = authority.svid("/smsc", dns=("localhost",)).write(directory, "smsc")
    ca = directory / "ca.pem"
    ca.write_bytes(authority.bundle_pem)
    return Tls(cert=cert, key=key, ca=ca)


Starter = Callable[..., Awaitable[Simulator]]


@pytest.fixture
async def start() -> AsyncIterator[Starter]:
    """Start plain simulators by `await start(script, ...)`; all are stopped at the end."""
    running: list[Simulator] = []

    async def starter(script: str = "", **options: Any) -> Simulator:
        simulator = Simulator(parse_script(script), **({"plain": True} | options))
        running.append(simulator)
        await simulator.start()
        return simulator

    yield starter
    for simulator in running:
        await simulator.stop()
