"""The national tables against another implementation's, and their round trips."""

from __future__ import annotations

from typing import Any

import gsmcodecs.charmaps
import pytest
from hypothesis import given
from hypothesis import strategies as st

from carrier.text import gsm7
from carrier.text.national import IDENTIFIERS, LOCKING, SINGLE, Language, decode, languages_of

ESCAPE = b"\x1b"
COMMA = 0x2C
INDIC = range(4, 14)
# Where the judge is alone: three other implementations have what we have.
JUDGE_ERRS = {(language, COMMA): "'" for language in INDIC} | {(7, 0x24): "ಪ"}


def judge(language: int, kind: str) -> dict[int, str]:
    """Return the judge's table of one language, without its escape."""
    table: dict[int, Any] = gsmcodecs.charmaps.GSMCHARMAPS[language][kind]["decode"]
    return {septet: chr(code) for septet, code in table.items() if code is not None and septet != ESCAPE[0]}


@pytest.mark.parametrize("language", sorted(LOCKING))
def test_locking_tables_agree_with_the_judge(language: int) -> None:
    """Every place of every locking table, but for two errors of the judge."""
    theirs = judge(language, "locking")
    for (of, septet), char in JUDGE_ERRS.items():
        if of == language:
            assert theirs[septet] == char
            theirs[septet] = "," if septet == COMMA else "ಡ"
    assert dict(LOCKING[language]) == theirs


@pytest.mark.parametrize("language", sorted(SINGLE))
def test_single_shift_tables_agree_with_the_judge(language: int) -> None:
    """Every place of every single shift table, but for the euro that the judge's Telugu lacks."""
    theirs = judge(language, "singleShift")
    if language == IDENTIFIERS[Language.TELUGU]:
        assert theirs.setdefault(0x65, "€") == "€"
    assert dict(SINGLE[language]) == theirs


def test_every_language_has_its_tables() -> None:
    """Thirteen identifiers from 1; each has a single shift table, and each but Spanish a locking one."""
    assert sorted(IDENTIFIERS.values()) == list(range(1, 14)) == sorted(SINGLE)
    assert set(SINGLE) - set(LOCKING) == {IDENTIFIERS[Language.SPANISH]}


@pytest.mark.parametrize("language", sorted(LOCKING))
def test_locking_round_trip(language: int) -> None:
    """Each septet of a locking table decodes to its character, and what the table lacks is a space."""
    for septet in range(128):
        if septet != ESCAPE[0]:
            assert decode(bytes((septet,)), 0, language) == LOCKING[language].get(septet, " ")


@pytest.mark.parametrize("language", sorted(SINGLE))
def test_single_shift_round_trip(language: int) -> None:
    """Behind an escape a septet is the single shift table's character, else that of the main table."""
    for septet in range(128):
        expected = SINGLE[language].get(septet) or (" " if septet == ESCAPE[0] else gsm7.decode(bytes((septet,))))
        assert decode(ESCAPE + bytes((septet,)), language, 0) == expected


def test_escape_and_undefined_gives_the_locking_table_s_character() -> None:
    """With both tables the character without the escape comes from the locking one; a last escape gives nothing."""
    urdu = IDENTIFIERS[Language.URDU]
    assert decode(b"\x1b\x60\x1b\x1b\x1b", urdu, urdu) == "\u0654 "


@given(st.binary(max_size=60), st.integers(0, 255), st.integers(0, 255))
def test_decoding_never_fails(octets: bytes, single: int, locking: int) -> None:
    """Whatever octets and identifiers come, there is a text, and no longer than the octets."""
    assert len(decode(octets, single, locking)) <= len(octets)


@given(st.binary(max_size=60))
def test_no_tables_are_the_default_ones(octets: bytes) -> None:
    """Identifiers 0 and 14, which have no tables, read as if nothing were named."""
    assert decode(octets, 0, 0) == decode(octets, 14, 200) == gsm7.decode(octets)


def test_the_header_names_the_tables() -> None:
    """The last element of each kind counts, and one of another length does not."""
    assert languages_of([(0x24, b"\x01"), (0x25, b"\x0d"), (0x24, b"\x02"), (0x24, b"\x01\x02"), (0, b"abc")]) == (
        2,
        13,
    )
    assert languages_of([]) == (0, 0)
