"""The whole chain, received by a real OTLP service over TLS: from the caller's span to a receipt hours later."""

from __future__ import annotations

import asyncio
import logging
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

import grpc
import pytest
from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status

from gateway.cli.logs import RedactingJsonFormatter
from gateway.ids import from_text
from gateway.states import State
from gateway.telemetry.context import current_span, unpack
from smsgw.v1 import message_pb2
from smsgw.v1 import message_service_pb2 as pb
from tests.gateway.api.rig import NOW, TIMEOUT_S, message
from tests.gateway.telemetry.chain import Chain, running
from tests.gateway.telemetry.receiver import plain
from tests.plaintext import Place, Search

HOUR = 3600 * 1_000_000
TRACE, SPAN = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
NUMBER = "+4915112345678"
TEXT = "Your secret code is 861947035284 at ACME"
CALLER = (
    ("traceparent", f"00-{TRACE}-{SPAN}-00"),  # the caller does not sample: that is its own business
    ("tracestate", "vendor=opaque-value-of-somebody"),
    ("baggage", f"number={NUMBER}"),
)


def named(spans: list[Span], name: str) -> Span:
    """Return the one span of this name."""
    (found,) = [span for span in spans if span.name == name]
    return found


def tree(spans: list[Span]) -> dict[str, str]:
    """Return the name of each span's parent; "" for none that came."""
    names = {span.span_id: span.name for span in spans}
    return {span.name: names.get(span.parent_span_id, "") for span in spans}


async def send(chain: Chain, *, metadata: Any = (), **fields: Any) -> str:
    """Send one message; its id."""
    request = pb.SendMessageRequest(message=message(content=message_pb2.Content(text=TEXT), **fields))
    client = chain.api.client("/payments/otp")
    response = await client.SendMessage(request, metadata=metadata, timeout=TIMEOUT_S)
    return response.accepted.message_id


async def test_one_trace_from_the_callers_span_to_a_receipt_hours_later(tmp_path: Path) -> None:
    """A single call's message stays in the caller's trace: accepted, sealed, committed, dispatched, sent, receipted."""
    async with running(tmp_path) as chain:
        message_id = await send(chain, metadata=CALLER)
        (carrier_id,) = await chain.taken(1)
        chain.now.now += 5 * HOUR
        await chain.receipts(carrier_id)
        spans = await chain.exported()
    assert {span.trace_id.hex() for span in spans} == {TRACE}
    assert tree(spans) == {
        "smsgw.v1.MessageService/SendMessage": "",
        "send otp": "smsgw.v1.MessageService/SendMessage",
        "seal": "send otp",
        "store accept": "send otp",
        "process otp": "send otp",
        "store sending": "process otp",
        "encode": "process otp",
        "submit_sm acme": "process otp",
        "store settle": "process otp",
        "receipt acme": "send otp",
    }
    assert len({span.span_id for span in spans}) == len(spans)
    call = named(spans, "smsgw.v1.MessageService/SendMessage")
    assert call.parent_span_id.hex() == SPAN
    kinds = {span.name: Span.SpanKind.Name(span.kind).removeprefix("SPAN_KIND_") for span in spans}
    assert kinds == {
        "smsgw.v1.MessageService/SendMessage": "SERVER",
        "send otp": "PRODUCER",
        "seal": "INTERNAL",
        "store accept": "CLIENT",
        "process otp": "CONSUMER",
        "store sending": "CLIENT",
        "encode": "INTERNAL",
        "submit_sm acme": "CLIENT",
        "store settle": "CLIENT",
        "receipt acme": "CONSUMER",
    }
    assert plain(call.attributes) == {
        "rpc.system.name": "grpc",
        "rpc.method": "smsgw.v1.MessageService/SendMessage",
        "rpc.response.status_code": "OK",
    }
    assert plain(named(spans, "send otp").attributes) == {
        "messaging.system": "smsgw",
        "messaging.operation.name": "send",
        "messaging.operation.type": "send",
        "messaging.destination.name": "otp",
        "messaging.message.id": message_id,
        "smsgw.tenant": "payments",
        "smsgw.segments": 1,
        "smsgw.verdict": "STORED",
    }
    assert plain(named(spans, "submit_sm acme").attributes) == {
        "network.protocol.name": "smpp",
        "network.protocol.version": "3.4",
        "smpp.pdu": "submit_sm",
        "smpp.carrier": "acme",
        "smpp.link": "acme/0",
        "smpp.parts": 1,
        "smpp.parts.sent": 1,
        "smpp.command_status": "ESME_ROK",
    }
    receipt = named(spans, "receipt acme")
    assert plain(receipt.attributes).items() >= {"smsgw.state": "DELIVERED", "smsgw.part.state": "DELIVERED"}.items()
    assert receipt.start_time_unix_nano >= (NOW + 5 * HOUR) * 1000
    assert all(span.start_time_unix_nano <= span.end_time_unix_nano for span in spans)
    assert all(span.status.code == Status.STATUS_CODE_UNSET for span in spans)
    assert not any(span.trace_state for span in spans)
    assert all(not span.links for span in spans)


async def test_a_batch_has_a_linked_trace_for_each_message(tmp_path: Path) -> None:
    """Messages of a batch have traces of their own, linked to the call's span; a receipt finds its message's."""
    async with running(tmp_path) as chain:
        client = chain.api.client("/payments")
        texts = ("one", "two", "three")
        batch = [message(category=2, content=message_pb2.Content(text=text)) for text in texts]
        await client.SendMessages(pb.SendMessagesRequest(messages=batch), metadata=CALLER, timeout=TIMEOUT_S)
        ids = await chain.taken(3)
        await chain.receipts(*ids)
        spans = await chain.exported()
    call = named(spans, "smsgw.v1.MessageService/SendMessages")
    assert call.trace_id.hex() == TRACE
    roots = [span for span in spans if span.name == "send transactional"]
    assert len({root.trace_id for root in roots} | {call.trace_id}) == 4
    for root in roots:
        assert not root.parent_span_id
        (link,) = root.links
        assert (link.trace_id, link.span_id) == (call.trace_id, call.span_id)
        assert not link.trace_state
        own = [span for span in spans if span.trace_id == root.trace_id]
        assert tree(own)["receipt acme"] == "send transactional"
        assert len(own) == 9
        assert plain(root.attributes)["messaging.batch.message_count"] == 3


async def test_a_stream_links_its_messages(tmp_path: Path) -> None:
    """Messages of a stream are sampled as they come, and linked to the stream's span, which comes when it ends."""
    async with running(tmp_path) as chain:
        stream = chain.api.client("/payments").StreamMessages(metadata=CALLER, timeout=TIMEOUT_S)
        for tag in (1, 2):
            await stream.write(pb.StreamMessagesRequest(tag=tag, messages=[message()]))
            reply: Any = await stream.read()
            assert reply.tag == tag
        await stream.done_writing()
        assert await stream.read() is grpc.aio.EOF
        await chain.taken(2)
        spans = await chain.exported()
    call = named(spans, "smsgw.v1.MessageService/StreamMessages")
    roots = [span for span in spans if span.name == "send otp"]
    assert [link.span_id for root in roots for link in root.links] == [call.span_id] * 2
    assert len({root.trace_id for root in roots}) == 2


async def test_a_stream_that_is_not_sampled_itself(tmp_path: Path) -> None:
    """When the rate was spent at its beginning, its later messages are sampled, and link to the caller's span."""
    async with running(tmp_path, rate=1) as chain:
        await send(chain)
        stream = chain.api.client("/payments").StreamMessages(metadata=CALLER, timeout=TIMEOUT_S)
        await stream.write(pb.StreamMessagesRequest(tag=1, messages=[message()]))
        await stream.read()
        chain.now.now += 2_000_000
        await stream.write(pb.StreamMessagesRequest(tag=2, messages=[message()]))
        await stream.read()
        await stream.done_writing()
        await chain.taken(3)
        spans = await chain.exported()
    assert not [span for span in spans if span.name.endswith("/StreamMessages")]
    roots = [span for span in spans if span.name == "send otp" and span.links]
    assert [(link.trace_id.hex(), link.span_id.hex()) for root in roots for link in root.links] == [(TRACE, SPAN)]


async def test_the_rate_is_kept_whatever_callers_want(tmp_path: Path) -> None:
    """At a rate of two, two of five messages are traced; the sampled flag of the others changes nothing."""
    wanted = (("traceparent", f"00-{TRACE}-{SPAN}-01"),)
    async with running(tmp_path, rate=2) as chain:
        ids = [await send(chain, metadata=wanted) for _ in range(5)]
        await chain.taken(5)
        client = chain.api.client("/payments")
        await client.SendMessages(
            pb.SendMessagesRequest(messages=[message() for _ in range(20)]), metadata=wanted, timeout=TIMEOUT_S
        )
        await chain.taken(20)
        spans = await chain.exported()
    traced = {plain(span.attributes)["messaging.message.id"] for span in spans if span.name == "send otp"}
    assert traced == set(ids[:2])
    assert len([span for span in spans if span.kind == Span.SPAN_KIND_SERVER]) == 2


async def test_a_batch_shares_what_is_left(tmp_path: Path) -> None:
    """The call takes one of the second's traces, and evenly spaced messages the others."""
    async with running(tmp_path, rate=5) as chain:
        client = chain.api.client("/payments")
        request = pb.SendMessagesRequest(messages=[message() for _ in range(20)])
        response = await client.SendMessages(request, timeout=TIMEOUT_S)
        await chain.taken(20)
        spans = await chain.exported()
    order = [result.accepted.message_id for result in response.results]
    traced = [plain(span.attributes)["messaging.message.id"] for span in spans if span.name == "send otp"]
    assert sorted(order.index(str(one)) for one in traced) == [0, 5, 10, 15]


@contextmanager
def library_calls() -> Iterator[list[str]]:
    """Note every function of OpenTelemetry that this thread calls: the event loop's work is done here."""
    calls: list[str] = []

    def note(frame: FrameType, event: str, _: object) -> None:
        if event == "call" and re.search(r"/opentelemetry/|/prometheus_client/", frame.f_code.co_filename):
            calls.append(frame.f_code.co_qualname)

    sys.setprofile(note)
    try:
        yield calls
    finally:
        sys.setprofile(None)


async def test_what_is_not_sampled_touches_no_span_api(tmp_path: Path) -> None:
    """From the call to the receipt not one function of the library runs for messages that are not sampled."""
    async with running(tmp_path, rate=1) as chain:
        client = chain.api.client("/payments")
        single, batch = pb.SendMessageRequest(message=message()), pb.SendMessagesRequest(messages=[message()] * 10)
        with library_calls() as calls:
            await client.SendMessage(single, timeout=TIMEOUT_S)
            ids = await chain.taken(1)
            await chain.receipts(*ids)
        assert "Tracer.start_span" in calls  # this one is sampled: the notes see what there is to see
        with library_calls() as calls:
            await client.SendMessage(single, metadata=CALLER, timeout=TIMEOUT_S)
            await client.SendMessages(batch, metadata=CALLER, timeout=TIMEOUT_S)
            ids = await chain.taken(11)
            await chain.receipts(*ids)
        assert calls == []


async def test_an_attempt_that_has_to_be_repeated(tmp_path: Path) -> None:
    """A throttled attempt ends with its status and its reason; the next one is a span of its own."""
    async with running(tmp_path) as chain:
        await send(chain)
        await chain.until(lambda: len(chain.link.held) == 1)
        chain.link.finish(1, status=0x58)
        chain.now.now += 60_000_000
        await chain.taken(1)
        spans = await chain.exported()
    attempts = sorted((s for s in spans if s.name == "process otp"), key=lambda span: span.start_time_unix_nano)
    assert [plain(span.attributes)["smsgw.attempt"] for span in attempts] == [1, 2]
    assert plain(attempts[0].attributes)["smsgw.reason"] == "CARRIER_BUSY"
    first, second = (
        next(span for span in spans if span.name == "submit_sm acme" and span.parent_span_id == attempt.span_id)
        for attempt in attempts
    )
    assert plain(first.attributes)["smpp.command_status"] == plain(first.attributes)["error.type"] == "ESME_RTHROTTLED"
    assert first.status.code == Status.STATUS_CODE_ERROR
    assert plain(second.attributes)["smpp.command_status"] == "ESME_ROK"
    assert len({span.trace_id for span in spans}) == 1


async def test_no_answer_and_a_resend(tmp_path: Path) -> None:
    """What was written and not answered says so, without a status."""
    async with running(tmp_path) as chain:
        await send(chain)
        await chain.until(lambda: len(chain.link.held) == 1)
        chain.link.lose()
        chain.link.come_back()
        chain.now.now += 1_000_000
        await chain.taken(1)
        spans = await chain.exported()
    lost = [plain(span.attributes) for span in spans if span.name == "submit_sm acme"]
    assert [attributes.get("error.type") for attributes in lost] == ["IN_DOUBT", None]
    assert "smpp.command_status" not in lost[0]


async def test_a_restart_goes_on_with_the_trace(tmp_path: Path) -> None:
    """A message that was accepted by one process and sent by the next keeps its trace."""
    async with running(tmp_path) as chain:
        chain.link.state = type(chain.link.state).BACKOFF
        message_id = await send(chain, metadata=CALLER)
        before = await chain.exported()
    async with running(tmp_path) as chain:
        chain.now.now += 1_000_000
        ids = await chain.taken(1)
        await chain.receipts(*ids)
        after = await chain.exported()
    assert tree(before)["send otp"]
    assert {span.trace_id.hex() for span in before + after} == {TRACE}
    assert {span.name for span in after} >= {"process otp", "submit_sm acme", "receipt acme"}
    assert named(after, "receipt acme").parent_span_id == named(before, "send otp").span_id
    assert plain(named(after, "process otp").attributes)["messaging.message.id"] == message_id


async def test_a_part_has_a_receipt_span_of_its_own(tmp_path: Path) -> None:
    """A long message is one submit_sm span of three parts, and three receipts."""
    async with running(tmp_path) as chain:
        request = pb.SendMessageRequest(message=message(content=message_pb2.Content(text="x" * 400)))
        await chain.api.client("/payments").SendMessage(request, timeout=TIMEOUT_S)
        await chain.receipts(*await chain.taken(3))
        spans = await chain.exported()
    assert plain(named(spans, "submit_sm acme").attributes).items() >= {"smpp.parts": 3, "smpp.parts.sent": 3}.items()
    receipts = [plain(span.attributes) for span in spans if span.name == "receipt acme"]
    assert [receipt["smsgw.part.state"] for receipt in receipts] == ["DELIVERED"] * 3


async def test_failures_are_told_by_code_and_reason(tmp_path: Path) -> None:
    """A refused call has its span with code and reason, and is counted; a failing server's span is an error."""
    async with running(tmp_path) as chain:
        nobody = chain.api.client("/nobody")
        with pytest.raises(grpc.aio.AioRpcError):
            await nobody.SendMessage(pb.SendMessageRequest(message=message()), timeout=TIMEOUT_S)
        await chain.store.close()
        with pytest.raises(grpc.aio.AioRpcError):
            await send(chain)
        page = chain.telemetry.page().decode()
        spans = await chain.exported()
    refused, failed = (plain(span.attributes) for span in spans if span.kind == Span.SPAN_KIND_SERVER)
    assert (refused["rpc.response.status_code"], refused["smsgw.reason"]) == ("PERMISSION_DENIED", "NO_TENANT")
    assert (failed["rpc.response.status_code"], failed["error.type"]) == ("UNAVAILABLE", "UNAVAILABLE")
    errors = [span for span in spans if span.status.code == Status.STATUS_CODE_ERROR]
    assert not any(span.status.message for span in errors)
    assert plain(named(spans, "send otp").attributes)["error.type"] == "StoreUnavailable"
    assert 'smsgw_denials_total{reason="NO_TENANT"} 1.0' in page


async def test_nothing_personal_is_exported(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Numbers, texts, codes, references, labels and idempotency keys are in no span, no metric and no log line."""
    caplog.set_level(logging.DEBUG)
    needles = {
        "number": NUMBER[1:],
        "text": TEXT,
        "code": "861947035284",
        "reference": "order-of-Jane-Doe",
        "label": "label-of-Jane-Doe",
        "key": "idempotency-of-Jane-Doe",
        "sender": "JaneDoe",
        "state": "opaque-value-of-somebody",
    }
    fields: dict[str, Any] = {
        "recipient": NUMBER,
        "sender": needles["sender"],
        "client_reference": needles["reference"],
        "labels": {"who": needles["label"]},
        "idempotency_key": needles["key"],
    }
    async with running(tmp_path) as chain:
        await send(chain, metadata=CALLER, **fields)
        await send(chain, metadata=CALLER, **fields)
        ids = await chain.taken(1)
        await chain.receipts(*ids, stat="UNDELIV", text=TEXT)
        await chain.receipts(f"id-{NUMBER}", stat=NUMBER, text=TEXT)
        page = chain.telemetry.page()
        spans = await chain.exported()
        octets = chain.receiver.octets
    assert {plain(span.attributes).get("smsgw.verdict") for span in spans} >= {"STORED", "REPLAYED"}
    assert named(spans, "receipt acme").links == []
    assert b"smsgw.messages.ended" in octets
    log = "\n".join(RedactingJsonFormatter().format(record) for record in caplog.records)
    places = [Place("OTLP", octets), Place("the page", page), Place("the log", log.encode())]
    search = Search(needles)
    assert [str(leak) for leak in search.leaks(places)] == []
    assert search.leaks([Place("planted", octets + TEXT.encode())])


async def test_the_log_names_the_span_of_sampled_work(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A line that is written while a sampled message is encoded has the ids of its span; others have none."""
    formatter = RedactingJsonFormatter("%(message)s")
    lines: list[str] = []

    class Handler(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            lines.append(formatter.format(record))

    logger = logging.getLogger("gateway.pipeline.submitting")
    handler = Handler()
    logger.addHandler(handler)
    try:
        async with running(tmp_path) as chain:
            chain.pipeline._dispatcher._encode = _refuse
            await send(chain, metadata=CALLER)
            await chain.until(lambda: bool(lines))
            logger.error("something_else")
            await chain.exported()
    finally:
        logger.removeHandler(handler)
    assert f'"trace_id": "{TRACE}"' in lines[0]
    assert re.search(r'"span_id": "[0-9a-f]{16}"', lines[0])
    assert "trace_id" not in lines[-1]
    assert current_span.get() is None


def _refuse(*_: object) -> tuple[bytes, ...]:
    from carrier.errors import TextError

    raise TextError("it cannot be sent so")


async def test_a_collector_that_is_gone_costs_nothing(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Messages go their way, the end comes, and one line says that telemetry was lost."""
    caplog.set_level(logging.WARNING)
    async with running(tmp_path, server_name="nobody.example.org") as chain:
        message_id = await send(chain)
        await chain.receipts(*await chain.taken(1))
        row = await chain.store.get_message("payments", from_text(message_id))
        assert row is not None
        assert row.state == State.DELIVERED
        assert await chain.exported() == []
    lost = [record for record in caplog.records if record.getMessage() == "telemetry_not_exported"]
    assert len(lost) == 1
    assert chain.telemetry.tracing is not None


async def test_the_stored_context(tmp_path: Path) -> None:
    """Beside a sampled message lie 25 octets that name its own span; beside the others nothing."""
    async with running(tmp_path, rate=1) as chain:
        chain.link.state = type(chain.link.state).BACKOFF
        await send(chain, metadata=CALLER)
        await send(chain, metadata=CALLER)
        await chain.until(lambda: len(chain.pipeline.lanes) == 2)
        (sampled, plan), (other, _) = chain.pipeline.lanes[1].empty()
        spans = await chain.exported()
        chain.pipeline.lanes[1].add(other, plan)
        chain.pipeline.lanes[1].add(sampled, plan)
    context = unpack(sampled.trace)
    assert context is not None
    assert (context.trace_text, context.span_text) == (TRACE, named(spans, "send otp").span_id.hex())
    assert other.trace == b""


async def test_nothing_is_traced_without_a_collector(tmp_path: Path) -> None:
    """A rate of nothing makes no span, and the meters count all the same."""
    async with running(tmp_path, rate=0) as chain:
        await send(chain, metadata=CALLER)
        await chain.receipts(*await chain.taken(1))
        page = await asyncio.to_thread(chain.telemetry.page)
        assert await chain.exported() == []
    assert b'smsgw_messages_ended_total{carrier="acme",category="OTP",state="DELIVERED"} 1.0' in page
