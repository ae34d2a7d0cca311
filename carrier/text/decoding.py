"""Octets from a handset to text, by the whole data_coding octet. Never fails: what makes no sense gives odd characters.

data_coding 0 to 15 as SMPP 3.4 §5.2.19 names them; above that the coding groups of 3GPP TS 23.038 §4, whose reserved
values mean the default alphabet. Knows nothing of PDUs, headers or parts.
"""

from __future__ import annotations

import enum
import unicodedata

from carrier.text import gsm7, national


class Charset(enum.Enum):
    """What octets are; the values of most are the names of Python's codecs."""

    GSM7 = "gsm7"
    OCTETS = "octets"
    UTF16 = "utf-16-be"
    LATIN1 = "latin-1"
    CYRILLIC = "iso8859-5"
    HEBREW = "iso8859-8"
    JIS = "shift_jis"
    ISO_2022_JP = "iso2022_jp"
    EXTENDED_KANJI = "iso2022_jp_1"
    KS_C_5601 = "euc_kr"


_SMPP = (
    Charset.GSM7,  # 0: the SMSC default alphabet
    Charset.LATIN1,  # 1: IA5, which is ASCII: its superset loses nothing of a careless sender
    Charset.OCTETS,
    Charset.LATIN1,
    Charset.OCTETS,
    Charset.JIS,
    Charset.CYRILLIC,
    Charset.HEBREW,
    Charset.UTF16,
    Charset.OCTETS,  # 9: pictograms, which are no characters
    Charset.ISO_2022_JP,
    Charset.UTF16,  # 11: reserved by SMPP; TS 23.038 reads its bits as UCS2
    Charset.GSM7,
    Charset.EXTENDED_KANJI,
    Charset.KS_C_5601,
    Charset.GSM7,
)
_BY_BITS = (Charset.GSM7, Charset.OCTETS, Charset.UTF16, Charset.GSM7)  # bits 3 and 2 of the general groups


def _charset(data_coding: int) -> Charset:
    group = data_coding >> 4
    if group == 0:
        return _SMPP[data_coding]
    if group < 8:  # general (00xx) and automatic deletion (01xx)
        compressed = data_coding & 0x20
        return Charset.OCTETS if compressed else _BY_BITS[data_coding >> 2 & 3]
    if group == 0xE:  # message waiting, stored, UCS2
        return Charset.UTF16
    if group == 0xF:  # data coding and message class
        return Charset.OCTETS if data_coding & 0x04 else Charset.GSM7
    return Charset.GSM7  # message waiting (1100, 1101), and the reserved groups


_CHARSETS = tuple(_charset(data_coding) for data_coding in range(256))


def charset(data_coding: int) -> Charset:
    """Return what the octets under `data_coding` (0 to 255) are."""
    return _CHARSETS[data_coding & 0xFF]


def decode_text(octets: bytes, data_coding: int, languages: tuple[int, int] = (0, 0)) -> str | None:
    """Return the text of `octets` (septets unpacked), or None when `data_coding` says that they are no text.

    `languages`: the national single shift and locking shift tables that a header names, 0 for none.
    """
    kind = _CHARSETS[data_coding & 0xFF]
    if kind is Charset.GSM7:
        if languages != (0, 0):
            return national.decode(octets, *languages)
        return gsm7.decode(octets) if octets.isascii() else _decode_doubtful(octets)
    if kind is Charset.OCTETS:
        return None
    return _decode_utf16(octets) if kind is Charset.UTF16 else octets.decode(kind.value, "replace")


def _decode_utf16(octets: bytes) -> str:
    """UTF-16BE; a byte order mark is obeyed and dropped."""
    if octets.startswith(b"\xff\xfe"):
        return octets[2:].decode("utf-16-le", "replace")
    return octets.removeprefix(b"\xfe\xff").decode("utf-16-be", "replace")


def _decode_doubtful(octets: bytes) -> str:
    """Octets above 0x7F under the default alphabet: some carriers send UCS2 so, others Latin-1."""
    text = _plausible_utf16(octets)
    return gsm7.decode(octets) if text is None else text


def _plausible_utf16(octets: bytes) -> str | None:
    """Return `octets` as UTF-16BE if they can hardly be anything else.

    Every character has to be assigned and printable; and either half of the high octets are below 0x20 (the alphabets
    up to U+1FFF), or there is an octet of 0x80 to 0x9F, which neither GSM nor Latin-1 prints, among few of ASCII's.
    """
    if len(octets) % 2:
        return None
    try:
        text = octets.decode("utf-16-be").removeprefix("\ufeff")
    except UnicodeDecodeError:
        return None
    if not all(char in "\n\r\t" or unicodedata.category(char) not in {"Cc", "Cn", "Co"} for char in text):
        return None
    if 4 * sum(octet < 0x20 for octet in octets[::2]) >= len(octets):
        return text
    controls = any(0x80 <= octet <= 0x9F for octet in octets)
    ascii_octets = sum(0x20 <= octet <= 0x7E for octet in octets)
    return text if controls and 4 * ascii_octets < 3 * len(octets) else None
