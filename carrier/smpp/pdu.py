"""SMPP 3.4 PDUs to octets and back (§3.2, §4). Bytes in, typed tuples out; no sockets, no clock, no session.

Encoding is strict: a field beyond the specification's size is a PduError that names the field and never its value.
Decoding is tolerant where carriers are known to be loose, and loses nothing: a response without a body has default
fields, an unterminated message_id of a response is taken to the frame's end, and octets that are no whole TLV are
kept. A request whose mandatory part does not fit its frame is a RecoverablePduError.

`encode_submit_sm` and the decoders of submit_sm_resp and deliver_sm are written out because every message takes them;
everything else goes by the table in `carrier.smpp.layouts`, and a test holds the two together.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import Any, NamedTuple

from carrier.errors import FatalPduError, PduError, RecoverablePduError
from carrier.smpp.constants import HEADER_BYTES, RESPONSE_BIT, SEQUENCE_MAX, CommandId, Status, command_name
from carrier.smpp.fields import Malformed, decode_field, encode_field
from carrier.smpp.layouts import LAYOUT_OF_TYPE, LAYOUTS, Layout
from carrier.smpp.messages import (
    AlertNotification,
    BindReceiver,
    BindReceiverResp,
    BindTransceiver,
    BindTransceiverResp,
    BindTransmitter,
    BindTransmitterResp,
    CancelSm,
    CancelSmResp,
    DataSm,
    DataSmResp,
    DeliverSm,
    DeliverSmResp,
    DistributionList,
    EnquireLink,
    EnquireLinkResp,
    GenericNack,
    Outbind,
    Pdu,
    QuerySm,
    QuerySmResp,
    ReplaceSm,
    ReplaceSmResp,
    SmeAddress,
    SubmitMulti,
    SubmitMultiResp,
    SubmitSm,
    SubmitSmResp,
    Unbind,
    UnbindResp,
    UnsuccessSme,
)
from carrier.smpp.tlv import TRAILING, Tlv, decode_tlvs, encode_tlvs

__all__ = [
    "AlertNotification", "BindReceiver", "BindReceiverResp", "BindTransceiver", "BindTransceiverResp",
    "BindTransmitter", "BindTransmitterResp", "CancelSm", "CancelSmResp", "DataSm", "DataSmResp", "DeliverSm",
    "DeliverSmResp", "DistributionList", "EnquireLink", "EnquireLinkResp", "GenericNack", "Header", "Outbind", "Pdu",
    "QuerySm", "QuerySmResp", "ReplaceSm", "ReplaceSmResp", "SmeAddress", "SubmitMulti", "SubmitMultiResp", "SubmitSm",
    "SubmitSmResp", "Tlv", "Unbind", "UnbindResp", "UnsuccessSme", "command_id_of", "decode", "decode_body", "encode",
    "encode_body", "encode_submit_sm", "printable",
]  # fmt: skip

HEADER = struct.Struct(">IIII")  # command_length, command_id, command_status, sequence_number
_tuple = tuple.__new__  # makes a PDU in two fifths of the time that its class takes: hot, and every field is given
PRINTABLE_MAX = 255  # characters of a carrier's message id that are kept


class Header(NamedTuple):
    """The header of a PDU (SMPP 3.4 §3.2.1)."""

    command_length: int
    command_id: int
    command_status: int
    sequence_number: int


def encode(pdu: Pdu, sequence: int, status: int = 0) -> bytes:
    """Return the whole PDU. `sequence` is 1 to 0x7FFFFFFF; a response repeats what it was asked with, whatever it was.

    An error response (`status` not 0) with default fields has no body (SMPP 3.4 §4.1.2, §4.4.2 and others).
    Raises PduError for a field that the specification does not allow.
    """
    command_id = command_id_of(pdu)
    lowest, highest = (0, 0xFFFFFFFF) if command_id & RESPONSE_BIT else (1, SEQUENCE_MAX)
    if not lowest <= sequence <= highest:
        raise PduError(f"sequence_number {sequence}: it is {lowest} to {highest} (SMPP 3.4 §5.1.4)")
    if not 0 <= status <= 0xFFFFFFFF:
        raise PduError(f"command_status {status} does not fit 4 octets")
    bare = status and command_id & RESPONSE_BIT and not any(pdu)
    body = b"" if bare else encode_body(pdu)
    return HEADER.pack(HEADER_BYTES + len(body), command_id, status, sequence) + body


def encode_body(pdu: Pdu) -> bytes:
    """Return the body of a PDU. Raises PduError for a field that the specification does not allow."""
    layout = LAYOUT_OF_TYPE[type(pdu)]
    parts = [encode_field(field, value) for field, value in zip(layout.fields, pdu, strict=False)]
    return b"".join((*parts, encode_tlvs(pdu.tlvs)))


def command_id_of(pdu: Pdu) -> CommandId:
    """Return the command_id of a PDU."""
    return LAYOUT_OF_TYPE[type(pdu)].command_id


def encode_submit_sm(
    *,
    source_addr_ton: int,
    source_addr_npi: int,
    source_addr: bytes,
    dest_addr_ton: int,
    dest_addr_npi: int,
    dest_addr: bytes,
    esm_class: int,
    protocol_id: int,
    priority_flag: int,
    validity_period: bytes,
    registered_delivery: int,
    data_coding: int,
    short_message: bytes,
    service_type: bytes = b"",
    tlvs: bytes = b"",
    replace_if_present_flag: int = 0,
) -> bytes:
    """Return the body of a submit_sm (SMPP 3.4 §4.4.1); the link adds the header.

    Numbers are 0 to 255; addresses at most 20 octets; `validity_period` empty or 16 octets; `short_message` at most
    254 octets (empty with a message_payload among `tlvs`, which are octets from `carrier.smpp.tlv.encode_tlvs`).
    Raises PduError naming the field that breaks a bound or holds a NUL.
    """
    length = len(short_message)
    if (
        len(source_addr) > 20
        or len(dest_addr) > 20
        or length > 254
        or (validity_period and len(validity_period) != 16)
        or len(service_type) > 5
        or 0 in source_addr  # a NUL would end the field early and shift all that follow
        or 0 in dest_addr
        or 0 in validity_period
        or 0 in service_type
    ):
        _raise_for_submit_sm(service_type, source_addr, dest_addr, validity_period, short_message)
    try:
        return b"%b\0%c%c%b\0%c%c%b\0%c%c%c\0%b\0%c%c%c\0%c%b%b" % (
            service_type, source_addr_ton, source_addr_npi, source_addr, dest_addr_ton, dest_addr_npi, dest_addr,
            esm_class, protocol_id, priority_flag, validity_period, registered_delivery, replace_if_present_flag,
            data_coding,
            length, short_message, tlvs,
        )  # fmt: skip
    except OverflowError:
        raise PduError("submit_sm: a ton, npi, esm_class, protocol_id, priority_flag, registered_delivery, "
                       "replace_if_present_flag or data_coding is not 0 to 255") from None  # fmt: skip


def _raise_for_submit_sm(
    service_type: bytes, source_addr: bytes, dest_addr: bytes, validity_period: bytes, short_message: bytes
) -> None:
    """Encode by the table, which names the field that is wrong."""
    encode_body(
        SubmitSm(
            service_type=service_type,
            source_addr=source_addr,
            destination_addr=dest_addr,
            validity_period=validity_period,
            short_message=short_message,
        )
    )
    raise PduError("submit_sm: a field is out of bounds")


def decode(frame: bytes) -> tuple[Header, Pdu]:
    """Read one whole frame, as `carrier.smpp.frames` cuts it.

    Raises RecoverablePduError for an unknown command_id (ESME_RINVCMDID) or a body that does not fit its layout
    (ESME_RINVCMDLEN); FatalPduError if the frame is not as long as its header says.
    """
    if len(frame) < HEADER_BYTES:
        raise FatalPduError(f"a frame of {len(frame)} octets: the header alone has {HEADER_BYTES} (SMPP 3.4 §3.2)")
    header = Header._make(HEADER.unpack_from(frame))
    if header.command_length != len(frame):
        raise FatalPduError(f"command_length is {header.command_length}, the frame has {len(frame)} octets")
    return header, decode_body(frame, header.command_id, header.command_status, header.sequence_number)


def decode_body(frame: bytes, command_id: int, status: int, sequence: int) -> Pdu:
    """Read the body of `frame`, whose header the caller has read. Raises RecoverablePduError as `decode` does."""
    decoder = _DECODERS.get(command_id)
    if decoder is None:
        raise RecoverablePduError(
            f"command_id {command_name(command_id)} is not known (SMPP 3.4 §5.1.2.1)",
            command_id=command_id, sequence=sequence, status=Status.ESME_RINVCMDID,
        )  # fmt: skip
    try:
        return decoder(frame)
    except (ValueError, IndexError, Malformed) as error:
        if command_id & RESPONSE_BIT and status:
            # Carriers put anything or nothing into the body of an error response: the status is what counts.
            return _defaults(command_id, frame)
        detail = str(error) if isinstance(error, Malformed) else "the body ends before its mandatory fields do"
        raise RecoverablePduError(
            f"{command_name(command_id)}: {detail}",
            command_id=command_id, sequence=sequence, status=Status.ESME_RINVCMDLEN,
        ) from None  # fmt: skip


def _defaults(command_id: int, frame: bytes) -> Pdu:
    """Return a PDU with default fields that keeps its octets as they came. All responses have defaults."""
    rest = frame[HEADER_BYTES:]
    build: Callable[..., Pdu] = LAYOUTS[command_id].pdu_type
    return build(tlvs=(Tlv(TRAILING, rest),) if rest else ())


def _by_layout(layout: Layout) -> Callable[[bytes], Pdu]:
    """Return a decoder of `layout` that goes by the table."""
    response = bool(layout.command_id & RESPONSE_BIT)
    build: Callable[..., Pdu] = layout.pdu_type

    def decoder(frame: bytes) -> Pdu:
        if response and len(frame) == HEADER_BYTES:
            return build()
        position = HEADER_BYTES
        values: list[Any] = []
        for field in layout.fields:
            value, position = decode_field(field, frame, position)
            values.append(value)
        return build(*values, decode_tlvs(frame, position) if position < len(frame) else ())

    return decoder


def _message_id_only(build: Callable[..., Pdu]) -> Callable[[bytes], Pdu]:
    """Return a decoder of a response that has only a message_id (hot: submit_sm_resp, deliver_sm_resp)."""

    def decoder(frame: bytes) -> Pdu:
        end = frame.find(0, HEADER_BYTES)
        if end < 0:  # no body, or carriers that leave the NUL out: the id is worth more than the rule
            return build(frame[HEADER_BYTES:])
        return build(frame[HEADER_BYTES:end], decode_tlvs(frame, end + 1) if end + 1 < len(frame) else ())

    return decoder


def _deliver(build: type[SubmitSm | DeliverSm]) -> Callable[[bytes], Pdu]:
    """Return a decoder of the layout that submit_sm and deliver_sm share (hot)."""

    def decoder(frame: bytes) -> Pdu:
        a = frame.index(0, HEADER_BYTES)
        b = frame.index(0, a + 3)
        c = frame.index(0, b + 3)
        d = frame.index(0, c + 4)
        e = frame.index(0, d + 1)
        end = e + 6 + frame[e + 5]
        if end > len(frame):
            raise Malformed("sm_length goes beyond the frame")
        return _tuple(build, (
            frame[HEADER_BYTES:a], frame[a + 1], frame[a + 2], frame[a + 3 : b],
            frame[b + 1], frame[b + 2], frame[b + 3 : c], frame[c + 1], frame[c + 2], frame[c + 3],
            frame[c + 4 : d], frame[d + 1 : e], frame[e + 1], frame[e + 2], frame[e + 3], frame[e + 4],
            frame[e + 6 : end], decode_tlvs(frame, end) if end < len(frame) else (),
        ))  # fmt: skip

    return decoder


_DECODERS: dict[int, Callable[[bytes], Pdu]] = {code: _by_layout(layout) for code, layout in LAYOUTS.items()} | {
    int(CommandId.SUBMIT_SM): _deliver(SubmitSm),
    int(CommandId.DELIVER_SM): _deliver(DeliverSm),
    int(CommandId.SUBMIT_SM_RESP): _message_id_only(SubmitSmResp),
    int(CommandId.DELIVER_SM_RESP): _message_id_only(DeliverSmResp),
    int(CommandId.DATA_SM_RESP): _message_id_only(DataSmResp),
}


def printable(octets: bytes) -> str:
    """Return octets from a carrier as text that is safe to show and to store: printable ASCII, the rest as \\xNN.

    A message id comes out the same here and in a receipt. At most 255 characters.
    """
    text = octets.decode("latin-1")
    if text.isascii() and text.isprintable() and len(text) <= PRINTABLE_MAX:
        return text
    return "".join(c if " " <= c <= "~" else f"\\x{ord(c):02x}" for c in text[:PRINTABLE_MAX])[:PRINTABLE_MAX]
