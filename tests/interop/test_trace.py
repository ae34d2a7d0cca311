"""tshark reads a redacted trace of every PDU that there is: nothing in it is malformed, and nothing personal."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings

from carrier.redaction import redact
from carrier.smpp.constants import CommandId, Tag
from carrier.smpp.layouts import LAYOUTS
from carrier.smpp.messages import DataSm, DeliverSm, Pdu, SmeAddress, SubmitMulti, SubmitSm
from carrier.smpp.pdu import encode
from carrier.smpp.tlv import TLV_FORMATS, Tlv
from carrier.trace import CARRIER_PORT, Stream, file_header
from tests.carrier.smpp.strategies import PDUS
from tests.interop.captures import dissected, faults, occurrences

pytestmark = pytest.mark.interop

NUMBER, TEXT = b"4915112345678", b"your code is 839201"
EXAMPLES: dict[int, Pdu] = {
    CommandId.SUBMIT_SM: SubmitSm(destination_addr=NUMBER, short_message=TEXT),
    CommandId.DELIVER_SM: DeliverSm(
        source_addr=NUMBER, esm_class=0x40, short_message=b"\x05\x00\x03\x07\x02\x01" + TEXT
    ),
    CommandId.SUBMIT_MULTI: SubmitMulti(dest_addresses=(SmeAddress(1, 1, NUMBER),), short_message=TEXT),
}
OTHER_NAMES = {Tag.DESTINATION_PORT: "dest_port"}  # as SMPP 5.0 calls it
REQUIRED = {"system_id": b"user", "password": b"pa55word", "message_id": b"id-7"}


def example(command: int) -> Pdu:
    """Return a PDU of a kind."""
    if command in EXAMPLES:
        return EXAMPLES[command]
    layout = LAYOUTS[command]
    build: Callable[..., Pdu] = layout.pdu_type
    return build(**{field.name: REQUIRED[field.name] for field in layout.fields if field.name in REQUIRED})


def test_tshark_reads_every_pdu_of_a_trace(tmp_path: Path) -> None:
    """Each kind of PDU is dissected as SMPP under its command_id, in both directions, over two connections."""
    capture = tmp_path / "trace.pcap"
    streams, packets = [Stream(0), Stream(1)], [file_header()]
    for number, command in enumerate(sorted(LAYOUTS)):
        for stream in streams:
            octets = redact(encode(example(command), number + 1))
            packets.append(stream.packets(1_790_000_000.25 + number, not command & 0x80000000, octets))
    capture.write_bytes(b"".join(packets))
    frames = dissected(capture, CARRIER_PORT, "smpp.command_id", "smpp.sequence_number")
    assert sorted(int(command, 16) for command in occurrences(frames, 0)) == sorted([*LAYOUTS, *LAYOUTS])
    assert faults(capture, CARRIER_PORT) == []
    everything = capture.read_bytes()
    for planted in (NUMBER, TEXT, b"pa55word", b"839201"):
        assert planted not in everything


@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(PDUS)
def test_tshark_reads_what_redaction_makes_of_any_pdu(tmp_path: Path, pdu: Pdu) -> None:
    """A PDU of any contents is dissected under its command_id after redaction."""
    capture = tmp_path / "any.pcap"
    capture.write_bytes(file_header() + Stream(0).packets(1.0, True, redact(encode(pdu, 1))))
    (frame,) = dissected(capture, CARRIER_PORT, "smpp.command_id")
    assert int(frame[0], 16) == int.from_bytes(encode(pdu, 1)[4:8], "big")


def test_tshark_knows_every_tlv_by_our_name(tmp_path: Path) -> None:
    """Each TLV of SMPP 3.4 and 5.0, alone in a data_sm of its own, has in tshark the name that it has here."""
    capture, stream, packets = tmp_path / "tlvs.pcap", Stream(0), [file_header()]
    for number, tag in enumerate(Tag):
        form = TLV_FORMATS[tag]
        ending = b"\0" if form.kind == "cstring" else b""
        value = b"\1" * (max(form.smallest, 1) - len(ending)) + ending
        packets.append(stream.packets(float(number), True, encode(DataSm(tlvs=(Tlv(tag, value),)), number + 1)))
    capture.write_bytes(b"".join(packets))
    command = ["tshark", "-r", str(capture), "-O", "smpp"]
    shown = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True).stdout
    found = dict(re.findall(r"Optional parameter: (\S+) \((0x[0-9a-f]{4})\)", shown))
    ours = {OTHER_NAMES.get(tag, tag.name.lower()): f"0x{tag:04x}" for tag in Tag}
    assert found == ours
