"""What goes between a log and a witness is C2SP tlog-witness."""

from __future__ import annotations

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.tlog.errors import MalformedLog
from gateway.tlog.notes import parse
from gateway.tlog.witnessing import (
    AddCheckpoint,
    parse_cosignatures,
    parse_request,
    parse_size,
    with_signatures,
)
from tests.gateway.tlog.test_checkpoints import EXAMPLE

# The example of the specification.
PROOF = [
    "PlRNCrwHpqhGrupue0L7gxbjbMiKA9temvuZZDDpkaw=",
    "jrJZDmY8Y7SyJE0MWLpLozkIVMSMZcD5kvuKxPC3swk=",
    "5+pKlUdi2LeF/BcMHBn+Ku6yhPGNCswZZD1X/6QgPd8=",
    "/6WVhPs2CwSsb5rYBH5cjHV/wSmA79abXAwhXw3Kj/0=",
]
REQUEST = ("old 20852014\n" + "".join(f"{line}\n" for line in PROOF) + "\n" + EXAMPLE).encode()
ANSWER = (
    "\u2014 witness.example/w1 CMp+6LWBU0anHGH5aNDTJkH/gj79sG+T6+iP2ThYN5krrDJbR1HDnucjL39QsZTSvVjyQLrdk3DXDqI5G2HgLatV"
    "s0pWh6Up69HVOw==\n"
).encode()


def test_the_request_of_the_specification() -> None:
    """The published request is read and written the same."""
    request = parse_request(REQUEST)
    assert request == AddCheckpoint(20852014, tuple(map(base64.b64decode, PROOF)), parse(EXAMPLE.encode()))
    assert request.encode() == REQUEST
    assert parse_request(AddCheckpoint(0, (), parse(EXAMPLE.encode())).encode()).old == 0


def test_the_answers() -> None:
    """Lines of signatures, or the size that the witness has."""
    (line,) = parse_cosignatures(ANSWER)
    assert line.name == "witness.example/w1"
    assert len(line.octets) == 72
    assert parse_size(b"20852014\n") == 20852014
    note = parse(EXAMPLE.encode())
    assert with_signatures(note, [line, line, note.signatures[0]]).signatures == (*note.signatures, line)


@pytest.mark.parametrize(
    "wrong",
    [
        b"",
        EXAMPLE.encode(),
        REQUEST.replace(b"old ", b"new "),
        REQUEST.replace(b"old 2", b"old 02"),
        REQUEST.replace(b"old 20852014", b"old 99999999999999999999"),
        REQUEST.replace(b"PlRN", b"P!RN"),
        REQUEST.replace(b"PlRNCrwHpqhG", b"PlRN"),
        REQUEST.replace(b"old 20852014\n", b"old 20852014\n" + b"PlRNCrwHpqhGrupue0L7gxbjbMiKA9temvuZZDDpkaw=\n" * 60),
        REQUEST.replace(b"old", b"\xff\xff"),
        b"old 1\n\n",
        REQUEST + b"x" * (200 << 10),
    ],
)
def test_what_is_no_request(wrong: bytes) -> None:
    """A request in another form is refused."""
    with pytest.raises(MalformedLog):
        parse_request(wrong)


@pytest.mark.parametrize("wrong", [b"", b"1", b"01\n", b"-1\n", b"1\n\n", b"\xff\n", b"1" * 70_000])
def test_what_is_no_size(wrong: bytes) -> None:
    """A size in another form is refused, and so are lines that are none."""
    with pytest.raises(MalformedLog):
        parse_size(wrong)
    with pytest.raises(MalformedLog):
        parse_cosignatures(wrong)


@given(st.binary(max_size=200) | st.binary(max_size=60).map(lambda octets: b"old 5\n" + octets + b"\n\n" + ANSWER))
def test_octets_are_requests_or_refused(octets: bytes) -> None:
    """Nothing but the documented error comes of any octets."""
    for read in (parse_request, parse_cosignatures, parse_size):
        try:
            read(octets)
        except MalformedLog:
            continue
