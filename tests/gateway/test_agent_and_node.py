"""Our authority, our agent and a node together: rotations, a compromise and a new root under calls and streams."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from grpc import StatusCode

from certs.bundle import Bundle, TrustBundles
from certs.ca import rotation
from certs.spiffe_id import SpiffeId, TrustDomain
from certs.svid import X509Svid
from certs.workload.endpoint import Endpoint
from certs.workload.source import X509Source
from certs.workload.state import Pick
from gateway.node import Node
from smsgw.v1 import message_service_pb2 as api
from tests.certificates import TestAuthority
from tests.certs.agent.rig import NODES, RunningAgent, entry, running
from tests.certs.service.rig import Rig, real_now
from tests.gateway.api.refusals import refusal
from tests.gateway.load import Load, served, shown, until, until_shown
from tests.gateway.site import NAME, TIMEOUT_S, connected, message, node_of, write

GATEWAY = "spiffe://example.org/gateway"
ENTRIES = NODES + entry("/demo/load") + entry("/gateway", more=f"    dns: {NAME}\n    hint: gateway\n")


@pytest.fixture
def rig(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Rig]:
    """Run a certificate service that knows the node and a caller; it is asked often."""
    monkeypatch.setattr("certs.service.servicer.REFRESH_S", 1)
    service = Rig.start(tmp_path)
    service.register(ENTRIES)
    yield service
    service.server.stop()


@dataclass(kw_only=True)
class Together:
    """An agent, a node that is what the agent says, and a caller that is, too."""

    agent: RunningAgent
    node: Node
    caller: X509Source

    async def renewed(self, serial: str) -> str:
        """Wait for another SVID of the node, which it shows in handshakes; its serial number."""
        async with asyncio.timeout(TIMEOUT_S):
            while (found := str((await shown(self.node))["serial"])) == serial:
                await asyncio.sleep(0.01)
        assert await served(self.node.api_address) == found
        return found


@asynccontextmanager
async def together(rig: Rig, folder: Path) -> AsyncIterator[Together]:
    """Run all of them."""
    async with AsyncExitStack() as stack:
        agent = await stack.enter_async_context(running(rig, folder))
        endpoint = f"unix://{agent.socket}"
        node = await stack.enter_async_context(node_of(write(folder, endpoint, hint="gateway")))
        pick = Pick(spiffe_id=SpiffeId.parse("spiffe://example.org/demo/load"))
        caller = await stack.enter_async_context(X509Source(Endpoint.parse(endpoint), pick))
        await caller.ready(TIMEOUT_S)
        yield Together(agent=agent, node=node, caller=caller)


def compromise(rig: Rig) -> None:
    """Taint the active authority: the standby takes over."""
    moment = real_now()
    rotation.taint(rig.authority, rig.authority.active, moment, moment)
    with rig.authority.ledger.changing() as db:  # the compromise began after what is held was issued
        db.execute("UPDATE authorities SET suspect_from = suspect_from + 5 WHERE state = 'tainted'")


@pytest.mark.parametrize("turns", [3, pytest.param(100, marks=pytest.mark.soak)])
async def test_rotation_and_compromise_under_load(rig: Rig, tmp_path: Path, turns: int) -> None:
    """Standbys take over, in order and after a compromise, and a root comes: no call fails, no stream ends."""
    root_place = tmp_path / "root"
    async with together(rig, tmp_path) as all_:
        assert (await shown(all_.node))["spiffe_id"] == GATEWAY
        load = Load(all_.node.api_address, all_.caller, all_.caller.bundles)
        serial = str((await shown(all_.node))["serial"])
        async with load.running():
            for turn in range(turns):
                if turn % 10 == 2:
                    compromise(rig)
                else:
                    rotation.activate(rig.authority, real_now())
                rotation.prepare(rig.authority, root_place, real_now())
                rig.server.refresh()
                serial = await all_.renewed(serial)
                connected = load.connected
                await until(lambda before=connected: load.connected > before)  # type: ignore[misc]  # a default
            rotation.add_root(rig.authority, tmp_path / "root2", real_now())
            rig.server.refresh()
            await until(lambda: len(all_.node._identity.bundles.to_pem().split(b"BEGIN")) == 3)
            connected = load.connected
            await until(lambda: load.connected > connected)
        assert min(load.streamed, load.called, load.connected) > 10


async def test_taken_out_and_back(rig: Rig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A node that is registered no more gives its identity up, and is itself again once it is."""
    monkeypatch.setattr("certs.workload.following.DENIED_FOR_S", 0.1)
    async with together(rig, tmp_path) as all_:
        rig.register(NODES + entry("/gateway", uid=54321))
        await until_shown(all_.node, validity="ended", believes="")
        rig.register(ENTRIES)
        await until_shown(all_.node, validity="good", believes="example.org")


async def test_a_partner_that_is_federated_with_and_dropped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A caller of another trust domain is believed while our authority hands its bundle on, by agent and node."""
    monkeypatch.setattr("certs.service.servicer.REFRESH_S", 1)
    theirs = TestAuthority("other.org")
    domain = TrustDomain("other.org")
    fetched = {domain: Bundle.from_pem(domain, theirs.bundle_pem)}
    service = Rig.start(tmp_path, federated=fetched.get)
    mine = entry("/gateway", more=f"    dns: {NAME}\n    federates_with: [other.org]\n")
    service.register(f"{NODES}{mine}federation:\n  - {{trust_domain: other.org, url: 'https://other.org/'}}\n")
    try:
        async with running(service, tmp_path) as agent:
            path = write(tmp_path, f"unix://{agent.socket}", federated=["other.org"])
            issued = theirs.svid("/demo/partner")
            caller = X509Svid.from_pem(issued.presented_pem, issued.key_pem)
            trusted = TrustBundles([service.authority.bundle])
            async with node_of(path) as node, connected(node.api_address, caller, trusted) as channel:
                assert (await shown(node))["believes"] == "example.org, other.org"
                stream = channel.messages.StreamMessages(timeout=TIMEOUT_S)
                await stream.write(api.StreamMessagesRequest(tag=1, messages=[message()]))
                assert isinstance(await stream.read(), api.StreamMessagesResponse)
                fetched.clear()
                await until_shown(node, believes="example.org")
                await stream.write(api.StreamMessagesRequest(tag=2, messages=[message()]))
                refused = await refusal(stream.read())
                assert (refused.code, refused.reason) == (StatusCode.UNAUTHENTICATED, "WRONG_TRUST_DOMAIN")
    finally:
        service.server.stop()
