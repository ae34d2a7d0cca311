"""Where a coded text may be cut into parts, and how many parts that makes.

A cut never falls inside an escape pair (GSM) or a surrogate pair (UTF-16BE); taking as much as fits each time then
makes the fewest parts, and that number is the count everywhere. Within that count, cuts move back to the start of a
grapheme cluster (a letter with its marks, an emoji sequence, an Indic conjunct: an approximation of Unicode UAX #29)
where the rest still fits, since a handset that shows parts as they come shows broken letters otherwise.

How much fits a part depends on its header: `Room`. Knows nothing of headers' contents, encodings' numbers or SMPP.
"""

from __future__ import annotations

import unicodedata
from typing import NamedTuple

USER_DATA = 140  # octets, TS 23.040 §9.2.3.24
GSM_SINGLE, GSM_PART = 160, 153  # septets: 140 octets, without and with a header of 6
UTF16_SINGLE, UTF16_PART = 70, 67  # UTF-16 code units
OCTETS_SINGLE, OCTETS_PART = 140, 134

_ESCAPE = 0x1B
_FIRST_MARK = "\u0300"  # no character below it joins the one before
_ZWJ = "\u200d"
_JOINERS = frozenset("\u200c\u200d\u0e33\u0eb3") | frozenset(
    map(chr, (*range(0x1F3FB, 0x1F400), *range(0xE0020, 0xE0080)))
)
_REGIONAL = frozenset(map(chr, range(0x1F1E6, 0x1F200)))
_VIRAMA = 9  # the canonical combining class of viramas
_LOOK_BACK = 32  # characters; a longer cluster is cut


class Room(NamedTuple):
    """How many units (septets, UTF-16 code units, octets) fit a single segment, and each of many."""

    single: int
    part: int


def septets_beside(header_octets: int) -> int:
    """Return how many septets fit a segment beside a header; they begin at a septet boundary (TS 23.040 §9.2.3.24)."""
    return 8 * (USER_DATA - header_octets) // 7


GSM_ROOM = Room(GSM_SINGLE, GSM_PART)
UTF16_ROOM = Room(UTF16_SINGLE, UTF16_PART)
OCTETS_ROOM = Room(OCTETS_SINGLE, OCTETS_PART)


def gsm_cut(septets: bytes, start: int, part: int) -> int:
    """Return where the part of unpacked septets that begins at `start` ends."""
    end = start + part
    if end >= len(septets):
        return len(septets)
    # An escape has a septet behind it, which is never an escape: so the last one belongs to what follows.
    return end - 1 if septets[end - 1] == _ESCAPE else end


def utf16_cut(octets: bytes, start: int, part: int) -> int:
    """Return where the part of UTF-16BE octets that begins at `start` ends, both in octets."""
    end = start + 2 * part
    if end >= len(octets):
        return len(octets)
    return end - 2 if 0xDC <= octets[end] <= 0xDF else end


def gsm_parts(septets: bytes, room: Room = GSM_ROOM) -> int:
    """Return how many parts unpacked septets take."""
    if len(septets) <= room.single:
        return 1
    if _ESCAPE not in septets:
        return -(-len(septets) // room.part)
    count = position = 0
    while position < len(septets):
        position = gsm_cut(septets, position, room.part)
        count += 1
    return count


def utf16_parts(octets: bytes, room: Room = UTF16_ROOM) -> int:
    """Return how many parts UTF-16BE octets take."""
    return 1 if len(octets) <= 2 * room.single else _utf16_rest(octets, 0, room.part)


def octet_parts(octets: bytes, room: Room = OCTETS_ROOM) -> int:
    """Return how many parts octets take that may be cut anywhere."""
    return 1 if len(octets) <= room.single else -(-len(octets) // room.part)


def _utf16_rest(octets: bytes, position: int, part: int) -> int:
    count = 0
    while position < len(octets):
        position = utf16_cut(octets, position, part)
        count += 1
    return count


def cut_gsm(septets: bytes, room: Room = GSM_ROOM) -> list[bytes]:
    """Cut unpacked septets into `gsm_parts` parts; a carriage return keeps its line feed where that costs no part."""
    if len(septets) <= room.single:
        return [septets]
    if b"\r\n" in septets:
        return _cut_lines(septets, room.part, gsm_parts(septets, room))
    if _ESCAPE not in septets:
        return cut_octets(septets, room)
    parts, start = [], 0
    while start < len(septets):
        end = gsm_cut(septets, start, room.part)
        parts.append(septets[start:end])
        start = end
    return parts


def _cut_lines(septets: bytes, part: int, left: int) -> list[bytes]:
    parts, start = [], 0
    while start < len(septets):
        left -= 1
        end = gsm_cut(septets, start, part)
        if septets[end - 1 : end + 1] == b"\r\n" and gsm_parts(septets[end - 1 :], Room(part, part)) <= left:
            end -= 1
        parts.append(septets[start:end])
        start = end
    return parts


def cut_octets(octets: bytes, room: Room = OCTETS_ROOM) -> list[bytes]:
    """Cut octets anywhere, into `octet_parts` parts."""
    if len(octets) <= room.single:
        return [octets]
    return [octets[at : at + room.part] for at in range(0, len(octets), room.part)]


def cut_utf16(octets: bytes, room: Room = UTF16_ROOM) -> list[bytes]:
    """Cut UTF-16BE octets into `utf16_parts` parts, between grapheme clusters where that costs no further part."""
    if len(octets) <= 2 * room.single:
        return [octets]
    left = _utf16_rest(octets, 0, room.part)
    parts, start = [], 0
    while start < len(octets):
        left -= 1
        hard = utf16_cut(octets, start, room.part)
        end = _cluster_cut(octets, start, hard) if hard < len(octets) else hard
        if end != hard and _utf16_rest(octets, end, room.part) > left:
            end = hard
        parts.append(octets[start:end])
        start = end
    return parts


def cut_clusters(text: str, codes: list[bytes], room: Room) -> list[bytes]:
    """Cut a text whose characters are coded as `codes` have it, as `cut_utf16` does.

    A code is an escape pair at most, so that the parts are as many as `gsm_parts` counts.
    """
    whole = b"".join(codes)
    left = gsm_parts(whole, room)
    if left == 1:
        return [whole]
    parts, start = [], 0
    while start < len(codes):
        left -= 1
        hard = _hard_end(codes, start, room.part)
        end = hard
        while hard < len(codes) and start < end and hard - end < _LOOK_BACK and _joined(text, end):
            end -= 1
        if end in (start, hard) or gsm_parts(b"".join(codes[end:]), Room(room.part, room.part)) > left:
            end = hard
        parts.append(b"".join(codes[start:end]))
        start = end
    return parts


def _hard_end(codes: list[bytes], start: int, part: int) -> int:
    size, end = 0, start
    while end < len(codes) and size + len(codes[end]) <= part:
        size += len(codes[end])
        end += 1
    return end


def _cluster_cut(octets: bytes, start: int, end: int) -> int:
    """Return the last start of a grapheme cluster at or before `end`; `end` itself when there is none near."""
    before = octets[start:end].decode("utf-16-be")
    after = octets[end : end + 4].decode("utf-16-be", "ignore")[:1]
    text = before + after
    for position in range(len(before), max(0, len(before) - _LOOK_BACK), -1):
        if not _joined(text, position):
            return end - 2 * _units(text[position : len(before)])
    return end


def _units(text: str) -> int:
    return len(text) + sum(char > "\uffff" for char in text)


def _joined(text: str, position: int) -> bool:
    """Say whether the character at `position` belongs to the cluster of the one before it."""
    char, previous = text[position], text[position - 1]
    if char < _FIRST_MARK:
        return previous == "\r" and char == "\n"
    if char in _JOINERS or previous == _ZWJ or unicodedata.category(char)[0] == "M":
        return True
    if char in _REGIONAL:
        return _odd_regionals_before(text, position)
    if "\u1160" <= char <= "\u11ff":  # a Hangul vowel or final consonant
        return "\u1100" <= previous <= "\u11ff"
    return unicodedata.combining(previous) == _VIRAMA and unicodedata.category(char) == "Lo"


def _odd_regionals_before(text: str, position: int) -> bool:
    """Flags are pairs of regional indicators: an odd number before means that this one is the second of its pair."""
    count = 0
    while position - count > 0 and text[position - count - 1] in _REGIONAL:
        count += 1
    return count % 2 == 1
