"""The Workload API as a workload sees it, on a real socket, with an authority behind it."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import sys
from collections.abc import AsyncIterable, AsyncIterator, Awaitable, Iterator
from pathlib import Path

import grpc
import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import load_der_private_key

from certs.bundle import Bundle
from certs.ca import rotation
from certs.pem import encode_certificates
from certs.workload.endpoint import Endpoint
from certs.workload.following import Standing
from certs.workload.source import X509Source
from smsgw.spiffe import workload_pb2 as pb
from tests.certs.agent.rig import BOUND_S, METADATA, NODES, TWO, entry, running
from tests.certs.service.rig import DOMAIN, Rig, real_now

PYTHON = Path(sys.executable).resolve()
BILLING = "spiffe://example.org/billing"


@pytest.fixture
def rig(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Rig]:
    """Run a certificate service whose web1 has two workloads of our user, and one of another's; it is asked often."""
    monkeypatch.setattr("certs.service.servicer.REFRESH_S", 1)
    service = Rig.start(tmp_path)
    service.register(TWO)
    yield service
    service.server.stop()


async def first(stream: AsyncIterable[object]) -> object:
    """Return the first message of a stream."""
    async for message in stream:
        return message
    raise AssertionError("the stream ended")


async def following(stream: AsyncIterator[pb.X509SVIDResponse]) -> pb.X509SVIDResponse:
    """Return the next message, within bounds."""
    return await asyncio.wait_for(anext(stream), BOUND_S)


async def code_of(call: Awaitable[object]) -> grpc.StatusCode:
    """Return the code with which a call is refused."""
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await call
    return refused.value.code()


def leaf_of(svid: pb.X509SVID) -> x509.Certificate:
    """Return the leaf of an SVID: DER certificates stand one after the other."""
    length = int.from_bytes(svid.x509_svid[2:4], "big") + 4  # 30 82 hh ll
    return x509.load_der_x509_certificate(svid.x509_svid[:length])


async def test_whole_state_with_the_default_first(rig: Rig, tmp_path: Path) -> None:
    """The first reply comes at once and holds every identity of the process, the default first, and nobody else's."""
    async with running(rig, tmp_path) as agent, agent.stub() as stub:
        reply = await first(stub.FetchX509SVID(pb.X509SVIDRequest(), metadata=METADATA, timeout=BOUND_S))
        assert isinstance(reply, pb.X509SVIDResponse)
        assert [(svid.spiffe_id, svid.hint) for svid in reply.svids] == [
            (BILLING, "one"),
            ("spiffe://example.org/second", "two"),
        ]
        for svid in reply.svids:
            key = load_der_private_key(svid.x509_svid_key, None)
            leaf = leaf_of(svid)
            assert key.public_key() == leaf.public_key()
            names = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
            assert names.get_values_for_type(x509.UniformResourceIdentifier) == [svid.spiffe_id]
            root = x509.load_der_x509_certificate(svid.bundle)
            assert encode_certificates([root]) == rig.authority.bundle.to_pem()


@pytest.mark.parametrize("metadata", [(), (("workload.spiffe.io", "false"),), (("workload.spiffe.io", "TRUE"),)])
async def test_the_header_is_mandatory(rig: Rig, tmp_path: Path, metadata: tuple[tuple[str, str], ...]) -> None:
    """Without its header every method answers InvalidArgument (Workload Endpoint §3)."""
    async with running(rig, tmp_path) as agent, agent.stub() as stub:
        for call in (
            first(stub.FetchX509SVID(pb.X509SVIDRequest(), metadata=metadata, timeout=BOUND_S)),
            first(stub.FetchX509Bundles(pb.X509BundlesRequest(), metadata=metadata, timeout=BOUND_S)),
            first(stub.FetchJWTBundles(pb.JWTBundlesRequest(), metadata=metadata, timeout=BOUND_S)),
            stub.FetchJWTSVID(pb.JWTSVIDRequest(audience=["api"]), metadata=metadata, timeout=BOUND_S),
            stub.ValidateJWTSVID(pb.ValidateJWTSVIDRequest(), metadata=metadata, timeout=BOUND_S),
        ):
            assert await code_of(call) is grpc.StatusCode.INVALID_ARGUMENT


async def test_a_process_without_identity(rig: Rig, tmp_path: Path) -> None:
    """A process that no entry fits is denied by every method; the executable's digest tells it from one that fits."""
    digest = hashlib.sha256(PYTHON.read_bytes()).hexdigest()
    rig.register(NODES + entry("/billing", f", sha256: {digest[::-1]}"))
    async with running(rig, tmp_path) as agent:
        async with agent.stub() as stub:
            for call in (
                first(stub.FetchX509SVID(pb.X509SVIDRequest(), metadata=METADATA, timeout=BOUND_S)),
                first(stub.FetchX509Bundles(pb.X509BundlesRequest(), metadata=METADATA, timeout=BOUND_S)),
                first(stub.FetchJWTBundles(pb.JWTBundlesRequest(), metadata=METADATA, timeout=BOUND_S)),
                stub.FetchJWTSVID(pb.JWTSVIDRequest(audience=["api"]), metadata=METADATA, timeout=BOUND_S),
                stub.ValidateJWTSVID(pb.ValidateJWTSVIDRequest(), metadata=METADATA, timeout=BOUND_S),
            ):
                assert await code_of(call) is grpc.StatusCode.PERMISSION_DENIED
        rig.register(NODES + entry("/billing", f", sha256: {digest}, path: {PYTHON}"))
        await agent.until(lambda done: any(held.sha256 == digest for held in agent.keeper.holder.now.entries))
        async with agent.stub() as stub:
            assert await first(stub.FetchX509SVID(pb.X509SVIDRequest(), metadata=METADATA, timeout=BOUND_S))


async def test_a_taint_is_streamed(rig: Rig, tmp_path: Path) -> None:
    """After a taint the agent renews itself, and open streams get new SVIDs of the authority that took over."""
    async with running(rig, tmp_path) as agent, agent.stub() as stub:
        stream = stub.FetchX509SVID(pb.X509SVIDRequest(), metadata=METADATA, timeout=2 * BOUND_S)
        messages = aiter(stream)
        before = await following(messages)
        moment = real_now()
        rotation.taint(rig.authority, rig.authority.active, moment, moment)
        with rig.authority.ledger.changing() as db:  # the compromise began after these were issued
            db.execute("UPDATE authorities SET suspect_from = suspect_from + 5 WHERE state = 'tainted'")
        rig.server.refresh()
        after = await following(messages)
        assert [svid.spiffe_id for svid in after.svids] == [svid.spiffe_id for svid in before.svids]
        assert leaf_of(after.svids[0]).issuer == rig.authority.intermediate.subject != leaf_of(before.svids[0]).issuer
        assert agent.keeper.link is not None
        assert agent.keeper.link.svid.authority_key_id == rig.authority.active.key_id


async def test_a_registration_is_streamed(rig: Rig, tmp_path: Path) -> None:
    """An identity more is streamed as whole state; with the last one gone, the stream ends with PermissionDenied."""
    async with running(rig, tmp_path) as agent, agent.stub() as stub:
        messages = aiter(stub.FetchX509SVID(pb.X509SVIDRequest(), metadata=METADATA, timeout=4 * BOUND_S))
        assert len((await following(messages)).svids) == 2
        rig.register(TWO + entry("/third"))
        assert [svid.spiffe_id.rpartition("/")[2] for svid in (await following(messages)).svids] == [
            "billing",
            "second",
            "third",
        ]
        rig.register(NODES + entry("/billing", uid=54321))
        assert await code_of(following(messages)) is grpc.StatusCode.PERMISSION_DENIED


async def test_while_the_authority_is_away(rig: Rig, tmp_path: Path) -> None:
    """What is valid is served while the authority is away, with how long it lasts; tokens that are kept are, too."""
    async with running(rig, tmp_path) as agent, agent.stub() as stub:
        jwt = pb.JWTSVIDRequest(audience=["api"])
        token = (await stub.FetchJWTSVID(jwt, metadata=METADATA, timeout=BOUND_S)).svids[0].svid
        rig.server.stop()
        away = await agent.until(lambda done: bool(done.error))
        assert away.lasts_until == min(svid.expires_at for svid in agent.keeper.holder.now.svids.values())
        reply = await first(stub.FetchX509SVID(pb.X509SVIDRequest(), metadata=METADATA, timeout=BOUND_S))
        assert isinstance(reply, pb.X509SVIDResponse)
        assert len(reply.svids) == 2
        assert (await stub.FetchJWTSVID(jwt, metadata=METADATA, timeout=BOUND_S)).svids[0].svid == token
        other = stub.FetchJWTSVID(pb.JWTSVIDRequest(audience=["other"]), metadata=METADATA, timeout=BOUND_S)
        assert await code_of(other) is grpc.StatusCode.UNAVAILABLE


async def test_started_while_the_authority_is_away(rig: Rig, tmp_path: Path) -> None:
    """An agent that does not know yet who has what denies nobody: it is unavailable, and all keep what they have."""
    async with running(rig, tmp_path) as agent, X509Source(Endpoint.parse(f"unix://{agent.socket}")) as source:
        await source.ready(BOUND_S)
    rig.server.stop()
    async with running(rig, tmp_path) as agent, agent.stub() as stub:
        for call in (
            first(stub.FetchX509SVID(pb.X509SVIDRequest(), metadata=METADATA, timeout=BOUND_S)),
            first(stub.FetchX509Bundles(pb.X509BundlesRequest(), metadata=METADATA, timeout=BOUND_S)),
            stub.FetchJWTSVID(pb.JWTSVIDRequest(audience=["api"]), metadata=METADATA, timeout=BOUND_S),
        ):
            assert await code_of(call) is grpc.StatusCode.UNAVAILABLE
        async with X509Source(Endpoint.parse(f"unix://{agent.socket}")) as source:
            async with asyncio.timeout(BOUND_S):
                while source.standing is not Standing.AWAY:
                    await asyncio.sleep(0.01)
            assert "has not reached the authority" in source.trouble


async def test_stopping_with_workloads_connected(rig: Rig, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """An agent that stops ends what is open, and nothing of that is an error."""
    async with contextlib.AsyncExitStack() as stack:
        async with running(rig, tmp_path) as agent:
            source = await stack.enter_async_context(X509Source(Endpoint.parse(f"unix://{agent.socket}")))
            await source.ready(BOUND_S)
        await asyncio.sleep(0)  # for the callbacks of what was ended
    assert [record.getMessage() for record in caplog.records if record.levelname == "ERROR"] == []


async def test_a_node_that_was_taken_out(rig: Rig, tmp_path: Path) -> None:
    """When the authority knows the node no more, its workloads have no identity from then on."""
    async with running(rig, tmp_path) as agent, agent.stub() as stub:
        messages = aiter(stub.FetchX509SVID(pb.X509SVIDRequest(), metadata=METADATA, timeout=2 * BOUND_S))
        await following(messages)
        rig.register("nodes: []")
        assert await code_of(following(messages)) is grpc.StatusCode.PERMISSION_DENIED
        assert agent.keeper.holder.now.svids == {}


async def test_bundles(rig: Rig, tmp_path: Path) -> None:
    """X.509 and JWT bundles are by the trust domain's SPIFFE ID, and an added root is streamed."""
    async with running(rig, tmp_path) as agent, agent.stub() as stub:
        messages = aiter(stub.FetchX509Bundles(pb.X509BundlesRequest(), metadata=METADATA, timeout=2 * BOUND_S))
        before = (await asyncio.wait_for(anext(messages), BOUND_S)).bundles
        assert list(before) == ["spiffe://example.org"]
        jwt = await first(stub.FetchJWTBundles(pb.JWTBundlesRequest(), metadata=METADATA, timeout=BOUND_S))
        assert isinstance(jwt, pb.JWTBundlesResponse)
        keys = Bundle.from_jwks(DOMAIN, jwt.bundles["spiffe://example.org"])
        assert (keys.authorities, len(keys.jwt_authorities)) == ((), 1)
        rotation.add_root(rig.authority, tmp_path / "root2", real_now())
        rig.server.refresh()
        after = (await asyncio.wait_for(anext(messages), BOUND_S)).bundles
        assert len(after["spiffe://example.org"]) > len(before["spiffe://example.org"])


async def test_jwt_svids(rig: Rig, tmp_path: Path) -> None:
    """Tokens are for all identities or the one that is named; another's is denied; validation tells and refuses."""
    async with running(rig, tmp_path) as agent, agent.stub() as stub:
        both = await stub.FetchJWTSVID(pb.JWTSVIDRequest(audience=["api"]), metadata=METADATA, timeout=BOUND_S)
        assert [(svid.spiffe_id, svid.hint) for svid in both.svids] == [
            (BILLING, "one"),
            ("spiffe://example.org/second", "two"),
        ]
        request = pb.JWTSVIDRequest(audience=["api", "b"], spiffe_id="spiffe://example.org/second")
        (one,) = (await stub.FetchJWTSVID(request, metadata=METADATA, timeout=BOUND_S)).svids
        good = pb.ValidateJWTSVIDRequest(audience="b", svid=one.svid)
        found = await stub.ValidateJWTSVID(good, metadata=METADATA, timeout=BOUND_S)
        assert (found.spiffe_id, found.claims["sub"]) == (one.spiffe_id, one.spiffe_id)
        for bad in (
            pb.ValidateJWTSVIDRequest(audience="c", svid=one.svid),
            pb.ValidateJWTSVIDRequest(audience="b", svid=one.svid[:-4]),
            pb.ValidateJWTSVIDRequest(audience="", svid=one.svid),
        ):
            refused = stub.ValidateJWTSVID(bad, metadata=METADATA, timeout=BOUND_S)
            assert await code_of(refused) is grpc.StatusCode.INVALID_ARGUMENT
        nobody = stub.FetchJWTSVID(pb.JWTSVIDRequest(), metadata=METADATA, timeout=BOUND_S)
        assert await code_of(nobody) is grpc.StatusCode.INVALID_ARGUMENT
        request = pb.JWTSVIDRequest(audience=["api"], spiffe_id="spiffe://example.org/no")
        others = stub.FetchJWTSVID(request, metadata=METADATA, timeout=BOUND_S)
        assert await code_of(others) is grpc.StatusCode.PERMISSION_DENIED
