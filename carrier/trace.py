"""PDUs as a capture file that tshark and Wireshark read as SMPP: pcap with made-up IP and TCP around each. Pure.

The file is the classic pcap of microseconds (draft-ietf-opsawg-pcap), link type RAW: a packet begins with its IPv4
header. Each connection is a TCP stream between 192.0.2.1 (us, a port of its own) and 192.0.2.2 port 2775, by which
tshark's dissector takes it for SMPP; the addresses are those of RFC 5737, so that nobody takes them for real ones.
"""

from __future__ import annotations

import struct

CARRIER_PORT = 2775  # SMPP's own (IANA)
_US, _CARRIER = bytes((192, 0, 2, 1)), bytes((192, 0, 2, 2))
_FIRST_PORT = 50_000
_PORTS = 10_000
_LINKTYPE_RAW = 101
_SNAPLEN = 0x40000
_FILE = struct.Struct("<IHHiIII")
_RECORD = struct.Struct("<IIII")
_IP = struct.Struct(">BBHHHBBH4s4s")
_TCP = struct.Struct(">HHIIBBHHH")
_SEGMENT_BYTES = 16 * 1024  # an IP packet holds 65,535; a PDU may be longer
_PUSH_ACK = 0x18


def file_header() -> bytes:
    """Return what a capture file begins with."""
    return _FILE.pack(0xA1B2C3D4, 2, 4, 0, 0, _SNAPLEN, _LINKTYPE_RAW)


class Stream:
    """One connection of the capture."""

    def __init__(self, number: int) -> None:
        """`number`: the connection's, from 0; it becomes our port."""
        self._port = _FIRST_PORT + number % _PORTS
        self._sent = self._received = 1  # TCP sequence numbers of the next octets
        self._packets = 0

    def packets(self, at: float, sent: bool, pdu: bytes) -> bytes:
        """Return the records of one PDU: `at` is Unix time in seconds, `sent` says whether we sent it."""
        return b"".join(
            self._record(at, sent, pdu[start : start + _SEGMENT_BYTES])
            for start in range(0, max(len(pdu), 1), _SEGMENT_BYTES)
        )

    def _record(self, at: float, sent: bool, octets: bytes) -> bytes:
        packet = self._packet(sent, octets)
        seconds, microseconds = divmod(max(0, round(at * 1_000_000)), 1_000_000)
        return _RECORD.pack(seconds & 0xFFFFFFFF, microseconds, len(packet), len(packet)) + packet

    def _packet(self, sent: bool, octets: bytes) -> bytes:
        source, destination = (_US, _CARRIER) if sent else (_CARRIER, _US)
        ports = (self._port, CARRIER_PORT) if sent else (CARRIER_PORT, self._port)
        numbers = (self._sent, self._received) if sent else (self._received, self._sent)
        head = _TCP.pack(*ports, *numbers, _TCP.size << 2, _PUSH_ACK, 0xFFFF, 0, 0)
        pseudo = source + destination + struct.pack(">HH", 6, len(head) + len(octets))
        checksum = _checksum(pseudo + head + octets)
        segment = head[:16] + struct.pack(">H", checksum) + head[18:] + octets
        following = (numbers[0] + len(octets)) & 0xFFFFFFFF
        if sent:
            self._sent = following
        else:
            self._received = following
        self._packets += 1
        ip = _IP.pack(0x45, 0, _IP.size + len(segment), self._packets & 0xFFFF, 0, 64, 6, 0, source, destination)
        return ip[:10] + struct.pack(">H", _checksum(ip)) + ip[12:] + segment


def _checksum(octets: bytes) -> int:
    """Return the Internet checksum (RFC 1071)."""
    if len(octets) % 2:
        octets += b"\0"
    # The sum of 16-bit words in ones' complement is the number modulo 0xFFFF.
    total = int.from_bytes(octets, "big") % 0xFFFF
    return (~total & 0xFFFF) or 0xFFFF
