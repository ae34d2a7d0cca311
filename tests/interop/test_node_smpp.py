"""node-smpp is the carrier: it decodes what we send, sends receipts, and encodes inbound texts."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from smsgw.v1 import message_pb2 as m
from smsgw.v1 import message_service_pb2 as s
from tests.appliance import PASSWORD, Appliance, CarrierSpec, Running
from tests.interop.conftest import SCRIPTS, Client
from tests.interop.following import delivered, events_until, starting_cursor, states_of

pytestmark = pytest.mark.interop

RECIPIENT = "+4915112345678"
NUMBER = "+4915100000001"
TEXTS = {
    "gsm": ("Hello @£$¥ èéùì ÄÖÑÜ§ ΔΦΓ, prices in [€] {~10%} \\^|", 1),
    "full gsm": ("x" * 160, 1),
    "hindi": ("आपका सत्यापन कोड 4711 है। किसी को न बताएं।", 1),
    "emoji": ("Ready 👍🏽🎉 for 👨‍👩‍👧", 1),
    "long gsm": ("The quick brown fox jumps over the lazy dog; " * 9, 3),
    # € takes two septets, and its escape may not be the last of the 153 of a part.
    "escape at the cut": ("y" * 152 + "€" * 20, 2),
    "long hindi": ("यह एक लंबा संदेश है जो कई भागों में जाता है। " * 4, 3),
    # 66 code units, then a surrogate pair: the pair may not be split between the 67 of a part.
    "pair at the cut": ("ж" * 66 + "🚀" * 10, 2),
}


@contextmanager
def node_smpp(appliance: Appliance, environment: dict[str, str]) -> Iterator[tuple[Running, CarrierSpec]]:
    """Run the carrier; the process, and what the node is told of it."""
    orders = {
        "certificate": str(appliance.carrier_certificate),
        "key": str(appliance.carrier_key),
        "system_id": "smsgw",
        "password": PASSWORD,
    }
    command = ["node", str(SCRIPTS / "smpp_carrier.js"), json.dumps(orders)]
    with Running(command, log=appliance.folder / "node-smpp.log", environment=environment, stdin=True) as process:
        listening = json.loads(process.line())
        assert listening["event"] == "listening"
        yield process, CarrierSpec(port=listening["port"], ca_file=appliance.carrier_ca)


def told(process: Running, event: str) -> dict[str, object]:
    """Return what the carrier tells next of this kind; any error that it tells of fails the test."""
    while True:
        line: dict[str, object] = json.loads(process.line())
        assert line["event"] not in {"error", "tls_refused"}, line
        if line["event"] == event:
            return line


def outbound(text: str) -> m.OutboundMessage:
    """Return a message with this text."""
    return m.OutboundMessage(
        recipient=RECIPIENT, sender="ACME", category=m.CATEGORY_TRANSACTIONAL, content=m.Content(text=text)
    )


def test_texts_arrive_intact_and_their_receipts_come_back(
    appliance: Appliance, node_environment: dict[str, str], client: Client
) -> None:
    """Every kind of text is read by node-smpp as it was sent, over TLS, and ends DELIVERED by its receipts."""
    with node_smpp(appliance, node_environment) as (carrier, spec):
        appliance.configure(spec)
        with appliance.node() as (_, port):
            bound = told(carrier, "bound")
            stub = client(port, appliance.callers[0])
            cursor = starting_cursor(stub)
            for name, (text, parts) in TEXTS.items():
                accepted = stub.SendMessage(s.SendMessageRequest(message=outbound(text))).accepted
                arrived = told(carrier, "message")
                assert (arrived["text"], arrived["parts"], accepted.segments) == (text, parts, parts), name
                assert arrived["destination"] == {"ton": 1, "npi": 1, "address": RECIPIENT.removeprefix("+")}
                assert arrived["source"] == {"ton": 5, "npi": 0, "address": "ACME"}
                events = events_until(stub, cursor, delivered({accepted.message_id}))
                assert states_of(events, accepted.message_id) == ["ACCEPTED", "SUBMITTED", "DELIVERED"], name
    assert bound["tls"] in {"TLSv1.2", "TLSv1.3"}
    assert bound["interface_version"] == 0x34


@pytest.mark.parametrize("text", ["Stop, please: [€] ñ", "नहीं, धन्यवाद", "👍🏽"])
def test_an_inbound_text_becomes_an_event(
    appliance: Appliance, node_environment: dict[str, str], client: Client, text: str
) -> None:
    """What node-smpp encodes and delivers reaches the owner of the number as it was written, and is answered."""
    with node_smpp(appliance, node_environment) as (carrier, spec):
        appliance.configure(spec, inbound_numbers=[NUMBER])
        with appliance.node() as (_, port):
            told(carrier, "bound")
            stub = client(port, appliance.callers[0])
            cursor = starting_cursor(stub)
            inbound = {"from": RECIPIENT.removeprefix("+"), "to": NUMBER.removeprefix("+"), "text": text}
            carrier.write(json.dumps({"inbound": inbound}) + "\n")
            assert told(carrier, "inbound_answered")["status"] == 0
            (event,) = events_until(stub, cursor, lambda events: len(events) == 1)
    assert event.inbound.text == text
    assert event.inbound.sender == RECIPIENT
    assert event.inbound.recipient == NUMBER
