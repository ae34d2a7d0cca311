"""The rules of content: what may be sent, how many segments it takes, and its stored octets.

Content is stored as a serialized smsgw.v1.Content that is built anew here, so that fields this version does not know
are not kept. Nothing is ever cut to fit. Violations carry the field's path from the message on: `content.text`. Content
that its caller has sealed is not measured before the carrier link has opened it; then these rules are asked again.
"""

from __future__ import annotations

from typing import NamedTuple

from carrier.text.coding import Encoding
from carrier.text.cutting import OCTETS_SINGLE
from carrier.text.writing import PLAIN, Counting
from gateway.errors import FieldViolation
from smsgw.v1 import message_pb2

_MAX_CHARACTERS_A_SEGMENT = 160  # whatever the encoding

_ONE_OCTET_LENGTHS = 128
_tuple = tuple.__new__  # makes a named tuple in half the time that its class takes (hot)


class Measured(NamedTuple):
    """Content that may be sent. A NamedTuple: one is made for every message."""

    octets: bytes  # a serialized smsgw.v1.Content
    encoding: int
    segments: int


SEALED = Measured(b"", 0, 0)  # what the caller has sealed: nothing is known of it


def measure(content: message_pb2.Content, max_segments: int, counting: Counting = PLAIN) -> Measured | FieldViolation:
    """Return the content's measure, or what is wrong with it; SEALED, the object, for content that its caller has
    sealed. `counting` knows how the carriers write it."""
    text = content.text
    if text:
        return _measure_text(text, max_segments, counting)
    kind = content.WhichOneof("kind")
    if kind == "binary":
        return _measure_binary(content.binary, max_segments, counting)
    if kind == "sealed_jwe":
        return SEALED
    path = "content.text" if kind else "content"
    return FieldViolation(path, "is required and must not be empty: give a text or octets", "CONTENT_REQUIRED")


def _measure_text(text: str, max_segments: int, counting: Counting) -> Measured | FieldViolation:
    if len(text) > _MAX_CHARACTERS_A_SEGMENT * max_segments:  # bounds what is counted below
        return _too_long("content.text", f"more than {max_segments}", max_segments)
    encoding, segments = counting.count(text)
    if segments > max_segments:
        return _too_long("content.text", str(segments), max_segments)
    return _tuple(Measured, (_text_alone(text), int(encoding), segments))


def _text_alone(text: str) -> bytes:
    """Return a Content with this text and nothing else (hot). Below 128 octets their number is one octet, and putting
    the field together takes half as long as making a message of it (Protocol Buffers' encoding: field 1, wire type
    2)."""
    octets = text.encode()
    if len(octets) < _ONE_OCTET_LENGTHS:
        return b"\x0a%c%b" % (len(octets), octets)
    return message_pb2.Content(text=text).SerializeToString()


def _measure_binary(
    binary: message_pb2.BinaryContent, max_segments: int, counting: Counting
) -> Measured | FieldViolation:
    data, header, data_coding = binary.data, binary.user_data_header, binary.data_coding
    if not data:
        return FieldViolation("content.binary.data", "is required: at least one octet", "CONTENT_REQUIRED")
    if data_coding > 255:
        return FieldViolation("content.binary.data_coding", "is one octet: 0 to 255", "DATA_CODING_INVALID")
    segments = 1 if header else counting.count_binary(len(data))
    if header:
        fault = _header_fault(data, header)
        if fault is not None:
            return fault
    elif segments > max_segments:
        return _too_long("content.binary.data", str(segments), max_segments)
    clean = message_pb2.BinaryContent(data=data, data_coding=data_coding, user_data_header=header)
    return Measured(message_pb2.Content(binary=clean).SerializeToString(), int(Encoding.BINARY), segments)


def _header_fault(data: bytes, header: bytes) -> FieldViolation | None:
    """Return what is wrong with a user data header (3GPP TS 23.040 §9.2.3.24), None when it is sound."""
    path, octets = "content.binary.user_data_header", len(header) + len(data)
    if octets > OCTETS_SINGLE:
        text = f"makes {octets} octets with the data; both have to fit one segment of {OCTETS_SINGLE}"
        return FieldViolation(path, text, "CONTENT_TOO_LONG")
    if header[0] != len(header) - 1:
        text = f"must begin with the number of octets that follow, {len(header) - 1}; it begins with {header[0]}"
        return FieldViolation(path, text, "USER_DATA_HEADER_INVALID")
    at = 1
    while at + 1 < len(header):  # each element: identifier, length, that many octets
        at += 2 + header[at + 1]
    if at != len(header):
        return FieldViolation(path, "ends within an information element", "USER_DATA_HEADER_INVALID")
    return None


def _too_long(path: str, segments: str, max_segments: int) -> FieldViolation:
    text = f"takes {segments} segments, and at most {max_segments} are sent; nothing is cut, so shorten or divide it"
    return FieldViolation(path, text, "CONTENT_TOO_LONG")
