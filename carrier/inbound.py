"""Messages from handsets: one deliver_sm or data_sm to an `InboundPart`, and parts to a text or octets.

Owns user data headers (3GPP TS 23.040 §9.2.3.24), concatenation by header or by SAR TLVs (SMPP 3.4 §5.3.2.22), and the
compact form in which a part is kept until its message is complete. Reading a PDU never fails: a malformed header makes
a single part of odd octets. Knows nothing of stores, tenants or keys.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import NamedTuple

from carrier.errors import TextError
from carrier.smpp.constants import Tag
from carrier.smpp.pdu import DataSm, DeliverSm, printable
from carrier.smpp.tlv import Tlv, read_int
from carrier.text.decoding import Charset, charset, decode_text
from carrier.text.forms import DATA_CODING_DEFAULT, DATA_CODING_LATIN1
from carrier.text.gsm7 import unpack
from carrier.text.national import languages_of
from carrier.text.profile import DefaultAlphabet

ESM_CLASS_UDHI = 0x40
_IEI_CONCAT_8, _IEI_CONCAT_16 = 0x00, 0x08
_TON_INTERNATIONAL = 1
_MAX_ADDRESS = 64  # characters, the largest address of SMPP 3.4
_MAX_OCTETS = 0xFFFF
_MAX_PACKED = 8192  # octets that are unpacked, 58 segments: what is longer is no SMS, and would hold the event loop

_MESSAGE_PAYLOAD = int(Tag.MESSAGE_PAYLOAD)
_SAR_REFERENCE = int(Tag.SAR_MSG_REF_NUM)
_SAR_TOTAL = int(Tag.SAR_TOTAL_SEGMENTS)
_SAR_NUMBER = int(Tag.SAR_SEGMENT_SEQNUM)

_FORM = 1  # the version of a packed part
_HEAD = struct.Struct(">BBIBBBBBBH")  # form, has reference, reference, part, total, data_coding, three lengths, octets


class InboundPart(NamedTuple):
    """One part of a message from a handset, or all of it."""

    sender: str  # the handset: "+" and digits where the carrier says international, else as written, escaped
    recipient: str  # the number it was sent to, in the same form
    reference: int | None  # of the concatenation; None for a single part
    part: int  # 1 to `total`
    total: int  # 1 to 255
    data_coding: int
    octets: bytes  # user data without its header
    udh: bytes  # the header with its length octet; empty for none


class InboundBinary(NamedTuple):
    """A whole message that is no text."""

    data: bytes
    data_coding: int
    udh: bytes  # without the concatenation; empty for none


class _Concatenation(NamedTuple):
    reference: int
    part: int
    total: int


def parse_inbound(pdu: DeliverSm | DataSm, alphabet: DefaultAlphabet = DefaultAlphabet.GSM7) -> InboundPart:
    """Return the part that `pdu` carries. Never fails.

    `alphabet` is what the carrier means by data_coding 0. What it writes in another than gsm7 is brought into a form
    that says by itself how it is read: septets unpacked, or data_coding 3.
    """
    octets, udh = user_data(pdu), b""
    if pdu.esm_class & ESM_CLASS_UDHI:
        udh, octets = split_user_data(octets)
    found = _concatenation_of_udh(udh) if udh else None
    if found is None and pdu.tlvs:
        found = _concatenation_of_sar(pdu.tlvs)
    data_coding = pdu.data_coding
    if alphabet is not DefaultAlphabet.GSM7:
        octets, data_coding = _plainly_coded(octets, data_coding, alphabet, len(udh))
    return InboundPart(
        _address(pdu.source_addr_ton, pdu.source_addr),
        _address(pdu.dest_addr_ton, pdu.destination_addr),
        found.reference if found else None,
        found.part if found else 1,
        found.total if found else 1,
        data_coding,
        octets,
        udh,
    )


def _plainly_coded(octets: bytes, data_coding: int, alphabet: DefaultAlphabet, header: int) -> tuple[bytes, int]:
    """Return octets and data_coding that are read without knowing the carrier; `header`: octets that stood before."""
    if alphabet is DefaultAlphabet.GSM7_PACKED:
        return (_unpacked(octets, header) if charset(data_coding) is Charset.GSM7 else octets), data_coding
    return octets, DATA_CODING_LATIN1 if data_coding == DATA_CODING_DEFAULT else data_coding


def _unpacked(octets: bytes, header: int) -> bytes:
    """Septets from the septet boundary behind a header on (TS 23.040 §9.2.3.24).

    The octets do not say how many septets they are: when seven bits are left they may be one more, or filling. A last
    "@" (zero bits) or carriage return there is taken for filling.
    """
    fill = -8 * header % 7
    if not 0 < len(octets) <= _MAX_PACKED:
        return octets
    count = (8 * len(octets) - fill) // 7
    septets = unpack(octets, count, fill)
    full = fill + 7 * count == 8 * len(octets)
    return septets[:-1] if full and septets[-1:] in (b"\0", b"\r") else septets


def user_data(pdu: DeliverSm | DataSm) -> bytes:
    """Return the octets of short_message, or of message_payload when that is empty (SMPP 3.4 §5.3.2.32)."""
    if isinstance(pdu, DeliverSm) and pdu.short_message:
        return pdu.short_message
    for tag, value in pdu.tlvs:
        if tag == _MESSAGE_PAYLOAD:
            return value[:_MAX_OCTETS]
    return b""


def split_user_data(octets: bytes) -> tuple[bytes, bytes]:
    """Return (user data header, the rest); no header when its length octet, or an element's, leads beyond its end."""
    if not octets or octets[0] >= len(octets) or not octets[0]:
        return b"", octets
    udh = octets[: octets[0] + 1]
    return (udh, octets[len(udh) :]) if _elements(udh) is not None else (b"", octets)


def assemble(parts: Sequence[InboundPart]) -> str | InboundBinary:
    """Return the message that `parts`, in any order, make: a text, or octets when a part's data_coding is no text's.

    Parts of one data_coding and the same national tables are joined before they are decoded, so that characters cut in
    two come back. Raises TextError for no parts at all.
    """
    if not parts:
        raise TextError("a message has at least one part")
    ordered = sorted(parts, key=lambda part: part.part)
    first = ordered[0]
    joined = b"".join(part.octets for part in ordered)
    languages = [_languages(part) for part in ordered]
    if all(part.data_coding == first.data_coding for part in ordered) and len(set(languages)) == 1:
        text = decode_text(joined, first.data_coding, languages[0])
    else:
        pieces = [
            decode_text(part.octets, part.data_coding, tables) for part, tables in zip(ordered, languages, strict=True)
        ]
        text = None if None in pieces else "".join(piece for piece in pieces if piece is not None)
    return text if text is not None else InboundBinary(joined, first.data_coding, _without_concatenation(first.udh))


def _languages(part: InboundPart) -> tuple[int, int]:
    return languages_of(_elements(part.udh) or ()) if part.udh else (0, 0)


def pack_part(part: InboundPart) -> bytes:
    """Return `part` as octets: equal parts give equal octets. Raises TextError for one that no PDU gives."""
    sender, recipient = part.sender.encode("utf-8", "replace"), part.recipient.encode("utf-8", "replace")
    try:
        head = _HEAD.pack(
            _FORM,
            part.reference is not None,
            part.reference or 0,
            part.part,
            part.total,
            part.data_coding,
            len(sender),
            len(recipient),
            len(part.udh),
            len(part.octets),
        )
    except struct.error:
        raise TextError("a field of an inbound part is out of bounds") from None
    return b"".join((head, sender, recipient, part.udh, part.octets))


def unpack_part(packed: bytes) -> InboundPart:
    """Return the part that `pack_part` wrote. Raises TextError for other octets."""
    if len(packed) < _HEAD.size or packed[0] != _FORM:
        raise TextError("a stored inbound part is cut off, or of an unknown form")
    _, referenced, reference, part, total, data_coding, *lengths = _HEAD.unpack_from(packed)
    if _HEAD.size + sum(lengths) != len(packed) or not 1 <= part <= total:
        raise TextError("the lengths of a stored inbound part do not fit it")
    pieces, position = [], _HEAD.size
    for length in lengths:
        pieces.append(packed[position : position + length])
        position += length
    try:
        sender, recipient = pieces[0].decode(), pieces[1].decode()
    except UnicodeDecodeError:
        raise TextError("an address of a stored inbound part is no text") from None
    return InboundPart(
        sender, recipient, reference if referenced else None, part, total, data_coding, pieces[3], pieces[2]
    )


def _address(ton: int, octets: bytes) -> str:
    digits = octets.removeprefix(b"+")
    if digits.isdigit():
        plus = ton == _TON_INTERNATIONAL or len(digits) != len(octets)
        return ("+" if plus else "") + digits[:_MAX_ADDRESS].decode("ascii")
    return printable(octets[:_MAX_ADDRESS])[:_MAX_ADDRESS]


def _elements(udh: bytes) -> list[tuple[int, bytes]] | None:
    """Return the information elements of a header, None when they do not fill it exactly."""
    found: list[tuple[int, bytes]] = []
    position, end = 1, len(udh)
    while position < end:
        if position + 2 > end or position + 2 + udh[position + 1] > end:
            return None
        following = position + 2 + udh[position + 1]
        found.append((udh[position], udh[position + 2 : following]))
        position = following
    return found


def _concatenation_of_udh(udh: bytes) -> _Concatenation | None:
    """The last valid element counts, as TS 23.040 §9.2.3.24 has it for elements that come twice."""
    result = None
    for iei, value in _elements(udh) or ():
        if (iei == _IEI_CONCAT_8 and len(value) == 3) or (iei == _IEI_CONCAT_16 and len(value) == 4):
            result = _concatenation(int.from_bytes(value[:-2], "big"), value[-1], value[-2]) or result
    return result


def _concatenation_of_sar(tlvs: Sequence[Tlv]) -> _Concatenation | None:
    reference, part, total = (read_int(tlvs, tag) for tag in (_SAR_REFERENCE, _SAR_NUMBER, _SAR_TOTAL))
    if reference is None or part is None or total is None:
        return None
    return _concatenation(reference, part, total)


def _concatenation(reference: int, part: int, total: int) -> _Concatenation | None:
    """A total of 0, or a part that is not among them, is to be ignored (TS 23.040 §9.2.3.24.1)."""
    return _Concatenation(reference, part, total) if 1 <= part <= total <= 255 and total > 1 else None


def _without_concatenation(udh: bytes) -> bytes:
    kept = b"".join(
        bytes((iei, len(value))) + value
        for iei, value in _elements(udh) or ()
        if iei not in (_IEI_CONCAT_8, _IEI_CONCAT_16)
    )
    return bytes((len(kept),)) + kept if kept else b""
