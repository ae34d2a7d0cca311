"""Cutting messages: sizes, headers, and what a cut never separates."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from carrier.errors import TextError
from carrier.text import gsm7
from carrier.text.segment import Segmented
from carrier.text.writing import PLAIN

GSM = st.sampled_from("ab€{}[]~^|\\Ωé\r\n")
WIDE = st.sampled_from(["ह", "ि", "्", "क", "😀", "👨", "\u200d", "👩", "🇩", "🇪", "🏽", "a", "e\u0301", "\u0301"])


def joined(segmented: Segmented) -> bytes:
    """Return the octets of all parts without their headers, checking each header."""
    parts = segmented.parts
    if len(parts) == 1:
        assert not segmented.esm_class & 0x40
        return parts[0]
    assert segmented.esm_class == 0x40
    for number, part in enumerate(parts, 1):
        assert part[:6] == bytes((5, 0, 3, 7, len(parts), number))
    return b"".join(part[6:] for part in parts)


@settings(max_examples=200)
@given(st.one_of(st.text(GSM, max_size=700), st.lists(WIDE, max_size=400).map("".join)))
def test_parts_are_as_estimated_within_bounds_and_lossless(text: str) -> None:
    """The property that billing stands on: the estimate is the number of parts, always."""
    segmented = PLAIN.segment(text, 7)
    found = PLAIN.estimate(text)
    assert len(segmented.parts) == found.segments
    octets = joined(segmented)
    if segmented.data_coding == 0:
        assert gsm7.decode(octets) == text
        assert all(len(part) <= (160 if found.segments == 1 else 159) for part in segmented.parts)
        assert not any(part.endswith(b"\x1b") for part in segmented.parts)
    else:
        assert segmented.data_coding == 8
        assert octets.decode("utf-16-be") == text
        assert all(len(part) <= 140 for part in segmented.parts)
        for part in segmented.parts:  # each part is whole characters
            (part[6:] if found.segments > 1 else part).decode("utf-16-be")


def test_an_escape_pair_moves_to_the_next_part() -> None:
    """A pair that would straddle septets 153 and 154 begins the second part."""
    segmented = PLAIN.segment("a" * 152 + "€" + "b" * 20, 7)
    assert segmented.parts[0][6:] == b"a" * 152
    assert segmented.parts[1][6:8] == b"\x1b\x65"


def test_a_surrogate_pair_moves_to_the_next_part() -> None:
    """An emoji that would straddle units 67 and 68 begins the second part."""
    segmented = PLAIN.segment("ह" * 66 + "😀" + "क" * 20, 7)
    assert len(segmented.parts[0]) == 6 + 132
    assert segmented.parts[1][6:10] == "😀".encode("utf-16-be")


@pytest.mark.parametrize(
    ("before", "cluster"),
    [
        ("ह" * 66, "कि"),  # a letter and its vowel sign
        ("ह" * 65, "क्ष"),  # a conjunct
        ("ह" * 63, "👨\u200d👩"),  # an emoji sequence
        ("ह" * 65, "👍🏽"),  # an emoji with its skin tone
        ("ह" * 65, "🇩🇪"),  # a flag
        ("ह" * 66, "e\u0301"),
        ("ह" * 66, "\r\n"),
        ("ह" * 66, "\u1100\u1161"),  # a Hangul syllable in parts
    ],
)
def test_a_grapheme_cluster_stays_whole(before: str, cluster: str) -> None:
    """The cut falls before the cluster."""
    segmented = PLAIN.segment(before + cluster + "क" * 20, 7)
    assert len(segmented.parts) == 2
    assert segmented.parts[0][6:].decode("utf-16-be") == before


def test_a_second_flag_is_not_taken_for_the_end_of_the_first() -> None:
    """Between two flags a cut is fine."""
    segmented = PLAIN.segment("ह" * 63 + "🇩🇪" + "🇫🇷" + "क" * 20, 7)
    assert segmented.parts[0][6:].decode("utf-16-be") == "ह" * 63 + "🇩🇪"


def test_a_grapheme_cluster_stays_whole_where_that_costs_a_part() -> None:
    """When the parts are full, one more is taken, and estimated: no letter is cut."""
    text = "ह" * 66 + "कि" + "क" * 66
    segmented = PLAIN.segment(text, 7)
    assert [part[6:].decode("utf-16-be") for part in segmented.parts] == ["ह" * 66, "कि" + "क" * 65, "क"]
    assert PLAIN.estimate(text).segments == PLAIN.count(text)[1] == 3


def test_a_text_of_nothing_but_marks_is_cut() -> None:
    """A cluster without end does not stop the cutting."""
    segmented = PLAIN.segment("ह" + "\u093f" * 300, 7)
    assert len(segmented.parts) == 5


def test_more_than_255_parts_are_refused() -> None:
    """The header cannot count further; nothing is cut off."""
    assert len(PLAIN.segment("a" * 153 * 255, 7).parts) == 255
    for text in ("a" * (153 * 255 + 1), "ह" * (67 * 255 + 1)):
        with pytest.raises(TextError, match="256 segments"):
            PLAIN.segment(text, 7)


@pytest.mark.parametrize("reference", [-1, 65536])
def test_a_reference_is_two_octets(reference: int) -> None:
    """A reference that the header cannot hold is an error."""
    with pytest.raises(TextError, match="0 to 65535"):
        PLAIN.segment("a" * 161, reference)


@given(st.binary(max_size=600))
def test_binary_round_trip(data: bytes) -> None:
    """Octets come back whole, in as many parts as estimated."""
    segmented = PLAIN.segment_binary(data, 4, b"", 7)
    assert joined(segmented) == data
    assert segmented.data_coding == 4
    assert len(segmented.parts) == PLAIN.estimate_binary(data).segments
    assert all(len(part) <= 140 for part in segmented.parts)


def test_binary_with_its_own_header_is_one_part() -> None:
    """A header that the caller built is announced and left as it is."""
    udh = bytes.fromhex("06050415811581")
    assert PLAIN.segment_binary(bytes(133), 0xF5, udh, 7) == Segmented(0xF5, 0x40, (udh + bytes(133),))
    with pytest.raises(TextError, match="141 octets"):
        PLAIN.segment_binary(bytes(134), 0xF5, udh, 7)


@pytest.mark.parametrize("udh", [b"\x05\x00\x03", b"\x00\x00", b"\x05"])
def test_a_header_with_a_wrong_length_octet_is_refused(udh: bytes) -> None:
    """A handset would read data as header, or header as data."""
    with pytest.raises(TextError, match="user data header"):
        PLAIN.segment_binary(b"x", 4, udh, 7)


def test_data_coding_is_one_octet() -> None:
    """SMPP 3.4 §5.2.19."""
    with pytest.raises(TextError, match="data_coding"):
        PLAIN.segment_binary(b"x", 256, b"", 7)
