"""A workload beside a real agent and authority: it configures nothing, and notices nothing."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import grpc
import pytest

from certs.ca import rotation
from certs.ca.profile import LeafRequest
from certs.ca.revocations import Code, Order, revoke_serial
from certs.spiffe_id import SpiffeId
from certs.svid import X509Svid
from certs.tls import FixedSvid, server_credentials
from gateway.store.sqlite import SqliteStore
from smsgw.client import AsyncClient, Sent
from tests.certs.agent.rig import NODES, RunningAgent, entry, running
from tests.certs.service.rig import DOMAIN, real_now
from tests.certs.service.rig import Rig as Authority
from tests.client.callers import SERVER_ID, otp
from tests.gateway.api.rig import Rig

PATH = "/payments/api"
ORDER = Order(code=Code.KEY_COMPROMISE, reason="laptop lost", asked_by="me")


class OneAuthority(Rig):
    """A node whose SVID and whose callers' are of one authority."""

    authority: Authority

    def credentials(self) -> grpc.ServerCredentials:
        """Return the server's credentials."""
        request = LeafRequest(spiffe_id=SpiffeId(DOMAIN, "/gateway"), dns_names=("gateway.example.org",))
        own = FixedSvid(self.authority.authority.issue(request, real_now()))
        return server_credentials(own, self.bundles, self.connections.handshake)


@pytest.fixture
def authority(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Authority]:
    """Run the certificate service; agents ask it each second."""
    monkeypatch.setattr("certs.service.servicer.REFRESH_S", 1)
    service = Authority.start(tmp_path / "authority")
    service.register(NODES + entry(PATH))
    yield service
    service.server.stop()


@asynccontextmanager
async def node(folder: Path, authority: Authority) -> AsyncIterator[Rig]:
    """Run the API of a node that trusts this authority alone."""
    store = SqliteStore(folder / "smsgw.db")
    await store.open()
    rig = OneAuthority(store)
    rig.authority = authority
    rig.bundles.replace([authority.authority.bundle])
    try:
        await rig.start()
        yield rig
    finally:
        await rig.stop()
        await store.close()


def held(agent: RunningAgent) -> X509Svid:
    """Return the SVID that the agent has for the workload."""
    return agent.keeper.holder.now.svids[f"spiffe://{DOMAIN}{PATH}"]


async def test_from_the_authority_to_the_gateway(
    authority: Authority, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """SPIFFE_ENDPOINT_SOCKET is all it takes. The SVID is exchanged since its serial is revoked at the authority, then
    since the authority's key is tainted: the workload renews by itself, and no call fails."""
    async with node(tmp_path, authority) as rig, running(authority, tmp_path) as agent:
        monkeypatch.setenv("SPIFFE_ENDPOINT_SOCKET", f"unix://{agent.socket}")
        async with AsyncClient(f"127.0.0.1:{rig.port}", server_id=SERVER_ID) as sms:
            ended = asyncio.Event()

            async def call() -> int:
                count = 0
                while not ended.is_set():
                    assert isinstance(await sms.send(otp(count)), Sent)
                    count += 1
                    await asyncio.sleep(0.02)
                return count

            callers = [asyncio.create_task(call()) for _ in range(4)]
            first = held(agent)
            revoke_serial(authority.authority.ledger, first.serial, ORDER, real_now())
            await rotated(sms, 1, callers)
            second = held(agent)
            moment = real_now()
            rotation.taint(authority.authority, authority.authority.active, moment, moment)
            with authority.authority.ledger.changing() as db:  # the compromise began after these were issued
                db.execute("UPDATE authorities SET suspect_from = suspect_from + 5 WHERE state = 'tainted'")
            authority.server.refresh()
            await rotated(sms, 2, callers)
            third = held(agent)
            ended.set()
            counts = await asyncio.gather(*callers)
    assert len({first.serial, second.serial, third.serial}) == 3
    assert first.authority_key_id == second.authority_key_id != third.authority_key_id
    assert sum(counts) == sum(rig.intake.calls) > 20


async def rotated(sms: AsyncClient, count: int, callers: list[asyncio.Task[int]]) -> None:
    """Wait until so many identities were taken into use, while every caller goes on."""
    async with asyncio.timeout(60):
        while sms.rotations < count:
            assert not any(caller.done() for caller in callers)
            await asyncio.sleep(0.02)
