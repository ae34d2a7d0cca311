"""Authorization as callers meet it: the call, each message, streams over time; over mutual TLS."""

from __future__ import annotations

import asyncio
import datetime as dt
from contextlib import AbstractAsyncContextManager
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import grpc
import pytest

from gateway.api.authorizing import AuthorizationGuard, action_of, call_actions
from gateway.api.methods import METHODS, AuditClass, Method, Permission
from gateway.errors import Overloaded, PermissionDenied
from gateway.identity import Caller
from gateway.policy.engine import Reason
from smsgw.v1 import message_service_pb2 as pb
from smsgw.v1.message_pb2 import Content
from tests.gateway.api.refusals import from_status, refusal, stream_refusal
from tests.gateway.api.rig import NOW, SECOND, TIMEOUT_S, Rig, message, running_rig
from tests.gateway.callers import caller
from tests.gateway.policy.sets import authorizer
from tests.gateway.sealed.keys import payload_key, sealed

DENIED = grpc.StatusCode.PERMISSION_DENIED
OTP, TRANSACTIONAL, PROMOTIONAL = 1, 2, 3
CALLS = '@id("calls") permit(principal, action, resource is Tenant) when { resource == principal.tenant };\n'
SENDS = '@id("sends") permit(principal, action in Action::"send", resource);\n'
PATH = "/payments/api"


def rig_with(folder: Path, *policies: str) -> AbstractAsyncContextManager[Rig]:
    """Run an API with these policies."""
    return running_rig(folder, "\n".join(policies))


def send(**changes: Any) -> pb.SendMessageRequest:
    """Return a request for one message."""
    return pb.SendMessageRequest(message=message(**changes))


def test_actions() -> None:
    """Each method is an action of its service, in the group that its row's permission names."""
    assert action_of("/smsgw.v1.MessageService/GetMessage") == "MessageService.GetMessage"
    assert action_of("/grpc.health.v1.Health/Check") == "Health.Check"
    assert call_actions()["MessageService.ListMessages"] == "message:read"
    assert len(call_actions()) == len(METHODS)


def test_two_methods_of_one_action() -> None:
    """Two services of one name would share their actions: the table is refused."""
    names = ("/a.v1.Things/Get", "/b.v1.Things/Get")
    table = {name: Method(name, Permission.READ, 1, AuditClass.READ) for name in names}
    with pytest.raises(ValueError, match=r"two methods of the table are the action Things\.Get"):
        call_actions(table)


async def test_sealed_content_is_told_to_policies(tmp_path: Path) -> None:
    """A policy may forbid what is sealed, and what is not known to be short; content in the clear is not concerned."""
    anything = '@id("p") permit(principal, action, resource);'
    forbid = '@id("in-clear") forbid(principal, action == Action::"SendOtp", resource) when { context.sealed };'
    short = (
        '@id("short") forbid(principal, action == Action::"SendTransactional", resource) '
        "unless { context has segments && context.segments == 1 };"
    )
    key = payload_key()
    jwe = sealed(key, smsgw__tenant="payments", smsgw__exp=NOW // SECOND + 60)
    async with rig_with(tmp_path, anything, forbid, short) as rig:
        rig.have_keys([key])
        client = rig.client(PATH)
        for category, policy in ((OTP, "in-clear"), (TRANSACTIONAL, "short")):
            clear = send(content=Content(text="x"), category=category)
            assert (await client.SendMessage(clear, timeout=TIMEOUT_S)).accepted.segments == 1
            request = send(content=Content(sealed_jwe=jwe), category=category, idempotency_key="key-1")
            found = await refusal(client.SendMessage(request, timeout=TIMEOUT_S))
            assert (found.code, found.metadata["policy_id"]) == (DENIED, policy)


async def test_a_call_that_no_policy_permits(tmp_path: Path) -> None:
    """It is refused before its request is looked at, and says that no policy permits it."""
    only_send = '@id("p") permit(principal, action in Action::"message:send", resource);'
    async with rig_with(tmp_path, only_send) as rig:
        found = await refusal(rig.client(PATH).GetMessage(pb.GetMessageRequest(message_id="no id"), timeout=TIMEOUT_S))
        assert (found.code, found.reason) == (DENIED, "POLICY_DENIED")
        assert found.metadata == {
            "policy_id": "default-deny", "reason": "NOT_PERMITTED", "action": "MessageService.GetMessage",
        }  # fmt: skip
        assert rig.authorizer.denials["MessageService.GetMessage", Reason.NOT_PERMITTED] == 1


async def test_a_call_that_a_policy_forbids(tmp_path: Path) -> None:
    """It names the policy, on a stream too; another caller of the tenant is not concerned."""
    mailers = 'principal in Path::"spiffe://example.org/payments/mailer"'
    forbid = f'@id("no-reader") forbid({mailers}, action, resource is Tenant);'
    async with rig_with(tmp_path, CALLS, SENDS, forbid) as rig:
        mailer = rig.client("/payments/mailer")
        found = await refusal(mailer.ListMessages(pb.ListMessagesRequest(), timeout=TIMEOUT_S))
        assert (found.code, found.metadata["policy_id"]) == (DENIED, "no-reader")
        found = await stream_refusal(aiter(mailer.WatchEvents(pb.WatchEventsRequest(), timeout=TIMEOUT_S)))
        assert (found.code, found.metadata["policy_id"]) == (DENIED, "no-reader")
        await rig.client(PATH).ListMessages(pb.ListMessagesRequest(), timeout=TIMEOUT_S)


async def test_health_is_asked_about_too(tmp_path: Path) -> None:
    """No method goes around the policies."""
    from grpc_health.v1 import health_pb2

    async with rig_with(tmp_path, SENDS) as rig:
        call = rig.health(PATH).Check(health_pb2.HealthCheckRequest(), timeout=TIMEOUT_S)
        assert (await refusal(call)).metadata["action"] == "Health.Check"


async def test_a_denied_category_in_a_batch(tmp_path: Path) -> None:
    """The messages of a batch are judged one by one, by category; the others are stored."""
    forbid = '@id("no-promotions") forbid(principal, action == Action::"SendPromotional", resource);'
    async with rig_with(tmp_path, CALLS, SENDS, forbid) as rig:
        client = rig.client(PATH)
        batch = [message(category=category) for category in (OTP, PROMOTIONAL, TRANSACTIONAL)]
        results = (await client.SendMessages(pb.SendMessagesRequest(messages=batch), timeout=TIMEOUT_S)).results
        assert [result.WhichOneof("result") for result in results] == ["accepted", "error", "accepted"]
        found = from_status(results[1].error)
        assert (found.code, found.reason) == (DENIED, "POLICY_DENIED")
        assert found.metadata == {"policy_id": "no-promotions", "reason": "FORBIDDEN", "action": "SendPromotional"}
        assert len((await client.ListMessages(pb.ListMessagesRequest(), timeout=TIMEOUT_S)).messages) == 2


async def test_one_message_and_a_frame(tmp_path: Path) -> None:
    """SendMessage is denied as a call; a frame of a stream has its result, and the stream goes on."""
    text = '@id("acme-only") forbid(principal, action in Action::"send", resource) unless { context.sender == "ACME" };'
    async with rig_with(tmp_path, CALLS, SENDS, text) as rig:
        client = rig.client(PATH)
        found = await refusal(client.SendMessage(send(sender="OTHER"), timeout=TIMEOUT_S))
        assert (found.code, found.metadata["policy_id"]) == (DENIED, "acme-only")
        frames = [pb.StreamMessagesRequest(messages=[message(sender=sender)]) for sender in ("OTHER", "ACME")]
        replies = [reply async for reply in client.StreamMessages(iter(frames), timeout=TIMEOUT_S)]
        assert from_status(replies[0].results[0].error).metadata["policy_id"] == "acme-only"
        assert replies[1].results[0].accepted.message_id


@pytest.mark.parametrize(
    ("condition", "good", "bad"),
    [
        ('context.country == "CA"', {"recipient": "+14165550123"}, {"recipient": "+12125550123"}),
        ('context.sender like "AC*"', {"sender": "ACME"}, {"sender": "XACME"}),
        ('context.category == "OTP"', {"category": OTP}, {"category": PROMOTIONAL}),
        ('resource.owner in Path::"spiffe://example.org/payments"', {}, None),
        ('context has address && context.address.isLoopback()', {}, None),
        ('context has address && context.address == ip("10.0.0.1")', None, {}),
    ],
)  # fmt: skip
async def test_what_a_message_is_judged_by(
    tmp_path: Path, condition: str, good: dict[str, Any] | None, bad: dict[str, Any] | None
) -> None:
    """Country, sender, category, owner and the client's address reach the policies as they are."""
    permit = f'@id("p") permit(principal, action in Action::"send", resource) when {{ {condition} }};'
    async with rig_with(tmp_path, CALLS, permit) as rig:
        client = rig.client(PATH)
        if good is not None:
            assert (await client.SendMessage(send(**good), timeout=TIMEOUT_S)).accepted.message_id
        if bad is not None:
            assert (await refusal(client.SendMessage(send(**bad), timeout=TIMEOUT_S))).code is DENIED


async def test_a_replay_is_authorized_again(tmp_path: Path) -> None:
    """A key that was accepted an hour ago brings nothing when its sender may not send now."""
    hour = NOW // (60 * SECOND) % 1440 // 60
    assert hour < 23
    condition = f"context.minute >= {60 * hour + 60}"
    text = f'@id("hours") forbid(principal, action in Action::"send", resource) when {{ {condition} }};'
    async with rig_with(tmp_path, CALLS, SENDS, text) as rig:
        client = rig.client(PATH)
        first = await client.SendMessage(send(idempotency_key="k"), timeout=TIMEOUT_S)
        again = await client.SendMessage(send(idempotency_key="k"), timeout=TIMEOUT_S)
        assert again.accepted.replayed
        assert again.accepted.message_id == first.accepted.message_id
        rig.now.now += 3600 * SECOND
        found = await refusal(client.SendMessage(send(idempotency_key="k"), timeout=TIMEOUT_S))
        assert (found.code, found.metadata["policy_id"]) == (DENIED, "hours")


def test_a_stream_outlives_its_permission() -> None:
    """The guard asks again at each message: a call that may not be made any more ends there."""
    text = '@id("morning") permit(principal, action, resource is Tenant) when { context.minute < 720 };'
    now = dt.datetime(2026, 7, 3, 11, 59, tzinfo=dt.UTC)
    guard = AuthorizationGuard(authorizer(text), lambda: now)
    call: Any = SimpleNamespace(
        caller=caller(), peer="ipv4:10.0.0.1:5000", method=METHODS["/smsgw.v1.MessageService/WatchEvents"]
    )  # fmt: skip
    guard.enter(call)
    assert (call.address, call.decision.policies) == ("10.0.0.1", ("morning",))
    guard.message(call)
    now += dt.timedelta(minutes=1)
    with pytest.raises(PermissionDenied) as caught:
        guard.message(call)
    assert caught.value.metadata["policy_id"] == "default-deny"
    assert not call.decision.allowed


async def test_who_cannot_pay_is_told_when_to_retry(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A question that its caller has no tokens for is no denial: the message is to be sent again later."""
    async with rig_with(tmp_path, CALLS, SENDS) as rig:
        client = rig.client(PATH)
        await client.SendMessages(pb.SendMessagesRequest(messages=[message(category=OTP)]), timeout=TIMEOUT_S)

        def nothing_left(who: Caller, tokens: int) -> None:
            raise Overloaded(f"{who.tenant} has not {tokens} tokens", retry_after_s=3)

        monkeypatch.setattr(rig.authorizer, "_spend", nothing_left)
        batch = [message(category=OTP), message(category=PROMOTIONAL)]
        results = (await client.SendMessages(pb.SendMessagesRequest(messages=batch), timeout=TIMEOUT_S)).results
        assert results[0].accepted.message_id
        found = from_status(results[1].error)
        assert (found.code, found.retry_after_s) == (grpc.StatusCode.RESOURCE_EXHAUSTED, 3)


async def test_new_questions_give_way(tmp_path: Path) -> None:
    """A batch of a hundred questions that nobody asked before holds nobody up for more than a dozen of them."""
    text = '@id("s") permit(principal, action in Action::"send", resource) when { context.sender like "S*" };'
    async with rig_with(tmp_path, CALLS, text) as rig:
        seen = [0]

        async def other() -> None:
            while seen[-1] < 101:
                seen.append(rig.authorizer.misses)
                await asyncio.sleep(0)

        task = asyncio.create_task(other())
        request = pb.SendMessagesRequest(messages=[message(sender=f"S{n}x") for n in range(100)])
        results = (await rig.client(PATH).SendMessages(request, timeout=TIMEOUT_S)).results
        await asyncio.wait_for(task, TIMEOUT_S)
        assert all(result.accepted.message_id for result in results)
        assert max(after - before for before, after in pairwise(seen)) <= 12
