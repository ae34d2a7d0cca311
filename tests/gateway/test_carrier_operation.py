"""An operator's day: `smsgw carrier status|pause|drain|resume|rebind` on a running node, over TLS on every side."""

from __future__ import annotations

import asyncio
import json
import socket
import sys
from collections.abc import AsyncIterator
from typing import Any

import grpc
import pytest

from carrier.simulator.script_file import parse_script
from carrier.simulator.simulator import Simulator
from gateway.audit.records import Decision, OperatorActed
from gateway.config.loader import load
from gateway.node import Node
from smsgw.v1 import carrier_service_pb2 as pb
from smsgw.v1 import message_service_pb2 as api
from smsgw.v1.carrier_service_pb2_grpc import CarrierServiceStub
from smsgw.v1.message_service_pb2_grpc import MessageServiceStub
from tests.appliance import OPERATOR, SMSGW, TENANT, TRUST_DOMAIN, Appliance
from tests.gateway.api.refusals import refusal
from tests.gateway.operation import Operation, configure, fresh, operating, rewrite, server_context, simulators

CARRIERS = ("acme", "beta")


@pytest.fixture(scope="module")
def appliance(tmp_path_factory: pytest.TempPathFactory) -> Appliance:
    """Make keys and certificates once."""
    return Appliance.create(tmp_path_factory.mktemp("operation") / "site", operator=True)


@pytest.fixture
async def carriers(appliance: Appliance) -> AsyncIterator[dict[str, Simulator]]:
    """Run two carriers that answer and send receipts, and a configuration with two binds to each."""
    fresh(appliance)
    async with simulators(appliance, CARRIERS, "receipts: {delay_s: 0.05}") as running:
        configure(appliance, running, binds=2)
        yield running


@pytest.fixture
async def operation(appliance: Appliance, carriers: dict[str, Simulator]) -> AsyncIterator[Operation]:
    """Run the node, bound to both."""
    async with operating(appliance, carriers) as running:
        await running.until(lambda: all(simulator.stats()["bound"] == 2 for simulator in carriers.values()))
        yield running


def binds(carrier: dict[str, Any]) -> list[str]:
    """Return the states of a carrier's binds."""
    return [bind["state"] for bind in carrier["binds"]]


async def test_status(operation: Operation) -> None:
    """Every carrier with its binds, for people and for machines; one that is named is shown alone."""
    acme, beta = await operation.command("carrier", "status")
    assert (acme["name"], acme["mode"], binds(acme), acme["insecure"]) == ("acme", "OPEN", ["bound", "bound"], False)
    assert acme["binds"][1] == {
        "name": "acme/1", "state": "bound", "why": "bound", "window": 50, "unanswered": 0, "staged": 0, "in_doubt": 0,
        "where": [acme["address"]], "secured": True,
    }  # fmt: skip
    assert (acme["breaker"], acme["pace"], acme["slow_factor"], acme["waiting"]) == ("closed", 500.0, 1.0, "0")
    assert acme["address"] == f"127.0.0.1:{operation.carriers['acme'].port}"
    assert beta["name"] == "beta"
    text = await operation.shown("carrier", "status", "beta")
    assert "beta" in text
    assert "acme" not in text
    assert "0/50" in text


async def test_status_in_numbers(appliance: Appliance, carriers: dict[str, Simulator]) -> None:
    """What waits for a carrier and since when, how it answers and how fast, and what it is congested by."""
    port = carriers["acme"].port
    await carriers["acme"].stop()
    refusing = "errors: [{destination_prefix: '4915112345699', status: ESME_RTHROTTLED}]"
    script = parse_script(f"receipts: {{delay_s: 0.05}}\n{refusing}")
    carriers["acme"] = Simulator(script, server_context(appliance), port=port)
    await carriers["acme"].start()
    async with operating(appliance, carriers) as operation:
        await operation.until(lambda: carriers["acme"].stats()["bound"] == 2)
        for message_id in await operation.send(3):
            await operation.reach(message_id, "DELIVERED")
        await operation.send(recipient="+4915112345699")
        async with asyncio.timeout(30):
            while True:
                acme, beta = await operation.command("carrier", "status")
                answers = {answer["name"]: answer["count"] for answer in acme["answers"]}
                text = await operation.shown("carrier", "status", "acme")
                slow = acme["slow_factor"] < 1 and "congested" in text
                if slow and answers.get("ESME_RTHROTTLED") and answers.get("ESME_ROK", "0") == "3":
                    break
                await operation.send(recipient="+4915112345699")  # it is over by itself, soon after the last refusal
        assert 0 < float(acme["round_trip"].removesuffix("s")) < 30
        assert {answer["name"] for answer in beta["answers"]} <= {"ESME_ROK"}  # it may have taken over
        assert "acme: congested, at " in text
        assert "ESME_RTHROTTLED" in text


async def test_pause_and_resume(operation: Operation) -> None:
    """A paused carrier gets nothing and keeps its binds; its receipts come in; the other one takes the messages."""
    acme, beta = operation.carriers["acme"], operation.carriers["beta"]
    (before,) = await operation.send()
    await operation.reach(before, "DELIVERED")
    (carrier,) = await operation.command("carrier", "pause", "acme", "--reason", "ticket 4711")
    assert (carrier["mode"], carrier["held_by"], carrier["held_because"]) == ("PAUSED", OPERATOR, "ticket 4711")
    sent = await operation.send(20)
    for message_id in sent:
        await operation.reach(message_id, "DELIVERED")
    assert (len(acme.received), len(beta.received)) == (1, 20)
    assert (acme.stats()["bound"], acme.stats()["connections"]) == (2, 2)
    assert "ticket 4711" in await operation.shown("carrier", "status")
    (carrier,) = await operation.command("carrier", "resume", "acme")
    assert (carrier["mode"], binds(carrier)) == ("OPEN", ["bound", "bound"])
    await operation.send(3)
    await operation.until(lambda: len(acme.received) == 4)
    assert acme.stats()["connections"] == 2


async def test_nothing_is_lost_while_all_carriers_are_paused(
    appliance: Appliance, carriers: dict[str, Simulator]
) -> None:
    """What is accepted meanwhile waits, also across a restart, which keeps the pause; resumed, it is delivered."""
    async with operating(appliance, carriers) as first:
        for name in CARRIERS:
            await first.operator.PauseCarrier(pb.PauseCarrierRequest(carrier=name, reason="maintenance"))
        sent = await first.send(20)
    async with operating(appliance, carriers) as second:
        await second.until(lambda: all(simulator.stats()["bound"] == 2 for simulator in carriers.values()))
        sent += await second.send(20)
        assert {await second.state(message_id) for message_id in sent} == {"ACCEPTED"}
        shown = (await second.operator.GetCarriers(pb.GetCarriersRequest())).carriers
        assert {(each.mode, each.held_because) for each in shown} == {(pb.CARRIER_MODE_PAUSED, "maintenance")}
        await second.operator.ResumeCarrier(pb.ResumeCarrierRequest(carrier="beta"))
        for message_id in sent:
            await second.reach(message_id, "DELIVERED")
        assert not carriers["acme"].received
        assert len(carriers["beta"].received) == 40


async def test_drain_and_resume(operation: Operation) -> None:
    """A drained carrier has its answers, then no bind; the other keeps its connections; resumed, it is bound anew."""
    acme, beta = operation.carriers["acme"], operation.carriers["beta"]
    sent = await operation.send(30)
    (carrier,) = await operation.command("carrier", "drain", "acme", "--reason", "moving")
    assert (carrier["mode"], carrier["binds"]) == ("DRAINED", [])
    assert acme.stats()["bound"] == 0
    for message_id in sent:
        assert await operation.state(message_id) in ("ACCEPTED", "SENDING", "SUBMITTED", "DELIVERED")
    (stays,) = await operation.send()
    await operation.reach(stays, "DELIVERED")
    assert (beta.stats()["connections"], beta.stats()["bound"]) == (2, 2)
    assert "no binds" in await operation.shown("carrier", "status")
    rebind = operation.operator.RebindCarrier(pb.RebindCarrierRequest(carrier="acme", reason="x"))
    assert (await refusal(rebind)).reason == "CARRIER_DRAINED"
    await operation.command("carrier", "resume", "acme", "--reason", "moved")
    await operation.until(lambda: acme.stats()["bound"] == 2)
    assert beta.stats()["connections"] == 2


async def test_nothing_is_lost_while_all_carriers_are_drained(operation: Operation) -> None:
    """Without any bind messages are accepted and wait; one carrier resumed delivers them."""
    for name in CARRIERS:
        await operation.operator.DrainCarrier(pb.DrainCarrierRequest(carrier=name, reason="storm"))
    sent = await operation.send(20)
    assert {await operation.state(message_id) for message_id in sent} == {"ACCEPTED"}
    await operation.operator.ResumeCarrier(pb.ResumeCarrierRequest(carrier="beta"))
    for message_id in sent:
        await operation.reach(message_id, "DELIVERED")


async def test_watch(operation: Operation) -> None:
    """The status comes again and again, until the command is ended."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, SMSGW, "carrier", "status", "acme", "--watch", "--json",
        "--dir", str(operation.appliance.folder), stdout=asyncio.subprocess.PIPE,
    )  # fmt: skip
    assert process.stdout is not None
    try:
        async with asyncio.timeout(60):
            first, second = [json.loads(await process.stdout.readline()) for _ in range(2)]
        assert first["name"] == second["name"] == "acme"
    finally:
        process.kill()
        await process.communicate()


async def test_a_drained_carrier_stays_drained(appliance: Appliance, carriers: dict[str, Simulator]) -> None:
    """After a restart it is not bound; a pause binds it again, and gives it nothing."""
    async with operating(appliance, carriers) as first:
        await first.operator.DrainCarrier(pb.DrainCarrierRequest(carrier="acme", reason="gone"))
    connections = carriers["acme"].stats()["connections"]
    async with operating(appliance, carriers) as second:
        await second.until(lambda: carriers["beta"].stats()["bound"] == 2)
        (sent,) = await second.send()
        await second.reach(sent, "DELIVERED")
        assert carriers["acme"].stats()["connections"] == connections
        paused = await second.operator.PauseCarrier(pb.PauseCarrierRequest(carrier="acme", reason="look first"))
        assert paused.carrier.mode == pb.CARRIER_MODE_PAUSED
        await second.until(lambda: carriers["acme"].stats()["bound"] == 2)
        await second.reach((await second.send())[0], "DELIVERED")
        assert not carriers["acme"].received


async def test_rebind(operation: Operation) -> None:
    """One bind, or all of them, are ended and made anew; the other binds and carriers keep their connections."""
    acme, beta = operation.carriers["acme"], operation.carriers["beta"]
    (carrier,) = await operation.command("carrier", "rebind", "acme", "--bind", "1", "--reason", "no receipts")
    assert len(carrier["binds"]) == 2
    await operation.until(lambda: acme.stats()["bound"] == 2)
    assert acme.stats()["connections"] == 3
    await operation.command("carrier", "rebind", "acme", "--reason", "new server")
    await operation.until(lambda: acme.stats()["bound"] == 2)
    assert (acme.stats()["connections"], beta.stats()["connections"]) == (5, 2)
    (failed,) = await operation.command("carrier", "rebind", "acme", "--bind", "2", "--reason", "x", code=1)
    assert failed["error"]["reason"] == "BIND_UNKNOWN"


async def test_everything_is_on_record(operation: Operation) -> None:
    """Who did it, to which carrier and why; the permission is in the same commit; reading is counted, not each told."""
    operator = operation.operator
    await operator.GetCarriers(pb.GetCarriersRequest())
    await operator.PauseCarrier(pb.PauseCarrierRequest(carrier="acme", reason="  ticket\n4711 "))
    await operator.ResumeCarrier(pb.ResumeCarrierRequest(carrier="acme"))
    await operator.RebindCarrier(pb.RebindCarrierRequest(carrier="beta", reason="why not", bind=0))
    await operator.DrainCarrier(pb.DrainCarrierRequest(carrier="acme", reason="done"))
    acts = [(act.what, act.carrier, act.reason) for act in await operation.acts()]
    assert acts == [
        ("carrier paused", "acme", "ticket 4711"),
        ("carrier resumed", "acme", ""),
        ("bind 0 rebound", "beta", "why not"),
        ("carrier drained", "acme", "done"),
    ]
    records = await operation.records()
    for number, record in enumerate(records):
        if isinstance(record, OperatorActed):
            assert record.by == OPERATOR
            permission = records[number - 1]
            assert isinstance(permission, Decision)
            assert (permission.allowed, permission.caller, permission.tenant) == (True, OPERATOR, "")
            assert permission.policy == "operate"
    told = await operation.shown("audit", "tail")
    assert "because: ticket 4711" in told


@pytest.mark.parametrize(
    ("request_", "reason"),
    [
        (pb.PauseCarrierRequest(carrier="acme"), "REASON_REQUIRED"),
        (pb.PauseCarrierRequest(carrier="acme", reason="x" * 201), "REASON_TOO_LONG"),
        (pb.PauseCarrierRequest(carrier="nobody", reason="x"), "CARRIER_UNKNOWN"),
    ],
)
async def test_wrong_requests(operation: Operation, request_: pb.PauseCarrierRequest, reason: str) -> None:
    """What is destructive says why, and names a carrier that there is; else nothing is changed."""
    assert (await refusal(operation.operator.PauseCarrier(request_))).reason == reason
    assert await operation.acts() == []
    shown = (await operation.operator.GetCarriers(pb.GetCarriersRequest())).carriers
    assert {each.mode for each in shown} == {pb.CARRIER_MODE_OPEN}


async def test_callers_and_operators_never_mix(operation: Operation) -> None:
    """A caller is refused on the administrative address, an operator where messages are sent; both are on record."""
    caller, admin, api_address = "caller-0", operation.node.admin_address, operation.node.api_address
    stranger = CarrierServiceStub(operation.channel(caller, admin))
    for call in (
        stranger.GetCarriers(pb.GetCarriersRequest()),
        stranger.PauseCarrier(pb.PauseCarrierRequest(carrier="acme", reason="mischief")),
        stranger.DrainCarrier(pb.DrainCarrierRequest(carrier="acme", reason="mischief")),
        stranger.ResumeCarrier(pb.ResumeCarrierRequest(carrier="acme")),
        stranger.RebindCarrier(pb.RebindCarrierRequest(carrier="acme", reason="mischief")),
    ):
        refused = await refusal(call)
        assert (refused.code, refused.reason) == (grpc.StatusCode.PERMISSION_DENIED, "NOT_AN_OPERATOR")
    operator = MessageServiceStub(operation.channel("operator", api_address))
    refused = await refusal(operator.ListMessages(api.ListMessagesRequest()))
    assert (refused.code, refused.reason) == (grpc.StatusCode.PERMISSION_DENIED, "OPERATOR_IDENTITY")
    elsewhere = CarrierServiceStub(operation.channel(caller, api_address)).GetCarriers(pb.GetCarriersRequest())
    assert (await refusal(elsewhere)).code is grpc.StatusCode.UNIMPLEMENTED  # nor is the one's service with the other
    messages = MessageServiceStub(operation.channel("operator", admin)).ListMessages(api.ListMessagesRequest())
    assert (await refusal(messages)).code is grpc.StatusCode.UNIMPLEMENTED
    denied = {
        (record.caller, record.reason)
        for record in await operation.records()
        if isinstance(record, Decision) and not record.allowed
    }
    assert denied == {
        (f"spiffe://{TRUST_DOMAIN}/{TENANT}/caller-0", "NOT_AN_OPERATOR"),
        (OPERATOR, "OPERATOR_IDENTITY"),
    }


async def test_policies_decide_about_operators(appliance: Appliance, carriers: dict[str, Simulator]) -> None:
    """One who may only look is told which policy forbids the rest."""
    policy = appliance.folder / "policy" / "50-test.cedar"
    policy.touch(mode=0o600)
    policy.write_text(
        f'@id("ann-only-looks") forbid (principal == Admin::"{OPERATOR}", action in Action::"admin:operate", resource);'
    )
    try:
        async with operating(appliance, carriers) as operation:
            await operation.command("carrier", "status")
            (failed,) = await operation.command("carrier", "pause", "acme", "--reason", "x", code=4)
            assert "ann-only-looks" in failed["error"]["message"]
            assert await operation.acts() == []
    finally:
        policy.unlink()


async def test_an_address_that_is_taken(appliance: Appliance, carriers: dict[str, Simulator]) -> None:
    """A node that cannot listen for operators does not start, says which address it was, and leaves nothing open."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        rewrite(appliance, lambda document: document["admin"].update(listen=address))
        node = Node(load(appliance.folder / "smsgw.yaml"))
        with pytest.raises(OSError, match=address):
            await asyncio.wait_for(node.start(), 60)
    rewrite(appliance, lambda document: document["admin"].update(listen="127.0.0.1:0"))
    async with operating(appliance, carriers) as operation:
        assert (await operation.operator.GetCarriers(pb.GetCarriersRequest())).carriers
