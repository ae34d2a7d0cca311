"""The commitment to a message: one form, and nothing to be learnt from it."""

from __future__ import annotations

import hashlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.commitments import commitment
from gateway.records import encode_envelope
from smsgw.v1.message_pb2 import BinaryContent, Content

SALT = bytes(range(16))
ENVELOPE = encode_envelope("+4915112345678", "order 1", {"team": "a"})
CONTENT = Content(text="Your code is 123456").SerializeToString()
MADE = commitment(SALT, "acme", "ACME", 1, ENVELOPE, CONTENT)


def test_golden() -> None:
    """The form is released: whoever has kept a receipt can check it for ever."""
    octets = (
        b"smsgw.message.v1"
        + SALT
        + b"\x01\x00\x04\x00\x04"
        + len(ENVELOPE).to_bytes(4, "big")
        + len(CONTENT).to_bytes(4, "big")
        + b"acmeACME"
        + ENVELOPE
        + CONTENT
    )
    assert hashlib.sha256(octets).digest() == MADE
    assert MADE.hex() == "0921722e3c0c03fa123c01cc5c0af1e4741dd1b53bb0a5313bb17631762d94da"


@pytest.mark.parametrize(
    ("content", "octets"),
    [
        (Content(text="é" * 100), b"\x0a\xc8\x01" + "é".encode() * 100),
        (
            Content(binary=BinaryContent(data=b"ab", data_coding=4, user_data_header=b"\x01\x02")),
            b"\x12\x0a\x0a\x02ab\x10\x04\x1a\x02\x01\x02",
        ),
        (Content(binary=BinaryContent(data=b"a")), b"\x12\x03\x0a\x01a"),
    ],
)
def test_contents(content: Content, octets: bytes) -> None:
    """The content's octets are those that docs/audit.md gives, for verifiers without protobuf."""
    assert content.SerializeToString() == octets


@settings(max_examples=100, deadline=None)
@given(st.data())
def test_everything_counts(data: st.DataObject) -> None:
    """A message that differs in anything has another commitment."""
    parts = (SALT, "acme", "ACME", 1, ENVELOPE, CONTENT)
    short = st.text(max_size=6)
    octets = st.binary(max_size=6)
    other = (
        data.draw(st.just(SALT) | st.binary(min_size=16, max_size=16)),
        data.draw(st.just("acme") | short),
        data.draw(st.just("ACME") | short),
        data.draw(st.integers(1, 3)),
        data.draw(st.just(ENVELOPE) | octets),
        data.draw(st.just(CONTENT) | octets),
    )
    assert (commitment(*other) == MADE) == (other == parts)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.binary(max_size=3), min_size=4, max_size=4), st.lists(st.binary(max_size=3), min_size=4, max_size=4))
def test_unambiguous(left: list[bytes], right: list[bytes]) -> None:
    """Octets that move from one field into the next are another message."""

    def made(fields: list[bytes]) -> bytes:
        tenant, sender, envelope, content = fields
        return commitment(SALT, tenant.hex(), sender.hex(), 1, envelope, content)

    assert (made(left) == made(right)) == (left == right)
