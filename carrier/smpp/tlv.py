"""Tag-length-value parameters (SMPP 3.4 §3.2.4, §5.3.2): kept raw as they came, read and made by type.

Carriers send TLVs that are unknown, misplaced, of the wrong length, or cut off. None of this may cost the PDU or the
session: decoding keeps every octet, the readers return None for a value that has not the form the specification gives
it, and what cannot be split into whole TLVs is kept under the tag `TRAILING`.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import NamedTuple

from carrier.errors import PduError
from carrier.smpp.constants import Tag

TRAILING = -1  # octets after the last whole TLV, kept and encoded again as they came
_HEAD = struct.Struct(">HH")
_MAX_VALUE = 0xFFFF
_tuple = tuple.__new__  # makes a Tlv in a third of the time that its class takes: each receipt brings several


class Tlv(NamedTuple):
    """One parameter (hot: a tuple): `tag` 0 to 0xFFFF or `TRAILING`; `value` is the octets on the wire."""

    tag: int
    value: bytes

    def __repr__(self) -> str:
        """Name tag and length only: the value can be a message's text."""
        return f"Tlv(tag=0x{self.tag:04X}, <{len(self.value)} octets>)" if self.tag >= 0 else "Tlv(trailing octets)"


class TlvFormat(NamedTuple):
    """The form of a known TLV: `kind` "int", "cstring" (NUL-terminated) or "octets"; sizes in octets, NUL included."""

    kind: str
    smallest: int
    largest: int


def _formats() -> dict[int, TlvFormat]:
    one, two = TlvFormat("int", 1, 1), TlvFormat("int", 2, 2)
    table = dict.fromkeys(
        (
            Tag.DEST_ADDR_SUBUNIT, Tag.DEST_NETWORK_TYPE, Tag.DEST_BEARER_TYPE, Tag.SOURCE_ADDR_SUBUNIT,
            Tag.SOURCE_NETWORK_TYPE, Tag.SOURCE_BEARER_TYPE, Tag.SOURCE_TELEMATICS_ID, Tag.PAYLOAD_TYPE,
            Tag.MS_MSG_WAIT_FACILITIES, Tag.PRIVACY_INDICATOR, Tag.USER_RESPONSE_CODE, Tag.LANGUAGE_INDICATOR,
            Tag.SAR_TOTAL_SEGMENTS, Tag.SAR_SEGMENT_SEQNUM, Tag.SC_INTERFACE_VERSION, Tag.CALLBACK_NUM_PRES_IND,
            Tag.NUMBER_OF_MESSAGES, Tag.DPF_RESULT, Tag.SET_DPF, Tag.MS_AVAILABILITY_STATUS,
            Tag.DELIVERY_FAILURE_REASON, Tag.MORE_MESSAGES_TO_SEND, Tag.MESSAGE_STATE, Tag.CONGESTION_STATE,
            Tag.DISPLAY_TIME, Tag.MS_VALIDITY, Tag.ITS_REPLY_TYPE, Tag.BROADCAST_CHANNEL_INDICATOR,
            Tag.BROADCAST_MESSAGE_CLASS, Tag.BROADCAST_AREA_SUCCESS, Tag.DEST_ADDR_NP_RESOLUTION,
        ),
        one,
    )  # fmt: skip
    table |= dict.fromkeys(
        (
            Tag.DEST_TELEMATICS_ID, Tag.USER_MESSAGE_REFERENCE, Tag.SOURCE_PORT, Tag.DESTINATION_PORT,
            Tag.SAR_MSG_REF_NUM, Tag.SMS_SIGNAL, Tag.ITS_SESSION_INFO, Tag.BROADCAST_REP_NUM,
        ),
        two,
    )  # fmt: skip
    return {int(tag): form for tag, form in table.items()} | {
        Tag.QOS_TIME_TO_LIVE: TlvFormat("int", 4, 4),
        Tag.ADDITIONAL_STATUS_INFO_TEXT: TlvFormat("cstring", 1, 256),
        Tag.RECEIPTED_MESSAGE_ID: TlvFormat("cstring", 1, 65),
        Tag.SOURCE_SUBADDRESS: TlvFormat("octets", 2, 23),
        Tag.DEST_SUBADDRESS: TlvFormat("octets", 2, 23),
        Tag.CALLBACK_NUM_ATAG: TlvFormat("octets", 0, 65),
        Tag.CALLBACK_NUM: TlvFormat("octets", 4, 19),
        Tag.NETWORK_ERROR_CODE: TlvFormat("octets", 3, 3),
        Tag.MESSAGE_PAYLOAD: TlvFormat("octets", 0, _MAX_VALUE),
        Tag.USSD_SERVICE_OP: TlvFormat("octets", 1, 1),
        Tag.BILLING_IDENTIFICATION: TlvFormat("octets", 1, 1024),
        Tag.ALERT_ON_MESSAGE_DELIVERY: TlvFormat("octets", 0, 1),  # one octet from SMPP 5.0 on
        Tag.BROADCAST_CONTENT_TYPE: TlvFormat("octets", 3, 3),
        Tag.BROADCAST_CONTENT_TYPE_INFO: TlvFormat("octets", 1, 255),
        Tag.BROADCAST_FREQUENCY_INTERVAL: TlvFormat("octets", 3, 3),
        Tag.BROADCAST_AREA_IDENTIFIER: TlvFormat("octets", 1, _MAX_VALUE),
        Tag.BROADCAST_ERROR_STATUS: TlvFormat("int", 4, 4),
        Tag.BROADCAST_END_TIME: TlvFormat("cstring", 1, 17),
        Tag.BROADCAST_SERVICE_GROUP: TlvFormat("octets", 1, 255),
        Tag.SOURCE_NETWORK_ID: TlvFormat("cstring", 7, 66),
        Tag.DEST_NETWORK_ID: TlvFormat("cstring", 7, 66),
        Tag.SOURCE_NODE_ID: TlvFormat("octets", 6, 6),
        Tag.DEST_NODE_ID: TlvFormat("octets", 6, 6),
        Tag.DEST_ADDR_NP_INFORMATION: TlvFormat("octets", 10, 10),
        Tag.DEST_ADDR_NP_COUNTRY: TlvFormat("octets", 1, 5),
    }


TLV_FORMATS: Mapping[int, TlvFormat] = MappingProxyType(_formats())  # SMPP 3.4 §5.3.2, 5.0 §4.8.4


def decode_tlvs(frame: bytes, position: int) -> tuple[Tlv, ...]:
    """Split `frame` from `position` to its end into TLVs. Never fails: a rest that is no whole TLV is `TRAILING`."""
    end = len(frame)
    found: list[Tlv] = []
    while position + 4 <= end:
        tag, length = _HEAD.unpack_from(frame, position)
        if position + 4 + length > end:
            break
        value_at = position + 4
        position = value_at + length
        found.append(_tuple(Tlv, (tag, frame[value_at:position])))
    if position < end:
        found.append(Tlv(TRAILING, frame[position:]))
    return tuple(found)


def encode_tlvs(tlvs: Iterable[Tlv]) -> bytes:
    """Return the octets of `tlvs`, in their order. Raises PduError for a tag or a value outside the wire's bounds."""
    octets = bytearray()
    for tag, value in tlvs:
        if tag != TRAILING:
            if not 0 <= tag <= 0xFFFF:
                raise PduError(f"TLV tag {tag}: a tag is 0 to 65535 (SMPP 3.4 §5.3.1)")
            if len(value) > _MAX_VALUE:
                raise PduError(f"TLV 0x{tag:04X}: {len(value)} octets, at most {_MAX_VALUE} (SMPP 3.4 §5.3.1)")
            octets += _HEAD.pack(tag, len(value))
        octets += value
    return bytes(octets)


def make_tlv(tag: int, value: int | bytes) -> Tlv:
    """Return a TLV in the form that SMPP 3.4 §5.3.2 gives `tag`.

    An int becomes big-endian octets; a C-string gets its NUL (give it without). Octets of an unknown tag are taken as
    they are. Raises PduError for a value that has not the tag's form.
    """
    form = TLV_FORMATS.get(tag)
    if isinstance(value, int):
        if form is None or form.kind != "int":
            raise PduError(f"TLV 0x{tag:04X} holds octets, not a number")
        if not 0 <= value < 1 << (8 * form.largest):
            raise PduError(f"TLV 0x{tag:04X}: {value} does not fit {form.largest} octets")
        return Tlv(tag, value.to_bytes(form.largest, "big"))
    if form is None:
        return Tlv(tag, value)
    if form.kind == "cstring":
        if b"\0" in value:
            raise PduError(f"TLV 0x{tag:04X}: a C-octet string holds no NUL but its last")
        value += b"\0"
    if not form.smallest <= len(value) <= form.largest:
        raise PduError(f"TLV 0x{tag:04X}: {len(value)} octets, it has {form.smallest} to {form.largest}")
    return Tlv(tag, value)


def find(tlvs: Iterable[Tlv], tag: int) -> bytes | None:
    """Return the octets of the first TLV with `tag`, or None."""
    for found, value in tlvs:
        if found == tag:
            return value
    return None


def read_int(tlvs: Iterable[Tlv], tag: int) -> int | None:
    """Return the number in the first TLV with `tag`; None if it is absent, empty, or longer than 4 octets.

    Shorter or longer than specified but within 4 octets is read all the same: carriers differ, the value does not.
    """
    value = find(tlvs, tag)
    return int.from_bytes(value, "big") if value is not None and 0 < len(value) <= 4 else None


def read_cstring(tlvs: Iterable[Tlv], tag: int) -> bytes | None:
    """Return the first TLV with `tag` up to its first NUL (carriers leave the NUL out too), or None if absent."""
    value = find(tlvs, tag)
    return value.partition(b"\0")[0] if value is not None else None
