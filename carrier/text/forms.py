"""The forms in which a carrier's profile allows a text to be written, in the order in which they are preferred.

Each form codes a text into units (septets one in each octet, octets, or UTF-16BE), or says that it cannot. Knows what
fits a segment beside which header; nothing of references or PDUs.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NamedTuple, Protocol

from carrier.errors import TextError
from carrier.text import gsm7
from carrier.text.coding import Encoding, encode_utf16
from carrier.text.cutting import (
    USER_DATA,
    Room,
    cut_clusters,
    cut_gsm,
    cut_lines,
    cut_utf16,
    gsm_parts,
    line_parts,
    septets_beside,
    utf16_parts,
)
from carrier.text.national import IDENTIFIERS, SINGLE, Language
from carrier.text.profile import HAVE_HEADERS, DefaultAlphabet, Segmentation, TextProfile
from carrier.text.transliteration import transliterate

DATA_CODING_DEFAULT, DATA_CODING_LATIN1, DATA_CODING_UCS2 = 0, 3, 8  # SMPP 3.4 §5.2.19
_LANGUAGE_ELEMENT = 3  # octets of an element that names a table
_CARRIAGE_RETURN = b"\r"


class Coded(NamedTuple):
    """A text in one form."""

    form: Form
    text: str
    units: bytes
    segments: int

    def cut(self) -> list[bytes]:
        """Return the units of each part."""
        return self.form.cut(self)


class Form(Protocol):
    """One way to write texts."""

    encoding: Encoding
    data_coding: int
    language: int  # the single shift table that the header names; 0 for none
    room: Room

    def code(self, text: str) -> Coded | None:
        """Return `text` in this form, None when it cannot be. Raises TextError for a lone surrogate."""

    def cut(self, coded: Coded) -> list[bytes]:
        """Return the units of each part."""

    def octets(self, units: bytes, header: int) -> bytes:
        """Return `units` as they stand behind a header of so many octets."""


class _Septets:
    """The default alphabet, in whatever way the carrier wants its septets written."""

    encoding = Encoding.GSM7
    data_coding = DATA_CODING_DEFAULT
    language = 0

    def __init__(self, alphabet: DefaultAlphabet, part_header: int) -> None:
        self.room = Room(septets_beside(0), septets_beside(part_header))
        self._highest = _HIGHEST.get(alphabet)
        self._finish = _FINISH[alphabet]

    def code(self, text: str) -> Coded | None:
        marks = gsm7.mark(text)
        if marks is None or (self._highest is not None and text and max(text) > self._highest):
            return None
        septets = gsm7.expand(marks)
        return Coded(self, text, septets, gsm_parts(septets, self.room))

    def cut(self, coded: Coded) -> list[bytes]:
        return cut_gsm(coded.units, self.room)

    def octets(self, units: bytes, header: int) -> bytes:
        return self._finish(units, header)


class _National:
    """The default alphabet with a national single shift table: both are named in the header of every part."""

    encoding = Encoding.GSM7
    data_coding = DATA_CODING_DEFAULT

    def __init__(self, language: Language, alphabet: DefaultAlphabet, part_header: int) -> None:
        self.language = IDENTIFIERS[language]
        self.room = Room(septets_beside(1 + _LANGUAGE_ELEMENT), septets_beside(part_header + _LANGUAGE_ELEMENT))
        self._finish = _FINISH[alphabet]
        shifted = {char: bytes((gsm7.ESCAPE, septet)) for septet, char in SINGLE[self.language].items()}
        plain = {char: bytes((at,)) for at, char in enumerate(gsm7.ALPHABET) if at != gsm7.ESCAPE}
        self._codes = shifted | plain
        self._characters = frozenset(self._codes)

    def code(self, text: str) -> Coded | None:
        if not self._characters.issuperset(text):
            return None
        parts = self._parts(text)
        return Coded(self, text, b"".join(parts), len(parts))

    def cut(self, coded: Coded) -> list[bytes]:
        return self._parts(coded.text)

    def _parts(self, text: str) -> list[bytes]:
        codes = self._codes
        return cut_clusters(text, [codes[char] for char in text], self.room)

    def octets(self, units: bytes, header: int) -> bytes:
        return self._finish(units, header)


class _Transliterated:
    """The default alphabet, after replacing what has a counterpart in it."""

    encoding = Encoding.GSM7
    data_coding = DATA_CODING_DEFAULT
    language = 0

    def __init__(self, default: _Septets) -> None:
        self.room = default.room
        self._default = default

    def code(self, text: str) -> Coded | None:
        replaced = transliterate(text)
        return None if replaced is None else self._default.code(replaced)

    def cut(self, coded: Coded) -> list[bytes]:
        return self._default.cut(coded)

    def octets(self, units: bytes, header: int) -> bytes:
        return self._default.octets(units, header)


class _Latin1:
    """Latin-1 under data_coding 3."""

    encoding = Encoding.LATIN1
    data_coding = DATA_CODING_LATIN1
    language = 0

    def __init__(self, part_header: int) -> None:
        self.room = Room(USER_DATA, USER_DATA - part_header)

    def code(self, text: str) -> Coded | None:
        try:
            octets = text.encode("latin-1")
        except UnicodeEncodeError:
            return None
        return Coded(self, text, octets, line_parts(octets, self.room))

    def cut(self, coded: Coded) -> list[bytes]:
        return cut_lines(coded.units, self.room)

    def octets(self, units: bytes, header: int) -> bytes:
        del header
        return units


class Ucs2:
    """UTF-16BE ("UCS2": surrogate pairs allowed, no byte order mark): every text can be written so."""

    encoding = Encoding.UCS2
    data_coding = DATA_CODING_UCS2
    language = 0

    def __init__(self, part_header: int) -> None:
        """`part_header`: the octets of the header in each of many parts."""
        self.room = Room(USER_DATA // 2, (USER_DATA - part_header) // 2)

    def code(self, text: str) -> Coded:
        """Return `text` in UTF-16BE. Raises TextError for a lone surrogate."""
        octets = encode_utf16(text)
        return Coded(self, text, octets, utf16_parts(octets, self.room))

    def cut(self, coded: Coded) -> list[bytes]:
        """Return the units of each part."""
        return cut_utf16(coded.units, self.room)

    def octets(self, units: bytes, header: int) -> bytes:
        """Return `units` themselves."""
        del header
        return units


def _packed(septets: bytes, header: int) -> bytes:
    """Septets eight in seven octets, from the septet boundary behind the header on (TS 23.040 §9.2.3.24).

    Seven bits left over would read as one more septet, an "@": a carriage return fills them (TS 23.038 §6.1.2.3.1).
    """
    fill = -8 * header % 7
    if (fill + 7 * len(septets)) % 8 == 1:
        septets += _CARRIAGE_RETURN
    return gsm7.pack(septets, fill)


def _as_they_are(septets: bytes, header: int) -> bytes:
    del header
    return septets


def _in_latin1(septets: bytes, header: int) -> bytes:
    del header
    return gsm7.decode(septets).encode("latin-1")


_FINISH: dict[DefaultAlphabet, Callable[[bytes, int], bytes]] = {
    DefaultAlphabet.GSM7: _as_they_are,
    DefaultAlphabet.GSM7_PACKED: _packed,
    DefaultAlphabet.LATIN1: _in_latin1,
    DefaultAlphabet.ASCII: _in_latin1,
}
_HIGHEST = {DefaultAlphabet.LATIN1: "\u00ff", DefaultAlphabet.ASCII: "\u007f"}  # what the alphabet can write


def forms_of(profile: TextProfile, part_header: int) -> tuple[Form, ...]:
    """Return the forms of a profile, in order; `part_header` is the octets of the header in each of many parts.

    The default alphabet; each national table; the default alphabet after transliteration; Latin-1. Last comes UCS-2,
    which is not among them. Raises TextError for national tables where there is no header to name them in.
    """
    default = _Septets(profile.default_alphabet, part_header)
    return (default, *_beside_default(profile, default, part_header))


def _beside_default(profile: TextProfile, default: _Septets, part_header: int) -> Iterator[Form]:
    alphabet = profile.default_alphabet
    if profile.national_tables:
        why = national_fault(alphabet, profile.segmentation)
        if why:
            raise TextError(f"national tables {why}")
        for language in profile.national_tables:
            yield _National(language, alphabet, part_header)
    if profile.transliterate:
        yield _Transliterated(default)
    if profile.latin1:
        yield _Latin1(part_header)


def national_fault(alphabet: DefaultAlphabet, segmentation: Segmentation) -> str:
    """Return why national tables cannot be used to encode so, "" if they can."""
    if alphabet not in (DefaultAlphabet.GSM7, DefaultAlphabet.GSM7_PACKED):
        return f"are tables of GSM 7 bit: they want default_alphabet gsm7 or gsm7_packed, not {alphabet}"
    if segmentation not in HAVE_HEADERS:
        return f"are named in a user data header: they want segmentation udh8 or udh16, not {segmentation}"
    return ""
