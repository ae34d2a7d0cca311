"""What a node sees of a call: its trace context, its key, its authority, and that the transport is TLS 1.3."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import grpc
import grpc.aio
import pytest
from opentelemetry import trace
from opentelemetry.trace import NonRecordingSpan, SpanContext, TraceFlags

from smsgw.v1 import message_pb2 as pb
from smsgw.v1 import message_service_pb2 as api
from tests.client.callers import Workload, otp
from tests.gateway.api.rig import AUTHORITY

GIVEN = f"00-{'ab' * 16}-{'cd' * 8}-01"


@dataclass
class Seen:
    """A node that takes everything, and remembers how it came."""

    calls: list[dict[str, str]] = field(default_factory=list)
    keys: list[str] = field(default_factory=list)

    async def send(self, request: Any, context: Any) -> Any:
        """Take one."""
        metadata = {key: value for key, value in context.invocation_metadata() if isinstance(value, str)}
        self.calls.append({**metadata, "peer": context.auth_context()["peer_spiffe_id"][0].decode()})
        self.keys.append(request.message.idempotency_key)
        return api.SendMessageResponse(accepted=pb.AcceptedMessage(message_id="1", state=pb.MESSAGE_STATE_ACCEPTED))


@asynccontextmanager
async def seen() -> AsyncIterator[tuple[Seen, int]]:
    """Run such a node."""
    own, node = AUTHORITY.svid("/gateway"), Seen()
    server = grpc.aio.server()
    handler = grpc.unary_unary_rpc_method_handler(
        node.send, api.SendMessageRequest.FromString, api.SendMessageResponse.SerializeToString
    )
    server.add_generic_rpc_handlers(
        [grpc.method_handlers_generic_handler("smsgw.v1.MessageService", {"SendMessage": handler})]
    )
    credentials = grpc.ssl_server_credentials([(own.key_pem, own.presented_pem)], AUTHORITY.bundle_pem, True)
    port = server.add_secure_port("127.0.0.1:0", credentials)
    await server.start()
    try:
        yield node, port
    finally:
        await server.stop(0)


async def test_what_a_call_carries(workload: Workload) -> None:
    """The current span, a given context or none; a key in each message; our identity; nothing beside."""
    context = SpanContext(0xABC, 0xDEF, is_remote=False, trace_flags=TraceFlags(TraceFlags.SAMPLED))
    async with seen() as (node, port), workload.async_client(port) as sms:
        with trace.use_span(NonRecordingSpan(context)):
            await sms.send(otp())
        await sms.send(otp(), traceparent=GIVEN)
        await sms.send(otp())
        with workload.client(port) as blocking:
            await asyncio.to_thread(blocking.send, otp(), traceparent=GIVEN)
    expected = [f"00-{0xABC:032x}-{0xDEF:016x}-01", GIVEN, None, GIVEN]
    assert [call.get("traceparent") for call in node.calls] == expected
    assert {call["peer"] for call in node.calls} == {"spiffe://example.org/payments/api"}
    assert all({"peer", "user-agent"} >= set(call) - {"traceparent"} for call in node.calls)
    assert all(node.keys)
    assert len(set(node.keys)) == 4


async def test_a_bad_context_is_refused_before_anything_is_sent(workload: Workload) -> None:
    """A text that is no traceparent is the caller's mistake."""
    async with seen() as (node, port), workload.async_client(port) as sms:
        with pytest.raises(ValueError, match="traceparent"):
            await sms.send(otp(), traceparent="nonsense")
    assert node.calls == []
