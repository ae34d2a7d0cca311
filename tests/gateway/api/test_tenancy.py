"""Every RPC crossed with a second tenant: what belongs to one does not exist for the other."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

import grpc
import pytest

from carrier.inbound import InboundPart
from gateway.api.methods import METHODS
from smsgw.v1 import message_service_pb2 as pb
from tests.gateway.api.refusals import Refusal, refusal, stream_refusal
from tests.gateway.api.rig import TIMEOUT_S, Rig, message

if TYPE_CHECKING:
    from smsgw.v1.message_service_pb2_grpc import MessageServiceAsyncStub  # there are only types of it

OWNER, STRANGER = "/payments/api", "/shop/web"


async def owned(rig: Rig) -> str:
    """Return the id of a message of the owner's."""
    client = rig.client(OWNER)
    request = pb.SendMessageRequest(message=message(idempotency_key="k", client_reference="secret"))
    return (await client.SendMessage(request, timeout=TIMEOUT_S)).accepted.message_id


async def cross_send(rig: Rig, stranger: MessageServiceAsyncStub) -> None:
    """The owner's idempotency key means nothing to the stranger: the message is its own."""
    message_id = await owned(rig)
    request = pb.SendMessageRequest(message=message(idempotency_key="k", sender="OTHER"))
    accepted = (await stranger.SendMessage(request, timeout=TIMEOUT_S)).accepted
    assert accepted.message_id != message_id
    assert not accepted.replayed


async def cross_batch(rig: Rig, stranger: MessageServiceAsyncStub) -> None:
    """The same in a batch."""
    message_id = await owned(rig)
    request = pb.SendMessagesRequest(messages=[message(idempotency_key="k", client_reference="secret")])
    (result,) = (await stranger.SendMessages(request, timeout=TIMEOUT_S)).results
    assert result.accepted.message_id not in ("", message_id)
    assert not result.accepted.replayed


async def cross_stream(rig: Rig, stranger: MessageServiceAsyncStub) -> None:
    """The same in a stream."""
    message_id = await owned(rig)
    frame = pb.StreamMessagesRequest(messages=[message(idempotency_key="k", client_reference="secret")])
    (reply,) = [reply async for reply in stranger.StreamMessages(iter([frame]), timeout=TIMEOUT_S)]
    assert reply.results[0].accepted.message_id not in ("", message_id)
    assert not reply.results[0].accepted.replayed


async def cross_estimate(rig: Rig, stranger: MessageServiceAsyncStub) -> None:
    """An estimate touches nobody's objects: both tenants get the same answer."""
    request = pb.EstimateMessageRequest(content=message().content)
    theirs = await stranger.EstimateMessage(request, timeout=TIMEOUT_S)
    assert theirs == await rig.client(OWNER).EstimateMessage(request, timeout=TIMEOUT_S)


def require_not_found(refused: Refusal, unknown: Refusal) -> None:
    """The answer is NOT_FOUND, and the same as for an id that nobody has."""
    assert refused.code == grpc.StatusCode.NOT_FOUND
    assert refused == unknown


async def cross_get(rig: Rig, stranger: MessageServiceAsyncStub) -> None:
    """The owner's message cannot be read."""
    ids = [await owned(rig), "0190a5e0-0000-7000-8000-000000000000"]
    calls = [stranger.GetMessage(pb.GetMessageRequest(message_id=i), timeout=TIMEOUT_S) for i in ids]
    require_not_found(*[await refusal(call) for call in calls])


async def cross_cancel(rig: Rig, stranger: MessageServiceAsyncStub) -> None:
    """The owner's message cannot be withdrawn, and stays as it is."""
    message_id = await owned(rig)
    ids = [message_id, "0190a5e0-0000-7000-8000-000000000000"]
    calls = [stranger.CancelMessage(pb.CancelMessageRequest(message_id=i), timeout=TIMEOUT_S) for i in ids]
    require_not_found(*[await refusal(call) for call in calls])
    reply = await rig.client(OWNER).GetMessage(pb.GetMessageRequest(message_id=message_id), timeout=TIMEOUT_S)
    assert reply.message.state == 1


async def cross_list(rig: Rig, stranger: MessageServiceAsyncStub) -> None:
    """The stranger's list is empty, by recipient too, and the owner's page token is no token there."""
    await owned(rig)
    owner = rig.client(OWNER)
    await owner.SendMessage(pb.SendMessageRequest(message=message()), timeout=TIMEOUT_S)
    page = await owner.ListMessages(pb.ListMessagesRequest(page_size=1), timeout=TIMEOUT_S)
    assert page.next_page_token
    for request in (pb.ListMessagesRequest(), pb.ListMessagesRequest(recipient="+4915112345678")):
        assert not (await stranger.ListMessages(request, timeout=TIMEOUT_S)).messages
    foreign = pb.ListMessagesRequest(page_size=1, page_token=page.next_page_token)
    assert (await refusal(stranger.ListMessages(foreign, timeout=TIMEOUT_S))).reason == "PAGE_TOKEN_INVALID"


async def cross_watch(rig: Rig, stranger: MessageServiceAsyncStub) -> None:
    """The stranger's watch sees its own events only, and the owner's cursor is no cursor there."""
    watch = stranger.WatchEvents(pb.WatchEventsRequest(start=pb.WATCH_START_OLDEST), timeout=TIMEOUT_S)
    events = aiter(watch)
    await anext(events)
    await owned(rig)
    await rig.receive("payments", [InboundPart("+4915112345678", "12345", None, 1, 1, 0, b"hi", b"")])
    mine = (await stranger.SendMessage(pb.SendMessageRequest(message=message()), timeout=TIMEOUT_S)).accepted.message_id
    async with asyncio.timeout(TIMEOUT_S):
        first = await anext(events)
    watch.cancel()
    assert [event.state_change.message_id for event in first.events] == [mine]
    theirs = rig.client(OWNER).WatchEvents(pb.WatchEventsRequest(), timeout=TIMEOUT_S)
    cursor = (await anext(aiter(theirs))).cursor
    theirs.cancel()
    refused = await stream_refusal(aiter(stranger.WatchEvents(pb.WatchEventsRequest(cursor=cursor), timeout=TIMEOUT_S)))
    assert refused.reason == "CURSOR_INVALID"


async def cross_keys(rig: Rig, stranger: MessageServiceAsyncStub) -> None:
    """The keys are the same for all; the tenant that they come with is the caller's own."""
    request = pb.GetPayloadKeysRequest()
    theirs = await stranger.GetPayloadKeys(request, timeout=TIMEOUT_S)
    ours = await rig.client(OWNER).GetPayloadKeys(request, timeout=TIMEOUT_S)
    assert (theirs.jwk_set, theirs.tenant, ours.tenant) == (ours.jwk_set, "shop", "payments")


CROSSED: dict[str, Callable[[Rig, MessageServiceAsyncStub], Awaitable[None]]] = {
    "SendMessage": cross_send,
    "SendMessages": cross_batch,
    "StreamMessages": cross_stream,
    "EstimateMessage": cross_estimate,
    "GetPayloadKeys": cross_keys,
    "GetMessage": cross_get,
    "CancelMessage": cross_cancel,
    "ListMessages": cross_list,
    "WatchEvents": cross_watch,
}


def test_every_method_is_crossed() -> None:
    """No method of the service is left out here."""
    service = pb.DESCRIPTOR.services_by_name["MessageService"]
    assert set(CROSSED) == set(service.methods_by_name)
    assert {f"/{service.full_name}/{name}" for name in CROSSED} <= set(METHODS)


@pytest.mark.parametrize("method", CROSSED)
async def test_second_tenant(rig: Rig, method: str) -> None:
    """What belongs to one tenant does not exist for another."""
    await CROSSED[method](rig, rig.client(STRANGER))


async def test_siblings_share(rig: Rig) -> None:
    """Two identities of one tenant see the same messages."""
    message_id = await owned(rig)
    request = pb.GetMessageRequest(message_id=message_id)
    reply = await rig.client("/payments/other").GetMessage(request, timeout=TIMEOUT_S)
    assert reply.message.client_reference == "secret"


async def test_no_tenant(rig: Rig) -> None:
    """An identity that belongs to no tenant may do nothing, not even ask for health."""
    request = pb.SendMessageRequest(message=message())
    refused = await refusal(rig.client("/nobody").SendMessage(request, timeout=TIMEOUT_S))
    assert (refused.code, refused.reason) == (grpc.StatusCode.PERMISSION_DENIED, "NO_TENANT")
