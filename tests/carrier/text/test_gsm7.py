"""The GSM alphabet against the specification's values, and its round trips."""

from __future__ import annotations

import codecs

import pytest
from hypothesis import given
from hypothesis import strategies as st

from carrier.errors import TextError
from carrier.text import gsm7

GSM_TEXT = st.text(st.sampled_from(sorted(gsm7.GSM_CHARACTERS)), max_size=200)


def test_alphabet_has_128_places_and_the_specified_corners() -> None:
    """Spot values of the tables in TS 23.038 §6.2.1 and §6.2.1.1."""
    assert len(gsm7.ALPHABET) == 128
    assert gsm7.encode("@£$\n\rΔ_ΦΓΛΩΠΨΣΘΞÆæßÉ ¤¡Ä§¿aà") == bytes.fromhex(
        "0001020a0d101112131415161718191a1c1d1e1f2024405b5f60617f"
    )
    assert gsm7.encode("\f^{}\\[~]|€") == bytes.fromhex("1b0a1b141b281b291b2f1b3c1b3d1b3e1b401b65")


def test_ascii_letters_and_digits_are_themselves() -> None:
    """Letters, digits and most punctuation have their ASCII codes."""
    text = "ABCXYZabcxyz0189 !\"#%&'()*+,-./:;<=>?"
    assert gsm7.encode(text) == text.encode("ascii")


@pytest.mark.parametrize("char", ["\0", "\x1b", "`", "\t", "ç", "\u00a0", "α", "ह", "😀", "\ud800", "þ", "\x7f"])
def test_characters_outside_are_refused_alone_and_beside_every_kind(char: str) -> None:
    """No neighbour, of any of the encoder's ways, lets a foreign character through."""
    for text in (char, "a" + char, "Ω" + char, char + "€", "é" + char):
        assert gsm7.mark(text) is None
        with pytest.raises(TextError, match="outside the GSM alphabet"):
            gsm7.encode(text)


def test_every_single_character_agrees_with_the_table() -> None:
    """All of the Basic Multilingual Plane: encoded exactly when the table has it, and back to itself."""
    for code in range(0x10000):
        char = chr(code)
        marks = gsm7.mark(char)
        assert (marks is not None) == (char in gsm7.GSM_CHARACTERS), hex(code)
        if marks is not None:
            assert gsm7.decode(gsm7.expand(marks)) == char


@given(GSM_TEXT)
def test_round_trip(text: str) -> None:
    """What is encoded decodes to itself."""
    octets = gsm7.encode(text)
    assert gsm7.decode(octets) == text
    assert octets.isascii()


@given(st.text(max_size=60))
def test_mark_agrees_with_a_plain_definition(text: str) -> None:
    """The quick encoder takes exactly the texts all of whose characters are in the alphabet."""
    assert (gsm7.mark(text) is not None) == all(char in gsm7.GSM_CHARACTERS for char in text)


@given(st.binary(max_size=300))
def test_decode_takes_all_octets(octets: bytes) -> None:
    """Nothing from a handset can make decoding fail, and nothing makes it longer."""
    assert len(gsm7.decode(octets)) <= len(octets)


@pytest.mark.parametrize(
    ("octets", "text"),
    [
        (b"\x1b\x65", "€"),
        (b"\x1bA", "A"),  # undefined: the main table's character
        (b"a\x1b", "a"),
        (b"\x1b\x1b", " "),
        (b"\x1b\x1b\x65", " e"),
        (b"\x1b\x0a", "\f"),
        (b"\xe9\x00", "é@"),
        (b"\x1b\xe9", "é"),
    ],
)
def test_decode_is_tolerant(octets: bytes, text: str) -> None:
    """Odd escapes and octets above 0x7F give the character a handset would show."""
    assert gsm7.decode(octets) == text


@pytest.mark.parametrize(
    ("text", "packed"),
    [
        ("hello", "e8329bfd06"),
        ("hellohello", "e8329bfd4697d9ec37"),
        ("1234567", "31d98c56b3dd00"),
        ("12345678", "31d98c56b3dd70"),
        ("", ""),
        ("@", "00"),
        ("€", "9b32"),
    ],
)
def test_packing_has_the_specified_bits(text: str, packed: str) -> None:
    """TS 23.038 §6.1.2.1.1: the values that every other implementation has."""
    septets = gsm7.encode(text)
    assert gsm7.pack(septets).hex() == packed
    assert gsm7.unpack(bytes.fromhex(packed), len(septets)) == septets


def test_packing_after_a_concatenation_header() -> None:
    """After a header of 6 octets the septets begin at bit 49: one fill bit (TS 23.040 §9.2.3.24)."""
    assert gsm7.pack(b"\x61", 1) == b"\xc2"
    assert gsm7.unpack(b"\xc2", 1, 1) == b"\x61"


@given(st.binary(max_size=170).map(lambda octets: bytes(octet & 0x7F for octet in octets)), st.integers(0, 6))
def test_packing_round_trip(septets: bytes, fill_bits: int) -> None:
    """Any septets after any fill bits come back, in the fewest octets."""
    packed = gsm7.pack(septets, fill_bits)
    assert len(packed) == -(-(7 * len(septets) + fill_bits) // 8)
    assert gsm7.unpack(packed, len(septets), fill_bits) == septets


def test_unpacking_more_than_there_is_raises() -> None:
    """A count beyond the octets is an error, not invented characters."""
    with pytest.raises(TextError, match="do not hold"):
        gsm7.unpack(b"\x00\x00", 3)
    with pytest.raises(TextError, match="do not hold"):
        gsm7.unpack(b"\x00", -1)


def test_non_gsm_characters_are_listed_once_in_order_and_bounded() -> None:
    """What forces UCS2 is named as a person meets it."""
    assert gsm7.non_gsm_characters("a😀b`😀`ç") == ("😀", "`", "ç")
    assert len(gsm7.non_gsm_characters("".join(map(chr, range(0x900, 0x980))))) == 20
    assert gsm7.non_gsm_characters("plain") == ()


def test_encoding_map_is_the_quick_kind() -> None:
    """A change of the table that makes CPython fall back to a dict would cost several times as much."""
    assert type(gsm7._ENCODING_MAP) is type(codecs.charmap_build("\0" + "\ufffe" * 255))


@given(st.binary(max_size=70), st.integers(0, 6))
def test_packing_is_bit_by_bit_what_the_specification_draws(octets: bytes, fill_bits: int) -> None:
    """Each septet's lowest bit follows the highest of the one before it, from the fill bits on; and back again."""
    septets = bytes(octet & 0x7F for octet in octets)
    packed = gsm7.pack(septets, fill_bits)
    drawn = "0" * fill_bits + "".join(f"{septet:07b}"[::-1] for septet in septets)
    assert "".join(f"{octet:08b}"[::-1] for octet in packed) == drawn.ljust(8 * len(packed), "0")
    assert len(packed) == -(-len(drawn) // 8)
    assert gsm7.unpack(packed, len(septets), fill_bits) == septets
