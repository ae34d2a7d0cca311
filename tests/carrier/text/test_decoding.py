"""Octets from handsets: every data_coding, and octets that do not keep to it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from carrier.text.decoding import Charset, charset, decode_text


@pytest.mark.parametrize(
    ("data_coding", "octets", "text"),
    [
        (0, b"\x00\x02\x1b\x65", "@$€"),
        (1, b"@$", "@$"),
        (3, b"caf\xe9", "café"),
        (6, bytes.fromhex("bfe0d8d2d5e2"), "Привет"),
        (7, bytes.fromhex("f9eced"), "שלם"),
        (8, "नमस्ते 😀".encode("utf-16-be"), "नमस्ते 😀"),
        (8, b"\xfe\xff\x00a", "a"),
        (8, b"\xff\xfea\x00", "a"),
        (8, b"\x00a\x00", "a\ufffd"),
        (8, b"\xd8\x3d", "\ufffd"),
        (14, "안녕".encode("euc_kr"), "안녕"),
        (0x10, b"\x00", "@"),  # flash, default alphabet
        (0x18, b"\x09\x39", "ह"),  # flash, UCS2
        (0x48, b"\x09\x39", "ह"),  # automatic deletion, UCS2
        (0xC8, b"\x00", "@"),  # message waiting: the low bits are an indication, not a charset
        (0xD8, b"\x00", "@"),
        (0xE0, b"\x09\x39", "ह"),
        (0xF0, b"\x00", "@"),
        (0x8C, b"\x00", "@"),  # reserved: the default alphabet
    ],
)
def test_text_by_the_whole_octet(data_coding: int, octets: bytes, text: str) -> None:
    """SMPP 3.4 §5.2.19 below 16, the groups of TS 23.038 §4 above."""
    assert decode_text(octets, data_coding) == text


@pytest.mark.parametrize("data_coding", [2, 4, 9, 0x14, 0x15, 0x54, 0x20, 0x68, 0xF4, 0xF5, 0xF7])
def test_octets_and_compressed_text_are_no_text(data_coding: int) -> None:
    """8-bit data and compressed text stay octets."""
    assert charset(data_coding) is Charset.OCTETS
    assert decode_text(b"abc", data_coding) is None


@pytest.mark.parametrize(
    ("octets", "text"),
    [
        ("Привет, мир é".encode("utf-16-be"), "Привет, мир é"),
        ("你好，世界！明天见面吧".encode("utf-16-be"), "你好，世界！明天见面吧"),
        (b"caf\xe9", "café"),
        (b"d\xe9j\xe0 vu", "déjà vu"),
        (b"it\x92s late, call me back now", "it\x92s late, call me back now"),
    ],
)
def test_octets_that_are_no_septets_under_the_default_alphabet(octets: bytes, text: str) -> None:
    """Carriers that send UCS2 or Latin-1 as data_coding 0 are understood."""
    assert decode_text(octets, 0) == text


@given(st.binary(max_size=160), st.integers(0, 255))
def test_nothing_fails(octets: bytes, data_coding: int) -> None:
    """Any octets under any data_coding give a text or are octets."""
    found = decode_text(octets, data_coding)
    assert (found is None) == (charset(data_coding) is Charset.OCTETS)
    if found is not None:
        found.encode("utf-8")  # no lone surrogates
