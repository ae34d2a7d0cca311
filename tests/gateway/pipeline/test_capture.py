"""A bounded, redacted capture of PDUs."""

from __future__ import annotations

from carrier.smpp.messages import SubmitSm
from carrier.smpp.pdu import encode
from carrier.trace import file_header
from gateway.pipeline.capture import Capture

PDU = encode(SubmitSm(destination_addr=b"4915112345678", short_message=b"your code is 839201"), 1)


def test_redacted_and_counted() -> None:
    """What is read is a capture file from its first octet, without numbers and contents; pieces are as asked for."""
    capture = Capture(1 << 20)
    take = capture.sink(0)
    take(1.0, True, PDU)
    take(2.0, True, PDU)
    pieces = []
    while piece := capture.read(100):
        assert len(piece) <= 100
        pieces.append(piece)
    octets = b"".join(pieces)
    assert octets.startswith(file_header())
    assert (len(octets), capture.pdus) == (capture.octets, 2)
    for planted in (b"4915112345678", b"your code", b"839201"):
        assert planted not in octets
    assert not capture.ready.is_set()
    take(3.0, True, PDU)
    assert capture.ready.is_set()


def test_the_size_is_bounded() -> None:
    """A PDU that would go beyond the bound ends the capture whole: the file never ends within a packet."""
    capture = Capture(500)
    take = capture.sink(0)
    for _ in range(10):
        take(1.0, True, PDU)
    assert capture.full
    assert capture.ready.is_set()
    assert 300 < capture.octets <= 500
    assert len(capture.read(1000)) == capture.octets


def test_a_slow_reader_costs_no_memory() -> None:
    """While nobody reads, PDUs beyond a bound are left out and counted; when somebody does, it goes on."""
    capture = Capture(64 << 20)
    take = capture.sink(0)
    for _ in range(30_000):
        take(1.0, True, PDU)
    assert capture.left_out > 0
    kept = capture.octets
    assert kept < 3 << 20
    while capture.read(1 << 16):
        pass
    take(2.0, True, PDU)
    assert capture.octets > kept
