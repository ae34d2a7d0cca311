"""The national language tables of 3GPP TS 23.038 (annex A): single shift tables, and locking shift tables.

A table is named in the user data header, by its language's identifier (TS 23.038 §6.2.1.2.4). A single shift table
stands where the extension table stands otherwise, a locking one where the default alphabet stands. All are used to
decode; to encode, single shift tables are, where a carrier's profile allows them (`carrier.text.coders`).

The tables of nine Indic languages share one layout, that of their Unicode blocks, and are written down as such. What
is not in a table is not in its mapping.
"""

from __future__ import annotations

import codecs
import enum
import functools
import re
from collections.abc import Iterable, Iterator, Mapping
from types import MappingProxyType

from carrier.text import gsm7
from carrier.text.gsm7 import ALPHABET, ESCAPE, EXTENSION

IEI_SINGLE_SHIFT, IEI_LOCKING_SHIFT = 0x24, 0x25  # TS 23.040 §9.2.3.24.15 and 16: one octet, the language


class Language(enum.StrEnum):
    """The languages that have tables."""

    TURKISH = "turkish"
    SPANISH = "spanish"
    PORTUGUESE = "portuguese"
    BENGALI = "bengali"
    GUJARATI = "gujarati"
    HINDI = "hindi"
    KANNADA = "kannada"
    MALAYALAM = "malayalam"
    ORIYA = "oriya"
    PUNJABI = "punjabi"
    TAMIL = "tamil"
    TELUGU = "telugu"
    URDU = "urdu"


IDENTIFIERS: Mapping[Language, int] = MappingProxyType({language: at for at, language in enumerate(Language, 1)})

_DEFAULT_EXTENSION = {septet: char for char, septet in EXTENSION.items()}

# In the Indic tables "·" is a place that the language fills. Those of the locking tables follow its Unicode block.
_INDIC_LOCKING = (
    "··········\n··\r·············\x1b···· !······)(··,·.·0123456789:;···?"
    "·································abcdefghijklmnopqrstuvwxyz·····"
)
_INDIC_SINGLE = (
    "@£$¥¿\"¤%&'\f*+·-/<=>¡^¡_#*··\x1b············{}·····\\············[~]·|ABCDEFGHIJKLMNOPQRSTUVWXYZ··········€"
)
_BLOCK_OFFSETS = (*range(0x01, 0x04), *range(0x05, 0x3A), *range(0x3C, 0x4E))
_CARRIAGE_RETURN = 0x0D

# For each language: where its block begins, the offsets in the layout that it does not have, its last six places.
_INDIC_BLOCKS: dict[Language, tuple[int, str, str]] = {
    Language.BENGALI: (0x0980, "0D-0E 11-12 29 31 33-35 45-46 49-4A", "09CE 09D7 09DC-09DD 09F0-09F1"),
    Language.GUJARATI: (0x0A80, "0E 12 29 31 34 46 4A", "0AD0 0AE0-0AE3 0AF1"),
    Language.HINDI: (0x0900, "", "0950 0972 097B-097C 097E-097F"),
    Language.KANNADA: (0x0C80, "01 0D 11 29 34 45 49", "0CD5-0CD6 0CE0-0CE3"),
    Language.MALAYALAM: (0x0D00, "01 0D 11 29 3C 45 49", "0D57 0D60-0D63 0D79"),
    Language.ORIYA: (0x0B00, "0D-0E 11-12 29 31 34 45-46 49-4A", "0B56-0B57 0B60-0B63"),
    Language.PUNJABI: (0x0A00, "0B-0E 11-12 29 31 34 37 3D 43-46 49-4A", "0A51 0A70-0A74"),
    Language.TAMIL: (
        0x0B80,
        "01 0B-0D 11 16-18 1B 1D 20-22 25-27 2B-2D 3C-3D 43-45 49",
        "0BD0 0BD7 0BF0-0BF2 0BF9",
    ),
    Language.TELUGU: (0x0C00, "0D 11 29 34 3C 45 49", "0C55-0C56 0C60-0C63"),
}
_URDU_LOCKING = (
    "0627 0622 0628 067B 0680 067E 06A6 062A 06C2 067F 0679 067D 067A 067C 062B-062C 0681 0684 0683 0685-0687 062D-062F"
    " 068C 0688-068A 068F 068D 0630-0631 0691 0693 0699 0632 0696 0698 069A 0633-0638 0639 0641-0642 06A9-06AB 06AF"
    " 06B3 06B1 0644-0646 06BA-06BC 0648 06C4 06D5 06C1 06BE 0621 06CC 06D0 06D2 064D 0650 064F 0657 0654 0655 0651"
    " 0653 0656 0670"
)
# What fills the places of the single shift tables, in their order; "0" leaves one empty.
_SINGLE_PLACES: dict[Language, str] = {
    Language.BENGALI: "09E6-09EF 09DF-09E3 09F2-09FA",
    Language.GUJARATI: "0964-0965 0AE6-0AEF",
    Language.HINDI: "0964-096F 0951-0954 0958-0963 0970-0971",
    Language.KANNADA: "0964-0965 0CE6-0CEF 0CDE 0CF1-0CF2",
    Language.MALAYALAM: "0964-0965 0D66-0D75 0D7A-0D7F",
    Language.ORIYA: "0964-0965 0B66-0B6F 0B5C-0B5D 0B5F 0B70-0B71",
    Language.PUNJABI: "0964-0965 0A66-0A6F 0A59-0A5C 0A5E 0A75",
    Language.TAMIL: "0964-0965 0BE6-0BEF 0BF3-0BF8 0BFA",
    Language.TELUGU: "0 0 0C66-0C6F 0C58-0C59 0C78-0C7F",
    Language.URDU: "0600-0601 06F0-06F9 060C-0614 061B 061F 0640 0652 0658 066B-066C 0672-0673 06CD 06D4",
}


def _code_points(text: str) -> list[int]:
    found: list[int] = []
    for item in text.split():
        first, _, last = item.partition("-")
        found += range(int(first, 16), int(last or first, 16) + 1)
    return found


def _filled(frame: str, places: Iterator[int]) -> dict[int, str]:
    """Return septets and characters of `frame`, its places filled in turn; what is 0, or beyond their end, is empty."""
    table: dict[int, str] = {}
    for septet, char in enumerate(frame):
        if char != "·":
            table[septet] = char
        elif septet != _CARRIAGE_RETURN:
            code_point = next(places, 0)
            if code_point:
                table[septet] = chr(code_point)
    table.pop(ESCAPE, None)
    return table


def _indic_locking(language: Language) -> dict[int, str]:
    base, missing, last = _INDIC_BLOCKS[language]
    absent = set(_code_points(missing))
    places = [0 if offset in absent else base + offset for offset in _BLOCK_OFFSETS]
    return _filled(_INDIC_LOCKING, iter(places + _code_points(last)))


def _changed(changes: dict[int, str]) -> dict[int, str]:
    return {septet: char for septet, char in enumerate(ALPHABET) if septet != ESCAPE} | changes


def _extended(added: dict[int, str]) -> dict[int, str]:
    return _DEFAULT_EXTENSION | added


_TURKISH_LOCKING = {0x04: "€", 0x07: "ı", 0x0B: "Ğ", 0x0C: "ğ", 0x1C: "Ş", 0x1D: "ş", 0x40: "İ", 0x60: "ç"}
_PORTUGUESE_LOCKING = {
    0x04: "ê", 0x06: "ú", 0x07: "í", 0x08: "ó", 0x09: "ç", 0x0B: "Ô", 0x0C: "ô", 0x0E: "Á", 0x0F: "á", 0x12: "ª",
    0x13: "Ç", 0x14: "À", 0x15: "∞", 0x16: "^", 0x17: "\\", 0x18: "€", 0x19: "Ó", 0x1A: "|", 0x1C: "Â", 0x1D: "â",
    0x1E: "Ê", 0x24: "º", 0x40: "Í", 0x5B: "Ã", 0x5C: "Õ", 0x5D: "Ú", 0x60: "~", 0x7B: "ã", 0x7C: "õ", 0x7D: "`",
}  # fmt: skip
_TURKISH_SINGLE = {0x47: "Ğ", 0x49: "İ", 0x53: "Ş", 0x63: "ç", 0x67: "ğ", 0x69: "ı", 0x73: "ş"}
_SPANISH_SINGLE = {
    0x09: "ç", 0x41: "Á", 0x49: "Í", 0x4F: "Ó", 0x55: "Ú", 0x61: "á", 0x69: "í", 0x6F: "ó", 0x75: "ú",
}  # fmt: skip
_PORTUGUESE_SINGLE = {
    0x05: "ê", 0x09: "ç", 0x0B: "Ô", 0x0C: "ô", 0x0E: "Á", 0x0F: "á", 0x12: "Φ", 0x13: "Γ", 0x15: "Ω", 0x16: "Π",
    0x17: "Ψ", 0x18: "Σ", 0x19: "Θ", 0x1F: "Ê", 0x41: "À", 0x49: "Í", 0x4F: "Ó", 0x55: "Ú", 0x5B: "Ã", 0x5C: "Õ",
    0x61: "Â", 0x69: "í", 0x6F: "ó", 0x75: "ú", 0x7B: "ã", 0x7C: "õ", 0x7F: "â",
}  # fmt: skip

# By the language's identifier: septet → character. Spanish has no locking table.
LOCKING: Mapping[int, Mapping[int, str]] = MappingProxyType(
    {
        IDENTIFIERS[Language.TURKISH]: _changed(_TURKISH_LOCKING),
        IDENTIFIERS[Language.PORTUGUESE]: _changed(_PORTUGUESE_LOCKING),
        **{IDENTIFIERS[language]: _indic_locking(language) for language in _INDIC_BLOCKS},
        IDENTIFIERS[Language.URDU]: _filled(_INDIC_LOCKING, iter(_code_points(_URDU_LOCKING))),
    }
)
SINGLE: Mapping[int, Mapping[int, str]] = MappingProxyType(
    {
        IDENTIFIERS[Language.TURKISH]: _extended(_TURKISH_SINGLE),
        IDENTIFIERS[Language.SPANISH]: _extended(_SPANISH_SINGLE),
        IDENTIFIERS[Language.PORTUGUESE]: _extended(_PORTUGUESE_SINGLE),
        **{
            IDENTIFIERS[language]: _filled(_INDIC_SINGLE, iter(_code_points(places)))
            for language, places in _SINGLE_PLACES.items()
        },
    }
)
_ESCAPED = re.compile(rb"\x1b(.?)|([^\x1b]+)", re.DOTALL)


def decode(octets: bytes, single: int, locking: int) -> str:
    """Return the text of unpacked septets under the tables of two languages, by identifier. Never fails.

    An identifier without a table means the default one. A septet that the locking table lacks is a space, one behind an
    escape that the single shift table lacks is the character without the escape (TS 23.038 §6.2.1.1), and an escape
    behind an escape is a space. Octets above 0x7F are read as Latin-1.
    """
    table = _decoding_table(locking)
    shifted = SINGLE.get(single, _DEFAULT_EXTENSION)
    found: list[str] = []
    for pair in _ESCAPED.finditer(octets):
        if pair[2]:
            found.append(codecs.charmap_decode(pair[2], "strict", table)[0])
        elif pair[1]:
            septet = pair[1][0]
            found.append(" " if septet == ESCAPE else shifted.get(septet) or table[septet])
    return "".join(found)


@functools.lru_cache(maxsize=256)
def _decoding_table(locking: int) -> str:
    main = LOCKING.get(locking)
    if main is None:
        return gsm7.DECODE_TABLE
    return "".join(main.get(septet, " ") for septet in range(128)) + gsm7.DECODE_TABLE[128:]


def languages_of(elements: Iterable[tuple[int, bytes]]) -> tuple[int, int]:
    """Return the identifiers of single shift and locking table that a user data header's elements name, 0 for none."""
    single = locking = 0
    for iei, value in elements:
        if iei == IEI_SINGLE_SHIFT and len(value) == 1:
            single = value[0]
        elif iei == IEI_LOCKING_SHIFT and len(value) == 1:
            locking = value[0]
    return single, locking
