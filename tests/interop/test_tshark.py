"""tshark reads a capture of a session between the node's link and the simulator: nothing in it is malformed."""

from __future__ import annotations

import json
import socket
import struct
import time
from collections import Counter
from pathlib import Path

import pytest

from smsgw.v1 import message_pb2 as m
from smsgw.v1 import message_service_pb2 as s
from tests.appliance import SMSGW, Appliance, CarrierSpec, Running
from tests.interop.captures import captured, dissected, faults, occurrences
from tests.interop.conftest import Client
from tests.interop.following import delivered, events_until, starting_cursor

pytestmark = pytest.mark.interop

NUMBER = "+4915100000001"
BURST = 300
TEXTS = {"GSM: @£ [€]": 0x00, "नमस्ते दुनिया": 0x08, "👍🏽 emoji": 0x08, "long " * 80: 0x00}
# SMPP 3.4 §5.1.2.1
BIND_TRANSCEIVER, SUBMIT_SM, DELIVER_SM, UNBIND, ENQUIRE_LINK = 0x09, 0x04, 0x05, 0x06, 0x15
RESPONSE = 0x80000000


def outbound(text: str) -> m.OutboundMessage:
    """Return a message with this text."""
    return m.OutboundMessage(
        recipient="+4915112345678", sender="ACME", category=m.CATEGORY_TRANSACTIONAL, content=m.Content(text=text)
    )


def send_all(client: Client, appliance: Appliance, port: int, control: int) -> None:
    """Send every text and a burst, follow them to their receipts, and have an inbound message delivered."""
    stub = client(port, appliance.callers[0])
    cursor = starting_cursor(stub)
    messages = [outbound(text) for text in TEXTS] + [outbound(f"burst {number}") for number in range(BURST)]
    reply = stub.SendMessages(s.SendMessagesRequest(messages=messages))
    events_until(stub, cursor, delivered({result.accepted.message_id for result in reply.results}))
    with socket.create_connection(("127.0.0.1", control), timeout=10) as commands, commands.makefile("rw") as lines:
        lines.readline()
        lines.write(json.dumps({"inbound": {"from": "+4915112345678", "to": NUMBER, "text": "मोबाइल से"}}) + "\n")
        lines.flush()
        assert json.loads(lines.readline()) == {"parts": 1}
    events_until(stub, cursor, lambda events: events[-1].HasField("inbound"))
    time.sleep(2.5)  # the link has to be idle for a second to probe: the one thing here that only time brings


def test_a_session_has_no_malformed_frame_and_the_right_pdus(
    appliance: Appliance, client: Client, tmp_path: Path
) -> None:
    """tshark finds no fault in a session of every kind of PDU, reads the texts, and counts what was sent."""
    capture = tmp_path / "session.pcapng"
    options = ["--plain", "--quiet", "--json", "--listen", "127.0.0.1:0", "--control", "127.0.0.1:0"]
    with Running([SMSGW, "simulator", *options], log=appliance.folder / "simulator.log") as simulator:
        ready = json.loads(simulator.line())
        port = ready["port"]
        appliance.configure(CarrierSpec(port=port, ca_file=None, enquire_link="1s"), inbound_numbers=[NUMBER])
        with captured(port, capture), appliance.node() as (_, api):
            send_all(client, appliance, api, ready["control_port"])
    assert faults(capture, port) == []
    kinds = Counter(
        int(value, 16) for (each,) in dissected(capture, port, "smpp.command_id") for value in each.split(",")
    )
    parts = BURST + len(TEXTS) - 1 + 3
    assert kinds[SUBMIT_SM] == kinds[SUBMIT_SM | RESPONSE] == parts
    assert kinds[DELIVER_SM] == kinds[DELIVER_SM | RESPONSE] == parts + 1, (
        "a receipt for each part, and the inbound one"
    )
    assert kinds[ENQUIRE_LINK] == kinds[ENQUIRE_LINK | RESPONSE] >= 1
    for once in (BIND_TRANSCEIVER, UNBIND):
        assert kinds[once] == kinds[once | RESPONSE] == 1
    assert set(kinds) == {
        kind | answer
        for kind in (BIND_TRANSCEIVER, SUBMIT_SM, DELIVER_SM, ENQUIRE_LINK, UNBIND)
        for answer in (0, RESPONSE)
    }
    check_submissions(capture, port)


def check_submissions(capture: Path, port: int) -> None:
    """Check what tshark reads in the submit_sm: addresses, codings, texts and parts."""
    fields = ("smpp.destination_addr", "smpp.source_addr", "smpp.data_coding", "smpp.message")
    frames = dissected(
        capture, port, *fields, "gsm_sms.udh.mm.msg_parts", only=f"tcp.dstport == {port} && smpp.message"
    )
    assert set(occurrences(frames, 0)) == {"4915112345678"}
    assert set(occurrences(frames, 1)) == {"ACME"}
    texts = [(int(coding, 16), bytes.fromhex(text)) for coding, text in zip(
        occurrences(frames, 2), occurrences(frames, 3), strict=True
    )]  # fmt: skip
    read = {text.decode("utf-16-be") for coding, text in texts if coding == 0x08}
    assert read == {text for text, coding in TEXTS.items() if coding == 0x08}
    assert b"GSM: \x00\x01 \x1b<\x1be\x1b>" in {text for _, text in texts}, "3GPP TS 23.038 §6.2.1"
    assert occurrences(frames, 4) == ["3", "3", "3"]


def test_tshark_would_see_a_malformed_pdu(tmp_path: Path) -> None:
    """The judge finds fault with a submit_sm that ends within its fields."""
    capture = tmp_path / "bad.pcapng"
    body = b"\x00\x05\x00ACME\x00\x01\x01491511"  # no terminator, and nothing after it
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        with captured(port, capture), socket.create_connection(("127.0.0.1", port)) as peer:
            accepted, _ = server.accept()
            with accepted:
                peer.sendall(struct.pack(">IIII", 16 + len(body), SUBMIT_SM, 0, 1) + body)
                assert len(accepted.recv(1000)) == 16 + len(body)
    assert faults(capture, port) != []
