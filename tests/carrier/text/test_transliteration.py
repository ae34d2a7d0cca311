"""What is brought into the GSM alphabet, and what is not."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from carrier.text.gsm7 import GSM_CHARACTERS
from carrier.text.transliteration import transliterate


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("“It’s – fine…”", '"It\'s - fine..."'),
        ("«naïve»", '"naive"'),
        ("Łódź, Škoda, İstanbul ığ", "Lódz, Skoda, Istanbul ig".replace("ó", "o")),
        ("œuvre Œ ﬁn", "oeuvre OE fin"),
        ("a\u00a0b\u2009c\u200bd\tz", "a b cd z"),
        ("ＡＢＣ１２", "ABC12"),
        ("e\u0301 x\u0301", "é x"),
        ("€5 ™ ©", "€5 TM (c)"),
        ("Straße Ω [x]", "Straße Ω [x]"),
        ("", ""),
    ],
)
def test_counterparts(text: str, expected: str) -> None:
    """Quotes, dashes, spaces, accents, ligatures and wide forms have counterparts; what GSM has stays."""
    assert transliterate(text) == expected


@pytest.mark.parametrize("text", ["Привет", "नमस्ते", "😀", "10²", "½", "①", "α", "漢", "안", "a\u093f", "\x00"])
def test_what_has_none(text: str) -> None:
    """Another script, emoji, raised digits and fractions leave the text as it is."""
    assert transliterate("ok " + text) is None


@given(st.text(max_size=40))
def test_result_is_in_the_alphabet(text: str) -> None:
    """Whatever comes out can be sent as GSM 7 bit, and comes out of itself again."""
    found = transliterate(text)
    if found is not None:
        assert GSM_CHARACTERS.issuperset(found)
        assert transliterate(found) == found
