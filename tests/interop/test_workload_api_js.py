"""A Workload API by grpc-js and protobuf.js gives a node its identity: another gRPC and another protobuf."""

from __future__ import annotations

import asyncio
import base64
import json
import os
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
import pytest

from certs.bundle import Bundle, TrustBundles
from certs.svid import X509Svid
from certs.tls import FixedSvid
from certs.workload import following
from certs.workload.endpoint import Endpoint
from certs.workload.following import Standing
from certs.workload.source import X509Source
from tests.certificates import IssuedSvid, TestAuthority
from tests.certs.workload.spire import BOUND_S, Identity, der, identity
from tests.gateway.load import Load, served, until, until_shown
from tests.gateway.site import DOMAIN, NAME, node_of, write
from tests.interop.conftest import ROOT, SCRIPTS

pytestmark = pytest.mark.interop

A = TestAuthority("example.org")
B = TestAuthority("other.org", now=A.now)


def text(octets: bytes) -> str:
    """Return octets as JSON carries them."""
    return base64.b64encode(octets).decode()


def told(svid: Identity) -> dict[str, str]:
    """Return an identity as the script takes it."""
    return {
        "spiffe_id": svid.spiffe_id,
        "chain": text(svid.chain),
        "key": text(svid.key),
        "bundle": text(svid.bundle),
        "hint": svid.hint,
    }


@dataclass
class Server:
    """The script, and where it serves."""

    process: asyncio.subprocess.Process
    endpoint: str

    def order(self, order: Mapping[str, Any]) -> None:
        """Have it do something."""
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps(order).encode() + b"\n")

    def say(self, *issued: IssuedSvid, federated: Mapping[str, bytes] | None = None) -> None:
        """Have it stream these SVIDs of the node; the one with the hint `gateway` comes last."""
        svids = [told(identity(A, A.svid("/other"), "/other", "other"))]
        svids += [told(identity(A, each, "/gateway", "gateway")) for each in issued]
        bundles = {name: text(octets) for name, octets in (federated or {}).items()}
        self.order({"svids": svids, "federated_bundles": bundles})

    async def event(self, name: str) -> dict[str, Any]:
        """Return the next event of that name."""
        assert self.process.stdout is not None
        async with asyncio.timeout(BOUND_S):
            while True:
                found = json.loads(await self.process.stdout.readline())
                if found["event"] == name:
                    assert isinstance(found, dict)
                    return found


@asynccontextmanager
async def running(folder: Path, environment: Mapping[str, str]) -> AsyncIterator[Server]:
    """Run the script on a Unix socket."""
    socket = folder / "js.sock"
    process = await asyncio.create_subprocess_exec(
        "node",
        str(SCRIPTS / "workload_api.js"),
        f"unix:{socket}",
        str(ROOT / "protos" / "smsgw" / "spiffe" / "workload.proto"),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        env={**os.environ, **environment, "NODE_OPTIONS": ""},
    )
    server = Server(process, f"unix://{socket}")
    try:
        await server.event("listening")
        yield server
    finally:
        process.kill()
        await process.communicate()


def gateway_svid() -> IssuedSvid:
    """Return a new SVID of the node."""
    return A.svid("/gateway", dns=(NAME,))


def serial_of(issued: IssuedSvid) -> str:
    """Return a serial number as the node shows it."""
    return f"{issued.leaf.serial_number:x}"


async def test_a_node_follows_it(tmp_path: Path, node_environment: dict[str, str]) -> None:
    """Picked by its hint, the node's SVID rotates under calls and a stream; a federated bundle comes, and goes."""
    async with running(tmp_path, node_environment) as server:
        server.say(gateway_svid())
        path = write(tmp_path, server.endpoint, hint="gateway", federated=["other.org"])
        async with node_of(path) as node:
            assert (await server.event("call"))["header"] == ["true"]
            caller = X509Svid.from_pem((svid := A.svid("/demo/load")).presented_pem, svid.key_pem)
            believed = TrustBundles([Bundle.from_pem(DOMAIN, A.bundle_pem)])
            load = Load(node.api_address, FixedSvid(caller), believed)
            async with load.running():
                for turn in range(10):
                    issued = gateway_svid()
                    server.say(issued, federated={"spiffe://other.org": der(B.root)} if turn % 2 else None)
                    believes = "example.org, other.org" if turn % 2 else "example.org"
                    await until_shown(node, serial=serial_of(issued), believes=believes)
                    assert await served(node.api_address) == serial_of(issued)
            assert min(load.streamed, load.called, load.connected) > 1


async def test_its_codes(tmp_path: Path, node_environment: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Unavailable leaves the SVID, PermissionDenied takes it in the end, and InvalidArgument is the last word."""
    monkeypatch.setattr(following, "DENIED_FOR_S", 0.2)
    async with running(tmp_path, node_environment) as server:
        first = gateway_svid()
        server.say(first)
        async with X509Source(Endpoint.parse(server.endpoint)) as source:
            await source.ready(BOUND_S)
            server.order({"code": grpc.StatusCode.UNAVAILABLE.value[0]})
            await until(lambda: source.standing is Standing.AWAY)
            assert source.has_identity
            server.order({"code": grpc.StatusCode.PERMISSION_DENIED.value[0]})
            await until(lambda: not source.has_identity)
            server.say(first)
            await source.ready(BOUND_S)
            server.order({"code": grpc.StatusCode.INVALID_ARGUMENT.value[0]})
            await until(lambda: source.standing is Standing.STOPPED)
            assert "as ordered" in source.trouble
