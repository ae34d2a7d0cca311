"""Cuts messages into the short_message octets of one or more submit_sm.

Many parts carry a user data header with an 8-bit concatenation reference (3GPP TS 23.040 §9.2.3.24.1), announced by
the UDHI bit of esm_class (SMPP 3.4 §5.2.12). Knows nothing of addresses or PDUs.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from carrier.errors import TextError
from carrier.text import gsm7
from carrier.text.coding import encode_utf16
from carrier.text.cutting import GSM_SINGLE, OCTETS_PART, OCTETS_SINGLE, cut_gsm, cut_utf16

DATA_CODING_DEFAULT = 0  # the SMSC default alphabet: GSM 7 bit, unpacked (SMPP 3.4 §5.2.19)
DATA_CODING_UCS2 = 8
ESM_CLASS_UDHI = 0x40
MAX_PARTS = 255  # what the concatenation header can count


class Segmented(NamedTuple):
    """A message as it goes into submit_sm (hot: a tuple): `parts` are short_message octets, with their headers."""

    data_coding: int
    esm_class: int
    parts: tuple[bytes, ...]


def segment_text(text: str, *, reference: int) -> Segmented:
    """Return `text` in as many parts as `carrier.text.coding.count_segments` says.

    `reference` (0 to 255) is the same in all parts of a message and should differ between messages to one handset.
    Raises TextError for a lone surrogate, more than 255 parts, or a reference out of range.
    """
    marks = gsm7.mark(text)
    if marks is None:
        return _segmented(DATA_CODING_UCS2, cut_utf16(encode_utf16(text)), reference)
    septets = gsm7.expand(marks)
    if len(septets) <= GSM_SINGLE:
        return Segmented(DATA_CODING_DEFAULT, 0, (septets,))
    return _segmented(DATA_CODING_DEFAULT, cut_gsm(septets), reference)


def segment_binary(data: bytes, data_coding: int, udh: bytes, reference: int) -> Segmented:
    """Return octets in parts: 140 octets in one, 134 in each of many.

    `udh` is a whole user data header with its length octet, or empty. One that is given makes the message one segment.
    Raises TextError when header and data are longer than 140 octets together, the header's length octet is wrong, there
    are more than 255 parts, or `data_coding` or `reference` is not 0 to 255.
    """
    if not 0 <= data_coding <= 255:
        raise TextError(f"data_coding {data_coding}: it is one octet, 0 to 255")
    if udh:
        if udh[0] != len(udh) - 1:
            raise TextError(f"the user data header says {udh[0]} octets and has {len(udh) - 1} after its length octet")
        if len(udh) + len(data) > OCTETS_SINGLE:
            raise TextError(
                f"header and data are {len(udh) + len(data)} octets; with a header they have to fit one segment "
                f"of {OCTETS_SINGLE}"
            )
        return Segmented(data_coding, ESM_CLASS_UDHI, (udh + data,))
    if len(data) <= OCTETS_SINGLE:
        return Segmented(data_coding, 0, (data,))
    return _segmented(data_coding, [data[at : at + OCTETS_PART] for at in range(0, len(data), OCTETS_PART)], reference)


def _segmented(data_coding: int, parts: Sequence[bytes], reference: int) -> Segmented:
    total = len(parts)
    if total == 1:
        return Segmented(data_coding, 0, tuple(parts))
    if total > MAX_PARTS:
        raise TextError(f"the message takes {total} segments; a long message has at most {MAX_PARTS}")
    if not 0 <= reference <= 255:
        raise TextError(f"concatenation reference {reference}: it is one octet, 0 to 255")
    head = bytes((5, 0, 3, reference, total))
    return Segmented(
        data_coding,
        ESM_CLASS_UDHI,
        tuple([head + bytes((number,)) + part for number, part in enumerate(parts, 1)]),
    )
