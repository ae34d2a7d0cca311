"""smpp34 (Rust) judges both ends: its server is the node's carrier, its client binds to our simulator.

Its server has no TLS, so that the node is told to go without, on loopback; its client verifies the simulator's
certificate by a trust store of its own.
"""

from __future__ import annotations

import json
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from carrier.simulator.handset import handset_pdus, text_message
from carrier.smpp.pdu import DeliverSm
from smsgw.v1 import message_pb2 as m
from smsgw.v1 import message_service_pb2 as s
from tests.appliance import PASSWORD, SMSGW, Appliance, CarrierSpec, Running
from tests.interop.conftest import PYTHON_PACKAGES, Client
from tests.interop.following import delivered, events_until, starting_cursor, states_of

pytestmark = pytest.mark.interop

HERE = Path(__file__).parent / "python"
TEXTS = {
    "Hello @£$ ÄÖÜ, prices in [€]": 0x00,
    "आपका कोड 4711 है": 0x08,
    "Ready 👍🏽🎉": 0x08,
    "The quick brown fox; " * 12: 0x00,
}


def environment(**more: str) -> dict[str, str]:
    """Return the environment in which Python finds smpp34."""
    if not PYTHON_PACKAGES.is_dir():
        pytest.fail("smpp34 is not installed: run `make interop-tools`")
    return {"PYTHONPATH": str(PYTHON_PACKAGES), **more}


@contextmanager
def smpp34_carrier(folder: Path) -> Iterator[tuple[Running, int]]:
    """Run the carrier; the process, and its port."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    command = [sys.executable, str(HERE / "smpp34_carrier.py"), str(port)]
    with Running(command, log=folder / "smpp34.log", environment=environment(), stdin=True) as process:
        assert told(process, "listening")
        yield process, port


def told(process: Running, event: str) -> dict[str, Any]:
    """Return what it tells next of this kind."""
    while True:
        line: dict[str, Any] = json.loads(process.line())
        if line["event"] == event:
            return line


def outbound(text: str) -> m.OutboundMessage:
    """Return a message with this text."""
    return m.OutboundMessage(
        recipient="+4915112345678", sender="ACME", category=m.CATEGORY_TRANSACTIONAL, content=m.Content(text=text)
    )


def test_smpp34_is_the_carrier(appliance: Appliance, client: Client) -> None:
    """It reads every submit_sm as it was meant, and its receipts, TLVs and all, end each message DELIVERED."""
    with smpp34_carrier(appliance.folder) as (carrier, port):
        appliance.configure(CarrierSpec(port=port, ca_file=None))
        with appliance.node() as (_, api):
            assert told(carrier, "bound") == {"event": "bound", "system_id": "smsgw", "can_receive": True}
            stub = client(api, appliance.callers[0])
            cursor = starting_cursor(stub)
            for text, data_coding in TEXTS.items():
                accepted = stub.SendMessage(s.SendMessageRequest(message=outbound(text))).accepted
                parts = [told(carrier, "submit") for _ in range(accepted.segments)]
                parts.sort(key=number)  # its engine keeps no order
                assert {tuple(part["source"]) for part in parts} == {(5, 0, "ACME")}
                assert {tuple(part["destination"]) for part in parts} == {(1, 1, "4915112345678")}
                assert {part["data_coding"] for part in parts} == {data_coding}
                assert "".join(read(part) for part in parts) == text
                events = events_until(stub, cursor, delivered({accepted.message_id}))
                assert states_of(events, accepted.message_id) == ["ACCEPTED", "SUBMITTED", "DELIVERED"]


def number(part: dict[str, Any]) -> int:
    """Return the number of a part, from its header (3GPP TS 23.040 §9.2.3.24.1)."""
    return bytes.fromhex(part["octets"])[5] if part["esm_class"] & 0x40 else 1


def read(part: dict[str, Any]) -> str:
    """Return the text of a submit_sm, by hand: UTF-16, or the few characters of GSM that the texts have."""
    octets = bytes.fromhex(part["octets"])[6 if part["esm_class"] & 0x40 else 0 :]
    if part["data_coding"] == 0x08:
        return octets.decode("utf-16-be")
    table = {0x00: "@", 0x01: "£", 0x02: "$", 0x5B: "Ä", 0x5C: "Ö", 0x5E: "Ü"}
    extension = {0x65: "€", 0x3C: "[", 0x3E: "]"}  # 3GPP TS 23.038 §6.2.1.1
    found, rest = "", iter(octets)
    for octet in rest:
        found += extension[next(rest)] if octet == 0x1B else table.get(octet, chr(octet))
    return found


def test_a_temporary_refusal_is_tried_again(appliance: Appliance, client: Client) -> None:
    """ESME_RMSGQFUL, then accepted: one message, two attempts."""
    with smpp34_carrier(appliance.folder) as (carrier, port):
        appliance.configure(CarrierSpec(port=port, ca_file=None))
        with appliance.node() as (_, api):
            stub = client(api, appliance.callers[0])
            cursor = starting_cursor(stub)
            accepted = stub.SendMessage(s.SendMessageRequest(message=outbound("full"))).accepted
            assert told(carrier, "refused")
            assert told(carrier, "submit")
            events_until(stub, cursor, delivered({accepted.message_id}))


def test_smpp34s_client_and_our_simulator(appliance: Appliance) -> None:
    """Over TLS: it takes our responses, and reads our receipts, texts and TLVs."""
    pdus = [
        pdu for text in TEXTS for pdu in handset_pdus(text_message("1", "2", text), 7) if isinstance(pdu, DeliverSm)
    ]
    messages = [
        {"octets": pdu.short_message.hex(), "data_coding": pdu.data_coding, "esm_class": pdu.esm_class} for pdu in pdus
    ]
    script = appliance.folder / "script.yaml"
    script.write_text(f"system_id: smsgw\npassword: {PASSWORD}\nmessage_ids: hex\nreceipts: {{delay_s: 0.2}}\n")
    keys = ("--cert", str(appliance.carrier_certificate), "--key", str(appliance.carrier_key))
    command = [SMSGW, "simulator", *keys, "--listen", "127.0.0.1:0", "--script", str(script), "--json"]
    with Running(command, log=appliance.folder / "simulator.log") as simulator:
        port = json.loads(simulator.line())["port"]
        done = subprocess.run(
            [sys.executable, str(HERE / "smpp34_client.py"), str(port),
             json.dumps({"system_id": "smsgw", "password": PASSWORD, "messages": messages})],
            capture_output=True, text=True, timeout=60, check=False,
            env=environment(SSL_CERT_FILE=str(appliance.carrier_ca)),
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        found = json.loads(done.stdout)
        accepted = list(iter_lines(simulator, len(messages)))
    assert found["statuses"] == [0] * len(messages)
    assert found["ids"] == [line["message_id"] for line in accepted]
    assert [line["message"] for line in accepted if "message" in line] == list(TEXTS)
    assert len(found["receipts"]) == len(messages)
    receipts = {receipt["text"].split()[0]: receipt for receipt in found["receipts"]}
    for message_id in found["ids"]:
        receipt = receipts[f"id:{message_id}"]
        assert receipt["esm_class"] == 0x04
        assert receipt["text"].startswith(f"id:{message_id} sub:001 dlvrd:001 ")
        assert receipt["tlvs"] == {str(0x1E): message_id.encode().hex() + "00", str(0x427): "02"}


def iter_lines(simulator: Running, count: int) -> Iterator[dict[str, Any]]:
    """Yield so many lines that tell of an accepted submit_sm."""
    while count:
        line: dict[str, Any] = json.loads(simulator.line())
        if line["event"] == "accepted":
            count -= 1
            yield line
