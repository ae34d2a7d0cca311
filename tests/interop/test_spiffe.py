"""PyPI's `spiffe` and `spiffe-tls` are the workload: another implementation of the Workload API's client side."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from certs.ca import rotation
from tests.certs.agent.rig import BOUND_S, NODES, TWO, entry, running
from tests.certs.service.rig import Rig, real_now
from tests.gateway.load import shown
from tests.gateway.site import NAME, node_of, write
from tests.interop.conftest import PYTHON_PACKAGES

pytestmark = pytest.mark.interop
SCRIPTS = Path(__file__).parent / "python"
BILLING = "spiffe://example.org/billing"


@pytest.fixture
def rig(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Rig]:
    """Run a certificate service with two workloads of our user."""
    monkeypatch.setattr("certs.service.servicer.REFRESH_S", 1)
    service = Rig.start(tmp_path)
    service.register(TWO)
    yield service
    service.server.stop()


@asynccontextmanager
async def workload(script: str, socket: Path, *arguments: str) -> AsyncIterator[asyncio.StreamReader]:
    """Run a script; gives what it prints."""
    environment = {**os.environ, "PYTHONPATH": str(PYTHON_PACKAGES)}
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        str(SCRIPTS / script),
        f"unix://{socket}",
        *arguments,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        env=environment,
    )
    try:
        assert process.stdout is not None
        yield process.stdout
    finally:
        process.kill()
        await process.wait()


async def said(output: asyncio.StreamReader) -> dict[str, Any]:
    """Return the next object."""
    line = await asyncio.wait_for(output.readline(), BOUND_S)
    found = json.loads(line)
    assert isinstance(found, dict)
    return found


async def test_fetch_and_rotate(rig: Rig, tmp_path: Path) -> None:
    """It fetches X.509- and JWT-SVIDs, verifies tokens with our bundle, and follows a takeover and an added root."""
    async with running(rig, tmp_path) as agent, workload("spiffe_workload.py", agent.socket) as output:
        assert await said(output) == {"svids": [BILLING, "spiffe://example.org/second"], "chain": 2}
        jwt = await said(output)
        assert (jwt["jwt"], jwt["validated"]) == (BILLING, BILLING)
        assert "another audience" in jwt["refused"]
        first = await said(output)
        assert first == {"serial": agent.keeper.holder.now.svids[BILLING].serial, "roots": 1}
        rotation.activate(rig.authority, real_now())
        rig.server.refresh()
        while (later := await said(output))["serial"] == first["serial"]:
            pass
        assert later == {"serial": agent.keeper.holder.now.svids[BILLING].serial, "roots": 1}
        rotation.add_root(rig.authority, tmp_path / "root2", real_now())
        rig.server.refresh()
        while (await said(output))["roots"] == 1:
            pass


async def test_mutual_tls_between_workloads(rig: Rig, tmp_path: Path) -> None:
    """With our SVIDs `spiffe-tls` does mutual TLS at both ends, and refuses a server of another identity."""
    async with running(rig, tmp_path) as agent, workload("spiffe_tls_pair.py", agent.socket, BILLING) as output:
        assert await said(output) == {"right": "hello over mutual TLS", "wrong": "refused"}


async def test_calls_a_gateway_that_is_a_workload_too(rig: Rig, tmp_path: Path) -> None:
    """With an SVID that `spiffe` fetched, a gateway whose own SVID is from the same agent is called, before and after a
    takeover; our client of the Workload API works beside `spiffe` in one process."""
    load = entry("/demo/load")
    rig.register(NODES + load + entry("/gateway", more=f"    dns: {NAME}\n    hint: gateway\n"))
    async with (
        running(rig, tmp_path) as agent,
        node_of(write(tmp_path, f"unix://{agent.socket}", hint="gateway")) as node,
        workload("spiffe_gateway.py", agent.socket, node.api_address, NAME) as output,
    ):
        first = await said(output)
        assert (first["spiffe_id"], bool(first["message_id"])) == ("spiffe://example.org/demo/load", True)
        assert first["serial"] == first["ours"]
        rotation.activate(rig.authority, real_now())
        rig.server.refresh()
        while (later := await said(output))["serial"] == first["serial"]:
            pass
        assert later["message_id"] != first["message_id"]
        assert (await shown(node))["serial"] == agent.keeper.holder.now.svids["spiffe://example.org/gateway"].serial
