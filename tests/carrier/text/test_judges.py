"""Our coding and cutting beside that of other implementations: smpplib for parts, gsmcodecs for septets."""

from __future__ import annotations

import gsmcodecs  # registers its codecs
import pytest
import smpplib.gsm
from hypothesis import given, settings
from hypothesis import strategies as st
from smpplib import consts

from carrier.text import gsm7, national
from carrier.text.national import IDENTIFIERS, Language
from carrier.text.profile import Segmentation, TextProfile
from carrier.text.writing import TextWriter

assert gsmcodecs
# One septet a character, and no clusters: where the judge cuts is then the only place.
_PLAIN = st.text(st.sampled_from(sorted(set(gsm7.ALPHABET) - set("\x1b§\r\n"))), min_size=1, max_size=900)
_LATIN1 = st.text(st.characters(min_codepoint=0xA0, max_codepoint=0xFF), min_size=1, max_size=900)
_TABLES = [Language.TURKISH, Language.SPANISH, Language.PORTUGUESE]


def without_reference(parts: list[bytes]) -> list[bytes]:
    """Return parts with the reference, which the judge draws by lot, left out."""
    return [part[:3] + part[4:] if part.startswith(b"\x05\x00\x03") else part for part in parts]


@settings(max_examples=100, deadline=None)
@given(_PLAIN)
def test_parts_with_headers(text: str) -> None:
    """smpplib cuts the same text into the same octets behind the same headers."""
    parts, data_coding, esm_class = smpplib.gsm.make_parts(text)
    segmented = TextWriter().segment(text, 7)
    assert (segmented.data_coding, segmented.esm_class) == (data_coding, esm_class)
    assert without_reference(list(segmented.parts)) == without_reference(parts)


@settings(max_examples=100, deadline=None)
@given(_PLAIN)
def test_parts_for_sar(text: str) -> None:
    """Without headers it has the same parts too."""
    parts, _, esm_class = smpplib.gsm.make_parts(text, use_udhi=False)
    segmented = TextWriter(TextProfile(segmentation=Segmentation.SAR)).segment(text, 7)
    assert (segmented.esm_class, list(segmented.parts)) == (esm_class, parts)


@settings(max_examples=100, deadline=None)
@given(_LATIN1)
def test_parts_in_latin1(text: str) -> None:
    """Latin-1 has 140 octets, and 134 behind a header, there as here."""
    parts, data_coding, _ = smpplib.gsm.make_parts(text, consts.SMPP_ENCODING_ISO88591)
    segmented = TextWriter(TextProfile(latin1=True)).segment(text, 7)
    if segmented.data_coding == data_coding:  # unless it is GSM 7 bit as a whole
        assert without_reference(list(segmented.parts)) == without_reference(parts)
    else:
        assert gsm7.mark(text) is not None


@pytest.mark.parametrize("language", _TABLES)
@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_septets_of_national_tables(language: Language, data: st.DataObject) -> None:
    """gsmcodecs writes the same septets with a single shift table, and reads them with a locking one."""
    identifier = IDENTIFIERS[language]
    alphabet = sorted(gsm7.GSM_CHARACTERS | set(national.SINGLE[identifier].values()))
    text = data.draw(st.text(st.sampled_from(alphabet), min_size=1, max_size=70))
    coded = TextWriter(TextProfile(national_tables=(language,))).choose(text)
    if coded.form.language == identifier:
        assert coded.units == text.encode(f"gsm23.038-0-{identifier}")
    octets = data.draw(
        st.binary(max_size=60).map(lambda drawn: bytes(octet & 0x7F for octet in drawn if octet & 0x7F != 0x1B))
    )
    if identifier in national.LOCKING:
        assert national.decode(octets, 0, identifier) == octets.decode(f"gsm23.038-{identifier}-0")
