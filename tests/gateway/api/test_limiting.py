"""Limits on a running server: calls, certificates, messages; replays; what a refused caller is told."""

from __future__ import annotations

import asyncio
import datetime as dt
from pathlib import Path
from typing import Any

import grpc

from gateway.errors import StoreUnavailable
from gateway.limits.rate import Rate
from gateway.policy.authorizer import MISS_COST
from smsgw.v1 import message_pb2
from smsgw.v1 import message_service_pb2 as pb
from smsgw.v1.message_service_pb2_grpc import MessageServiceStub
from tests.gateway.api.refusals import Refusal, from_error, from_status, refusal
from tests.gateway.api.rig import AUTHORITY, SECOND, TIMEOUT_S, Bounds, message, rates, running_rig

EXHAUSTED = grpc.StatusCode.RESOURCE_EXHAUSTED
HOURLY = Rate(count=60, period_us=3600 * SECOND, burst=2)
PAGE = 10  # tokens of ListMessages
OTHER = "+4915112345679"


async def send(client: Any, *messages: message_pb2.OutboundMessage) -> list[str]:
    """Send a batch; the id of each message, or the reason why it was refused."""
    reply = await client.SendMessages(pb.SendMessagesRequest(messages=messages), timeout=TIMEOUT_S)
    return [
        result.accepted.message_id if result.HasField("accepted") else from_status(result.error).reason
        for result in reply.results
    ]


async def one(client: Any, **changes: Any) -> message_pb2.AcceptedMessage:
    """Send one message."""
    request = pb.SendMessageRequest(message=message(**changes))
    reply: pb.SendMessageResponse = await client.SendMessage(request, timeout=TIMEOUT_S)
    return reply.accepted


async def page(client: Any) -> Refusal | None:
    """Ask for a page, which costs ten tokens; how that was refused."""
    try:
        await client.ListMessages(pb.ListMessagesRequest(), timeout=TIMEOUT_S)
    except grpc.aio.AioRpcError as error:
        return from_error(error)
    return None


async def test_calls_of_one_identity(tmp_path: Path) -> None:
    """A flooding caller is told which limit it has reached and when to come again; another one is served."""
    async with running_rig(tmp_path, bounds=Bounds(calls=Rate.a_second(10, 2 * PAGE + MISS_COST))) as rig:
        flooding, other = rig.client("/payments/api"), rig.client("/payments/other")
        assert [await page(flooding) for _ in range(2)] == [None, None]
        refused = await page(flooding)
        assert refused is not None
        assert (refused.code, refused.reason, refused.limit) == (EXHAUSTED, "CALL_RATE", "calls_per_caller")
        assert refused.retry_after_s is not None
        assert 0.9 < refused.retry_after_s <= 1
        assert await page(other) is None
        rig.ticks.now += SECOND
        assert await page(flooding) is None


async def test_refused_before_it_is_parsed(tmp_path: Path) -> None:
    """What is beyond the limit is not even parsed, nor are the policies asked."""
    async with running_rig(tmp_path, bounds=Bounds(calls=Rate.a_second(1, PAGE + MISS_COST))) as rig:
        channel = rig.channel(AUTHORITY.svid("/payments/api"))
        assert await page(MessageServiceStub(channel)) is None
        asked = rig.authorizer.misses
        method: Any = channel.unary_unary("/smsgw.v1.MessageService/SendMessage")
        refused = await refusal(method(b"\xff\xff", timeout=TIMEOUT_S))
        assert refused.reason == "CALL_RATE"
        assert rig.authorizer.misses == asked


async def test_messages_of_a_stream_count(tmp_path: Path) -> None:
    """A request on a stream costs as much as a call; answers cost nothing. Beyond the limit the stream ends."""
    burst = 1 + MISS_COST + MISS_COST + 9  # the call, what the policies are asked of it and of the first message
    async with running_rig(tmp_path, bounds=Bounds(calls=Rate.a_second(1, burst))) as rig:
        stream = rig.client("/payments/api").StreamMessages(timeout=TIMEOUT_S)
        for tag in range(9):
            await stream.write(pb.StreamMessagesRequest(tag=tag, messages=[message()]))
            assert isinstance(await stream.read(), pb.StreamMessagesResponse)
        await stream.write(pb.StreamMessagesRequest(tag=9, messages=[message()]))
        refused = await refusal(stream.read())
        assert (refused.code, refused.reason) == (EXHAUSTED, "CALL_RATE")
        assert rig.intake.calls == [1] * 9


async def test_open_calls_of_one_identity(tmp_path: Path) -> None:
    """One identity holds so many calls open and no more; when one ends there is room again."""
    async with running_rig(tmp_path, bounds=Bounds(open_calls=2)) as rig:
        client = rig.client("/payments/api")
        watches = [client.WatchEvents(pb.WatchEventsRequest(), timeout=TIMEOUT_S) for _ in range(2)]
        for watch in watches:
            await anext(aiter(watch))
        refused = await page(client)
        assert refused is not None
        assert (refused.code, refused.reason) == (EXHAUSTED, "TOO_MANY_CALLS")
        assert refused.retry_after_s is not None
        assert await page(rig.client("/payments/other")) is None
        watches[0].cancel()
        async with asyncio.timeout(TIMEOUT_S):
            while await page(client):
                await asyncio.sleep(0.01)
        watches[1].cancel()


async def test_certificates_of_one_address(tmp_path: Path) -> None:
    """Refused certificates are verified so often, and not once more; a caller that is known is not touched."""
    async with running_rig(tmp_path, bounds=Bounds(certificates=Rate.a_second(1, 3))) as rig:
        known = rig.client("/payments/api")
        assert await page(known) is None
        uris = ("spiffe://example.org/payments/a", "spiffe://example.org/shop/b")
        bad = rig.client("/payments", uris=uris)
        reasons = []
        for _ in range(4):
            refused = await page(bad)
            assert refused is not None
            reasons.append((refused.code, refused.reason))
        assert (
            reasons == [(grpc.StatusCode.UNAUTHENTICATED, "MANY_URI_SANS")] * 2 + [(EXHAUSTED, "CERTIFICATE_RATE")] * 2
        )
        assert await page(known) is None
        rig.ticks.now += SECOND
        assert await page(rig.client("/payments/new")) is None


async def test_an_ended_certificate_costs(tmp_path: Path) -> None:
    """A caller that goes on with an ended certificate has it verified no more often than an unknown one."""
    async with running_rig(tmp_path, bounds=Bounds(certificates=Rate.a_second(1, 2))) as rig:
        client = rig.client("/payments/api")
        assert await page(client) is None
        rig.identity_clock.ahead = dt.timedelta(hours=2)
        reasons = []
        for _ in range(3):
            refused = await page(client)
            assert refused is not None
            reasons.append(refused.reason)
        assert reasons == ["EXPIRED", "CERTIFICATE_RATE", "CERTIFICATE_RATE"]


async def test_messages_to_one_recipient(tmp_path: Path) -> None:
    """In a batch the messages that one recipient has room for are taken, the others refused, each on its own."""
    async with running_rig(tmp_path, bounds=Bounds(messages=rates(recipient=HOURLY))) as rig:
        client = rig.client("/payments/api")
        results = await send(client, message(), message(), message(), message(recipient=OTHER))
        assert results[2] == "RECIPIENT_RATE"
        assert len({*results} - {"RECIPIENT_RATE"}) == 3
        refused = await refusal(one(client))
        assert (refused.code, refused.reason, refused.limit) == (EXHAUSTED, "RECIPIENT_RATE", "messages_per_recipient")
        assert refused.retry_after_s is not None
        assert 59 < refused.retry_after_s <= 60
        assert "345678" not in refused.text
        rig.ticks.now += 60 * SECOND
        assert (await one(client)).message_id


async def test_a_flood_in_a_stream(tmp_path: Path) -> None:
    """A frame beyond the caller's rate is answered message by message, and the stream goes on."""
    async with running_rig(tmp_path, bounds=Bounds(messages=rates(caller=Rate.a_second(100, 150)))) as rig:
        stream = rig.client("/payments/api").StreamMessages(timeout=TIMEOUT_S)
        found = []
        for tag in range(3):
            if tag == 2:
                rig.ticks.now += SECOND
            await stream.write(pb.StreamMessagesRequest(tag=tag, messages=[message()] * 100))
            reply = await stream.read()
            assert isinstance(reply, pb.StreamMessagesResponse)
            errors = [from_status(result.error) for result in reply.results if result.HasField("error")]
            found.append((reply.tag, len(errors)))
            assert {(error.code, error.reason) for error in errors} <= {(EXHAUSTED, "CALLER_RATE")}
            assert {error.retry_after_s for error in errors} <= {0.5}
        assert found == [(0, 0), (1, 50), (2, 0)]
        assert rig.intake.calls == [100, 50, 100]


async def test_per_tenant(tmp_path: Path) -> None:
    """The callers of a tenant share its rate; another tenant, and one with a rate of its own, have theirs."""
    strict, generous = rates(tenant=Rate.a_second(1, 1)), rates(tenant=Rate.a_second(1, 3))
    async with running_rig(tmp_path, bounds=Bounds(messages=strict, tenants={"shop": generous})) as rig:
        first, second, shop = (rig.client(path) for path in ("/payments/a", "/payments/b", "/shop/c"))
        await one(first)
        refused = await refusal(one(second))
        assert (refused.code, refused.reason, refused.limit) == (EXHAUSTED, "TENANT_RATE", "messages_per_tenant")
        for _ in range(3):
            await one(shop)
        assert (await refusal(one(shop))).reason == "TENANT_RATE"


async def test_a_replay_spends_nothing(tmp_path: Path) -> None:
    """A caller that repeats a message with its key, because it did not hear the answer, pays once."""
    async with running_rig(tmp_path, bounds=Bounds(messages=rates(recipient=HOURLY))) as rig:
        client = rig.client("/payments/api")
        accepted = await one(client, idempotency_key="a")
        for _ in range(5):
            again = await one(client, idempotency_key="a")
            assert (again.message_id, again.replayed) == (accepted.message_id, True)
        assert await send(client, *[message(idempotency_key="a")] * 3) == [accepted.message_id] * 3
        assert (await one(client)).message_id
        assert (await refusal(one(client))).reason == "RECIPIENT_RATE"


async def test_a_replay_is_answered_beyond_the_limit(tmp_path: Path) -> None:
    """Where there is no room left a replay is still told what became of its message; a new key is refused."""
    async with running_rig(tmp_path, bounds=Bounds(messages=rates(recipient=HOURLY))) as rig:
        client = rig.client("/payments/api")
        first, second = await send(client, message(idempotency_key="a"), message(idempotency_key="b"))
        again = await one(client, idempotency_key="a")
        assert (again.message_id, again.replayed) == (first, True)
        assert (await refusal(one(client, idempotency_key="c"))).reason == "RECIPIENT_RATE"
        conflict = await refusal(one(client, idempotency_key="a", sender="OTHER"))
        assert (conflict.code, conflict.reason) == (grpc.StatusCode.ALREADY_EXISTS, "IDEMPOTENCY_KEY_REUSED")
        found = await send(
            client,
            message(idempotency_key="b"),
            message(idempotency_key="c"),
            message(recipient=OTHER),
            message(idempotency_key="a", sender="OTHER"),
            message(),
            message(idempotency_key="a"),
        )
        assert found[2] not in {first, second}
        assert [*found[:2], *found[3:]] == [second, "RECIPIENT_RATE", "IDEMPOTENCY_KEY_REUSED", "RECIPIENT_RATE", first]


async def test_another_callers_key_is_no_replay(tmp_path: Path) -> None:
    """Beyond the limit nobody learns of another caller's keys."""
    async with running_rig(tmp_path, bounds=Bounds(messages=rates(recipient=HOURLY))) as rig:
        await send(rig.client("/payments/api"), message(idempotency_key="a"), message(idempotency_key="b"))
        refused = await refusal(one(rig.client("/payments/other"), idempotency_key="a"))
        assert refused.reason == "RECIPIENT_RATE"


async def test_what_could_not_be_stored_spends_nothing(tmp_path: Path) -> None:
    """When the store refuses a batch its room is given back."""
    async with running_rig(tmp_path, bounds=Bounds(messages=rates(recipient=HOURLY))) as rig:
        client = rig.client("/payments/api")
        rig.intake.failure = StoreUnavailable("the disk is full")
        for _ in range(3):
            assert (await refusal(one(client))).code is grpc.StatusCode.UNAVAILABLE
        rig.intake.failure = None
        for _ in range(2):
            await one(client)


async def test_refused_by_validation_spends_nothing(tmp_path: Path) -> None:
    """Messages that are wrong, or that no policy permits, take no room."""
    async with running_rig(tmp_path, bounds=Bounds(messages=rates(caller=Rate.a_second(1, 2)))) as rig:
        client = rig.client("/payments/api")
        assert await send(client, message(sender=""), message(sender="")) == ["SENDER_INVALID"] * 2
        assert len(set(await send(client, message(), message()))) == 2


async def test_a_cancelled_call_pays(tmp_path: Path) -> None:
    """A caller that goes away while its message is being stored has paid for it: it may be on disk."""
    async with running_rig(tmp_path, bounds=Bounds(messages=rates(recipient=HOURLY))) as rig:
        client, other = rig.client("/payments/api"), rig.client("/payments/other")
        entered, left = asyncio.Event(), asyncio.Event()
        accept = rig.intake.accept

        async def hang(*arguments: Any) -> Any:
            entered.set()
            try:
                await asyncio.Event().wait()
            finally:
                left.set()

        rig.intake.accept = hang  # type: ignore[method-assign,assignment]  # the store hangs
        for _ in range(2):
            entered.clear()
            left.clear()
            call = client.SendMessage(pb.SendMessageRequest(message=message()), timeout=TIMEOUT_S)
            async with asyncio.timeout(TIMEOUT_S):
                await entered.wait()
                call.cancel()
                await left.wait()
        rig.intake.accept = accept  # type: ignore[method-assign]  # as before
        assert (await refusal(one(other))).reason == "RECIPIENT_RATE"
