"""WatchEvents, over mutual TLS and a real store."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Any

import grpc
import pytest

from carrier.inbound import InboundPart
from gateway.states import State
from smsgw.v1 import message_service_pb2 as pb
from smsgw.v1.message_pb2 import BinaryContent, Event, InboundMessage
from tests.gateway.api.refusals import stream_refusal
from tests.gateway.api.rig import TIMEOUT_S, Rig, message, send

if TYPE_CHECKING:
    pass  # there are only types of it

StatusCode = grpc.StatusCode


async def next_events(watch: AsyncIterator[pb.WatchEventsResponse], count: int) -> list[Event]:
    """Read a watch until it has brought `count` events."""
    events: list[Event] = []
    async with asyncio.timeout(TIMEOUT_S):
        while len(events) < count:
            events += (await anext(watch)).events
    return events


async def test_watch_first_response_at_once(rig: Rig) -> None:
    """A watch answers at once with its place, even when nothing has ever happened."""
    watch = rig.client("/payments/api").WatchEvents(pb.WatchEventsRequest(), timeout=TIMEOUT_S)
    first = await anext(aiter(watch))
    assert first.cursor
    assert not first.events
    watch.cancel()


async def test_watch_follows(rig: Rig) -> None:
    """A watch from now sees what happens next, and nothing of before."""
    client = rig.client("/payments/api")
    await send(client)
    watch = client.WatchEvents(pb.WatchEventsRequest(), timeout=TIMEOUT_S)
    events = aiter(watch)
    await anext(events)
    message_id = await send(client, client_reference="ref")
    (accepted,) = await next_events(events, 1)
    await rig.settle("payments", message_id, State.REJECTED, reason_code="CARRIER_REJECTED", smpp_status=11)
    (rejected,) = await next_events(events, 1)
    watch.cancel()
    assert [e.state_change.message_id for e in (accepted, rejected)] == [message_id] * 2
    assert [e.state_change.state for e in (accepted, rejected)] == [1, 8]
    assert accepted.state_change.client_reference == "ref"
    assert accepted.state_change.masked_recipient == "+49XXXXXXX5678"
    assert rejected.state_change.reason.smpp_status == 11
    assert rejected.state_change.carrier == "acme"


async def test_watch_resumes(rig: Rig) -> None:
    """From any event's cursor a watch goes on with the next one: nothing is missed, nothing comes twice."""
    client = rig.client("/payments/api")
    batch = pb.SendMessagesRequest(messages=[message()] * 20)
    await client.SendMessages(batch, timeout=TIMEOUT_S)
    whole = client.WatchEvents(pb.WatchEventsRequest(start=pb.WATCH_START_OLDEST), timeout=TIMEOUT_S)
    events = await next_events(aiter(whole), 20)
    whole.cancel()
    for place in (0, 7, 18):
        rest = client.WatchEvents(pb.WatchEventsRequest(cursor=events[place].cursor), timeout=TIMEOUT_S)
        assert await next_events(aiter(rest), 19 - place) == events[place + 1 :]
        rest.cancel()


async def test_watch_catches_up_in_pages(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    """More events than a page holds come in order while new ones are written."""
    monkeypatch.setattr("gateway.api.watching.PAGE", 7)
    client = rig.client("/payments/api")
    await client.SendMessages(pb.SendMessagesRequest(messages=[message()] * 50), timeout=TIMEOUT_S)
    watch = client.WatchEvents(pb.WatchEventsRequest(start=pb.WATCH_START_OLDEST), timeout=TIMEOUT_S)
    sending = client.SendMessages(pb.SendMessagesRequest(messages=[message()] * 50), timeout=TIMEOUT_S)
    events = await next_events(aiter(watch), 100)
    await sending
    watch.cancel()
    assert len({event.state_change.message_id for event in events}) == 100
    assert [rig.cursors.event_seq("payments", event.cursor) for event in events] == list(range(1, 101))


async def test_watch_inbound(rig: Rig) -> None:
    """A message from a handset comes whole, its parts in order, text or octets."""
    client = rig.client("/payments/api")
    watch = client.WatchEvents(pb.WatchEventsRequest(start=pb.WATCH_START_OLDEST), timeout=TIMEOUT_S)
    events = aiter(watch)
    await anext(events)
    halves = ["नमस्ते ", "दुनिया"]
    parts = [
        InboundPart("+4915112345678", "12345", 7, n, 2, 8, half.encode("utf-16-be"), bytes((5, 0, 3, 7, 2, n)))
        for n, half in enumerate(halves, 1)
    ]
    await rig.receive("payments", [parts[1], parts[0]])
    await rig.receive("payments", [InboundPart("+4915112345678", "12345", None, 1, 1, 4, b"\x00\x01", b"")])
    text, octets = await next_events(events, 2)
    watch.cancel()
    assert text.inbound == InboundMessage(
        inbound_id=text.inbound.inbound_id, sender="+4915112345678", recipient="12345", text="नमस्ते दुनिया",
        carrier="acme", segments=2, received_at=text.time,
    )  # fmt: skip
    assert octets.inbound.binary == BinaryContent(data=b"\x00\x01", data_coding=4)


@pytest.mark.parametrize(
    ("fields", "code", "reason"),
    [({"cursor": "x"}, StatusCode.INVALID_ARGUMENT, "CURSOR_INVALID"),
     ({"start": 9}, StatusCode.INVALID_ARGUMENT, "START_INVALID")],
)  # fmt: skip
async def test_watch_refused(rig: Rig, fields: dict[str, Any], code: StatusCode, reason: str) -> None:
    """A watch that begins nowhere is refused."""
    call = rig.client("/payments/api").WatchEvents(pb.WatchEventsRequest(**fields), timeout=TIMEOUT_S)
    refused = await stream_refusal(aiter(call))
    assert (refused.code, refused.reason) == (code, reason)


async def test_watch_cursor_ahead(rig: Rig) -> None:
    """A cursor beyond the log, as after a restore, is told, not waited for."""
    cursor = rig.cursors.event_cursor("payments", 10**6)
    call = rig.client("/payments/api").WatchEvents(pb.WatchEventsRequest(cursor=cursor), timeout=TIMEOUT_S)
    refused = await stream_refusal(aiter(call))
    assert (refused.code, refused.reason) == (StatusCode.FAILED_PRECONDITION, "CURSOR_AHEAD")
