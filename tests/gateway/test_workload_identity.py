"""A node that is what a Workload API says: calls and streams go on while its SVID and bundles change."""

from __future__ import annotations

import asyncio
import contextlib
import datetime as dt
import re
import ssl
from collections.abc import Mapping
from pathlib import Path

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from certs.bundle import Bundle, TrustBundles
from certs.errors import NoIdentity
from certs.svid import X509Svid
from certs.tls import FixedSvid
from certs.workload import following
from gateway import identity_watch
from gateway import node as node_module
from gateway.audit.codec import decode, split
from gateway.audit.records import CertificateRenewed
from gateway.config.loader import load as load_settings
from gateway.errors import Unavailable
from gateway.node import Node
from smsgw.v1 import message_service_pb2 as api
from tests.certificates import IssuedSvid, TestAuthority, new_key
from tests.certs.workload.spire import Spire, der, identity, response, serving
from tests.gateway.api.refusals import refusal, stream_refusal
from tests.gateway.load import Load, served, shown, until, until_shown
from tests.gateway.site import DOMAIN, NAME, TIMEOUT_S, connected, message, node_of, write

A = TestAuthority("example.org")
B = TestAuthority("other.org", now=A.now)


@pytest.fixture(autouse=True)
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a source begin anew sooner than it would."""
    monkeypatch.setattr(following, "RETRY_MIN_S", 0.02)


def loaded(issued: IssuedSvid) -> X509Svid:
    """Return an issued SVID as the product holds it."""
    return X509Svid.from_pem(issued.presented_pem, issued.key_pem)


def believed(*authorities: TestAuthority) -> TrustBundles:
    """Return what a caller believes."""
    return TrustBundles([Bundle.from_pem(DOMAIN, b"".join(each.bundle_pem for each in authorities))])


def gateway(
    authority: TestAuthority,
    *roots: TestAuthority,
    issued: IssuedSvid | None = None,
    federated: Mapping[str, bytes] | None = None,
) -> bytes:
    """Return a message of the Workload API with an SVID of the node, a new one; `roots` are in its bundle too."""
    found = identity(authority, issued or authority.svid("/gateway", dns=(NAME,)), "/gateway")
    found.bundle += b"".join(der(each.root) for each in roots)
    return response(found, federated=federated)


async def test_rotation_under_load(tmp_path: Path) -> None:
    """While leaf and intermediate rotate fifty times, and a root comes, no call fails and no stream ends."""
    authority = TestAuthority("example.org")
    spire = Spire(gateway(authority))
    async with serving(spire, tmp_path / "api.sock") as endpoint, node_of(write(tmp_path, endpoint)) as node:
        load = Load(node.api_address, FixedSvid(loaded(authority.svid("/demo/load"))), believed(authority))
        async with load.running():
            for turn in range(50):
                authority.intermediate_key = new_key()
                authority.intermediate = authority.sub_authority(authority.intermediate_key)
                issued = authority.svid("/gateway", dns=(NAME,))
                spire.say(gateway(authority, *((B,) if turn > 25 else ()), issued=issued))
                serial, connected_before = f"{issued.leaf.serial_number:x}", load.connected
                await until_shown(node, serial=serial)
                assert await served(node.api_address) == serial
                await until(lambda before=connected_before: load.connected > before)  # type: ignore[misc]  # a default
        assert spire.calls == 1
        assert min(load.streamed, load.called, load.connected) >= 50


async def test_an_authority_leaves(tmp_path: Path) -> None:
    """A root that left the bundle is believed no more: streams are refused at their next message, and calls."""
    old, new = TestAuthority("example.org"), TestAuthority("example.org")
    spire = Spire(gateway(new, old))
    trusted = believed(new)
    async with (
        serving(spire, tmp_path / "api.sock") as endpoint,
        node_of(write(tmp_path, endpoint)) as node,
        connected(node.api_address, loaded(old.svid("/demo/old")), trusted) as goes,
        connected(node.api_address, loaded(new.svid("/demo/new")), trusted) as stays,
    ):
        streams = [each.messages.StreamMessages(timeout=TIMEOUT_S) for each in (goes, stays)]
        for stream in streams:
            await stream.write(api.StreamMessagesRequest(tag=1, messages=[message()]))
            assert isinstance(await stream.read(), api.StreamMessagesResponse)
        spire.say(gateway(new))
        await until(lambda: len(bundle_of(node).authorities) == 1)
        for stream in streams:
            await stream.write(api.StreamMessagesRequest(tag=2, messages=[message()]))
        refused = await refusal(streams[0].read())
        assert (refused.code, refused.reason) == (grpc.StatusCode.UNAUTHENTICATED, "UNTRUSTED")
        reply = await streams[1].read()
        assert isinstance(reply, api.StreamMessagesResponse)
        assert reply.tag == 2
        assert (await refusal(goes.send())).reason == "UNTRUSTED"
        assert (await stays.send()).accepted.message_id


def bundle_of(node: Node) -> Bundle:
    """Return the bundle of its own trust domain that the node believes."""
    found = node._identity.bundles.get(DOMAIN)
    assert found is not None
    return found


def trouble(node: Node) -> str:
    """Return what is wrong with the source of the node's identity."""
    return node._identity.faults.get("source", "")


async def renewals(node: Node) -> list[tuple[str, str]]:
    """Return what was renewed, as it stands in the audit."""
    commits = await node.store.audit_read(0, 1_000)
    records = [decode(octets) for commit in commits for octets in split(commit.records)]
    return [(record.what, record.serial) for record in records if isinstance(record, CertificateRenewed)]


async def test_gone_bad_and_back(tmp_path: Path) -> None:
    """While the Workload API is gone, or sends what cannot be used, the node serves on, and says what is wrong."""
    first, second = A.svid("/gateway", dns=(NAME,)), A.svid("/gateway", dns=(NAME,))
    socket = tmp_path / "api.sock"
    spire = Spire(gateway(A, issued=first))
    async with contextlib.AsyncExitStack() as stack:
        async with serving(spire, socket) as endpoint:
            node = await stack.enter_async_context(node_of(write(tmp_path, endpoint)))
            caller = await stack.enter_async_context(
                connected(node.api_address, loaded(A.svid("/demo/one")), believed(A))
            )
            spire.say(gateway(B))  # another trust domain's
            await until(lambda: "no identity for this process" in trouble(node))
            spire.say(b"noise")
            await until(lambda: "no X509SVIDResponse" in trouble(node))
            assert (await caller.send()).accepted.message_id
        await until(lambda: "cannot be reached" in trouble(node))
        found = await shown(node)
        assert (found["serial"], found["validity"]) == (f"{first.leaf.serial_number:x}", "good")
        assert "cannot be reached" in str(found["trouble"])
        assert (await caller.send()).accepted.message_id
        async with serving(Spire(gateway(A, issued=second)), socket):
            await until_shown(node, serial=f"{second.leaf.serial_number:x}", trouble="")
            assert (await caller.send()).accepted.message_id
            async with asyncio.timeout(TIMEOUT_S):
                while await renewals(node) != [("svid", f"{second.leaf.serial_number:x}")]:
                    await asyncio.sleep(0.01)


async def test_other_trust_domains(tmp_path: Path) -> None:
    """A federated trust domain is believed when the configuration names it, and not because it was delivered."""
    octets = gateway(A, federated={"spiffe://other.org": der(B.root)})
    partner = loaded(B.svid("/demo/partner"))
    async with serving(Spire(octets), tmp_path / "api.sock") as endpoint:
        async with (
            node_of(write(tmp_path, endpoint)) as node,
            connected(node.api_address, partner, believed(A)) as caller,
        ):
            assert (await shown(node))["believes"] == "example.org"
            with pytest.raises(grpc.aio.AioRpcError) as refused:  # by TLS, before the node says anything
                await caller.send()
            assert refused.value.code() is grpc.StatusCode.UNAVAILABLE
        path = write(tmp_path, endpoint, federated=["other.org"])
        async with node_of(path) as node, connected(node.api_address, partner, believed(A)) as caller:
            assert (await shown(node))["believes"] == "example.org, other.org"
            assert (await caller.send()).accepted.message_id


async def test_taken_away(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without an identity the node is not ready and serves nobody; with a new one it goes on."""
    monkeypatch.setattr(following, "DENIED_FOR_S", 0.1)
    monkeypatch.setattr(identity_watch, "_LOOK_S", 0.02)
    # Not by A.now: that is when the tests were collected, which may be long ago.
    end = dt.datetime.now(dt.UTC) + dt.timedelta(hours=1)
    spire = Spire(gateway(A, issued=A.svid("/gateway", dns=(NAME,), not_after=end)))
    async with (
        serving(spire, tmp_path / "api.sock") as endpoint,
        node_of(write(tmp_path, endpoint)) as node,
        connected(node.api_address, loaded(A.svid("/demo/one", not_after=end)), believed(A)) as caller,
    ):
        health = health_pb2_grpc.HealthStub(caller.channel)
        watch = aiter(health.Watch(health_pb2.HealthCheckRequest(), timeout=TIMEOUT_S))
        assert (await anext(watch)).status == health_pb2.HealthCheckResponse.SERVING
        spire.refuse(grpc.StatusCode.PERMISSION_DENIED)
        assert (await stream_refusal(watch)).code is grpc.StatusCode.UNAUTHENTICATED
        assert (await refusal(caller.send())).reason == "WRONG_TRUST_DOMAIN"
        await until_shown(node, validity="ended", believes="")
        one = loaded(A.svid("/demo/one"))
        async with connected(node.api_address, one, believed(A)) as newcomer:
            with pytest.raises(grpc.aio.AioRpcError) as ended:
                await newcomer.send()
            assert ended.value.code() is grpc.StatusCode.UNAVAILABLE  # by TLS: nobody's authority is left
        spire.say(gateway(A))
        await until_shown(node, validity="good", believes="example.org")
        assert (await caller.send()).accepted.message_id
        async with connected(node.api_address, one, believed(A)) as newcomer:
            assert (await newcomer.send()).accepted.message_id


async def test_an_svid_that_nobody_renews(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Before the end of its SVID the node warns; at the end it is not ready, until there is a new one."""
    ahead = dt.timedelta()
    monkeypatch.setattr(identity_watch, "_LOOK_S", 0.02)
    monkeypatch.setattr(node_module, "utc_now", lambda: dt.datetime.now(dt.UTC) + ahead)
    # Not by A.now: that is when the tests were collected, which may be long ago.
    end = dt.datetime.now(dt.UTC) + dt.timedelta(hours=1)
    spire = Spire(gateway(A, issued=A.svid("/gateway", dns=(NAME,), not_after=end)))
    async with (
        serving(spire, tmp_path / "api.sock") as endpoint,
        node_of(write(tmp_path, endpoint)) as node,
        connected(node.api_address, loaded(A.svid("/demo/one", not_after=end)), believed(A)) as caller,
    ):
        health = health_pb2_grpc.HealthStub(caller.channel)
        watch = aiter(health.Watch(health_pb2.HealthCheckRequest(), timeout=TIMEOUT_S))
        assert (await anext(watch)).status == health_pb2.HealthCheckResponse.SERVING
        ahead = dt.timedelta(minutes=50)
        await until_shown(node, validity="expiring")
        ahead = dt.timedelta(minutes=61)
        assert (await anext(watch)).status == health_pb2.HealthCheckResponse.NOT_SERVING
        renewed = A.svid("/gateway", dns=(NAME,), not_after=end + dt.timedelta(hours=7))
        spire.say(gateway(A, issued=renewed))
        assert (await anext(watch)).status == health_pb2.HealthCheckResponse.SERVING
        await until_shown(node, validity="good")


async def test_the_metrics_page_and_the_admin_address(tmp_path: Path) -> None:
    """Every listener has the same SVID, also the page for Prometheus, which takes up renewed ones too."""
    spire = Spire(gateway(A))
    reader = ssl.create_default_context(cadata=A.bundle_pem.decode())
    reader.load_cert_chain(*A.svid("/prometheus").write(tmp_path, "reader"))
    async with serving(spire, tmp_path / "api.sock") as endpoint, node_of(write(tmp_path, endpoint)) as node:
        server = node._telemetry._server
        assert server is not None
        assert server._socket is not None
        page = f"127.0.0.1:{server._socket.getsockname()[1]}"
        for _ in range(2):
            serial = str((await shown(node))["serial"])
            assert await served(node.api_address) == await served(node.admin_address) == serial
            async with asyncio.timeout(TIMEOUT_S):
                while await served(page) != serial:
                    await asyncio.sleep(0.01)
            spire.say(gateway(A))
            await until_shown_other(node, serial)
        host, _, port = page.rpartition(":")
        stream, writer = await asyncio.open_connection(host, int(port), ssl=reader, server_hostname=NAME)
        writer.write(b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n")
        async with asyncio.timeout(TIMEOUT_S):
            answer = await stream.read()
        assert answer.startswith(b"HTTP/1.1 200 OK")
        counted = re.search(rb'smsgw_certificates_renewed_total{certificate="svid"} ([0-9.]+)', answer)
        assert counted is not None
        assert float(counted[1]) in {1, 2}  # the second one may just be told of
        writer.close()
        await writer.wait_closed()


async def until_shown_other(node: Node, serial: str) -> None:
    """Wait until the node has another SVID."""
    async with asyncio.timeout(TIMEOUT_S):
        while (await shown(node))["serial"] == serial:
            await asyncio.sleep(0.01)


async def test_no_identity_at_the_start(tmp_path: Path) -> None:
    """A node that gets none in time ends with what it waited for; one that is told to stop meanwhile just stops."""
    path = write(tmp_path, f"unix://{tmp_path}/none.sock", wait="1s")
    node = Node(load_settings(path))
    with pytest.raises(NoIdentity, match=r"none\.sock: it cannot be reached"):
        await node.start()
    await node_stopped(node)
    path = write(tmp_path, f"unix://{tmp_path}/none.sock", wait="10m")
    node = Node(load_settings(path))
    starting = asyncio.create_task(node.start())
    await asyncio.sleep(0)
    async with asyncio.timeout(TIMEOUT_S):
        await node.stop()
        with pytest.raises(Unavailable, match="before it was ready"):
            await starting


async def node_stopped(node: Node) -> None:
    """Stopping what never ran raises what ended it, and leaves nothing."""
    with contextlib.suppress(NoIdentity):
        await node.stop()
