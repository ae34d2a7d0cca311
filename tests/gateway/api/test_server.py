"""The server as a whole: who gets in, its bounds, its health, its end."""

from __future__ import annotations

import asyncio
import datetime as dt
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
import pytest
from grpc_health.v1 import health_pb2

from carrier.inbound import InboundPart
from certs.bundle import Bundle
from certs.spiffe_id import TrustDomain
from gateway.api.auditing import AuditGuard
from gateway.api.authorizing import AuthorizationGuard
from gateway.api.draining import DrainGuard
from gateway.api.interceptors import IdentityGuard, MethodTableGuard, RevocationGuard, guards
from gateway.api.limiting import IdentityLimitGuard
from gateway.api.server import ServerOptions, channel_arguments, check_handler
from gateway.api.telemetry import TelemetryGuard
from gateway.identity import CallerResolver
from smsgw.v1 import message_service_pb2 as pb
from smsgw.v1.message_service_pb2_grpc import MessageServiceStub
from tests.certificates import TestAuthority
from tests.gateway.api.refusals import refusal, stream_refusal
from tests.gateway.api.rig import AUTHORITY, TIMEOUT_S, Rig, message, running_rig
from tests.gateway.revocation.samples import deny_list, identity

StatusCode = grpc.StatusCode
SERVING, NOT_SERVING, UNKNOWN = 1, 2, 3
SERVICE = "smsgw.v1.MessageService"


async def code_of(call: Any) -> grpc.StatusCode:
    """Return the code with which a unary call failed."""
    with pytest.raises(grpc.aio.AioRpcError) as error:
        await call
    return error.value.code()


def test_order_of_guards(rig: Rig) -> None:
    """The order is the design's: telemetry, identity, revocation, limits, drain, method table, authorization, audit."""
    resolver = CallerResolver(rig.bundles, lambda _: None)
    chain = guards(
        TelemetryGuard(rig.tracing, rig.meters),
        resolver,
        rig.identity_clock,
        rig.revoked,
        rig.authorizer,
        rig.recorder,
        rig.limits,
        rig.connections.recognised,
        rig.draining,
    )
    assert [type(guard) for guard in chain] == [
        TelemetryGuard,
        IdentityGuard,
        RevocationGuard,
        IdentityLimitGuard,
        DrainGuard,
        MethodTableGuard,
        AuthorizationGuard,
        AuditGuard,
    ]


async def test_plain_text_refused(rig: Rig) -> None:
    """A client without TLS gets nowhere."""
    async with grpc.aio.insecure_channel(f"127.0.0.1:{rig.port}") as channel:
        call = MessageServiceStub(channel).GetMessage(pb.GetMessageRequest(), timeout=TIMEOUT_S)
        assert await code_of(call) == StatusCode.UNAVAILABLE


async def test_no_client_certificate(rig: Rig) -> None:
    """A client without a certificate gets nowhere."""
    credentials = grpc.ssl_channel_credentials(AUTHORITY.bundle_pem)
    async with grpc.aio.secure_channel(f"localhost:{rig.port}", credentials) as channel:
        call = MessageServiceStub(channel).GetMessage(pb.GetMessageRequest(), timeout=TIMEOUT_S)
        assert await code_of(call) == StatusCode.UNAVAILABLE


async def test_two_uri_sans(rig: Rig) -> None:
    """A certificate that TLS takes and SPIFFE does not is refused by the guard, with its reason."""
    uris = ("spiffe://example.org/payments/a", "spiffe://example.org/shop/b")
    client = rig.client("/payments", uris=uris)
    refused = await refusal(client.GetMessage(pb.GetMessageRequest(), timeout=TIMEOUT_S))
    assert (refused.code, refused.reason) == (StatusCode.UNAUTHENTICATED, "MANY_URI_SANS")


async def test_expired_between_calls(rig: Rig) -> None:
    """A connection outlives its certificate; its next call does not."""
    client = rig.client("/payments/api")
    await client.ListMessages(pb.ListMessagesRequest(), timeout=TIMEOUT_S)
    rig.identity_clock.ahead = dt.timedelta(hours=2)
    refused = await refusal(client.ListMessages(pb.ListMessagesRequest(), timeout=TIMEOUT_S))
    assert (refused.code, refused.reason) == (StatusCode.UNAUTHENTICATED, "EXPIRED")


async def test_expired_in_a_stream(rig: Rig) -> None:
    """A stream of messages ends with the frame that comes after its certificate's end; nothing of it is stored."""
    stream = rig.client("/payments/api").StreamMessages(timeout=TIMEOUT_S)
    await stream.write(pb.StreamMessagesRequest(tag=1, messages=[message()]))
    assert isinstance(await stream.read(), pb.StreamMessagesResponse)
    rig.identity_clock.ahead = dt.timedelta(hours=2)
    await stream.write(pb.StreamMessagesRequest(tag=2, messages=[message()]))
    refused = await refusal(stream.read())
    assert (refused.code, refused.reason) == (StatusCode.UNAUTHENTICATED, "EXPIRED")
    assert rig.intake.calls == [1]


async def test_expired_in_a_watch(rig: Rig) -> None:
    """A watch ends before it would tell something after its certificate's end."""
    watch = rig.client("/payments/api").WatchEvents(pb.WatchEventsRequest(), timeout=TIMEOUT_S)
    await anext(aiter(watch))
    rig.identity_clock.ahead = dt.timedelta(hours=2)
    await rig.receive("payments", [InboundPart("+4915112345678", "12345", None, 1, 1, 0, b"hi", b"")])
    refused = await stream_refusal(aiter(watch))
    assert (refused.code, refused.reason) == (StatusCode.UNAUTHENTICATED, "EXPIRED")


def bundle(*authorities: TestAuthority) -> Bundle:
    """Return a bundle of the rig's trust domain."""
    return Bundle.from_pem(TrustDomain("example.org"), b"".join(each.bundle_pem for each in authorities))


async def test_an_authority_leaves_the_bundle(rig: Rig) -> None:
    """Streams of an authority that is trusted no more are refused at their next message, in and out; others go on."""
    other = TestAuthority("example.org", now=AUTHORITY.now)
    rig.bundles.replace([bundle(AUTHORITY, other)])
    stays, goes = (rig.client(f"/payments/{name}").StreamMessages(timeout=TIMEOUT_S) for name in ("one", "two"))
    watch = rig.client("/payments/watch").WatchEvents(pb.WatchEventsRequest(), timeout=TIMEOUT_S)
    await anext(aiter(watch))
    for stream in (stays, goes):
        await stream.write(pb.StreamMessagesRequest(tag=1, messages=[message()]))
        assert isinstance(await stream.read(), pb.StreamMessagesResponse)
    rig.bundles.replace([bundle(AUTHORITY)])  # something else left: nobody notices
    await stays.write(pb.StreamMessagesRequest(tag=2, messages=[message()]))
    assert isinstance(await stays.read(), pb.StreamMessagesResponse)
    rig.bundles.replace([bundle(other)])
    await goes.write(pb.StreamMessagesRequest(tag=2, messages=[message()]))
    refused = await refusal(goes.read())
    assert (refused.code, refused.reason) == (StatusCode.UNAUTHENTICATED, "UNTRUSTED")
    assert rig.intake.calls == [1, 1, 1]
    await rig.receive("payments", [InboundPart("+4915112345678", "12345", None, 1, 1, 0, b"hi", b"")])
    refused = await stream_refusal(aiter(watch))
    assert (refused.code, refused.reason) == (StatusCode.UNAUTHENTICATED, "UNTRUSTED")


async def test_health(rig: Rig) -> None:
    """The node is SERVING only while it says so; an unknown service is NOT_FOUND."""
    health = rig.health("/payments/api")

    async def check(service: str) -> int:
        return int((await health.Check(health_pb2.HealthCheckRequest(service=service), timeout=TIMEOUT_S)).status)

    assert [await check(""), await check(SERVICE)] == [NOT_SERVING] * 2
    rig.server.set_serving(True)
    assert [await check(""), await check(SERVICE)] == [SERVING] * 2
    listed = await health.List(health_pb2.HealthListRequest(), timeout=TIMEOUT_S)
    assert {service: status.status for service, status in listed.statuses.items()} == {"": SERVING, SERVICE: SERVING}
    assert (await refusal(check("other"))).code == StatusCode.NOT_FOUND


async def test_health_watch(rig: Rig) -> None:
    """A health watch tells each change, and ends when the node stops."""
    watches = [
        aiter(rig.health("/payments/api").Watch(health_pb2.HealthCheckRequest(service=service), timeout=TIMEOUT_S))
        for service in ("", "other")
    ]
    assert [(await anext(watch)).status for watch in watches] == [NOT_SERVING, UNKNOWN]
    rig.server.set_serving(True)
    assert (await anext(watches[0])).status == SERVING
    stopping = asyncio.create_task(rig.server.stop(TIMEOUT_S))
    assert [response.status async for response in watches[0]] == [NOT_SERVING]
    assert [response.status async for response in watches[1]] == []
    await stopping


async def test_drain(rig: Rig) -> None:
    """At the end watches and streams are told to go elsewhere, and nothing waits for the end of the grace."""
    client = rig.client("/payments/api")
    watch = aiter(client.WatchEvents(pb.WatchEventsRequest(), timeout=TIMEOUT_S))
    await anext(watch)
    stream = client.StreamMessages(timeout=TIMEOUT_S)
    await stream.write(pb.StreamMessagesRequest(tag=1, messages=[message()]))
    reply = await stream.read()
    assert isinstance(reply, pb.StreamMessagesResponse)
    async with asyncio.timeout(TIMEOUT_S):
        await rig.server.stop(TIMEOUT_S)
    for ended in (await stream_refusal(watch), await refusal(stream.read())):
        assert (ended.code, ended.reason) == (StatusCode.UNAVAILABLE, "SHUTTING_DOWN")
        assert ended.retry_after_s is not None
    assert await code_of(client.SendMessage(pb.SendMessageRequest(), timeout=TIMEOUT_S)) == StatusCode.UNAVAILABLE


async def test_request_too_large(rig: Rig) -> None:
    """A request beyond the bound is refused before it is parsed."""
    request = pb.GetMessageRequest(message_id="x" * (5 << 20))
    call = rig.client("/payments/api").GetMessage(request, timeout=TIMEOUT_S)
    assert await code_of(call) == StatusCode.RESOURCE_EXHAUSTED


async def test_metadata_too_large(rig: Rig) -> None:
    """Metadata beyond the bound is refused."""
    metadata = (("x-large", "x" * 20_000),)
    call = rig.client("/payments/api").GetMessage(pb.GetMessageRequest(), timeout=TIMEOUT_S, metadata=metadata)
    assert await code_of(call) == StatusCode.RESOURCE_EXHAUSTED


async def test_address_in_use(rig: Rig, tmp_path: Path) -> None:
    """A second server on the same port is refused: the address is not shared."""
    folder = tmp_path / "second"
    folder.mkdir()
    async with running_rig(folder) as second:
        with pytest.raises(OSError, match=f"cannot listen on 127.0.0.1:{rig.port}"):
            await second.server.start(f"127.0.0.1:{rig.port}", second.credentials())


async def test_slow_watcher_costs_nothing(rig: Rig) -> None:
    """A watcher that does not read holds up neither senders nor other watchers, and later reads everything."""
    client = rig.client("/payments/api")
    oldest = pb.WatchEventsRequest(start=pb.WATCH_START_OLDEST)
    slow, quick = (client.WatchEvents(oldest, timeout=TIMEOUT_S) for _ in range(2))
    batch = pb.SendMessagesRequest(messages=[message(client_reference="r" * 128)] * 1000)

    async def read(watch: Any) -> list[str]:
        seen: list[str] = []
        async for response in watch:
            seen += [event.state_change.message_id for event in response.events]
            if len(seen) == 5000:
                return seen
        return seen

    await anext(aiter(slow))
    reading = asyncio.create_task(read(quick))
    sent = [
        result.accepted.message_id
        for _ in range(5)
        for result in (await client.SendMessages(batch, timeout=TIMEOUT_S)).results
    ]
    assert await reading == sent
    assert await read(slow) == sent
    for watch in (slow, quick):
        watch.cancel()


def test_channel_arguments() -> None:
    """The bounds reach gRPC under its names and in its units."""
    arguments = dict(channel_arguments(ServerOptions()))
    assert arguments["grpc.max_receive_message_length"] == 4 << 20
    assert arguments["grpc.max_connection_age_ms"] == 3_600_000
    assert arguments["grpc.max_connection_age_grace_ms"] == 60_000
    assert arguments["grpc.so_reuseport"] == 0
    assert all(isinstance(value, int) for value in arguments.values())


async def _unary(request: Any, context: Any) -> Any:
    """Answer once."""


def _sync(request: Any, context: Any) -> Any:
    """Answer from a thread."""


async def _stream(request: Any, context: Any) -> Any:
    """Answer often."""
    yield request


@pytest.mark.parametrize(
    ("make", "behaviour", "fits"),
    [(grpc.unary_unary_rpc_method_handler, _unary, True), (grpc.unary_unary_rpc_method_handler, _sync, False),
     (grpc.unary_unary_rpc_method_handler, _stream, False), (grpc.stream_unary_rpc_method_handler, _unary, True),
     (grpc.stream_unary_rpc_method_handler, _sync, False), (grpc.unary_stream_rpc_method_handler, _stream, True),
     (grpc.unary_stream_rpc_method_handler, _unary, False), (grpc.unary_stream_rpc_method_handler, _sync, False),
     (grpc.stream_stream_rpc_method_handler, _stream, True), (grpc.stream_stream_rpc_method_handler, _unary, False)],
)  # fmt: skip
def test_handlers_checked(make: Any, behaviour: Any, fits: bool) -> None:
    """A handler that could go around the guards stops the start, by name."""
    if fits:
        check_handler("/x/Y", make(behaviour))
        return
    with pytest.raises(ValueError, match="/x/Y cannot be guarded"):
        check_handler("/x/Y", make(behaviour))


async def test_revocation_refuses_new_calls_and_cuts_a_watch(rig: Rig) -> None:
    """A revoked caller's watch ends at once with UNAUTHENTICATED and REVOKED; so does its next call; others go on."""
    stolen, good = rig.client("/payments/stolen"), rig.client("/payments/good")
    watch = stolen.WatchEvents(pb.WatchEventsRequest(), timeout=TIMEOUT_S)
    await watch.read()
    assert rig.revoked.apply(deny_list(identity("spiffe://example.org/payments/stolen"))) == 1
    with pytest.raises(grpc.aio.AioRpcError) as cut:
        await watch.read()
    assert cut.value.code() == StatusCode.UNAUTHENTICATED
    assert "revoked" in (cut.value.details() or "")
    assert await code_of(stolen.ListMessages(pb.ListMessagesRequest(), timeout=TIMEOUT_S)) == StatusCode.UNAUTHENTICATED
    await good.ListMessages(pb.ListMessagesRequest(), timeout=TIMEOUT_S)
