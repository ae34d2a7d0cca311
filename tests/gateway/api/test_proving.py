"""Receipts: a caller gets what the log proves of its message, and nobody else does."""

from __future__ import annotations

import json

import grpc
import pytest

from gateway.api import proving
from gateway.api.proving import Proving
from gateway.errors import Unsupported
from gateway.states import State
from gateway.store.contract import AuditCommit
from smsgw.client import Message, ReceiptInvalid, verify_receipt
from smsgw.client import convert as client_convert
from smsgw.v1 import audit_service_pb2 as audit
from smsgw.v1 import message_service_pb2 as pb
from tests.gateway.api.refusals import refusal
from tests.gateway.api.rig import TIMEOUT_S, Rig, message

OWNER, STRANGER = "/payments/api", "/shop/web"
UNKNOWN_ID = "0190a5e0-0000-7000-8000-000000000000"


async def sent(rig: Rig, number: int = 3) -> list[str]:
    """Return the ids of messages of the owner's, which have been submitted."""
    request = pb.SendMessagesRequest(messages=[message(client_reference=f"order {n}") for n in range(number)])
    reply = await rig.client(OWNER).SendMessages(request, timeout=TIMEOUT_S)
    ids = [result.accepted.message_id for result in reply.results]
    for message_id in ids:
        await rig.settle("payments", message_id, State.SUBMITTED, carrier_ids=f"id-{message_id}")
    return ids


async def proof(rig: Rig, message_id: str, *, include_sending: bool = False) -> audit.MessageReceipt:
    """Return the receipt of one."""
    request = audit.GetMessageProofRequest(message_id=message_id, include_sending=include_sending)
    return (await rig.audit_client(OWNER).GetMessageProof(request, timeout=TIMEOUT_S)).receipt


def as_sent(number: int) -> Message:
    """Return the message as its caller has it."""
    proto = message(client_reference=f"order {number}")
    return Message(
        to=proto.recipient, sender=proto.sender, category=client_convert._category(proto.category),
        text=proto.content.text, client_reference=proto.client_reference,
    )  # fmt: skip


async def test_a_receipt_is_verified_offline(rig: Rig) -> None:
    """A receipt in its file form, with the log's key alone, shows what became of the message, and which it was; it
    holds nothing of the content, and of no other message."""
    ids = await sent(rig)
    await rig.log.follow(rig.store)
    text = client_convert.receipt(await proof(rig, ids[1]))
    verified = verify_receipt(text, log_key=rig.log.vkey, message=as_sent(1))
    assert [step.kind for step in verified.steps] == ["MESSAGE_STORED", "STATE_CHANGED"]
    assert (verified.message_id, verified.tenant, verified.state) == (ids[1], "payments", "SUBMITTED")
    assert verified.gapless
    assert verified.content_shown
    assert verified.steps[0].fields["owner"] == "spiffe://example.org/payments/api"
    with pytest.raises(ReceiptInvalid) as other:
        verify_receipt(text, log_key=rig.log.vkey, message=as_sent(2))
    assert other.value.reason == "OTHER_CONTENT"
    assert not [octets for octets in (ids[0], ids[2], "order", "4915112345678") if octets in text]


async def test_sending_is_shown_when_it_is_asked_for(rig: Rig) -> None:
    """The records that list other messages are in the receipt only where the caller wants them."""
    (message_id,) = await sent(rig, 1)
    await rig.log.follow(rig.store)
    verified = verify_receipt(
        client_convert.receipt(await proof(rig, message_id, include_sending=True)), log_key=rig.log.vkey
    )
    assert [step.kind for step in verified.steps] == ["MESSAGE_STORED", "MESSAGES_SENDING", "STATE_CHANGED"]
    assert verified.steps[1].fields["message_ids"] == (message_id,)
    assert verified.gapless
    assert not verified.content_shown


async def test_before_the_log_has_it(rig: Rig) -> None:
    """Until the log has taken up its last record, a message has no receipt: a retry is asked for."""
    ids = await sent(rig, 1)
    refused = await refusal(proof(rig, ids[0]))
    assert (refused.code, refused.reason) == (grpc.StatusCode.UNAVAILABLE, "PROOF_NOT_READY")
    await rig.log.follow(rig.store)
    assert (await proof(rig, ids[0])).commits
    newest = (await sent(rig, 1))[0]
    assert (await proof(rig, ids[0])).commits  # that the log grows matters to no other message
    refused = await refusal(proof(rig, newest))
    assert (refused.reason, refused.retry_after_s) == ("PROOF_NOT_READY", 1.0)


async def test_a_second_tenant(rig: Rig) -> None:
    """Another tenant's message is none: the answer is the same as for an id that nobody has."""
    ids = [*await sent(rig, 1), UNKNOWN_ID]
    await rig.log.follow(rig.store)
    stranger = rig.audit_client(STRANGER)
    calls = [stranger.GetMessageProof(audit.GetMessageProofRequest(message_id=i), timeout=TIMEOUT_S) for i in ids]
    refused = [await refusal(call) for call in calls]
    assert refused[0].code == grpc.StatusCode.NOT_FOUND
    assert refused[0] == refused[1]


async def test_what_is_no_id(rig: Rig) -> None:
    """What is no message id is a wrong field."""
    refused = await refusal(proof(rig, "7"))
    assert refused.code == grpc.StatusCode.INVALID_ARGUMENT
    assert [violation.field for violation in refused.violations] == ["message_id"]


async def test_a_node_without_a_log(rig: Rig) -> None:
    """Where no log is kept, the call says so."""
    ids = await sent(rig, 1)
    service = Proving(store=rig.store, box=rig.box, log=None)
    with pytest.raises(Unsupported) as refused:
        await service.receipt("payments", ids[0], including_lists=False)
    assert refused.value.reason == "LOG_OFF"


async def test_records_that_were_let_go(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the audit keeps no record of a message any more, a retry is of no use, and the answer says so."""
    ids = await sent(rig, 1)
    await rig.log.follow(rig.store)

    async def nothing(_after: int, _limit: int) -> list[AuditCommit]:
        return []

    async def bounds() -> tuple[int, int]:
        return 100, 100

    monkeypatch.setattr(rig.store, "audit_read", nothing)
    assert (await refusal(proof(rig, ids[0]))).reason == "PROOF_NOT_READY"
    monkeypatch.setattr(rig.store, "audit_bounds", bounds)
    refused = await refusal(proof(rig, ids[0]))
    assert (refused.code, refused.reason) == (grpc.StatusCode.NOT_FOUND, "RECORDS_GONE")


async def test_searches_are_bounded(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    """More searches at once than there is room for are refused for a moment."""
    ids = await sent(rig, 1)
    await rig.log.follow(rig.store)
    monkeypatch.setattr(proving, "MAX_SEARCHES", 0)
    refused = await refusal(proof(rig, ids[0]))
    assert refused.code == grpc.StatusCode.RESOURCE_EXHAUSTED
    assert refused.retry_after_s


async def test_a_tile_that_is_missing(rig: Rig, caplog: pytest.LogCaptureFixture) -> None:
    """A log that cannot prove what the audit has is a case for a person, and tells the caller nothing."""
    ids = await sent(rig, 1)
    await rig.log.follow(rig.store)
    rig.log._tiles.clear()
    refused = await refusal(proof(rig, ids[0]))
    assert (refused.code, refused.reason) == (grpc.StatusCode.DATA_LOSS, "STORE_CORRUPT")
    assert "tile" not in refused.text
    assert "tile/0/000" in caplog.text or any("tile/0/000" in str(record.__dict__) for record in caplog.records)


async def test_the_file_form(rig: Rig) -> None:
    """The file form has the names of the protos, and is JSON."""
    (message_id,) = await sent(rig, 1)
    await rig.log.follow(rig.store)
    document = json.loads(client_convert.receipt(await proof(rig, message_id)))
    assert list(document) == ["format", "message_id", "commits", "checkpoint", "salt"]
    assert set(document["commits"][0]) <= {"seq", "committed_at", "record_count", "inclusion", "records"}
