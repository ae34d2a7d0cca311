"""`smsgw revoke|revocations` on a running node with a simulated carrier, and what becomes of messages that wait."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import grpc
import grpc.aio
import pytest

from carrier.simulator.simulator import Simulator
from certs.svid import X509Svid
from gateway.audit.records import OperatorActed, RevocationChanged
from gateway.revocation import entries
from gateway.states import State
from smsgw.v1 import carrier_service_pb2, message_pb2
from smsgw.v1 import message_service_pb2 as api
from smsgw.v1 import queue_service_pb2 as queues_pb
from smsgw.v1 import revocation_service_pb2 as pb
from smsgw.v1.queue_service_pb2_grpc import QueueServiceStub
from smsgw.v1.revocation_service_pb2_grpc import RevocationServiceStub
from tests.appliance import OPERATOR, TENANT, TRUST_DOMAIN, Appliance, run
from tests.gateway.api.refusals import from_error
from tests.gateway.operation import TIMEOUT_S, Operation, configure, fresh, operating, simulators

CALLER = f"spiffe://{TRUST_DOMAIN}/{TENANT}/caller-0"
OTHER = f"spiffe://{TRUST_DOMAIN}/{TENANT}/caller-1"
REVOKED = (grpc.StatusCode.UNAUTHENTICATED, "REVOKED")
OK = (grpc.StatusCode.OK, "")


@pytest.fixture(scope="module")
def appliance(tmp_path_factory: pytest.TempPathFactory) -> Appliance:
    """Make keys and certificates once."""
    return Appliance.create(tmp_path_factory.mktemp("revoke") / "site", callers=2, operator=True)


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


async def outcome(operation: Operation, who: str = "caller-0") -> tuple[grpc.StatusCode, str]:
    """List messages on a connection of its own; how that ends."""
    channel = operation.channel(who, operation.node.api_address)
    call: Any = channel.unary_unary("/smsgw.v1.MessageService/ListMessages")
    return await ended(call(b"", timeout=TIMEOUT_S))


async def ended(call: Any) -> tuple[grpc.StatusCode, str]:
    """Return how a call ends."""
    try:
        await call
    except grpc.aio.AioRpcError as error:
        refused = from_error(error)
        return refused.code, refused.reason
    return OK


def stub(operation: Operation) -> Any:
    """Return what an operator revokes by."""
    return RevocationServiceStub(operation.channel("operator", operation.node.admin_address))


async def paused(operation: Operation, *, by: str) -> list[str]:
    """Have two callers send messages that wait since the carrier is paused; the ids of the one named."""
    await operation.operator.PauseCarrier(
        carrier_service_pb2.PauseCarrierRequest(carrier="acme", reason="a test"), timeout=TIMEOUT_S
    )
    sent = {"caller-0": await operation.send(5)}
    operation_caller = operation.channel("caller-1", operation.node.api_address)
    request = api.SendMessagesRequest.FromString(_same_request())
    call: Any = operation_caller.unary_unary(
        "/smsgw.v1.MessageService/SendMessages",
        request_serializer=lambda message: message.SerializeToString(),
        response_deserializer=api.SendMessagesResponse.FromString,
    )
    response = await call(request, timeout=TIMEOUT_S)
    sent["caller-1"] = [result.accepted.message_id for result in response.results]
    return sent[by]


def _same_request() -> bytes:
    message = message_pb2.OutboundMessage(
        recipient="+4915187654321",
        sender="ACME",
        category=message_pb2.CATEGORY_TRANSACTIONAL,
        content=message_pb2.Content(text="hello"),
    )
    return api.SendMessagesRequest(messages=[message] * 2).SerializeToString()


async def resume(operation: Operation) -> None:
    """Let the carrier go on."""
    await operation.operator.ResumeCarrier(carrier_service_pb2.ResumeCarrierRequest(carrier="acme"), timeout=TIMEOUT_S)


async def pauses(operation: Operation) -> list[queues_pb.MessagePause]:
    """Return what is held back."""
    queues = QueueServiceStub(operation.channel("operator", operation.node.admin_address))
    return list((await queues.GetQueues(queues_pb.GetQueuesRequest(), timeout=TIMEOUT_S)).pauses)


async def states(operation: Operation, ids: list[str]) -> set[str]:
    """Return where messages stand, asked by a caller of the same tenant."""
    channel = operation.channel("caller-1", operation.node.api_address)
    found = set()
    for message_id in ids:
        get: Any = channel.unary_unary(
            "/smsgw.v1.MessageService/GetMessage",
            request_serializer=lambda message: message.SerializeToString(),
            response_deserializer=api.GetMessageResponse.FromString,
        )
        response = await get(api.GetMessageRequest(message_id=message_id), timeout=TIMEOUT_S)
        found.add(int(response.message.state))
    return {api_state(state) for state in found}


def api_state(state: int) -> str:
    """Return the name of a state."""
    return State(state).name


async def reach(operation: Operation, ids: list[str], state: str) -> None:
    """Wait until all are in a state."""
    async with asyncio.timeout(TIMEOUT_S):
        while await states(operation, ids) != {state}:
            await asyncio.sleep(0.02)


async def test_what_waits_is_held_by_default_and_let_go(operation: Operation) -> None:
    """It is put aside while that of others is sent; what the identity sends once it is let in again is not; resumed, it
    goes out as well."""
    waits = await paused(operation, by="caller-0")
    (done,) = await operation.command("revoke", "--spiffe-id", CALLER, "--reason", "ticket 4711")
    (entry,) = done["revocations"]
    assert entry["queued"] == "HOLD"
    assert await outcome(operation) == REVOKED
    await operation.until(lambda: bool(operation.node.deny_list.deny.entries))
    async with asyncio.timeout(TIMEOUT_S):
        while not await pauses(operation):
            await asyncio.sleep(0.02)
    (pause,) = await pauses(operation)
    assert (pause.selection.owner, pause.held_by) == (CALLER, OPERATOR)
    assert pause.HasField("accepted_until")
    await resume(operation)
    await operation.until(lambda: operation.carriers["acme"].stats()["submits"] == 2)
    assert await states(operation, waits) == {"ACCEPTED"}
    await operation.command("revoke", "--undo", entry["id"], "--reason", "it was the wrong one")
    assert await outcome(operation) == OK
    later = await operation.send(1)
    await reach(operation, later, "DELIVERED")
    assert await states(operation, waits) == {"ACCEPTED"}
    await operation.command("resume", "--owner", CALLER)
    await reach(operation, waits, "DELIVERED")
    changed = [record for record in await operation.records() if isinstance(record, RevocationChanged)]
    assert [(record.restored, record.by, record.reason) for record in changed] == [
        (False, OPERATOR, "ticket 4711"),
        (True, OPERATOR, "it was the wrong one"),
    ]


async def test_what_waits_is_withdrawn(operation: Operation) -> None:
    """It is CANCELLED, on record as purged by the operator; no hold stays, and others' messages go on."""
    waits = await paused(operation, by="caller-0")
    await operation.command("revoke", "--spiffe-id", CALLER, "--queued", "cancel", "--reason", "stolen")
    await reach(operation, waits, "CANCELLED")
    async with asyncio.timeout(TIMEOUT_S):
        while await pauses(operation):
            await asyncio.sleep(0.02)
    await resume(operation)
    await operation.until(lambda: operation.carriers["acme"].stats()["submits"] == 2)
    acts = [record for record in await operation.records() if isinstance(record, OperatorActed)]
    purged = [record for record in acts if record.what == "messages purged"]
    assert sum(record.number for record in purged) == len(waits)
    assert {record.by for record in purged} == {OPERATOR}
    assert all(CALLER in record.reason and "stolen" in record.reason for record in purged)


async def test_what_waits_is_kept(operation: Operation) -> None:
    """It is sent as if nothing had happened, while the identity itself is refused."""
    waits = await paused(operation, by="caller-0")
    await operation.command("revoke", "--spiffe-id", CALLER, "--queued", "keep", "--reason", "retired")
    assert await outcome(operation) == REVOKED
    await resume(operation)
    await reach(operation, waits, "DELIVERED")
    assert await pauses(operation) == []


async def test_a_hold_is_made_before_anything_is_sent_when_the_node_was_down(
    appliance: Appliance, carriers: dict[str, Simulator]
) -> None:
    """Revoked at the files while the node was down: what it had accepted is held from its start on, once; let go, a
    restart does not hold it again."""
    async with operating(appliance, carriers) as operation:
        await operation.until(lambda: carriers["acme"].stats()["bound"] == 1)
        waits = await paused(operation, by="caller-0")
    target = ("--spiffe-id", CALLER, "--for-good", "--reason", "host lost")
    run("revoke", "--offline", "--dir", str(appliance.folder), *target)
    async with operating(appliance, carriers) as operation:
        assert [pause.selection.owner for pause in await pauses(operation)] == [CALLER]
        assert await outcome(operation) == REVOKED
        await resume(operation)
        await operation.until(lambda: carriers["acme"].stats()["submits"] == 2)
        assert await states(operation, waits) == {"ACCEPTED"}
        changed = [record for record in await operation.records() if isinstance(record, RevocationChanged)]
        assert [(record.by, record.reason) for record in changed] == [("", "host lost")]
        await operation.command("resume", "--owner", CALLER)
        await reach(operation, waits, "DELIVERED")
    async with operating(appliance, carriers) as operation:
        assert await pauses(operation) == []
        assert await outcome(operation) == REVOKED


async def test_a_certificate_an_authority_and_their_list(operation: Operation, appliance: Appliance) -> None:
    """One certificate by its file, by its numbers; an authority takes everybody with it but for whoever insists."""
    pki = appliance.folder / "pki"
    (done,) = await operation.command("revoke", "--certificate", str(pki / "caller-1.pem"), "--reason", "in an image")
    (entry,) = done["revocations"]
    svid = X509Svid.load(pki / "caller-1.pem", pki / "caller-1.key")
    assert entry["target"]["certificate"]["serial"] == svid.serial
    assert entry["target"]["certificate"]["spiffe_id"] == OTHER
    assert entry["ends_at"] == entry["target"]["certificate"]["not_after"]
    assert (await outcome(operation, "caller-1"), await outcome(operation)) == (REVOKED, OK)
    shown = await operation.shown("revocations")
    assert entry["id"] in shown
    assert f"certificate {svid.serial} of {OTHER}" in shown
    intermediate = pki / "intermediate.pem"
    intermediate.write_bytes(svid.intermediates_pem())
    refused = await operation.command("revoke", "--authority", str(intermediate), "--reason", "CA taken over", code=1)
    assert refused[0]["error"]["reason"] == "WOULD_REFUSE_YOU"
    assert await outcome(operation) == OK
    await operation.command("revoke", "--authority", str(intermediate), "--reason", "CA taken over", "--including-me")
    assert await outcome(operation) == REVOKED
    locked_out = await operation.command("revocations", code=4)
    assert locked_out[0]["error"]["reason"] == "REVOKED"
    folder = str(appliance.folder)
    listed = json.loads((appliance.folder / "data" / "deny-list.seen").read_text())
    assert listed["version"] == operation.node.deny_list.version
    (tainted,) = [entry for entry in operation.node.deny_list.deny.entries if entry.key_hash]
    run("revoke", "--offline", "--dir", folder, "--undo", tainted.id, "--reason", "let us in again")
    async with asyncio.timeout(TIMEOUT_S):
        while await outcome(operation) != OK:
            await asyncio.sleep(0.02)


async def test_requests_that_name_nothing(operation: Operation) -> None:
    """Each is refused with its field, and nothing of it is in the list."""
    good = pb.RevocationTarget(identity=pb.IdentityTarget(spiffe_id=CALLER))
    wrong = [
        (pb.RevokeRequest(reason="x"), "TARGETS_INVALID"),
        (pb.RevokeRequest(targets=[good]), "REASON_REQUIRED"),
        (pb.RevokeRequest(targets=[good, pb.RevocationTarget()], reason="x"), "TARGET_INVALID"),
        (pb.RevokeRequest(targets=[good] * 1001, reason="x"), "TARGETS_INVALID"),
        (
            pb.RevokeRequest(
                targets=[pb.RevocationTarget(authority=pb.AuthorityTarget(public_key_sha256="a7" * 32))],
                reason="x",
                queued=pb.QUEUED_MESSAGES_CANCEL,
            ),
            "TARGET_INVALID",
        ),
        (pb.RevokeRequest(targets=[good], reason="x", queued=9), "QUEUED_INVALID"),  # type: ignore[arg-type]  # on purpose
    ]
    for request, reason in wrong:
        found = await ended(stub(operation).Revoke(request, timeout=TIMEOUT_S))
        assert found == (grpc.StatusCode.INVALID_ARGUMENT, reason)
    missing = pb.RestoreRequest(id="deadbeef", reason="x")
    assert await ended(stub(operation).Restore(missing, timeout=TIMEOUT_S)) == (
        grpc.StatusCode.NOT_FOUND,
        "REVOCATION_NOT_FOUND",
    )
    assert operation.node.deny_list.deny.entries == ()


async def test_a_full_list(operation: Operation, monkeypatch: pytest.MonkeyPatch) -> None:
    """It takes no more, and says so; what is in it stays, and room is made by taking something back."""
    monkeypatch.setattr(entries, "MAX_ENTRIES", 1)
    (done,) = await operation.command("revoke", "--spiffe-id", OTHER, "--reason", "x")
    (told,) = await operation.command("revoke", "--spiffe-id", CALLER, "--reason", "x", code=1)
    assert told["error"]["reason"] == "DENY_LIST_FULL"
    assert (await outcome(operation, "caller-1"), await outcome(operation)) == (REVOKED, OK)
    await operation.command("revoke", "--undo", done["revocations"][0]["id"], "--reason", "y")
    await operation.command("revoke", "--spiffe-id", CALLER, "--reason", "x")
    assert (await outcome(operation, "caller-1"), await outcome(operation)) == (OK, REVOKED)


async def test_pages(operation: Operation) -> None:
    """The list comes in pages, in the order in which it grew; a token of an entry that is gone is told."""
    targets = [
        pb.RevocationTarget(certificate=pb.CertificateTarget(serial=f"{number:x}", authority_key_id="1e44"))
        for number in range(1, 8)
    ]
    done = await stub(operation).Revoke(pb.RevokeRequest(targets=targets, reason="x"), timeout=TIMEOUT_S)
    found, token, sizes = [], "", []
    while True:
        request = pb.ListRevocationsRequest(page_size=3, page_token=token)
        page = await stub(operation).ListRevocations(request, timeout=TIMEOUT_S)
        found += [each.id for each in page.revocations]
        sizes.append(len(page.revocations))
        token = page.next_page_token
        if not token:
            break
    assert sizes == [3, 3, 1]
    assert found == [each.id for each in done.revocations]
    assert (page.status.entries, page.status.publisher, page.status.version) == (7, True, done.version)
    for request in (pb.ListRevocationsRequest(page_token="deadbeef"), pb.ListRevocationsRequest(page_size=501)):
        code, _ = await ended(stub(operation).ListRevocations(request, timeout=TIMEOUT_S))
        assert code is grpc.StatusCode.INVALID_ARGUMENT


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        ((), "TARGETS_INVALID"),
        (("--spiffe-id", CALLER, "--undo", "deadbeef"), "TARGETS_INVALID"),
        (("--spiffe-id", CALLER, "--authority-key", "a7" * 32), "TARGETS_INVALID"),
        (("--serial", "1"), "TARGETS_INVALID"),
        (("--authority-key", "a7" * 32, "--for-good"), "TARGETS_INVALID"),
        (("--spiffe-id", CALLER, "--config", "smsgw.yaml"), "CONFIG_UNUSED"),
        (("--undo", "deadbeef", "--queued", "hold"), "QUEUED_INVALID"),
        (("--certificate", "/nowhere.pem"), "CERTIFICATE_UNREADABLE"),
        (("--authority", "pki/caller-0.pem"), "CERTIFICATE_UNREADABLE"),
        (("--offline", "--spiffe-id", "demo"), "TARGETS_INVALID"),
        (("--offline", "--undo", "deadbeef"), "TARGETS_INVALID"),
    ],
)
async def test_command_lines_that_make_no_sense(operation: Operation, arguments: tuple[str, ...], reason: str) -> None:
    """Exit code 2 and a stable reason, and nothing is revoked."""
    folder = operation.appliance.folder
    given = [str(folder / word) if word.startswith("pki/") else word for word in arguments]
    (told,) = await operation.command("revoke", *given, "--reason", "x", code=2)
    assert told["error"]["reason"] == reason
    assert operation.node.deny_list.deny.entries == ()
