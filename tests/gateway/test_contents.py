"""The rules of content."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from carrier.text.writing import PLAIN
from gateway.contents import SEALED, Measured, measure
from gateway.errors import FieldViolation
from smsgw.v1.message_pb2 import BinaryContent, Content


def binary(data: bytes, data_coding: int = 4, header: bytes = b"") -> Content:
    """Return binary content."""
    return Content(binary=BinaryContent(data=data, data_coding=data_coding, user_data_header=header))


@pytest.mark.parametrize(
    ("content", "encoding", "segments"),
    [(Content(text="hello"), 1, 1), (Content(text="a" * 160), 1, 1), (Content(text="a" * 161), 1, 2),
     (Content(text="€" * 80), 1, 1), (Content(text="नमस्ते"), 2, 1), (Content(text="я" * 71), 2, 2),
     (Content(text="😀" * 35), 2, 1), (Content(text="a" * 1530), 1, 10), (binary(b"x" * 140), 3, 1),
     (binary(b"x" * 141), 3, 2), (binary(b"x" * 1340), 3, 10),
     (binary(b"x" * 134, 245, b"\x05\x00\x03\x01\x02\x01"), 3, 1)],
)  # fmt: skip
def test_measured(content: Content, encoding: int, segments: int) -> None:
    """Good content has its encoding and segments, and its octets are the content."""
    measured = measure(content, 10)
    assert isinstance(measured, Measured)
    assert measured[1:] == (encoding, segments)
    assert Content.FromString(measured.octets) == content


@pytest.mark.parametrize(
    ("content", "field", "reason"),
    [(Content(), "content", "CONTENT_REQUIRED"), (Content(text=""), "content.text", "CONTENT_REQUIRED"),
     (binary(b""), "content.binary.data", "CONTENT_REQUIRED"),
     (binary(b"", 4, b"\x02\x70\x00"), "content.binary.data", "CONTENT_REQUIRED"),
     (Content(text="a" * 1531), "content.text", "CONTENT_TOO_LONG"),
     (Content(text="a" * 100_000), "content.text", "CONTENT_TOO_LONG"),
     (Content(text="я" * 671), "content.text", "CONTENT_TOO_LONG"),
     (binary(b"x" * 1341), "content.binary.data", "CONTENT_TOO_LONG"),
     (binary(b"x", 256), "content.binary.data_coding", "DATA_CODING_INVALID"),
     (binary(b"x" * 138, 4, b"\x02\x70\x00"), "content.binary.user_data_header", "CONTENT_TOO_LONG"),
     (binary(b"x", 4, b"\x03\x70\x00"), "content.binary.user_data_header", "USER_DATA_HEADER_INVALID"),
     (binary(b"x", 4, b"\x02\x70\x01"), "content.binary.user_data_header", "USER_DATA_HEADER_INVALID"),
     (binary(b"x", 4, b"\x01\x70"), "content.binary.user_data_header", "USER_DATA_HEADER_INVALID")],
)  # fmt: skip
def test_refused(content: Content, field: str, reason: str) -> None:
    """Empty, overlong and unsound content is refused by field and reason, never cut."""
    fault = measure(content, 10)
    assert isinstance(fault, FieldViolation)
    assert (fault.field, fault.reason) == (field, reason)


def test_limit_is_configured() -> None:
    """The limit of segments is the operator's."""
    assert isinstance(measure(Content(text="a" * 161), 1), FieldViolation)
    assert isinstance(measure(Content(text="a" * 161), 2), Measured)


def test_sealed() -> None:
    """Nothing is known of sealed content."""
    assert measure(Content(sealed_jwe="e30.."), 10) is SEALED


def test_unknown_fields_dropped() -> None:
    """Fields of a newer version are not stored."""
    padded = Content.FromString(Content(text="hi").SerializeToString() + b"\xfa\x3e\x04junk")
    measured = measure(padded, 10)
    assert isinstance(measured, Measured)
    assert measured.octets == Content(text="hi").SerializeToString()


@settings(max_examples=80, deadline=None)
@given(st.text(min_size=1, max_size=400))
def test_segments_as_cut(text: str) -> None:
    """What is counted at acceptance is what is cut when it is sent."""
    measured = measure(Content(text=text), 255)
    assert isinstance(measured, Measured)
    assert measured.segments == len(PLAIN.segment(text, 1).parts)


@settings(max_examples=200, deadline=None)
@given(st.text(min_size=1, max_size=130) | st.sampled_from(["a" * 127, "a" * 128, "é" * 63, "é" * 64]))
def test_text_as_generated(text: str) -> None:
    """A text is stored in the octets that the generated code gives it, whether it is short or not."""
    measured = measure(Content(text=text), 255)
    assert isinstance(measured, Measured)
    assert measured.octets == Content(text=text).SerializeToString()


@settings(max_examples=60, deadline=None)
@given(st.binary(min_size=1, max_size=400), st.binary(max_size=8))
def test_binary_as_cut(data: bytes, header: bytes) -> None:
    """Octets that are accepted can be cut, into as many parts as was said."""
    measured = measure(binary(data, 4, header), 255)
    if isinstance(measured, Measured):
        assert measured.segments == len(PLAIN.segment_binary(data, 4, header, 1).parts)
