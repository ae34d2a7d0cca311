"""The capture file, octet by octet; tshark's word on it is in tests/interop."""

from __future__ import annotations

import struct

from hypothesis import given
from hypothesis import strategies as st

from carrier.trace import CARRIER_PORT, Stream, file_header

PDU = bytes.fromhex("00000010000000150000000000000001")  # enquire_link


def records(capture: bytes) -> list[tuple[int, int, bytes]]:
    """Return seconds, microseconds and packet of each record."""
    found, position = [], 0
    while position < len(capture):
        seconds, micros, kept, length = struct.unpack_from("<IIII", capture, position)
        assert kept == length
        found.append((seconds, micros, capture[position + 16 : position + 16 + length]))
        position += 16 + length
    return found


def sums(octets: bytes) -> int:
    """Return the sum of RFC 1071, added word by word: 0xFFFF over what holds its right checksum."""
    octets += b"\0" * (len(octets) % 2)
    total = sum(int.from_bytes(octets[at : at + 2], "big") for at in range(0, len(octets), 2))
    while total > 0xFFFF:
        total = (total & 0xFFFF) + (total >> 16)
    return total


def test_the_file_begins_as_pcap() -> None:
    """Magic number, version 2.4, raw IP."""
    assert file_header() == bytes.fromhex("d4c3b2a1 0200 0400 00000000 00000000 00000400 65000000")


def test_a_pdu_is_a_packet_of_its_stream() -> None:
    """Time, ports by direction, and TCP numbers that go on."""
    stream = Stream(3)
    first, second, third = (
        records(stream.packets(at, sent, PDU))[0] for at, sent in ((1.5, True), (2.000001, False), (3.0, True))
    )
    assert (first[:2], second[:2]) == ((1, 500_000), (2, 1))
    assert struct.unpack_from(">HHII", first[2], 20) == (50_003, CARRIER_PORT, 1, 1)
    assert struct.unpack_from(">HHII", second[2], 20) == (CARRIER_PORT, 50_003, 1, 17)
    assert struct.unpack_from(">HHII", third[2], 20) == (50_003, CARRIER_PORT, 17, 17)
    assert first[2][40:] == PDU


@given(st.binary(max_size=100) | st.just(b"x" * 65_536), st.booleans())
def test_lengths_and_checksums(octets: bytes, sent: bool) -> None:
    """Each packet is as long as it says and its sums are right; the largest PDU needs several."""
    packets = [packet for _, _, packet in records(Stream(0).packets(0, sent, octets))]
    assert b"".join(packet[40:] for packet in packets) == octets
    for packet in packets:
        assert int.from_bytes(packet[2:4], "big") == len(packet) <= 0xFFFF
        assert sums(packet[:20]) == 0xFFFF
        assert sums(packet[12:20] + struct.pack(">HH", 6, len(packet) - 20) + packet[20:]) == 0xFFFF
