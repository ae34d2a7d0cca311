"""Hostile octets from a seed: PDUs of every kind, mutated as a broken or malicious peer would, and noise.

Random and not Hypothesis, because a million of them have to pass in minutes and nothing is to be kept of any.
"""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from typing import Any

from carrier.smpp.constants import SEQUENCE_MAX, CommandId, Tag
from carrier.smpp.layouts import LAYOUTS, Form, Layout
from carrier.smpp.messages import DistributionList, Pdu, SmeAddress, UnsuccessSme
from carrier.smpp.pdu import HEADER, encode
from carrier.smpp.tlv import Tlv

_TAGS = [int(tag) for tag in Tag]
_COMMANDS = [int(command) for command in CommandId]
_INTERESTING = (b"\0", b"\xff", b"\x7f", b"\x80", b"\0\0\0\0", b"\xff\xff\xff\xff", b"id:1 stat:DELIVRD", b"\x05\0\3")


def pdu_of(random: Random, layout: Layout) -> Pdu:
    """Return a valid PDU of one kind."""
    build: Callable[..., Pdu] = layout.pdu_type
    values = [_value(random, field.form, field.size) for field in layout.fields]
    tlvs = tuple(
        Tlv(random.choice(_TAGS), random.randbytes(random.randrange(12))) for _ in range(random.choice((0, 0, 1, 3)))
    )
    return build(*values, tlvs)


def frame_of(random: Random, sequences: list[int]) -> bytes:
    """Return a valid frame, answering one of `sequences` now and then."""
    layout = LAYOUTS[random.choice(_COMMANDS)]
    sequence = random.choice(sequences) if sequences and random.random() < 0.5 else random.randint(1, SEQUENCE_MAX)
    return encode(
        pdu_of(random, layout), sequence, random.choice((0, 0, 0x58, 0x400)) if layout.command_id >> 31 else 0
    )


def mutated(random: Random, frame: bytes) -> bytes:
    """Return `frame` with one thing wrong, its command_length sound in most cases."""
    octets = bytearray(frame)
    kind = random.randrange(8)
    if kind == 0:  # some octets are others
        for _ in range(random.randint(1, 6)):
            octets[random.randrange(4, len(octets))] = random.randrange(256)
    elif kind == 1:  # cut
        del octets[random.randint(16, len(octets)) :]
    elif kind == 2:  # longer
        octets += random.randbytes(random.randint(1, 40))
    elif kind == 3:  # something put in
        at = random.randint(16, len(octets))
        octets[at:at] = random.choice(_INTERESTING)
    elif kind == 4:  # another command
        octets[4:8] = random.choice((random.choice(_COMMANDS), random.getrandbits(32))).to_bytes(4, "big")
    elif kind == 5:  # another sequence
        octets[12:16] = random.choice((0, 1, SEQUENCE_MAX, 0x80000000, 0xFFFFFFFF)).to_bytes(4, "big")
    elif kind == 6:  # a run of one octet
        at = random.randint(16, len(octets))
        octets[at:] = random.choice((b"\0", b"A", b"\xff")) * (len(octets) - at)
    else:  # noise behind a sound header
        octets[16:] = random.randbytes(random.randrange(60))
    octets[:4] = len(octets).to_bytes(4, "big")
    if random.random() < 0.002:  # and now and then a length that ends the connection
        octets[:4] = random.choice((0, 15, 0x7FFFFFFF, 0xFFFFFFFF)).to_bytes(4, "big")
    return bytes(octets)


def noise(random: Random) -> bytes:
    """Return a frame of which only the length is sound."""
    body = random.randbytes(random.randrange(80))
    return HEADER.pack(16 + len(body), random.getrandbits(32), random.getrandbits(32), random.getrandbits(32)) + body


def hostile(random: Random, sequences: list[int]) -> bytes:
    """Return any of these."""
    kind = random.random()
    if kind < 0.1:
        return noise(random)
    frame = frame_of(random, sequences)
    return frame if kind < 0.3 else mutated(random, frame)


def _value(random: Random, form: Form, size: int) -> Any:
    if form is Form.INTEGER:
        return random.randrange(256)
    if form is Form.CSTRING:
        return random.randbytes(random.randrange(size)).replace(b"\0", b"0")
    if form is Form.TIME:
        return random.choice((b"", b"000000010000000R"))
    if form is Form.SHORT_MESSAGE:
        return random.randbytes(random.randrange(size))
    address = (1, 1, b"4915112345678")
    if form is Form.DESTINATIONS:
        return tuple(
            random.choice((SmeAddress(*address), DistributionList(b"all"))) for _ in range(random.randint(1, 4))
        )
    return tuple(UnsuccessSme(*address, 8) for _ in range(random.randrange(4)))
