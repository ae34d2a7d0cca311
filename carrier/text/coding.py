"""Which encoding a text takes, and how many segments: asked of every message when it is accepted.

GSM 7 bit when every character is in its alphabet, else UTF-16BE ("UCS2": surrogate pairs allowed, no byte order mark).
Segments are counted by the rule that `carrier.text.segment` cuts by (`carrier.text.cutting`), so that the two cannot
disagree. The way back, from octets to text, is `carrier.text.decoding`.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass

from carrier.errors import TextError
from carrier.text import gsm7
from carrier.text.cutting import (
    GSM_PART,
    GSM_SINGLE,
    OCTETS_PART,
    OCTETS_SINGLE,
    UTF16_PART,
    UTF16_SINGLE,
    gsm_parts,
    utf16_parts,
)


class Encoding(enum.IntEnum):
    """How a content is put into octets; the values are those of smsgw.v1.Encoding."""

    GSM7 = 1
    UCS2 = 2
    BINARY = 3


# (the units that fit when there is one segment, the units in each of many)
CAPACITY = {
    Encoding.GSM7: (GSM_SINGLE, GSM_PART),
    Encoding.UCS2: (UTF16_SINGLE, UTF16_PART),
    Encoding.BINARY: (OCTETS_SINGLE, OCTETS_PART),
}

_GSM_ONE = (Encoding.GSM7, 1)
_UCS2_ONE = (Encoding.UCS2, 1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
    """What a text takes. `units` are septets or UTF-16 code units; `capacity` is how many fit into as many segments."""

    encoding: Encoding
    segments: int
    units: int
    capacity: int
    non_gsm: tuple[str, ...]  # what forces UCS2: each character once, at most 20


def encode_utf16(text: str) -> bytes:
    """Return UTF-16BE without a byte order mark. Raises TextError for a lone surrogate, which is no character."""
    try:
        return text.encode("utf-16-be")
    except UnicodeEncodeError as error:
        raise TextError(f"character {error.start} of the text is half of a surrogate pair") from None


def count_segments(text: str) -> tuple[Encoding, int]:
    """Return the encoding of `text` and how many segments it takes (hot). Raises TextError for a lone surrogate."""
    marks = gsm7.mark(text)
    if marks is None:
        octets = encode_utf16(text)
        return _UCS2_ONE if len(octets) <= 2 * UTF16_SINGLE else (Encoding.UCS2, utf16_parts(octets))
    if len(marks) <= GSM_SINGLE // 2:  # fits even if every character is escaped
        return _GSM_ONE
    if marks.isascii():
        return _GSM_ONE if len(marks) <= GSM_SINGLE else (Encoding.GSM7, -(-len(marks) // GSM_PART))
    return (Encoding.GSM7, gsm_parts(gsm7.expand(marks)))


def estimate(text: str) -> Estimate:
    """Return what `text` takes. Raises TextError for a lone surrogate."""
    encoding, segments = count_segments(text)
    marks = gsm7.mark(text)
    units = len(encode_utf16(text)) // 2 if marks is None else len(gsm7.expand(marks))
    single, part = CAPACITY[encoding]
    return Estimate(
        encoding=encoding,
        segments=segments,
        units=units,
        capacity=single if segments == 1 else part * segments,
        non_gsm=gsm7.non_gsm_characters(text) if marks is None else (),
    )


def estimate_binary(data: bytes, user_data_header: bytes = b"") -> Estimate:
    """Return what octets take. A user data header counts, and makes them one segment."""
    units = len(data) + len(user_data_header)
    segments = 1 if user_data_header or units <= OCTETS_SINGLE else -(-units // OCTETS_PART)
    return Estimate(
        encoding=Encoding.BINARY,
        segments=segments,
        units=units,
        capacity=OCTETS_SINGLE if segments == 1 else OCTETS_PART * segments,
        non_gsm=(),
    )
