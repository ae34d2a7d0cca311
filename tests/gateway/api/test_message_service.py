"""The RPCs of MessageService but WatchEvents, over mutual TLS and a real store."""

from __future__ import annotations

import itertools
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Any

import grpc
import pytest
from google.protobuf.duration_pb2 import Duration
from google.protobuf.timestamp_pb2 import Timestamp

from gateway.errors import Overloaded, StoreUnavailable, WrongState
from gateway.states import State
from gateway.store.contract import MessageRow
from gateway.store.receipts import Learned, NewReceipt, Source
from smsgw.v1 import message_service_pb2 as pb
from smsgw.v1.message_pb2 import MESSAGE_STATE_ACCEPTED as ACCEPTED
from smsgw.v1.message_pb2 import MESSAGE_STATE_SENDING as SENDING
from smsgw.v1.message_pb2 import BinaryContent, Content, Message
from tests.gateway.api.refusals import from_status, refusal, stream_refusal
from tests.gateway.api.rig import NOW, SECOND, TIMEOUT_S, Rig, message, send

if TYPE_CHECKING:
    from smsgw.v1.message_service_pb2_grpc import MessageServiceAsyncStub  # there are only types of it

StatusCode = grpc.StatusCode


async def get(client: MessageServiceAsyncStub, message_id: str) -> Message:
    """Get one message."""
    return (await client.GetMessage(pb.GetMessageRequest(message_id=message_id), timeout=TIMEOUT_S)).message


async def test_send_and_get(rig: Rig) -> None:
    """A message that was accepted can be read back as it was sent, its number masked."""
    client = rig.client("/payments/api")
    reply = await client.SendMessage(
        pb.SendMessageRequest(
            message=message(
                client_reference="order 7", labels={"team": "a"}, validity=Duration(seconds=60), category=2,
                not_before=Timestamp(seconds=NOW // SECOND + 3600),
            )
        ),
        timeout=TIMEOUT_S,
    )  # fmt: skip
    accepted = reply.accepted
    assert (accepted.state, accepted.segments, accepted.masked_recipient) == (1, 1, "+49XXXXXXX5678")
    assert not accepted.replayed
    found = await get(client, accepted.message_id)
    assert (found.message_id, found.state, found.category, found.sender) == (accepted.message_id, 1, 2, "ACME")
    assert (found.client_reference, dict(found.labels)) == ("order 7", {"team": "a"})
    assert (found.encoding, found.segments, found.attempts, found.carrier) == (1, 1, 0, "")
    assert found.accepted_at.seconds == NOW // SECOND
    assert found.not_before.seconds == NOW // SECOND + 3600
    assert found.expires_at.seconds == NOW // SECOND + 3660
    unset = ("sending_at", "submitted_at", "done_at", "reason")
    assert not any(found.HasField(name) for name in unset)  # type: ignore[arg-type]  # a Literal each


async def test_get_after_settlement(rig: Rig) -> None:
    """What became of a message at the carrier shows in it."""
    client = rig.client("/payments/api")
    message_id = await send(client)
    await rig.settle(
        "payments", message_id, State.REJECTED, reason_code="CARRIER_REJECTED", reason_text="no", smpp_status=11
    )
    found = await get(client, message_id)
    assert (found.state, found.carrier, found.attempts) == (8, "acme", 1)
    assert (found.reason.code, found.reason.text, found.reason.smpp_status) == ("CARRIER_REJECTED", "no", 11)
    assert found.HasField("sending_at")
    assert found.HasField("done_at")
    assert list(found.carrier_message_ids) == ["id-1"]


async def test_send_refused_with_details(rig: Rig) -> None:
    """A refusal carries each field's path and a stable reason, readable by grpc-status."""
    request = pb.SendMessageRequest(message=message(recipient="0151", category=0))
    refused = await refusal(rig.client("/payments/api").SendMessage(request, timeout=TIMEOUT_S))
    assert (refused.code, refused.reason) == (StatusCode.INVALID_ARGUMENT, "RECIPIENT_INVALID")
    assert [(v.field, v.reason) for v in refused.violations] == [
        ("message.recipient", "RECIPIENT_INVALID"),
        ("message.category", "CATEGORY_REQUIRED"),
    ]
    assert rig.intake.calls == []


async def test_send_nothing(rig: Rig) -> None:
    """A request without a message is refused."""
    refused = await refusal(rig.client("/payments/api").SendMessage(pb.SendMessageRequest(), timeout=TIMEOUT_S))
    assert refused.violations[0].field == "message"


async def test_send_sealed(rig: Rig) -> None:
    """Sealed content answers UNIMPLEMENTED while no key can open it."""
    request = pb.SendMessageRequest(message=message(content=Content(sealed_jwe="e30..")))
    refused = await refusal(rig.client("/payments/api").SendMessage(request, timeout=TIMEOUT_S))
    assert (refused.code, refused.reason) == (StatusCode.UNIMPLEMENTED, "SEALED_CONTENT_UNSUPPORTED")


async def test_idempotency(rig: Rig) -> None:
    """The same key with the same content gives the same message; with other content a clear error."""
    client = rig.client("/payments/api")
    first = await send(client, idempotency_key="key-1")
    again = await client.SendMessage(pb.SendMessageRequest(message=message(idempotency_key="key-1")), timeout=TIMEOUT_S)
    assert (again.accepted.message_id, again.accepted.replayed) == (first, True)
    other = pb.SendMessageRequest(message=message(idempotency_key="key-1", sender="OTHER"))
    refused = await refusal(client.SendMessage(other, timeout=TIMEOUT_S))
    assert (refused.code, refused.reason) == (StatusCode.ALREADY_EXISTS, "IDEMPOTENCY_KEY_REUSED")


async def test_idempotency_scope(rig: Rig) -> None:
    """A key counts within one identity: neither a sibling nor another tenant meets it."""
    ids = [await send(rig.client(path), idempotency_key="k") for path in ("/payments/a", "/payments/b", "/shop/a")]
    assert len(set(ids)) == 3


async def test_batch(rig: Rig) -> None:
    """A bad message of a batch does not stop the others; results stand in the batch's order."""
    client = rig.client("/payments/api")
    await send(client, idempotency_key="used")
    batch = [
        message(),
        message(recipient="1"),
        message(idempotency_key="twice"),
        message(content=Content(sealed_jwe="x")),
        message(idempotency_key="twice"),
        message(idempotency_key="used", sender="OTHER"),
    ]
    reply = await client.SendMessages(pb.SendMessagesRequest(messages=batch), timeout=TIMEOUT_S)
    kinds = [result.WhichOneof("result") for result in reply.results]
    assert kinds == ["accepted", "error", "accepted", "error", "accepted", "error"]
    assert reply.results[2].accepted.message_id == reply.results[4].accepted.message_id
    assert reply.results[4].accepted.replayed
    refusals = [from_status(reply.results[index].error) for index in (1, 3, 5)]
    assert [(r.code, r.reason) for r in refusals] == [
        (StatusCode.INVALID_ARGUMENT, "RECIPIENT_INVALID"),
        (StatusCode.UNIMPLEMENTED, "SEALED_CONTENT_UNSUPPORTED"),
        (StatusCode.ALREADY_EXISTS, "IDEMPOTENCY_KEY_REUSED"),
    ]
    assert refusals[0].violations[0].field == "messages[1].recipient"
    assert (await get(client, reply.results[0].accepted.message_id)).state == 1


@pytest.mark.parametrize("count", [0, 1001])
async def test_batch_size(rig: Rig, count: int) -> None:
    """A batch is 1 to 1,000."""
    request = pb.SendMessagesRequest(messages=[message()] * count)
    refused = await refusal(rig.client("/payments/api").SendMessages(request, timeout=TIMEOUT_S))
    assert (refused.code, refused.reason) == (StatusCode.INVALID_ARGUMENT, "BATCH_SIZE")
    assert refused.violations[0].field == "messages"


async def test_largest_batch(rig: Rig) -> None:
    """A batch of 1,000 is one call of the intake."""
    request = pb.SendMessagesRequest(messages=[message()] * 1000)
    reply = await rig.client("/payments/api").SendMessages(request, timeout=TIMEOUT_S)
    assert len({result.accepted.message_id for result in reply.results}) == 1000
    assert rig.intake.calls == [1000]


async def test_batch_all_bad(rig: Rig) -> None:
    """A batch without a good message stores nothing and answers each."""
    request = pb.SendMessagesRequest(messages=[message(sender="")] * 3)
    reply = await rig.client("/payments/api").SendMessages(request, timeout=TIMEOUT_S)
    assert [result.WhichOneof("result") for result in reply.results] == ["error"] * 3
    assert rig.intake.calls == []


@pytest.mark.parametrize(
    ("failure", "code", "retry_after_s"),
    [(Overloaded("full", retry_after_s=0.25), StatusCode.RESOURCE_EXHAUSTED, 0.25),
     (StoreUnavailable("disk full"), StatusCode.UNAVAILABLE, 1.0)],
)  # fmt: skip
async def test_intake_fails(rig: Rig, failure: Exception, code: StatusCode, retry_after_s: float) -> None:
    """When nothing could be stored the whole call fails, and says when to retry."""
    rig.intake.failure = failure
    client = rig.client("/payments/api")
    one = await refusal(client.SendMessage(pb.SendMessageRequest(message=message()), timeout=TIMEOUT_S))
    many = await refusal(client.SendMessages(pb.SendMessagesRequest(messages=[message()]), timeout=TIMEOUT_S))
    assert [(r.code, r.retry_after_s) for r in (one, many)] == [(code, retry_after_s)] * 2


async def test_unexpected_error(rig: Rig, caplog: pytest.LogCaptureFixture) -> None:
    """What nobody foresaw is INTERNAL: the caller gets an incident number, the log the rest."""
    rig.intake.failure = RuntimeError("the secret inside +4915112345678")
    request = pb.SendMessageRequest(message=message())
    refused = await refusal(rig.client("/payments/api").SendMessage(request, timeout=TIMEOUT_S))
    assert (refused.code, refused.reason) == (StatusCode.INTERNAL, "INTERNAL")
    assert "secret" not in refused.text
    (record,) = [record for record in caplog.records if record.message == "unexpected_error"]
    assert record.incident in refused.text  # type: ignore[attr-defined]  # an extra


async def test_stream_in_order(rig: Rig) -> None:
    """Frames are answered in their order, by frames with their tags, each with its own results."""
    frames = [pb.StreamMessagesRequest(tag=tag, messages=[message()] * (1 + tag % 3)) for tag in range(30)]
    replies = [r async for r in rig.client("/payments/api").StreamMessages(iter(frames), timeout=TIMEOUT_S)]
    assert [(reply.tag, len(reply.results)) for reply in replies] == [(tag, 1 + tag % 3) for tag in range(30)]
    assert all(result.accepted.message_id for reply in replies for result in reply.results)


async def test_stream_survives_overload(rig: Rig) -> None:
    """A frame that the node could not take is answered per message, and the stream goes on."""
    stream = rig.client("/payments/api").StreamMessages(timeout=TIMEOUT_S)
    rig.intake.failure = Overloaded("full", retry_after_s=2)
    await stream.write(pb.StreamMessagesRequest(tag=1, messages=[message(), message()]))
    reply = await stream.read()
    assert isinstance(reply, pb.StreamMessagesResponse)
    assert [from_status(r.error)[:2] for r in reply.results] == [(StatusCode.RESOURCE_EXHAUSTED, "OVERLOADED")] * 2
    rig.intake.failure = None
    await stream.write(pb.StreamMessagesRequest(tag=2, messages=[message()]))
    reply = await stream.read()
    assert isinstance(reply, pb.StreamMessagesResponse)
    assert reply.results[0].accepted.message_id
    await stream.done_writing()
    assert await stream.code() == StatusCode.OK


async def test_stream_bad_frame(rig: Rig) -> None:
    """A frame of the wrong size ends the stream, after the answers to the frames before it."""
    frames = [
        pb.StreamMessagesRequest(tag=1, messages=[message()]),
        pb.StreamMessagesRequest(tag=2),
        pb.StreamMessagesRequest(tag=3, messages=[message()]),
    ]
    seen: list[int] = []

    async def tags() -> AsyncIterator[int]:
        async for reply in rig.client("/payments/api").StreamMessages(iter(frames), timeout=TIMEOUT_S):
            seen.append(reply.tag)
            yield reply.tag

    refused = await stream_refusal(tags())
    assert (refused.code, refused.reason) == (StatusCode.INVALID_ARGUMENT, "BATCH_SIZE")
    assert seen == [1]


async def test_estimate(rig: Rig) -> None:
    """An estimate says what sending would do, and what forces UCS-2."""
    client = rig.client("/payments/api")

    async def estimate(content: Content | None) -> pb.EstimateMessageResponse:
        return await client.EstimateMessage(pb.EstimateMessageRequest(content=content), timeout=TIMEOUT_S)

    plain = await estimate(Content(text="hello €"))
    assert (plain.encoding, plain.segments, plain.units, plain.capacity) == (1, 1, 8, 160)
    hindi = await estimate(Content(text="नमस्ते" + "a" * 70))
    assert (hindi.encoding, hindi.segments, hindi.capacity) == (2, 2, 134)
    assert "न" in hindi.non_gsm_characters
    octets = await estimate(Content(binary=BinaryContent(data=b"x" * 141)))
    assert (octets.encoding, octets.segments, octets.units, octets.capacity) == (3, 2, 141, 268)
    long = await estimate(Content(text="a" * 5000))
    assert long.segments == 33
    for content, reason in ((None, "CONTENT_REQUIRED"), (Content(text="a" * 50_000), "CONTENT_TOO_LONG")):
        assert (await refusal(estimate(content))).reason == reason
    refused = await refusal(estimate(Content(sealed_jwe="x")))
    assert (refused.code, refused.reason) == (StatusCode.INVALID_ARGUMENT, "SEALED_NOT_ESTIMATED")


async def test_payload_keys(rig: Rig) -> None:
    """The keys to seal to come with the caller's tenant; a node without any says so by an empty set."""
    response = await rig.client("/payments/api").GetPayloadKeys(pb.GetPayloadKeysRequest(), timeout=TIMEOUT_S)
    assert (response.jwk_set, response.tenant, response.max_age.seconds) == ('{"keys":[]}', "payments", 300)


@pytest.mark.parametrize("message_id", ["", "x", "0190A5E0-0000-7000-8000-000000000000", "0190a5e0" * 4])
async def test_bad_ids(rig: Rig, message_id: str) -> None:
    """A text that is no id in its canonical form is refused as such."""
    client = rig.client("/payments/api")
    got = await refusal(client.GetMessage(pb.GetMessageRequest(message_id=message_id), timeout=TIMEOUT_S))
    cancelled = await refusal(client.CancelMessage(pb.CancelMessageRequest(message_id=message_id), timeout=TIMEOUT_S))
    assert [(r.code, r.violations[0].field) for r in (got, cancelled)] == [
        (StatusCode.INVALID_ARGUMENT, "message_id")
    ] * 2


async def test_list_pages(rig: Rig) -> None:
    """A list goes through all messages, newest first, each once."""
    client = rig.client("/payments/api")
    reply = await client.SendMessages(pb.SendMessagesRequest(messages=[message()] * 7), timeout=TIMEOUT_S)
    sent = [result.accepted.message_id for result in reply.results]
    seen: list[str] = []
    token = ""
    for _ in range(4):
        page = await client.ListMessages(pb.ListMessagesRequest(page_size=2, page_token=token), timeout=TIMEOUT_S)
        seen += [found.message_id for found in page.messages]
        token = page.next_page_token
        assert bool(token) == (len(seen) < 7)
    assert seen == sorted(sent, reverse=True)


async def test_list_filters(rig: Rig) -> None:
    """States and recipient narrow a list."""
    client = rig.client("/payments/api")
    other = await send(client, recipient="+4915112345679")
    gone = await send(client)
    await client.CancelMessage(pb.CancelMessageRequest(message_id=gone), timeout=TIMEOUT_S)

    async def listed(**filters: Any) -> list[str]:
        page = await client.ListMessages(pb.ListMessagesRequest(**filters), timeout=TIMEOUT_S)
        return [found.message_id for found in page.messages]

    assert await listed(states=[State.CANCELLED]) == [gone]
    assert await listed(states=[State.ACCEPTED, State.CANCELLED]) == [gone, other]
    assert await listed(recipient="+4915112345679") == [other]
    assert await listed(recipient="+4915112345679", states=[State.CANCELLED]) == []


async def test_a_page_looks_at_so_many_and_no_more(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    """States that few of many messages are in: pages may be empty, and lead on to all of them, each once."""
    monkeypatch.setattr("gateway.api.reading.MAX_ROWS", 3)
    client = rig.client("/payments/api")
    gone = [await send(client) for _ in range(2)]
    for message_id in gone:
        await client.CancelMessage(pb.CancelMessageRequest(message_id=message_id), timeout=TIMEOUT_S)
    await client.SendMessages(pb.SendMessagesRequest(messages=[message()] * 7), timeout=TIMEOUT_S)
    pages: list[list[str]] = []
    request = pb.ListMessagesRequest(states=[int(State.CANCELLED)])  # type: ignore[list-item]  # the stubs' own enum
    while not pages or request.page_token:
        page = await client.ListMessages(request, timeout=TIMEOUT_S)
        pages.append([found.message_id for found in page.messages])
        request.page_token = page.next_page_token
    assert pages[:3] == [[], [], [gone[1], gone[0]]]
    assert list(itertools.chain.from_iterable(pages)) == gone[::-1]


@pytest.mark.parametrize(
    ("fields", "path"),
    [({"page_size": 1001}, "page_size"), ({"states": [99]}, "states"), ({"states": [0]}, "states"),
     ({"recipient": "1"}, "recipient"), ({"page_token": "x"}, "page_token")],
)  # fmt: skip
async def test_list_refused(rig: Rig, fields: dict[str, Any], path: str) -> None:
    """Wrong list fields are refused by their paths."""
    call = rig.client("/payments/api").ListMessages(pb.ListMessagesRequest(**fields), timeout=TIMEOUT_S)
    refused = await refusal(call)
    assert [violation.field for violation in refused.violations] == [path]


async def test_page_token_needs_its_filters(rig: Rig) -> None:
    """A page token is refused in a list with other filters."""
    client = rig.client("/payments/api")
    await client.SendMessages(pb.SendMessagesRequest(messages=[message()] * 3), timeout=TIMEOUT_S)
    page = await client.ListMessages(pb.ListMessagesRequest(page_size=1, states=[ACCEPTED]), timeout=TIMEOUT_S)
    other = pb.ListMessagesRequest(page_size=1, states=[ACCEPTED, SENDING], page_token=page.next_page_token)
    assert (await refusal(client.ListMessages(other, timeout=TIMEOUT_S))).reason == "PAGE_TOKEN_INVALID"


async def test_list_page_bytes(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    """A page ends early when its messages are large, and the next one goes on there."""
    monkeypatch.setattr("gateway.api.reading._MAX_PAGE_BYTES", 20_000)
    client = rig.client("/payments/api")
    labels = {f"k{n}": "ü" * 128 for n in range(16)}
    await client.SendMessages(pb.SendMessagesRequest(messages=[message(labels=labels)] * 9), timeout=TIMEOUT_S)
    seen, token = 0, ""
    while True:
        page = await client.ListMessages(pb.ListMessagesRequest(page_token=token), timeout=TIMEOUT_S)
        assert 1 <= len(page.messages) <= 4
        seen, token = seen + len(page.messages), page.next_page_token
        if not token:
            break
    assert seen == 9


async def test_cancel(rig: Rig) -> None:
    """A waiting message can be withdrawn, and withdrawing it again changes nothing."""
    client = rig.client("/payments/api")
    message_id = await send(client)
    for _ in range(2):
        reply = await client.CancelMessage(pb.CancelMessageRequest(message_id=message_id), timeout=TIMEOUT_S)
        assert reply.message.state == 7


@pytest.mark.parametrize(
    ("state", "reason"),
    [(State.SUBMITTED, "ALREADY_SENT"), (State.UNKNOWN, "ALREADY_SENT"), (State.REJECTED, "ALREADY_FINAL")],
)
async def test_cancel_too_late(rig: Rig, state: State, reason: str) -> None:
    """A message that has left, or may have, or is over, is not withdrawn."""
    client = rig.client("/payments/api")
    message_id = await send(client)
    queue = None if state is State.REJECTED else 40
    await rig.settle("payments", message_id, state, queue=queue, due_at=NOW + 10**12)
    call = client.CancelMessage(pb.CancelMessageRequest(message_id=message_id), timeout=TIMEOUT_S)
    refused = await refusal(call)
    assert (refused.code, refused.reason) == (StatusCode.FAILED_PRECONDITION, reason)


async def test_cancel_at_the_carrier(rig: Rig) -> None:
    """A message that has left is withdrawn at its carrier, for the caller; what the carrier did not do is told."""
    client = rig.client("/payments/api")
    message_id = await send(client)
    await rig.settle("payments", message_id, State.SUBMITTED, queue=40, due_at=NOW + 10**12, carrier_ids="id-1")
    wanted: list[str] = []

    async def carrier_cancels(row: MessageRow, by: str) -> None:
        wanted.append(by)
        told = NewReceipt(row.carrier, "", b"", "C", rig.now(), None, "", "", source=Source.CANCEL, by=by)
        await rig.store.learned([Learned(row.tenant, row.id, (0,), told)])

    async def carrier_refuses(row: MessageRow, by: str) -> None:
        raise WrongState(f"{row.carrier} refused {by}", reason="CARRIER_REFUSED_CANCEL")

    request = pb.CancelMessageRequest(message_id=message_id)
    rig.service._reading._cancel_at_carrier = carrier_refuses
    refused = await refusal(client.CancelMessage(request, timeout=TIMEOUT_S))
    assert (refused.code, refused.reason) == (StatusCode.FAILED_PRECONDITION, "CARRIER_REFUSED_CANCEL")
    rig.service._reading._cancel_at_carrier = carrier_cancels
    reply = await client.CancelMessage(request, timeout=TIMEOUT_S)
    assert (reply.message.state, reply.message.reason.code) == (7, "CANCELLED_AT_CARRIER")
    assert len(wanted) == 1
    assert wanted[0].endswith("/payments/api")
