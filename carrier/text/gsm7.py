"""The GSM 7 bit default alphabet and its extension table (3GPP TS 23.038 §6.2.1), at the speed of the C codecs.

Owns the alphabet, in its unpacked form (one septet in each octet, as SMPP carries it) and its packed form (§6.1.2.1).
Knows nothing of SMPP, segments or user data headers.

How encoding is quick: a text is first put into *marked* octets, one for each character. Characters of the main table
are their septet; those of the extension table are their septet with the top bit set. `isascii` then tells at C speed
whether there is anything to expand, and only such texts take a second pass.
"""

from __future__ import annotations

import codecs
import re

from carrier.errors import TextError

ESCAPE = 0x1B
_UNDEFINED = "\ufffe"  # what codecs.charmap_build takes for "no character here"
_FOREIGN = 0xFF  # a marked octet that stands for a character outside the alphabet

ALPHABET = (
    "@£$¥èéùìòÇ\nØø\rÅåΔ_ΦΓΛΩΠΨΣΘΞ\x1bÆæßÉ !\"#¤%&'()*+,-./0123456789:;<=>?"
    "¡ABCDEFGHIJKLMNOPQRSTUVWXYZÄÖÑÜ§¿abcdefghijklmnopqrstuvwxyzäöñüà"
)
EXTENSION = {
    "\f": 0x0A, "^": 0x14, "{": 0x28, "}": 0x29, "\\": 0x2F, "[": 0x3C, "~": 0x3D, "]": 0x3E, "|": 0x40, "€": 0x65,
}  # fmt: skip

_MARKS = {char: septet for septet, char in enumerate(ALPHABET) if septet != ESCAPE} | {
    char: 0x80 | septet for char, septet in EXTENSION.items()
}
GSM_CHARACTERS = frozenset(_MARKS)

# Latin-1 octets to marks: the way of nearly every text.
_LATIN1_TO_MARKS = bytes(_MARKS.get(chr(octet), _FOREIGN) for octet in range(256))

# Everything else of the alphabet (Greek capitals, the euro sign) goes through an EncodingMap. CPython builds its quick
# form only when NUL stands at 0, which is the place of "@": that one lives at _AT, and a translation sets both right.
_AT = 0xFE
_CHARS_BY_CODE = {mark: char for char, mark in _MARKS.items() if mark} | {0: "\0", _AT: "@"}
_ENCODING_MAP = codecs.charmap_build("".join(_CHARS_BY_CODE.get(code, _UNDEFINED) for code in range(256)))
_CODES_TO_MARKS = bytes({0: _FOREIGN, _AT: 0}.get(code, code) for code in range(256))

_EXPANSIONS = tuple((bytes((0x80 | septet,)), bytes((ESCAPE, septet))) for septet in EXTENSION.values())

# Decoding: octets with the top bit set are not septets and are read as Latin-1, which is what carriers that send them
# under this alphabet mostly mean.
DECODE_TABLE = ALPHABET + bytes(range(0x80, 0x100)).decode("latin-1")
_ESCAPE_PAIR = re.compile("\x1b(.?)", re.DOTALL)
_EXTENSION_BY_CHAR = {ALPHABET[septet]: char for char, septet in EXTENSION.items()} | {"\x1b": " "}


def mark(text: str) -> bytes | None:
    """Return one octet for each character: its septet, with 0x80 added for an extension character; None when `text`
    has a character outside the alphabet."""
    try:
        marks = text.encode("latin-1").translate(_LATIN1_TO_MARKS)
    except UnicodeEncodeError:
        try:
            marks = codecs.charmap_encode(text, "strict", _ENCODING_MAP)[0].translate(_CODES_TO_MARKS)
        except UnicodeEncodeError:
            return None
    return marks if marks.isascii() or _FOREIGN not in marks else None


def expand(marks: bytes) -> bytes:
    """Return the septets, one in each octet, of what `mark` made: extension characters become two."""
    if marks.isascii():
        return marks
    for marked, pair in _EXPANSIONS:
        marks = marks.replace(marked, pair)
    return marks


def encode(text: str) -> bytes:
    """Return the septets of `text`, one in each octet. Raises TextError for characters outside the alphabet."""
    marks = mark(text)
    if marks is None:
        raise TextError(f"the text has characters outside the GSM alphabet: {' '.join(non_gsm_characters(text))}")
    return expand(marks)


def decode(octets: bytes) -> str:
    """Return the text of unpacked septets. Never fails.

    An escape before a septet that the extension table does not have gives the main table's character, two escapes give
    a space (TS 23.038 §6.2.1.1), and one at the end gives nothing. Octets above 0x7F are read as Latin-1.
    """
    text = codecs.charmap_decode(octets, "strict", DECODE_TABLE)[0]
    return _ESCAPE_PAIR.sub(_unescape, text) if ESCAPE in octets else text


def _unescape(pair: re.Match[str]) -> str:
    char = pair[1]
    return _EXTENSION_BY_CHAR.get(char, char)


def non_gsm_characters(text: str, limit: int = 20) -> tuple[str, ...]:
    """Return the characters of `text` that the alphabet lacks: each once, in order of appearance, at most `limit`."""
    return tuple([char for char in dict.fromkeys(text) if char not in GSM_CHARACTERS][:limit])


_SEPTET_MASKS = tuple((0x7F << shift).to_bytes(8, "little") for shift in range(0, 64, 8))


def pack(septets: bytes, fill_bits: int = 0) -> bytes:
    """Pack septets into octets (TS 23.038 §6.1.2.1.1), after `fill_bits` (0 to 6) zero bits (TS 23.040 §9.2.3.24)."""
    groups = -(-len(septets) // 8)
    spread, bits = int.from_bytes(septets, "little"), 0
    for place in range(8):  # the same septet of all groups at once: they can be many
        bits |= (spread & int.from_bytes(_SEPTET_MASKS[place] * groups, "little")) >> place
    apart = bits.to_bytes(8 * groups, "little")
    packed = b"".join([apart[at : at + 7] for at in range(0, 8 * groups, 8)])
    octets = (7 * len(septets) + fill_bits + 7) // 8
    return (int.from_bytes(packed, "little") << fill_bits).to_bytes(octets, "little")


_MASKS = tuple((0x7F << shift).to_bytes(8, "little") for shift in range(0, 56, 7))  # of 56 bits in 64


def unpack(octets: bytes, count: int, fill_bits: int = 0) -> bytes:
    """Return the first `count` septets packed into `octets`. Raises TextError when there are not so many."""
    if count < 0 or 7 * count + fill_bits > 8 * len(octets):
        raise TextError(f"{len(octets)} octets do not hold {count} septets")
    groups = -(-count // 8)
    aligned = (int.from_bytes(octets, "little") >> fill_bits).to_bytes(len(octets), "little")
    spread = b"".join([aligned[at : at + 7].ljust(8, b"\0") for at in range(0, 7 * groups, 7)])
    bits, septets = int.from_bytes(spread, "little"), 0
    for place, mask in enumerate(_MASKS):  # the same septet of all groups at once: octets can be many
        septets |= (bits & int.from_bytes(mask * groups, "little")) << place
    return septets.to_bytes(8 * groups, "little")[:count]
