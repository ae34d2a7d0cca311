"""`smsgw queues|pause|resume|purge|find` on a running node, over TLS on every side."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import grpc
import pytest

from carrier.simulator.simulator import Simulator
from gateway.audit.records import StateChanged
from smsgw.v1 import carrier_service_pb2
from smsgw.v1 import queue_service_pb2 as pb
from smsgw.v1.queue_service_pb2_grpc import QueueServiceStub
from tests.appliance import OPERATOR, TENANT, TRUST_DOMAIN, Appliance
from tests.gateway.api.refusals import refusal
from tests.gateway.operation import Operation, configure, fresh, operating, simulators

NUMBER, OTHER = "+4915112345678", "+4915187654321"
PROMOTIONAL = 3


@pytest.fixture(scope="module")
def appliance(tmp_path_factory: pytest.TempPathFactory) -> Appliance:
    """Make keys and certificates once."""
    return Appliance.create(tmp_path_factory.mktemp("queues") / "site", operator=True)


@pytest.fixture
async def carriers(appliance: Appliance) -> AsyncIterator[dict[str, Simulator]]:
    """Run a carrier that sends receipts."""
    fresh(appliance)
    async with simulators(appliance, ("acme",), "receipts: {delay_s: 0.05}") as running:
        configure(appliance, running)
        yield running


@pytest.fixture
async def operation(appliance: Appliance, carriers: dict[str, Simulator]) -> AsyncIterator[Operation]:
    """Run the node."""
    async with operating(appliance, carriers) as running:
        await running.until(lambda: carriers["acme"].stats()["bound"] == 1)
        yield running


async def held(operation: Operation, number: int) -> None:
    """Wait until so many messages are put away."""
    stub = QueueServiceStub(operation.channel("operator", operation.node.admin_address))
    async with asyncio.timeout(30):
        while sum(size.held for size in (await stub.GetQueues(pb.GetQueuesRequest())).sizes) != number:
            await asyncio.sleep(0.02)


async def test_pause_and_purge_by_owner(operation: Operation) -> None:
    """What an identity has sent is held back and withdrawn, and shown under its name."""
    owner = f"spiffe://{TRUST_DOMAIN}/{TENANT}/caller-0"
    (pause,) = await operation.command("pause", "--owner", owner, "--reason", "ticket 4711")
    assert pause["selection"] == {"owner": owner}
    waits = await operation.send(5)
    await held(operation, 5)
    assert f"sent by {owner}" in await operation.shown("queues")
    (nobody,) = await operation.command("purge", "--owner", f"{owner}0", "--reason", "stolen", "--yes")
    assert (nobody["cancelled"], nobody["doubtful"]) == ("0", "0")
    (purged,) = await operation.command("purge", "--owner", owner, "--reason", "stolen", "--yes")
    assert purged["cancelled"] == "5"
    assert {await operation.state(each) for each in waits} == {"CANCELLED"}
    await operation.command("resume", "--owner", owner)
    assert {(act.what, act.reason) for act in await operation.acts()} >= {
        ("messages paused", f"ticket 4711 (sent by {owner})"),
        ("messages purged", f"stolen (sent by {owner})"),
        ("messages resumed", f"sent by {owner}"),
    }


async def test_pause_and_resume(operation: Operation) -> None:
    """A category is held back while another goes on; what waits is shown; resumed, all of it is delivered."""
    (pause,) = await operation.command("pause", "--category", "promotional", "--reason", "ticket 4711")
    assert pause["selection"] == {"category": "PROMOTIONAL"}
    waits = await operation.send(20, category=PROMOTIONAL)
    (goes,) = await operation.send()
    await operation.reach(goes, "DELIVERED")
    await held(operation, 20)
    assert len(operation.carriers["acme"].received) == 1
    (found,) = await operation.command("queues")
    assert [(size["category"], size["held"]) for size in found["sizes"]] == [
        ("OTP", "0"), ("TRANSACTIONAL", "0"), ("PROMOTIONAL", "20"),
    ]  # fmt: skip
    text = await operation.shown("queues")
    assert f"paused: PROMOTIONAL; by {OPERATOR}" in text
    assert "ticket 4711" in text
    assert await operation.command("resume", "--category", "promotional") == [{"resumed": True}]
    for message_id in waits:
        await operation.reach(message_id, "DELIVERED")
    (failed,) = await operation.command("resume", "--category", "promotional", code=1)
    assert failed["error"]["reason"] == "NOT_PAUSED"


async def test_a_pause_holds_after_a_restart(appliance: Appliance, carriers: dict[str, Simulator]) -> None:
    """What was held is held, and so is what comes then; a recipient is never told again."""
    async with operating(appliance, carriers) as first:
        await first.command("pause", "--recipient", NUMBER, "--reason", "asked us to stop")
        sent = await first.send(3)
        await held(first, 3)
    async with operating(appliance, carriers) as second:
        sent += await second.send(2)
        (goes,) = await second.send(recipient=OTHER)
        await second.reach(goes, "DELIVERED")
        await held(second, 5)
        assert len(carriers["acme"].received) == 1
        text = await second.shown("queues")
        assert "to +49XXXXXXXX5678" in text or "5678" in text
        assert NUMBER not in text
        await second.command("resume", "--recipient", NUMBER)
        for message_id in sent:
            await second.reach(message_id, "DELIVERED")
        assert {(act.what, act.by_recipient, act.tenant) for act in await second.acts()} == {
            ("messages paused", True, ""),
            ("messages resumed", True, ""),
        }


async def test_purge(operation: Operation) -> None:
    """It counts, asks, withdraws, and tells the callers; what another selection has stays; all of it is on record."""
    await operation.command("carrier", "pause", "acme", "--reason", "let them wait")
    goes = await operation.send(5, category=PROMOTIONAL, recipient=OTHER)
    stays = await operation.send(5)
    arguments = ("purge", "--tenant", TENANT, "--category", "promotional", "--reason", "sent twice")
    (counted,) = await operation.command(*arguments, "--dry-run")
    assert counted == {"cancelled": "5", "doubtful": "0", "dry_run": True}
    assert {await operation.state(message_id) for message_id in goes} == {"ACCEPTED"}
    (failed,) = await operation.command(*arguments, code=2)
    assert failed["error"]["reason"] == "NOT_CONFIRMED"
    assert "withdraw 5 messages, for good? [y/N]" in await operation.shown(*arguments, code=1)
    assert await operation.shown(*arguments, "--yes") == "5 messages withdrawn\n"
    assert {await operation.state(message_id) for message_id in goes} == {"CANCELLED"}
    assert {await operation.state(message_id) for message_id in stays} == {"ACCEPTED"}
    act = (await operation.acts())[-1]
    assert (act.what, act.tenant, act.category, act.number) == ("messages purged", TENANT, PROMOTIONAL, 5)
    assert (act.by, act.reason) == (OPERATOR, "sent twice")
    changes = [record for record in await operation.records() if isinstance(record, StateChanged)]
    assert {(change.reason, change.by) for change in changes} == {("PURGED", OPERATOR)}
    await operation.command("carrier", "resume", "acme")
    for message_id in stays:
        await operation.reach(message_id, "DELIVERED")
    assert len(operation.carriers["acme"].received) == 5


async def test_purge_of_many(operation: Operation) -> None:
    """More than one step takes all of them, those that were put away too; each step is a record with its number."""
    await operation.command("pause", "--category", "promotional", "--reason", "x")
    for _ in range(3):
        await operation.send(900, category=PROMOTIONAL)
    (done,) = await operation.command("purge", "--category", "promotional", "--reason", "y", "--yes")
    assert done["cancelled"] == "2700"
    numbers = [act.number for act in await operation.acts() if act.what == "messages purged"]
    assert sum(numbers) == 2700
    assert len(numbers) >= 3
    assert not operation.carriers["acme"].received


async def test_find(operation: Operation) -> None:
    """By recipient, over all tenants, or by tenant, state and carrier; masked; what was looked for is on record."""
    sent = await operation.send(3)
    sent += await operation.send(2, category=PROMOTIONAL, recipient=OTHER)
    for message_id in sent:
        await operation.reach(message_id, "DELIVERED")
    found = await operation.command("find", "--recipient", NUMBER)
    assert [message["message_id"] for message in found] == sent[2::-1]
    assert {(message["state"], message["tenant"], message["carrier"]) for message in found} == {
        ("DELIVERED", TENANT, "acme")
    }
    assert all(message["masked_recipient"].endswith("5678") and "X" in message["masked_recipient"] for message in found)
    arguments = ("find", "--tenant", TENANT, "--category", "promotional", "--carrier", "acme", "--state", "delivered")
    assert len(await operation.command(*arguments, "--limit", "1")) == 1
    assert len(await operation.command(*arguments)) == 2
    assert await operation.command(*arguments[:-1], "rejected") == []
    text = await operation.shown("find", "--recipient", NUMBER)
    assert text.count("DELIVERED") == 3
    assert NUMBER not in text
    (failed,) = await operation.command("find", "--category", "otp", code=2)
    assert failed["error"]["reason"] == "SELECTION_TOO_WIDE"
    acts = [act for act in await operation.acts() if act.what == "messages found"]
    assert [(act.by_recipient, act.number) for act in acts][:2] == [(True, 3), (False, 1)]
    assert NUMBER.encode() not in b"".join(repr(record).encode() for record in await operation.records())


async def test_find_goes_through_pages(operation: Operation) -> None:
    """Pages come in order, without a gap; a token belongs to its selection."""
    sent = await operation.send(7)
    stub = QueueServiceStub(operation.channel("operator", operation.node.admin_address))
    found: list[str] = []
    token = ""
    while True:
        request = pb.FindMessagesRequest(selection=pb.MessageSelection(recipient=NUMBER), page_size=3, page_token=token)
        response = await stub.FindMessages(request)
        found += [message.message_id for message in response.messages]
        if not response.next_page_token:
            break
        token = response.next_page_token
    assert found == sent[::-1]
    other = pb.FindMessagesRequest(selection=pb.MessageSelection(recipient=OTHER), page_token=token)
    assert (await refusal(stub.FindMessages(other))).reason == "PAGE_TOKEN_INVALID"


async def test_carrier_alone_is_the_carrier(operation: Operation) -> None:
    """`smsgw pause --carrier` pauses the carrier, and `resume` lets it go on; with anything else it is refused."""
    await operation.command("pause", "--carrier", "acme", "--reason", "x")
    (acme,) = (await operation.operator.GetCarriers(carrier_service_pb2.GetCarriersRequest())).carriers
    assert acme.mode == carrier_service_pb2.CARRIER_MODE_PAUSED
    await operation.command("resume", "--carrier", "acme")
    (acme,) = (await operation.operator.GetCarriers(carrier_service_pb2.GetCarriersRequest())).carriers
    assert acme.mode == carrier_service_pb2.CARRIER_MODE_OPEN
    (failed,) = await operation.command("pause", "--carrier", "acme", "--tenant", TENANT, "--reason", "x", code=2)
    assert failed["error"]["reason"] == "CARRIER_NOT_SELECTABLE"


@pytest.mark.parametrize(
    ("selection", "reason"),
    [
        (pb.MessageSelection(), "SELECTION_EMPTY"),
        (pb.MessageSelection(tenant="nobody"), "TENANT_UNKNOWN"),
        (pb.MessageSelection(category=9), "CATEGORY_INVALID"),  # type: ignore[arg-type]  # on purpose
        (pb.MessageSelection(recipient="0151"), "RECIPIENT_INVALID"),
        (pb.MessageSelection(owner="caller-0"), "OWNER_INVALID"),
    ],
)
async def test_selections_that_are_none(operation: Operation, selection: pb.MessageSelection, reason: str) -> None:
    """Nothing is done to everything by mistake, nor to what there is not."""
    stub = QueueServiceStub(operation.channel("operator", operation.node.admin_address))
    for call in (
        stub.PauseMessages(pb.PauseMessagesRequest(selection=selection, reason="x")),
        stub.ResumeMessages(pb.ResumeMessagesRequest(selection=selection)),
        stub.PurgeMessages(pb.PurgeMessagesRequest(selection=selection, reason="x")),
        stub.FindMessages(pb.FindMessagesRequest(selection=selection)),
    ):
        assert (await refusal(call)).reason == reason
    assert await operation.acts() == []


async def test_callers_are_refused(operation: Operation) -> None:
    """A caller of a tenant can do none of this, not even to its own messages."""
    stub = QueueServiceStub(operation.channel("caller-0", operation.node.admin_address))
    selection = pb.MessageSelection(tenant=TENANT)
    for call in (
        stub.GetQueues(pb.GetQueuesRequest()),
        stub.PauseMessages(pb.PauseMessagesRequest(selection=selection, reason="x")),
        stub.ResumeMessages(pb.ResumeMessagesRequest(selection=selection)),
        stub.PurgeMessages(pb.PurgeMessagesRequest(selection=selection, reason="x")),
        stub.FindMessages(pb.FindMessagesRequest(selection=selection)),
    ):
        refused = await refusal(call)
        assert (refused.code, refused.reason) == (grpc.StatusCode.PERMISSION_DENIED, "NOT_AN_OPERATOR")
