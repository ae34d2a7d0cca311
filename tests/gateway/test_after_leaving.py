"""What a node does about messages that have left: cancelled and asked about at a carrier, over TLS on every side."""

from __future__ import annotations

import grpc
import pytest

from gateway.audit.records import CancelAnswered, CancelAsked, StateChanged
from gateway.states import State
from smsgw.v1 import message_service_pb2 as api
from tests.appliance import Appliance
from tests.gateway.api.refusals import refusal
from tests.gateway.operation import TIMEOUT_S, configure, fresh, operating, simulators


@pytest.fixture(scope="module")
def appliance(tmp_path_factory: pytest.TempPathFactory) -> Appliance:
    """Make keys and certificates once."""
    return Appliance.create(tmp_path_factory.mktemp("leaving") / "site", operator=True)


async def test_a_message_that_has_left_is_cancelled(appliance: Appliance) -> None:
    """By the API and by the command: the carrier confirms, the message is CANCELLED, and all of it is on record."""
    fresh(appliance)
    script = "{receipts: {delay_s: 600}, operations: {cancel: answer}}"
    async with simulators(appliance, ["acme"], script) as carriers:
        configure(appliance, carriers)
        async with operating(appliance, carriers) as operation:
            one, two = await operation.send(2)
            for message_id in (one, two):
                await operation.reach(message_id, "SUBMITTED")
            request = api.CancelMessageRequest(message_id=one)
            message = (await operation.caller.CancelMessage(request, timeout=TIMEOUT_S)).message
            assert message.reason.code == "CANCELLED_AT_CARRIER"
            assert message.carrier_message_ids[0] in {each.message_id for each in carriers["acme"].received}
            (shown,) = await operation.command("cancel", two)
            assert shown["state"] == "CANCELLED"
            records = await operation.records()
    asked = [each for each in records if isinstance(each, CancelAsked)]
    answered = [each for each in records if isinstance(each, CancelAnswered)]
    changed = [each for each in records if isinstance(each, StateChanged) and each.state == State.CANCELLED]
    assert len(asked) == len(answered) == len(changed) == 2
    assert [each.cancelled for each in answered] == [1, 1]
    assert {each.by for each in changed} == {each.by for each in asked} != {""}


async def test_a_message_that_is_delivered_already(appliance: Appliance) -> None:
    """What the carrier does not cancel any more stays as it is, and caller and command are told."""
    fresh(appliance)
    script = "{receipts: {send: false}, operations: {cancel: fail}}"
    async with simulators(appliance, ["acme"], script) as carriers:
        configure(appliance, carriers, operations={"query": False})
        async with operating(appliance, carriers) as operation:
            (message_id,) = await operation.send()
            await operation.reach(message_id, "SUBMITTED")
            request = api.CancelMessageRequest(message_id=message_id)
            refused = await refusal(operation.caller.CancelMessage(request, timeout=TIMEOUT_S))
            assert (refused.code, refused.reason) == (grpc.StatusCode.FAILED_PRECONDITION, "CARRIER_REFUSED_CANCEL")
            assert "ESME_RCANCELFAIL" in await operation.shown("cancel", message_id, code=1)
            assert await operation.state(message_id) == "SUBMITTED"


async def test_a_receipt_that_is_overdue(appliance: Appliance) -> None:
    """A carrier that sends no receipts and answers query_sm brings its messages to their end."""
    fresh(appliance)
    script = "{receipts: {send: false}, operations: {query: answer}}"
    async with simulators(appliance, ["acme"], script) as carriers:
        configure(appliance, carriers, operations={"query_after": "1s"})
        async with operating(appliance, carriers) as operation:
            for message_id in await operation.send(3):
                await operation.reach(message_id, "DELIVERED")
