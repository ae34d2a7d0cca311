"""Bundles of other trust domains on their way to workloads: to those whose entry federates, and to no others."""

from __future__ import annotations

import asyncio
import datetime as dt
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TypeVar

import grpc
import pytest
from cryptography.hazmat.primitives.serialization import Encoding

from certs import jwt_svid
from certs.bundle import Bundle
from certs.jwt_svid import JwtAuthority
from certs.spiffe_id import SpiffeId, TrustDomain
from smsgw.spiffe import workload_pb2 as pb
from tests.certificates import TestAuthority, new_key
from tests.certs.agent.rig import BOUND_S, METADATA, NODES, RunningAgent, entry, running
from tests.certs.service.rig import DOMAIN, Rig, real_now

PARTNER, OTHER = TrustDomain("partner.example"), TrustDomain("other.example")
THEIRS = TestAuthority("partner.example")
KEY = new_key()
BUNDLES = {
    PARTNER: Bundle(
        trust_domain=PARTNER,
        authorities=(THEIRS.root,),
        jwt_authorities=(JwtAuthority(key_id="k1", key=KEY.public_key()),),
    ),
    OTHER: Bundle(trust_domain=OTHER, authorities=(TestAuthority("other.example").root,)),
}
ENDPOINTS = """\
federation:
  - {trust_domain: partner.example, url: 'https://partner.example/'}
  - {trust_domain: other.example, url: 'https://other.example/'}
"""
_Message = TypeVar("_Message")


@pytest.fixture
def fetched() -> dict[TrustDomain, Bundle]:
    """What the authority has fetched; a test changes it."""
    return dict(BUNDLES)


@pytest.fixture
def rig(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fetched: dict[TrustDomain, Bundle]) -> Iterator[Rig]:
    """Run a certificate service whose web1 has two workloads of our user: one federates."""
    monkeypatch.setattr("certs.service.servicer.REFRESH_S", 1)
    service = Rig.start(tmp_path, federated=fetched.get)
    service.register(NODES + entry("/billing", more="    federates_with: [partner.example]\n") + ENDPOINTS)
    yield service
    service.server.stop()


def der(bundle: Bundle) -> bytes:
    """Return the authorities as the Workload API has them."""
    return b"".join(found.public_bytes(Encoding.DER) for found in bundle.authorities)


@asynccontextmanager
async def streamed(agent: RunningAgent) -> AsyncIterator[AsyncIterator[pb.X509SVIDResponse]]:
    """Give the stream of X.509-SVIDs."""
    async with agent.stub() as stub:
        call = stub.FetchX509SVID(pb.X509SVIDRequest(), metadata=METADATA)
        try:
            yield aiter(call)
        finally:
            call.cancel()


async def following(stream: AsyncIterator[_Message]) -> _Message:
    """Return the next message, within bounds."""
    async with asyncio.timeout(BOUND_S):
        return await anext(stream)


async def test_given(rig: Rig, tmp_path: Path) -> None:
    """A workload gets the bundle of the trust domain that it federates with, under its own name, and of no other."""
    async with running(rig, tmp_path) as agent:
        async with streamed(agent) as stream:
            found = await following(stream)
        assert dict(found.federated_bundles) == {"spiffe://partner.example": der(BUNDLES[PARTNER])}
        assert found.svids[0].bundle == der(rig.authority.bundle)
        async with agent.stub() as stub:
            x509 = await following(aiter(stub.FetchX509Bundles(pb.X509BundlesRequest(), metadata=METADATA)))
            jwt = await following(aiter(stub.FetchJWTBundles(pb.JWTBundlesRequest(), metadata=METADATA)))
    assert set(x509.bundles) == set(jwt.bundles) == {"spiffe://example.org", "spiffe://partner.example"}
    assert x509.bundles["spiffe://partner.example"] == der(BUNDLES[PARTNER])
    assert jwt.bundles["spiffe://partner.example"] == BUNDLES[PARTNER].jwt_jwks()


async def test_changes_are_streamed(rig: Rig, tmp_path: Path, fetched: dict[TrustDomain, Bundle]) -> None:
    """A changed bundle is streamed; one that counts no more, and one that the entry names no more, are gone."""
    async with running(rig, tmp_path) as agent, streamed(agent) as stream:
        await following(stream)
        fetched[PARTNER] = Bundle(trust_domain=PARTNER, authorities=(TestAuthority("partner.example").root,))
        found = await following(stream)
        assert dict(found.federated_bundles) == {"spiffe://partner.example": der(fetched[PARTNER])}
        del fetched[PARTNER]
        assert dict((await following(stream)).federated_bundles) == {}
        rig.register(NODES + entry("/billing", more="    federates_with: [other.example]\n") + ENDPOINTS)
        while not (found := await following(stream)).federated_bundles:
            pass
        assert set(found.federated_bundles) == {"spiffe://other.example"}


async def test_nothing_for_others(rig: Rig, tmp_path: Path) -> None:
    """A workload whose entry does not federate is given its own trust domain's bundle alone."""
    rig.register(
        NODES + entry("/billing") + entry("/x", uid=54321, more="    federates_with: [other.example]\n") + ENDPOINTS
    )
    async with running(rig, tmp_path) as agent, streamed(agent) as stream:
        assert dict((await following(stream)).federated_bundles) == {}
        assert {bundle.trust_domain for bundle in agent.keeper.holder.now.federated} == {OTHER}


async def test_tokens(rig: Rig, tmp_path: Path) -> None:
    """A JWT-SVID of a federated trust domain is verified with that domain's keys; no other domain's is by them."""
    now = real_now()

    def token(spiffe_id: SpiffeId) -> str:
        ends = now.replace(microsecond=0) + dt.timedelta(minutes=5)
        return jwt_svid.sign(spiffe_id, ["api"], ends, now, key_id="k1", key=KEY)

    async with running(rig, tmp_path) as agent, agent.stub() as stub:

        async def validated(svid: str) -> str:
            request = pb.ValidateJWTSVIDRequest(audience="api", svid=svid)
            return (await stub.ValidateJWTSVID(request, metadata=METADATA, timeout=BOUND_S)).spiffe_id

        assert await validated(token(SpiffeId(PARTNER, "/x"))) == "spiffe://partner.example/x"
        for forged in (SpiffeId(DOMAIN, "/x"), SpiffeId(OTHER, "/x")):
            with pytest.raises(grpc.aio.AioRpcError) as refused:
                await validated(token(forged))
            assert refused.value.code() is grpc.StatusCode.INVALID_ARGUMENT
