"""A PDU without what is personal or secret in it, and still a PDU: for captures that leave the process. Pure.

Bodies (short_message, message_payload) are overwritten at their length, addresses keep their length and lose every
character that could identify, passwords are emptied. A user data header keeps what joins parts and names ports. TLVs
are kept where the specification makes them numbers or ids of the carrier; all others, vendors' too, are overwritten.
What cannot be read as the PDU that it claims to be keeps its header alone, with its body overwritten.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from carrier.errors import PduError
from carrier.smpp.constants import HEADER_BYTES, RESPONSE_BIT, Tag
from carrier.smpp.fields import Malformed, decode_field, encode_field
from carrier.smpp.layouts import LAYOUTS, Layout
from carrier.smpp.messages import DistributionList, SmeAddress, UnsuccessSme
from carrier.smpp.pdu import HEADER
from carrier.smpp.tlv import TLV_FORMATS, TRAILING, Tlv, decode_tlvs, encode_tlvs

FILLER = b"x"
_UDHI = 0x40  # esm_class (SMPP 3.4 §5.2.12)
_KEPT_TLVS = frozenset({Tag.RECEIPTED_MESSAGE_ID, Tag.NETWORK_ERROR_CODE, Tag.USSD_SERVICE_OP})
_KEPT_ELEMENTS = frozenset({0x00, 0x04, 0x05, 0x08, 0x24, 0x25})  # parts, ports, languages (TS 23.040 §9.2.3.24)
_ADDRESSES = frozenset({"source_addr", "destination_addr", "esme_addr", "address_range"})


def redact(pdu: bytes) -> bytes:
    """Return one whole PDU without contents, addresses and passwords. Raises nothing."""
    if len(pdu) < HEADER_BYTES:
        return bytes(len(pdu))
    _, command_id, status, sequence = HEADER.unpack_from(pdu)
    body = _body(pdu, command_id)
    return HEADER.pack(HEADER_BYTES + len(body), command_id, status, sequence) + body


def _body(pdu: bytes, command_id: int) -> bytes:
    layout = LAYOUTS.get(command_id)
    if layout is not None:
        if command_id & RESPONSE_BIT and len(pdu) == HEADER_BYTES:
            return b""
        try:
            return _by_layout(pdu, layout)
        except (Malformed, PduError, ValueError, IndexError):
            pass  # it is not what it claims to be: nothing in it can be told apart
    return bytes(len(pdu) - HEADER_BYTES)


def _by_layout(pdu: bytes, layout: Layout) -> bytes:
    position, parts, esm_class = HEADER_BYTES, [], 0
    for field in layout.fields:
        value, following = decode_field(field, pdu, position)
        if field.name == "esm_class":
            esm_class = value
        hide = _HIDERS.get(field.name)
        if hide is not None:
            parts.append(encode_field(field, hide(value, esm_class)))
        elif following - position > max(field.size, 1):
            raise Malformed(f"{field.name} is longer than it can be")  # and could hold anything
        else:
            parts.append(pdu[position:following])
        position = following
    tlvs = [_tlv(tlv, esm_class) for tlv in decode_tlvs(pdu, position)]
    return b"".join((*parts, encode_tlvs(tlvs)))


def _tlv(tlv: Tlv, esm_class: int) -> Tlv:
    tag, value = tlv
    if tag == Tag.MESSAGE_PAYLOAD:
        return Tlv(tag, _text(value, esm_class))
    form = TLV_FORMATS.get(tag)
    known = tag in _KEPT_TLVS or (form is not None and form.kind == "int")
    if known and form is not None and form.smallest <= len(value) <= form.largest:
        return tlv
    return Tlv(tag, bytes(len(value)) if tag == TRAILING else FILLER * len(value))


def _address(value: bytes, _: int) -> bytes:
    """Keep what a number is written with, so that it can be seen how, and hide the rest."""
    return bytes(octet if octet in b"+-. ()" else FILLER[0] for octet in value)


def _nothing(_value: bytes, _: int) -> bytes:
    return b""


def _text(value: bytes, esm_class: int) -> bytes:
    header = _user_data_header(value) if esm_class & _UDHI else b""
    return header + FILLER * (len(value) - len(header))


def _user_data_header(text: bytes) -> bytes:
    """Return the header with its elements' contents emptied but for those that hold no content; none that is unsound
    is kept, since a text could stand in it."""
    size = 1 + text[0] if text else 0
    if not text or size > len(text):
        return b"\0" if text else b""
    kept, position = bytearray(text[:1]), 1
    while position + 2 <= size and position + 2 + text[position + 1] <= size:
        following = position + 2 + text[position + 1]
        known = text[position] in _KEPT_ELEMENTS and text[position + 1] <= 4
        kept += text[position:following] if known else text[position : position + 2] + bytes(following - position - 2)
        position = following
    return bytes(kept) + bytes(size - len(kept))


def _destinations(value: tuple[Any, ...], _: int) -> tuple[Any, ...]:
    return tuple(
        DistributionList(FILLER * len(each.dl_name))
        if isinstance(each, DistributionList)
        else SmeAddress(each.dest_addr_ton, each.dest_addr_npi, _address(each.destination_addr, 0))
        for each in value
    )


def _unsuccessful(value: tuple[UnsuccessSme, ...], _: int) -> tuple[UnsuccessSme, ...]:
    return tuple(each._replace(destination_addr=_address(each.destination_addr, 0)) for each in value)


_HIDERS: dict[str, Callable[[Any, int], Any]] = dict.fromkeys(_ADDRESSES, _address) | {
    "password": _nothing,
    "short_message": _text,
    "dest_addresses": _destinations,
    "unsuccess_smes": _unsuccessful,
}
