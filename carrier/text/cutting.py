"""Where a coded text may be cut into parts, and how many parts that makes.

A cut never falls inside an escape pair (GSM), a surrogate pair (UTF-16BE) or a grapheme cluster (a letter with its
marks, an emoji sequence, an Indic conjunct, a line's end: an approximation of Unicode UAX #29), since a handset that
shows parts as they come shows broken letters otherwise. Taking as much as fits each time then makes the fewest parts;
counting walks from cut to cut as cutting does, so that the two cannot disagree. Only what is longer than `_LOOK_BACK`
characters, which no script writes, is cut all the same.

How much fits a part depends on its header: `Room`. Knows nothing of headers' contents, encodings' numbers or SMPP.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Callable
from typing import NamedTuple

USER_DATA = 140  # octets, TS 23.040 §9.2.3.24
GSM_SINGLE, GSM_PART = 160, 153  # septets: 140 octets, without and with a header of 6
UTF16_SINGLE, UTF16_PART = 70, 67  # UTF-16 code units
OCTETS_SINGLE, OCTETS_PART = 140, 134

_ESCAPE, _RETURN = 0x1B, 0x0D  # one octet is looked for at the speed of memchr
_LINE_END, _LINE_FEED = b"\r\n", b"\0\n"
_FIRST_MARK, _FIRST_JOINING = "\u0300", 0x03  # no character below joins the one before, but in a line's end
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
    return end - 1 if septets[end - 1] == _ESCAPE or septets[end - 1 : end + 1] == _LINE_END else end


def line_cut(octets: bytes, start: int, part: int) -> int:
    """Return where the part of a text of one octet a character that begins at `start` ends."""
    end = start + part
    return end - 1 if octets[end - 1 : end + 1] == _LINE_END else min(end, len(octets))


def utf16_cut(octets: bytes, start: int, part: int) -> int:
    """Return where the part of UTF-16BE octets that begins at `start` ends, both in octets."""
    end = start + 2 * part
    if end >= len(octets):
        return len(octets)
    if octets[end] < _FIRST_JOINING and octets[end : end + 2] != _LINE_FEED:
        return end  # no character so low joins the one before
    return _cluster_cut(octets, start, end - 2 if 0xDC <= octets[end] <= 0xDF else end)


def gsm_parts(septets: bytes, room: Room = GSM_ROOM) -> int:
    """Return how many parts unpacked septets take."""
    if len(septets) <= room.single:
        return 1
    if _ESCAPE not in septets and _RETURN not in septets:
        return -(-len(septets) // room.part)
    return _count(gsm_cut, septets, room.part)


def line_parts(octets: bytes, room: Room = OCTETS_ROOM) -> int:
    """Return how many parts a text of one octet a character takes."""
    return octet_parts(octets, room) if _RETURN not in octets else len(cut_lines(octets, room))


def utf16_parts(octets: bytes, room: Room = UTF16_ROOM) -> int:
    """Return how many parts UTF-16BE octets take."""
    return 1 if len(octets) <= 2 * room.single else _count(utf16_cut, octets, room.part)


def octet_parts(octets: bytes, room: Room = OCTETS_ROOM) -> int:
    """Return how many parts octets take that may be cut anywhere."""
    return 1 if len(octets) <= room.single else -(-len(octets) // room.part)


def cut_gsm(septets: bytes, room: Room = GSM_ROOM) -> list[bytes]:
    """Cut unpacked septets into `gsm_parts` parts."""
    if len(septets) <= room.single:
        return [septets]
    if _ESCAPE not in septets and _RETURN not in septets:
        return cut_octets(septets, room)
    return _cut(gsm_cut, septets, room.part)


def cut_lines(octets: bytes, room: Room = OCTETS_ROOM) -> list[bytes]:
    """Cut a text of one octet a character into `line_parts` parts."""
    return [octets] if len(octets) <= room.single else _cut(line_cut, octets, room.part)


def cut_octets(octets: bytes, room: Room = OCTETS_ROOM) -> list[bytes]:
    """Cut octets anywhere, into `octet_parts` parts."""
    if len(octets) <= room.single:
        return [octets]
    return [octets[at : at + room.part] for at in range(0, len(octets), room.part)]


def cut_utf16(octets: bytes, room: Room = UTF16_ROOM) -> list[bytes]:
    """Cut UTF-16BE octets into `utf16_parts` parts."""
    return [octets] if len(octets) <= 2 * room.single else _cut(utf16_cut, octets, room.part)


def cut_clusters(text: str, codes: list[bytes], room: Room) -> list[bytes]:
    """Cut a text whose characters are coded as `codes` have it, each a septet or an escape pair."""
    whole = b"".join(codes)
    if len(whole) <= room.single:
        return [whole]
    parts, start = [], 0
    while start < len(codes):
        hard = end = _hard_end(codes, start, room.part)
        while hard < len(codes) and start < end and hard - end < _LOOK_BACK and _joined(text, end):
            end -= 1
        if end == start or (hard - end == _LOOK_BACK and _joined(text, end)):
            end = hard
        parts.append(b"".join(codes[start:end]))
        start = end
    return parts


def _count(cut: Callable[[bytes, int, int], int], octets: bytes, part: int) -> int:
    count = position = 0
    while position < len(octets):
        position = cut(octets, position, part)
        count += 1
    return count


def _cut(cut: Callable[[bytes, int, int], int], octets: bytes, part: int) -> list[bytes]:
    parts, start = [], 0
    while start < len(octets):
        end = cut(octets, start, part)
        parts.append(octets[start:end])
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
