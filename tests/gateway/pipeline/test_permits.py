"""Routes are asked about before each attempt, from what was stored."""

from __future__ import annotations

import asyncio
from contextlib import AbstractAsyncContextManager
from itertools import pairwise
from pathlib import Path
from typing import Any

from carrier.contract import LinkState, Outcome
from gateway.pipeline.permits import Permits
from gateway.policy.engine import Reason
from gateway.routing.plans import Plan
from gateway.routing.routes import Target
from gateway.states import Category, State
from gateway.store.contract import MessageRow, Waiting
from tests.gateway.pipeline.fake_link import FakeLink
from tests.gateway.pipeline.rig import CALLER, SECOND, Rig, two_carriers
from tests.gateway.policy.sets import authorizer

ALL = '@id("all") permit(principal, action, resource);\n'
NOT_ACME = '@id("not-acme") forbid(principal, action == Action::"UseRoute", resource == Route::"acme");\n'
NOWHERE = '@id("nowhere") forbid(principal, action == Action::"UseRoute", resource);\n'


def waiting(number: int = 0, **fields: Any) -> Waiting:
    """Return a message in the hands of the dispatcher."""
    message = Waiting("demo", number.to_bytes(16, "big"), Category.OTP, "ACME", b"", b"", 1, 0, 10, 0, 1, "", "", "",
                      "spiffe://example.org/demo/api", "DE")  # fmt: skip
    return message._replace(**fields)


def plan_by(*carriers: str) -> Plan:
    """Return a plan that goes by these carriers."""
    return Plan("", [Target(carrier=carrier) for carrier in carriers])


async def sort(policy: str, messages: list[Waiting], carriers: tuple[str, ...] = ("acme", "other")) -> Any:
    """Return which messages may go by acme, and which not."""
    plan = plan_by(*carriers)
    return await Permits(authorizer(policy)).sort("acme", [(message, plan) for message in messages], 0)


async def test_all_permitted() -> None:
    """What may go goes, in its order, with the policy that says so."""
    messages = [waiting(n) for n in range(5)]
    permitted, denied = await sort(ALL, messages)
    assert [(message, policy, told) for message, _, policy, told in permitted] == [(m, "all", "ACME") for m in messages]
    assert denied == []


async def test_denied_with_other_carriers() -> None:
    """What may not go this way comes with the carriers that it may go by."""
    (denied,) = (await sort(ALL + NOT_ACME, [waiting()]))[1]
    assert denied.decision.policies == ("not-acme",)
    assert denied.others == {"other": "all"}
    (denied,) = (await sort(ALL + NOWHERE, [waiting()]))[1]
    assert (denied.decision.policies, denied.others) == (("nowhere",), {})


async def test_the_sender_as_it_is_told() -> None:
    """A way that tells the carrier another sender is judged by that one: here and on the other ways."""
    forbid = '@id("f") forbid(principal, action == Action::"UseRoute", resource) when { context.sender == "BAD" };'
    plan = Plan("r", [Target(carrier="acme", sender="BAD"), Target(carrier="other", senders={"ACME": "GOOD"}),
                      Target(carrier="third", senders={"ACME": "BAD"})])  # fmt: skip
    (denied,) = (await Permits(authorizer(ALL + forbid)).sort("acme", [(waiting(), plan)], 0))[1]
    assert denied.others == {"other": "all"}
    ((_, _, _, told),), _ = await Permits(authorizer(ALL + forbid)).sort("other", [(waiting(), plan)], 0)
    assert told == "GOOD"


async def test_each_message_by_its_own_attributes() -> None:
    """Owner, tenant, sender, category and country of the stored message decide."""
    conditions: dict[str, dict[str, Any]] = {
        'principal in Path::"spiffe://example.org/demo/web"': {"owner": "spiffe://example.org/demo/web"},
        'principal in Tenant::"t2"': {"tenant": "t2"},
        'context.sender == "X"': {"sender": "X"},
        'context.category == "PROMOTIONAL"': {"category": Category.PROMOTIONAL},
        'context.country == "FR"': {"country": "FR"},
    }
    for condition, fields in conditions.items():
        forbid = f'@id("f") forbid(principal, action == Action::"UseRoute", resource) when {{ {condition} }};'
        permitted, denied = await sort(ALL + forbid, [waiting(1), waiting(2, **fields)])
        assert [message.id[-1] for message, *_ in permitted] == [1], condition
        assert [found.message.id[-1] for found in denied] == [2], condition


async def test_new_questions_give_way() -> None:
    """Many questions that nobody asked before let others go between."""
    forbid = '@id("f") forbid(principal, action == Action::"UseRoute", resource) when { context.sender == "X" };'
    asked = authorizer(ALL + forbid)
    seen = [0]

    async def other() -> None:
        while seen[-1] < 50:
            seen.append(asked.misses)
            await asyncio.sleep(0)

    task = asyncio.create_task(other())
    messages = [waiting(n, sender=f"S{n}") for n in range(50)]
    plan = plan_by("acme")
    permitted, _ = await Permits(asked).sort("acme", [(message, plan) for message in messages], 0)
    await asyncio.wait_for(task, 10)
    assert len(permitted) == asked.misses == 50
    assert max(after - before for before, after in pairwise(seen)) <= 10


def running(folder: Path, policy: str, **options: Any) -> AbstractAsyncContextManager[tuple[Rig, FakeLink]]:
    """Run a pipeline with these policies and two carriers."""
    return two_carriers(folder, policy=policy, **options)


async def row_of(rig: Rig, message_id: bytes) -> MessageRow:
    """Return a message as it stands."""
    row = await rig.store.get_message("demo", message_id)
    assert row is not None
    return row


async def test_no_permitted_carrier_rejects(tmp_path: Path) -> None:
    """A message that no carrier may carry is rejected with the policy's id, told in an event, and counted."""
    async with running(tmp_path, ALL + NOWHERE) as (rig, other):
        accepted = await rig.send(30)
        for answer in accepted:
            await rig.reach(answer.id, State.REJECTED)
        row = await row_of(rig, accepted[0].id)
        assert (row.reason_code, row.attempts, row.carrier) == ("POLICY_DENIED", 0, "")
        assert row.reason_text == "policy nowhere: the carrier acme is forbidden by the policy nowhere"
        events = [event for event in await rig.store.events("demo", 0, 100) if event.message_id == accepted[0].id]
        assert [event.state for event in events] == [State.ACCEPTED, State.REJECTED]
        assert events[1].reason_code == "POLICY_DENIED"
        assert (await rig.store.counts())["rejected.policy"] == 30
        await rig.until(lambda: [status.slots for status in rig.pipeline.status()] == [0, 0])
        assert (rig.link.most_held, other.most_held) == (0, 0)


async def test_an_erroring_policy_rejects(tmp_path: Path) -> None:
    """What cannot be evaluated denies here too."""
    trap = '@id("trap") forbid(principal, action == Action::"UseRoute", resource) when {\n'
    overflow = "context.minute + 9223372036854775807 > 0 };"
    async with running(tmp_path, ALL + trap + overflow, now=1_790_000_060 * SECOND) as (rig, _):
        (accepted,) = await rig.send()
        await rig.reach(accepted.id, State.REJECTED)
        assert "policy trap" in (await row_of(rig, accepted.id)).reason_text


async def test_another_carrier_takes_it(tmp_path: Path) -> None:
    """A message that the preferred carrier may not carry goes by another one; the rest is not held up."""
    no_otp = NOT_ACME.replace(");", ') when { context.category == "OTP" };')
    async with running(tmp_path, ALL + no_otp) as (rig, other):
        otps = await rig.send(3)
        await rig.send(3, Category.TRANSACTIONAL)
        await rig.until(lambda: (len(rig.link.held), len(other.held)) == (3, 3))
        assert [status.slots for status in rig.pipeline.status()] == [3, 3]
        other.finish(3)
        for answer in otps:
            await rig.reach(answer.id, State.SUBMITTED)
            assert (await row_of(rig, answer.id)).carrier == "other"
        await rig.until(lambda: [status.slots for status in rig.pipeline.status()] == [3, 0])


async def test_the_permitted_carrier_is_away(tmp_path: Path) -> None:
    """A message whose permitted carrier is not there now waits for it, and is not rejected."""
    async with running(tmp_path, ALL + NOT_ACME) as (rig, other):
        other.state = LinkState.BACKOFF
        (accepted,) = await rig.send()
        await rig.until(lambda: rig.pipeline.status()[0].slots == 0 and not len(rig.pipeline.lanes))
        row = await row_of(rig, accepted.id)
        assert (State(row.state), row.reason_code) == (State.ACCEPTED, "ROUTE_UNAVAILABLE")
        other.come_back()
        rig.now += 2 * SECOND
        await rig.until(lambda: len(other.held) == 1)


async def test_failover_asks_again(tmp_path: Path) -> None:
    """What the preferred carrier lost may not go by the next one: it waits for the first to come back."""
    not_other = NOT_ACME.replace("acme", "other")
    async with running(tmp_path, ALL + not_other) as (rig, other):
        (accepted,) = await rig.send()
        await rig.until(lambda: len(rig.link.held) == 1)
        rig.link.state = LinkState.BACKOFF
        rig.link.finish(1, outcome=Outcome.NOT_WRITTEN)
        await rig.until(lambda: rig.pipeline.status()[1].slots == 0 and not len(rig.pipeline.lanes))
        async with asyncio.timeout(10):
            while (await row_of(rig, accepted.id)).reason_code != "ROUTE_UNAVAILABLE":
                await asyncio.sleep(0.001)
        assert other.most_held == 0


async def test_what_is_in_doubt_stays_in_doubt(tmp_path: Path) -> None:
    """A message that may have arrived is not called rejected because it may not be sent again."""
    later = f"context.minute > {START_MINUTE}"
    forbid = f'@id("later") forbid(principal, action == Action::"UseRoute", resource) when {{ {later} }};'
    async with running(tmp_path, ALL + forbid) as (rig, _):
        (accepted,) = await rig.send()
        await rig.until(lambda: len(rig.link.held) == 1)
        rig.now += 61 * SECOND
        rig.link.finish(1, outcome=Outcome.IN_DOUBT)
        async with asyncio.timeout(10):
            while (await row_of(rig, accepted.id)).reason_code != "POLICY_DENIED":
                await asyncio.sleep(0.001)
        row = await row_of(rig, accepted.id)
        assert State(row.state) is State.UNKNOWN
        assert (await rig.store.counts())["doubt.policy"] == 1
        assert (await rig.store.counts())["queue.AWAITING"] == 1


START_MINUTE = 1_790_000_000 // 60 % 1440


async def test_denials_are_counted() -> None:
    """A denial that ends a message's way is counted."""
    asked = authorizer(ALL + NOWHERE)
    permits = Permits(asked)
    (denied,) = (await permits.sort("acme", [(waiting(owner=CALLER.spiffe_id), plan_by("acme"))], 0))[1]
    permits.count(denied.decision)
    assert asked.denials == {("UseRoute", Reason.FORBIDDEN): 1}
