"""How a text is coded, and what that takes: the words that accepting and sending share.

Which coding a text gets, and how many segments, is decided by `carrier.text.writing`; the way back, from octets to
text, is `carrier.text.decoding`.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass

from carrier.errors import TextError
from carrier.text.cutting import OCTETS_SINGLE


class Encoding(enum.IntEnum):
    """How a content is put into octets; the values are those of smsgw.v1.Encoding."""

    GSM7 = 1
    UCS2 = 2
    BINARY = 3
    LATIN1 = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
    """What a content takes. `units` are septets, UTF-16 code units or octets; `capacity` is how many of them fit into
    as many segments."""

    encoding: Encoding
    segments: int
    units: int
    capacity: int
    non_gsm: tuple[str, ...]  # what forces another encoding than GSM7: each character once, at most 20
    sent_text: str | None = None  # what is sent in place of the text, where that is transliterated


def encode_utf16(text: str) -> bytes:
    """Return UTF-16BE without a byte order mark. Raises TextError for a lone surrogate, which is no character."""
    try:
        return text.encode("utf-16-be")
    except UnicodeEncodeError as error:
        raise TextError(f"character {error.start} of the text is half of a surrogate pair") from None


def binary_segments(octets: int, part: int) -> int:
    """Return how many segments octets without a header of the caller's take, `part` in each of many."""
    return 1 if octets <= OCTETS_SINGLE else -(-octets // part)
