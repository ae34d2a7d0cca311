"""Every decision about a call is in the audit before anybody acts on it or is told."""

from __future__ import annotations

import asyncio
import datetime as dt
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any

import grpc
import pytest
from grpc_health.v1 import health_pb2

from certs.leaf import read_leaf
from gateway.audit.records import Decision, MessageStored, Record, StateChanged
from gateway.errors import StoreUnavailable
from gateway.ids import from_text
from gateway.states import State
from smsgw.v1 import message_service_pb2 as pb
from smsgw.v1.message_service_pb2_grpc import MessageServiceStub
from tests.certificates import IssuedSvid
from tests.gateway.api.refusals import refusal
from tests.gateway.api.rig import AUTHORITY, NOW, TIMEOUT_S, Rig, message, running_rig
from tests.gateway.audit.agreement import records_of

CALLER = "spiffe://example.org/payments/api"
SERVICE = "/smsgw.v1.MessageService/"
# Everything but promotions, and nothing from EVIL, and no lists.
POLICY = """
@id("most") permit(principal, action, resource) unless { action == Action::"SendPromotional" };
@id("no-evil") forbid(principal, action == Action::"SendOtp", resource) when { context.sender == "EVIL" };
@id("no-lists") forbid(principal, action == Action::"MessageService.ListMessages", resource);
"""
Code = grpc.StatusCode


@pytest.fixture
async def strict(tmp_path: Path) -> AsyncIterator[Rig]:
    """Give an API with policies of our own."""
    async with running_rig(tmp_path, POLICY) as rig:
        yield rig


async def decisions(rig: Rig) -> list[Decision]:
    """Return the decisions that have been recorded."""
    return [record for record in await records_of(rig.store) if isinstance(record, Decision)]


def told(found: Sequence[Decision]) -> list[tuple[str, str, str, str, int]]:
    """Return what decisions say: the verdict, the action, the reason, the policy, how many."""
    return [
        ("allowed" if one.allowed else "DENIED", one.action, one.reason, one.policy, one.times) for one in found
    ]  # fmt: skip


async def send(client: Any, *messages: Any) -> pb.SendMessagesResponse:
    """Send a batch."""
    response: pb.SendMessagesResponse = await client.SendMessages(
        pb.SendMessagesRequest(messages=messages), timeout=TIMEOUT_S
    )
    return response


async def test_a_message(rig: Rig) -> None:
    """The permission stands in the commit of what it allowed, with who asked, from where, and by which policy."""
    await rig.client("/payments/api").SendMessage(pb.SendMessageRequest(message=message()), timeout=TIMEOUT_S)
    permission, accepted = await records_of(rig.store)
    assert isinstance(permission, Decision)
    assert isinstance(accepted, MessageStored)
    assert (permission.caller, permission.tenant, permission.address) == (CALLER, "payments", "127.0.0.1")
    assert len(permission.serial) > 8
    assert len(permission.authority_key_id) == 40
    assert permission.method == SERVICE + "SendMessage"
    assert told([permission]) == [("allowed", "MessageService.SendMessage", "PERMITTED", permission.policy, 1)]
    assert permission.policy
    assert (accepted.owner, accepted.sender, accepted.country) == (CALLER, "ACME", "DE")
    assert len(await rig.store.audit_read(0, 10)) == 1


async def test_a_batch(strict: Rig) -> None:
    """A call is one decision, whatever it carries; messages that are denied are counted by what they have in common."""
    client = strict.client("/payments/api")
    evil, promotion = message(sender="EVIL"), message(category=3)
    await send(client, message(), evil, message(), evil, promotion)
    found = await records_of(strict.store)
    assert [type(record) for record in found] == [Decision] * 3 + [MessageStored] * 2
    assert told(found[:3]) == [  # type: ignore[arg-type]  # they have been seen to be decisions
        ("allowed", "MessageService.SendMessages", "PERMITTED", "most", 1),
        ("DENIED", "SendOtp", "FORBIDDEN", "no-evil", 2),
        ("DENIED", "SendPromotional", "NOT_PERMITTED", "default-deny", 1),
    ]
    assert len(await strict.store.audit_read(0, 10)) == 1


async def test_nothing_left_of_a_batch(strict: Rig) -> None:
    """Denials of single messages are recorded where there is nothing to store, too."""
    await send(strict.client("/payments/api"), message(sender="EVIL"), message(sender="EVIL"))
    assert told(await decisions(strict)) == [
        ("DENIED", "SendOtp", "FORBIDDEN", "no-evil", 2),
        ("allowed", "MessageService.SendMessages", "PERMITTED", "most", 1),
    ]


async def test_one_denied_message(strict: Rig) -> None:
    """So is the denial of the only message of a call."""
    request = pb.SendMessageRequest(message=message(sender="EVIL"))
    refused = await refusal(strict.client("/payments/api").SendMessage(request, timeout=TIMEOUT_S))
    assert refused.code == Code.PERMISSION_DENIED
    assert told(await decisions(strict)) == [
        ("allowed", "MessageService.SendMessage", "PERMITTED", "most", 1),
        ("DENIED", "SendOtp", "FORBIDDEN", "no-evil", 1),
    ]


async def test_a_stream(strict: Rig) -> None:
    """A stream is one decision for all of its frames; each frame has its own denials."""
    stream = strict.client("/payments/api").StreamMessages(timeout=TIMEOUT_S)
    for tag in range(3):
        await stream.write(pb.StreamMessagesRequest(tag=tag, messages=[message(), message(sender="EVIL")]))
        await stream.read()
    await stream.done_writing()
    assert await stream.read() == grpc.aio.EOF
    found = await records_of(strict.store)
    kinds = [(type(record).__name__, getattr(record, "allowed", None)) for record in found]
    denied, accepted = ("Decision", False), ("MessageStored", None)
    assert kinds == [("Decision", True), denied, accepted, denied, accepted, denied, accepted]


async def test_reads_are_recorded_once_and_counted(rig: Rig) -> None:
    """The first read of a kind is recorded before it is answered; the others of the window are one record."""
    client = rig.client("/payments/api")
    for _ in range(4):
        await client.ListMessages(pb.ListMessagesRequest(), timeout=TIMEOUT_S)
    unknown = pb.GetMessageRequest(message_id="01a20a82-af4e-7000-8000-59821521b519")
    assert (await refusal(client.GetMessage(unknown, timeout=TIMEOUT_S))).code == Code.NOT_FOUND
    first = await decisions(rig)
    assert [one.method.removeprefix(SERVICE) for one in first] == ["ListMessages", "GetMessage"]
    await rig.recorder.finish()
    (counted,) = (await decisions(rig))[2:]
    assert (counted.method, counted.times, counted.allowed) == (SERVICE + "ListMessages", 3, True)


async def test_a_watch(rig: Rig) -> None:
    """A watch is recorded when it begins."""
    watch = rig.client("/payments/api").WatchEvents(pb.WatchEventsRequest(), timeout=TIMEOUT_S)
    await watch.read()
    assert told(await decisions(rig))[0][:2] == ("allowed", "MessageService.WatchEvents")
    watch.cancel()


async def test_what_needs_no_record(rig: Rig) -> None:
    """Estimates and health checks change nothing and tell nothing of messages: permitted ones leave no record."""
    await rig.client("/payments/api").EstimateMessage(
        pb.EstimateMessageRequest(content=message().content), timeout=TIMEOUT_S
    )
    await rig.health("/payments/api").Check(health_pb2.HealthCheckRequest(), timeout=TIMEOUT_S)
    await rig.recorder.finish()
    assert await records_of(rig.store) == []


async def test_a_denied_call(strict: Rig) -> None:
    """A denied call is recorded with caller and policy; it took no part of the permission's record."""
    client = strict.client("/payments/api")
    refused = await refusal(client.ListMessages(pb.ListMessagesRequest(), timeout=TIMEOUT_S))
    assert refused.code == Code.PERMISSION_DENIED
    (denied,) = await decisions(strict)
    assert told([denied]) == [("DENIED", "MessageService.ListMessages", "FORBIDDEN", "no-lists", 1)]
    assert (denied.caller, denied.tenant, denied.address) == (CALLER, "payments", "127.0.0.1")


async def test_nobody_recognised(rig: Rig) -> None:
    """Who proves no identity is recorded by address and reason, and under no name."""
    uris = ("spiffe://example.org/payments/a", "spiffe://example.org/shop/b")
    await refusal(rig.client("/payments", uris=uris).GetMessage(pb.GetMessageRequest(), timeout=TIMEOUT_S))
    (denied,) = await decisions(rig)
    assert (denied.allowed, denied.caller, denied.tenant, denied.serial) == (False, "", "", "")
    assert (denied.reason, denied.address, denied.method) == ("MANY_URI_SANS", "127.0.0.1", SERVICE + "GetMessage")


async def test_of_no_tenant(rig: Rig) -> None:
    """Who is recognised and belongs to no tenant is recorded by name."""
    await refusal(rig.client("/nobody").GetMessage(pb.GetMessageRequest(), timeout=TIMEOUT_S))
    (denied,) = await decisions(rig)
    assert (denied.caller, denied.tenant, denied.reason) == ("spiffe://example.org/nobody", "", "NO_TENANT")


async def test_a_flood_is_counted(strict: Rig) -> None:
    """Denials beyond a caller's share are one record that says how many, and another caller has its own share."""
    client = strict.client("/payments/api")
    for _ in range(25):
        await refusal(client.ListMessages(pb.ListMessagesRequest(), timeout=TIMEOUT_S))
    other = strict.client("/shop/web")
    await refusal(other.ListMessages(pb.ListMessagesRequest(), timeout=TIMEOUT_S))
    assert len(await decisions(strict)) == 11
    await strict.recorder.finish()
    counted = (await decisions(strict))[-1]
    assert (counted.times, counted.caller) == (15, CALLER)
    assert counted.since <= counted.at


async def test_a_permission_that_changed_nothing(rig: Rig) -> None:
    """A permitted call that fails is recorded before it is answered, by itself."""
    refused = await refusal(rig.client("/payments/api").SendMessage(pb.SendMessageRequest(), timeout=TIMEOUT_S))
    assert refused.code == Code.INVALID_ARGUMENT
    assert told(await decisions(rig))[0][:2] == ("allowed", "MessageService.SendMessage")


async def test_a_permission_whose_change_failed(rig: Rig) -> None:
    """A permission that went with a commit that failed is recorded all the same."""
    rig.intake.failure = StoreUnavailable("the disk is full")
    refused = await refusal(
        rig.client("/payments/api").SendMessage(pb.SendMessageRequest(message=message()), timeout=TIMEOUT_S)
    )
    assert refused.code == Code.UNAVAILABLE
    assert len(await records_of(rig.store)) == 1


async def test_cancelling(rig: Rig) -> None:
    """A cancellation is recorded with its permission, and says who wanted it."""
    client = rig.client("/payments/api")
    sent = await client.SendMessage(pb.SendMessageRequest(message=message()), timeout=TIMEOUT_S)
    id_ = sent.accepted.message_id
    await client.CancelMessage(pb.CancelMessageRequest(message_id=id_), timeout=TIMEOUT_S)
    permission, change = (await records_of(rig.store))[2:]
    assert isinstance(permission, Decision)
    assert isinstance(change, StateChanged)
    assert permission.action == "MessageService.CancelMessage"
    assert (change.message_id, change.before, change.state) == (from_text(id_), State.ACCEPTED, State.CANCELLED)
    assert change.by == CALLER
    assert change.at > NOW
    assert [commit.number for commit in await rig.store.audit_read(0, 10)] == [2, 2]


async def test_an_unknown_message_is_not_cancelled(rig: Rig) -> None:
    """A cancellation that finds nothing, and one whose id is none, leave their permissions."""
    client = rig.client("/payments/api")
    for id_ in ("01a20a82-af4e-7000-8000-59821521b519", "no id"):
        await refusal(client.CancelMessage(pb.CancelMessageRequest(message_id=id_), timeout=TIMEOUT_S))
    assert [one.allowed for one in await decisions(rig)] == [True, True]


async def test_a_stream_without_a_frame(rig: Rig) -> None:
    """A caller that goes before it has sent anything is counted."""
    stream = rig.client("/payments/api").StreamMessages(timeout=TIMEOUT_S)
    await stream.write(pb.StreamMessagesRequest(tag=1, messages=[]))
    assert (await refusal(stream.read())).reason == "BATCH_SIZE"
    idle = rig.client("/payments/api").StreamMessages(timeout=TIMEOUT_S)
    await idle.wait_for_connection()
    idle.cancel()
    async with asyncio.timeout(TIMEOUT_S):
        while True:
            await rig.recorder.finish()
            found = await decisions(rig)
            if sum(one.times for one in found) == 2:
                break
            await asyncio.sleep(0.01)
    assert {one.action for one in found} == {"MessageService.StreamMessages"}


async def test_a_stream_that_outlives_its_certificate(rig: Rig) -> None:
    """What ends a stream is recorded."""
    stream = rig.client("/payments/api").StreamMessages(timeout=TIMEOUT_S)
    await stream.write(pb.StreamMessagesRequest(tag=1, messages=[message()]))
    await stream.read()
    rig.identity_clock.ahead = dt.timedelta(hours=2)
    await stream.write(pb.StreamMessagesRequest(tag=2, messages=[message()]))
    assert (await refusal(stream.read())).reason == "EXPIRED"
    found = await decisions(rig)
    assert [(one.allowed, one.reason, one.caller) for one in found] == [
        (True, "PERMITTED", CALLER),
        (False, "EXPIRED", CALLER),
    ]


def listing(rig: Rig, svid: IssuedSvid) -> Any:
    """Call by a certificate."""
    return MessageServiceStub(rig.channel(svid)).ListMessages(pb.ListMessagesRequest(), timeout=TIMEOUT_S)


async def test_who_was_refused(rig: Rig) -> None:
    """Of a certificate that proves nobody, the record has what finds it: its serial number and its authority's key."""
    rig.identity_clock.ahead = dt.timedelta(hours=2)
    svid = AUTHORITY.svid("/payments/api")
    refused = await refusal(
        MessageServiceStub(rig.channel(svid)).ListMessages(pb.ListMessagesRequest(), timeout=TIMEOUT_S)
    )
    assert refused.reason == "EXPIRED"
    nobody = AUTHORITY.svid("/nobody/here")
    rig.identity_clock.ahead = dt.timedelta()
    refused = await refusal(
        MessageServiceStub(rig.channel(nobody)).ListMessages(pb.ListMessagesRequest(), timeout=TIMEOUT_S)
    )
    assert refused.reason == "NO_TENANT"
    first, second = await decisions(rig)
    for found, issued, caller in ((first, svid, ""), (second, nobody, "spiffe://example.org/nobody/here")):
        facts = read_leaf(issued.leaf)
        assert (found.caller, found.serial, found.authority_key_id) == (caller, facts.serial, facts.authority_key_id)
        assert found.address == "127.0.0.1"


async def test_nothing_recorded_nothing_told(strict: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    """While the audit cannot be written, reads, denials, failures and recognitions are answered UNAVAILABLE alike."""

    async def fail(batch: Sequence[Record]) -> None:
        raise StoreUnavailable("the disk is full")

    client = strict.client("/payments/api")
    get = pb.GetMessageRequest(message_id="01a20a82-af4e-7000-8000-59821521b519")
    monkeypatch.setattr(strict.store, "audit", fail)
    calls: list[Any] = [
        client.GetMessage(get, timeout=TIMEOUT_S),
        client.ListMessages(pb.ListMessagesRequest(), timeout=TIMEOUT_S),
        client.SendMessage(pb.SendMessageRequest(message=message(sender="EVIL")), timeout=TIMEOUT_S),
        client.SendMessage(pb.SendMessageRequest(), timeout=TIMEOUT_S),
        client.SendMessages(pb.SendMessagesRequest(messages=[message(sender="EVIL")]), timeout=TIMEOUT_S),
        strict.client("/nobody").GetMessage(get, timeout=TIMEOUT_S),
        strict.client("/nobody").GetMessage(get, timeout=TIMEOUT_S),
    ]
    for call in calls:
        refused = await refusal(call)
        assert (refused.code, refused.reason) == (Code.UNAVAILABLE, "AUDIT_UNAVAILABLE")
        assert refused.retry_after_s
        assert "disk" not in refused.text
    monkeypatch.undo()
    assert await records_of(strict.store) == []
    await strict.recorder.finish()
    assert sum(one.times for one in await decisions(strict)) >= len(calls)


async def test_a_watch_does_not_begin_unrecorded(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is streamed to somebody whose permission could not be recorded."""

    async def fail(batch: Sequence[Record]) -> None:
        raise StoreUnavailable("the disk is full")

    monkeypatch.setattr(rig.store, "audit", fail)
    watch = rig.client("/payments/api").WatchEvents(pb.WatchEventsRequest(), timeout=TIMEOUT_S)
    assert (await refusal(watch.read())).reason == "AUDIT_UNAVAILABLE"
