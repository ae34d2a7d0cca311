"""Puts the parts of a message into the short_message octets, or TLVs, of one or more submit_sm.

Many parts carry a user data header with an 8-bit or 16-bit concatenation reference (3GPP TS 23.040 §9.2.3.24.1 and 8),
announced by the UDHI bit of esm_class (SMPP 3.4 §5.2.12); or TLVs that say the same (§5.3.2.22), never both; or one PDU
carries all in message_payload. Knows nothing of addresses.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import NamedTuple

from carrier.errors import TextError
from carrier.smpp.constants import Tag
from carrier.smpp.tlv import Tlv, encode_tlvs
from carrier.text.cutting import OCTETS_SINGLE, USER_DATA, Room, cut_octets
from carrier.text.forms import Coded
from carrier.text.national import IEI_SINGLE_SHIFT
from carrier.text.profile import Segmentation

ESM_CLASS_UDHI = 0x40
MAX_PARTS = 255  # what the concatenation header can count
MAX_REFERENCE = 0xFFFF

# Octets of the header in each of many parts. Where the carrier makes it, from TLVs or by itself, it has the same room:
# references are one octet there too.
PART_HEADER = {
    Segmentation.UDH8: 6,
    Segmentation.UDH16: 7,
    Segmentation.SAR: 6,
    Segmentation.MESSAGE_PAYLOAD: 6,
}
# Looked up once: a member of an Enum by its name costs.
_WIDE, _BY_TLVS, _PAYLOAD = Segmentation.UDH16, Segmentation.SAR, Segmentation.MESSAGE_PAYLOAD
_NUMBERS = [bytes((number,)) for number in range(MAX_PARTS + 1)]
_SAR = struct.Struct(">HHH HHB HHB")
_SAR_REFERENCE, _SAR_TOTAL, _SAR_NUMBER = Tag.SAR_MSG_REF_NUM, Tag.SAR_TOTAL_SEGMENTS, Tag.SAR_SEGMENT_SEQNUM


class Segmented(NamedTuple):
    """A message as it goes into submit_sm (hot: a tuple): `parts` are short_message octets, with their headers."""

    data_coding: int
    esm_class: int
    parts: tuple[bytes, ...]
    tlvs: tuple[bytes, ...] = ()  # encoded, of each part; empty when there are none


def segment(coded: Coded, how: Segmentation, reference: int) -> Segmented:
    """Return the parts of a coded text.

    `reference` (0 to 65,535) is the same in all parts of a message and should differ between messages to one handset;
    one octet of it is used where there is no more room. Raises TextError for more than 255 parts.
    """
    form = coded.form
    if coded.segments == 1:
        head = bytes((3, IEI_SINGLE_SHIFT, 1, form.language)) if form.language else b""
        return Segmented(form.data_coding, ESM_CLASS_UDHI if head else 0, (head + form.octets(coded.units, len(head)),))
    _check(coded.segments, reference)
    if how is _PAYLOAD:
        return _payload(form.data_coding, form.octets(coded.units, 0))
    if how is _BY_TLVS:
        return _with_sar(form.data_coding, [form.octets(part, 0) for part in coded.cut()], reference)
    heads = _headers(coded.segments, how, reference, form.language)
    written, header = form.octets, len(heads[0])
    parts = [head + written(part, header) for head, part in zip(heads, coded.cut(), strict=True)]
    return Segmented(form.data_coding, ESM_CLASS_UDHI, tuple(parts))


def segment_octets(data: bytes, data_coding: int, udh: bytes, how: Segmentation, reference: int) -> Segmented:
    """Return octets in parts: 140 octets in one, in each of many what a header leaves of them.

    `udh` is a whole user data header with its length octet, or empty. One that is given makes the message one segment.
    Raises TextError when header and data are longer than 140 octets together, the header's length octet is wrong, there
    are more than 255 parts, or `data_coding` is not 0 to 255.
    """
    if not 0 <= data_coding <= 255:
        raise TextError(f"data_coding {data_coding}: it is one octet, 0 to 255")
    if udh:
        return _with_own_header(data, data_coding, udh)
    parts = cut_octets(data, Room(OCTETS_SINGLE, USER_DATA - PART_HEADER[how]))
    if len(parts) == 1:
        return Segmented(data_coding, 0, (data,))
    _check(len(parts), reference)
    if how is _PAYLOAD:
        return _payload(data_coding, data)
    if how is _BY_TLVS:
        return _with_sar(data_coding, parts, reference)
    heads = _headers(len(parts), how, reference, 0)
    return Segmented(data_coding, ESM_CLASS_UDHI, tuple([head + part for head, part in zip(heads, parts, strict=True)]))


def _with_own_header(data: bytes, data_coding: int, udh: bytes) -> Segmented:
    if udh[0] != len(udh) - 1:
        raise TextError(f"the user data header says {udh[0]} octets and has {len(udh) - 1} after its length octet")
    if len(udh) + len(data) > OCTETS_SINGLE:
        raise TextError(
            f"header and data are {len(udh) + len(data)} octets; with a header they have to fit one segment "
            f"of {OCTETS_SINGLE}"
        )
    return Segmented(data_coding, ESM_CLASS_UDHI, (udh + data,))


def _check(total: int, reference: int) -> None:
    if total > MAX_PARTS:
        raise TextError(f"the message takes {total} segments; a long message has at most {MAX_PARTS}")
    if not 0 <= reference <= MAX_REFERENCE:
        raise TextError(f"concatenation reference {reference}: it is 0 to {MAX_REFERENCE}")


def _headers(total: int, how: Segmentation, reference: int, language: int) -> list[bytes]:
    if how is _WIDE:
        head = bytes((8, 4, reference >> 8, reference & 0xFF, total))
    else:
        head = bytes((0, 3, reference & 0xFF, total))
    tail = bytes((IEI_SINGLE_SHIFT, 1, language)) if language else b""
    head = bytes((len(head) + 1 + len(tail),)) + head
    return [head + number + tail for number in _NUMBERS[1 : total + 1]]


def _with_sar(data_coding: int, parts: Sequence[bytes], reference: int) -> Segmented:
    total, low = len(parts), reference & 0xFF
    tlvs = [
        _SAR.pack(_SAR_REFERENCE, 2, low, _SAR_TOTAL, 1, total, _SAR_NUMBER, 1, number)
        for number in range(1, total + 1)
    ]
    return Segmented(data_coding, 0, tuple(parts), tuple(tlvs))


def _payload(data_coding: int, octets: bytes) -> Segmented:
    return Segmented(data_coding, 0, (b"",), (encode_tlvs([Tlv(Tag.MESSAGE_PAYLOAD, octets)]),))
