"""Encodings and segment counts at their edges."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from carrier.errors import TextError
from carrier.text import gsm7
from carrier.text.coding import Encoding, Estimate
from carrier.text.writing import PLAIN
from smsgw.v1 import message_pb2


def test_values_are_those_of_the_api() -> None:
    """The enum crosses to the API without translation."""
    assert {e.name: e.value for e in Encoding} == {
        name.removeprefix("ENCODING_"): value for name, value in message_pb2.Encoding.items() if value
    }


@pytest.mark.parametrize(
    ("text", "encoding", "segments", "units", "capacity"),
    [
        ("", Encoding.GSM7, 1, 0, 160),
        ("a" * 160, Encoding.GSM7, 1, 160, 160),
        ("a" * 161, Encoding.GSM7, 2, 161, 306),
        ("a" * 306, Encoding.GSM7, 2, 306, 306),
        ("a" * 307, Encoding.GSM7, 3, 307, 459),
        ("€" * 80, Encoding.GSM7, 1, 160, 160),
        ("€" * 81, Encoding.GSM7, 2, 162, 306),
        ("€" * 152, Encoding.GSM7, 2, 304, 306),
        ("€" * 153, Encoding.GSM7, 3, 306, 459),  # 76 pairs fit a part of 153 septets
        ("ह" * 70, Encoding.UCS2, 1, 70, 70),
        ("ह" * 71, Encoding.UCS2, 2, 71, 134),
        ("ह" * 134, Encoding.UCS2, 2, 134, 134),
        ("ह" * 135, Encoding.UCS2, 3, 135, 201),
        ("😀" * 35, Encoding.UCS2, 1, 70, 70),
        ("😀" * 36, Encoding.UCS2, 2, 72, 134),
        ("😀" * 66, Encoding.UCS2, 2, 132, 134),
        ("😀" * 67, Encoding.UCS2, 3, 134, 201),  # 33 pairs fit a part of 67 units
        ("a" * 70 + "ह", Encoding.UCS2, 2, 71, 134),
    ],
)
def test_estimates_at_the_edges(text: str, encoding: Encoding, segments: int, units: int, capacity: int) -> None:
    """160/153 and 70/67, with pairs that do not fill a part."""
    found = PLAIN.estimate(text)
    assert (found.encoding, found.segments, found.units, found.capacity) == (encoding, segments, units, capacity)
    assert PLAIN.count(text) == (encoding, segments)


def test_estimate_names_what_forces_ucs2() -> None:
    """A caller is told which characters make the message dearer."""
    assert PLAIN.estimate("Grüße “hi” 😀").non_gsm == ("“", "”", "😀")
    assert PLAIN.estimate("Grüße").non_gsm == ()


@pytest.mark.parametrize("text", ["\ud800", "a\udc00", "😀\ud83d"])
def test_lone_surrogate_is_refused(text: str) -> None:
    """Half a surrogate pair is no text, and the error says where it is."""
    for call in (PLAIN.count, PLAIN.estimate):
        with pytest.raises(TextError, match="surrogate"):
            call(text)


@given(st.text(st.one_of(st.sampled_from("aé€{}Ω"), st.sampled_from("ह😀`")), max_size=400))
def test_count_agrees_with_estimate(text: str) -> None:
    """The quick count of every message and the full estimate say the same."""
    found = PLAIN.estimate(text)
    assert PLAIN.count(text) == (found.encoding, found.segments)
    assert found.units <= found.capacity
    assert (found.encoding is Encoding.GSM7) == (gsm7.mark(text) is not None)


@pytest.mark.parametrize(
    ("size", "header", "segments", "capacity"),
    [(140, b"", 1, 140), (141, b"", 2, 268), (268, b"", 2, 268), (269, b"", 3, 402), (100, b"\x01\x00", 1, 140)],
)
def test_binary_estimates(size: int, header: bytes, segments: int, capacity: int) -> None:
    """140/134 octets; a header counts."""
    assert PLAIN.estimate_binary(bytes(size), header) == Estimate(
        encoding=Encoding.BINARY, segments=segments, units=size + len(header), capacity=capacity, non_gsm=()
    )
