"""A whole node and a carrier that writes everything its own way: its sections reach all that reads and writes."""

from __future__ import annotations

import datetime as dt
from collections.abc import AsyncIterator

import pytest

from carrier.simulator.simulator import Simulator
from smsgw.v1 import message_pb2
from smsgw.v1 import message_service_pb2 as api
from tests.appliance import Appliance
from tests.gateway.operation import TIMEOUT_S, Operation, configure, fresh, operating, rewrite, simulators

_CARRIER = """
message_ids: hex
first_id: 3735928559
alphabet: packed
receipts:
  ids: decimal
  form: text
  states: [ARRIVED]
  done_offset_s: 19800
  dates: seconds
required_tlvs:
  - {tag: 0x1401, digits: true}
"""
_SETTINGS = {
    "ids": {"response": "hex", "receipt": "decimal"},
    "text": {"default_alphabet": "gsm7_packed", "segmentation": "udh16", "transliterate": True},
    "addresses": {"alphanumeric": "5/1", "recipient": "1/1", "keep_plus": True},
    "submit": {"service_type": "OTP", "priority": {"otp": 3}, "validity_period": "absolute"},
    "receipts": {"timezone": "Asia/Kolkata", "stats": {"arrived": "delivered"}},
    "tlvs": [{"tag": "0x1401", "name": "template_id", "type": "string", "from_label": "dlt_template_id"}],
}
_TEXT = "“quoted” – 153 … " * 10  # 170 characters once it is GSM 7 bit
_SENT = '"quoted" - 153 ... ' * 10


@pytest.fixture(scope="module")
def appliance(tmp_path_factory: pytest.TempPathFactory) -> Appliance:
    """Make keys and certificates once."""
    return Appliance.create(tmp_path_factory.mktemp("dialects") / "site", operator=True)


@pytest.fixture
async def carrier(appliance: Appliance) -> AsyncIterator[Simulator]:
    """Run the carrier; the node is configured for it, with `_SETTINGS`."""
    fresh(appliance)
    async with simulators(appliance, ("odd",), _CARRIER) as running:
        configure(appliance, running, **_SETTINGS)
        yield running["odd"]


@pytest.fixture
async def operation(appliance: Appliance, carrier: Simulator) -> AsyncIterator[Operation]:
    """Run the node."""
    async with operating(appliance, {"odd": carrier}) as running:
        yield running


def message(text: str = _TEXT, **labels: str) -> message_pb2.OutboundMessage:
    """Return a one-time password with these labels."""
    return message_pb2.OutboundMessage(
        recipient="+4915112345678",
        sender="ACME",
        category=message_pb2.Category.CATEGORY_OTP,
        content=message_pb2.Content(text=text),
        labels=labels,
    )


async def sent(operation: Operation, wanted: message_pb2.OutboundMessage, state: str) -> message_pb2.Message:
    """Send a message and follow it to a state."""
    response = await operation.caller.SendMessage(api.SendMessageRequest(message=wanted), timeout=TIMEOUT_S)
    await operation.reach(response.accepted.message_id, state)
    request = api.GetMessageRequest(message_id=response.accepted.message_id)
    return (await operation.caller.GetMessage(request, timeout=TIMEOUT_S)).message


async def test_a_message_in_the_carrier_s_dialect(operation: Operation, carrier: Simulator) -> None:
    """Estimated, written, answered and receipted as the carrier's sections say, from the API to its receipt."""
    request = api.EstimateMessageRequest(content=message_pb2.Content(text=_TEXT))
    estimate = await operation.caller.EstimateMessage(request, timeout=TIMEOUT_S)
    assert (estimate.segments, estimate.capacity, estimate.sent_text) == (2, 2 * 152, _SENT)

    found = await sent(operation, message(dlt_template_id="1107161234567890123"), "DELIVERED")
    assert found.segments == 2
    assert list(found.carrier_message_ids) == [part.message_id for part in carrier.received]
    done = found.operator_done_at.ToDatetime(dt.UTC)
    assert abs(done - dt.datetime.now(dt.UTC)) < dt.timedelta(minutes=10)
    assert [part.whole for part in carrier.received][-1] == _SENT
    for part in carrier.received:
        pdu = part.submit
        assert (pdu.service_type, pdu.priority_flag, pdu.validity_period[-1:]) == (b"OTP", 3, b"+")
        assert (pdu.source_addr_npi, pdu.destination_addr) == (1, b"+4915112345678")
        assert pdu.tlvs == ((0x1401, b"1107161234567890123"),)
        assert part.elements[0][0] == 0x08


async def test_a_message_without_its_label(operation: Operation, carrier: Simulator) -> None:
    """It is rejected with the label's name, and the carrier never sees it."""
    found = await sent(operation, message("hello"), "REJECTED")
    assert "dlt_template_id" in found.reason.text
    assert carrier.stats()["submits"] == 0


async def test_a_reload_changes_how_texts_are_written(operation: Operation, carrier: Simulator) -> None:
    """What is estimated and what is sent change together when the file is taken over."""
    rewrite(operation.appliance, lambda document: document["carriers"][0]["text"].update(transliterate=False))
    await operation.command("reload")
    await operation.until(lambda: carrier.stats()["bound"] == 1)
    request = api.EstimateMessageRequest(content=message_pb2.Content(text=_TEXT))
    estimate = await operation.caller.EstimateMessage(request, timeout=TIMEOUT_S)
    assert (estimate.encoding, estimate.sent_text) == (message_pb2.Encoding.ENCODING_UCS2, "")
    await sent(operation, message(dlt_template_id="1"), "DELIVERED")
    assert len(carrier.received) == estimate.segments
    assert [part.whole for part in carrier.received][-1] == _TEXT
