"""The octets of a simulated SMSC's responses: proper ones, and those of careless carriers. Pure."""

from __future__ import annotations

from carrier.simulator.script import Binds, OddAnswer, Responses
from carrier.smpp.constants import HEADER_BYTES, RESPONSE_BIT, SEQUENCE_MAX, CommandId, Tag
from carrier.smpp.messages import (
    BindReceiver,
    BindReceiverResp,
    BindTransceiver,
    BindTransceiverResp,
    BindTransmitter,
    BindTransmitterResp,
    DataSmResp,
    GenericNack,
    SubmitSmResp,
)
from carrier.smpp.pdu import HEADER, Pdu, command_id_of, encode
from carrier.smpp.tlv import TRAILING, Tlv, make_tlv

SYSTEM_ID = b"smsgw-simulator"
REFUSING = frozenset({"generic_nack", "generic_nack_0", "bad_length"})  # a request so answered is not carried out
_TOO_SHORT = 8  # a command_length that cannot be: the header alone has 16 octets
_ERROR_TEXT = b"refused by the script"

_Bind = BindTransmitter | BindReceiver | BindTransceiver
_BIND_RESPONSES: dict[type[Pdu], type[BindTransmitterResp | BindReceiverResp | BindTransceiverResp]] = {
    BindTransmitter: BindTransmitterResp,
    BindReceiver: BindReceiverResp,
    BindTransceiver: BindTransceiverResp,
}


def bind_response(bind: _Bind, how: Binds, status: int) -> Pdu:
    """Return the response of a bind (SMPP 3.4 §4.1): with defaults when it is refused."""
    build = _BIND_RESPONSES[type(bind)]
    if status:
        return build()
    tlvs = [] if how.interface_version is None else [make_tlv(Tag.SC_INTERFACE_VERSION, how.interface_version)]
    tlvs += [Tlv(extra.tag, extra.value) for extra in how.tlvs]
    return build(system_id=SYSTEM_ID, tlvs=tuple(tlvs))


def nack(sequence: int, status: int) -> bytes:
    """Return a generic_nack (SMPP 3.4 §4.3)."""
    return encode(GenericNack(), sequence & SEQUENCE_MAX, status)


def submit_response(
    kind: type[SubmitSmResp | DataSmResp], message_id: str, sequence: int, *, how: Responses, congestion: int | None
) -> bytes:
    """Return the response that accepts a submit_sm or data_sm."""
    pdu = kind(message_id.encode("ascii"), _tlvs(how, congestion))
    if how.body == "full":
        return encode(pdu, sequence)
    body = {"empty": b"\0", "absent": b"", "unterminated": pdu.message_id}[how.body]
    return HEADER.pack(HEADER_BYTES + len(body), command_id_of(pdu), 0, sequence) + body


def error_response(
    kind: type[SubmitSmResp | DataSmResp], sequence: int, status: int, *, how: Responses, congestion: int | None
) -> bytes:
    """Return the response that refuses a submit_sm or data_sm."""
    congested = () if congestion is None else (make_tlv(Tag.CONGESTION_STATE, congestion),)
    if how.error_body == "absent" and not congested:
        return encode(kind(), sequence, status)
    text = (make_tlv(Tag.ADDITIONAL_STATUS_INFO_TEXT, _ERROR_TEXT),) if how.error_body == "tlv" else ()
    if text or congested:
        return encode(kind(b"", text + congested), sequence, status)
    return HEADER.pack(HEADER_BYTES + 1, command_id_of(kind()), status, sequence) + b"\0"


def odd(octets: bytes, rule: OddAnswer) -> bytes:
    """Return what is written instead of the proper response `octets`."""
    _, command_id, status, sequence = HEADER.unpack_from(octets)
    match rule.answer:
        case "twice":
            return octets + octets
        case "generic_nack":
            return nack(sequence, rule.status)
        case "generic_nack_0":
            return nack(0, rule.status)
        case "bad_length":
            return HEADER.pack(_TOO_SHORT, command_id, status, sequence)
        case "other_kind":
            other = CommandId.REPLACE_SM if command_id != CommandId.REPLACE_SM_RESP else CommandId.CANCEL_SM
            return HEADER.pack(HEADER_BYTES, other | RESPONSE_BIT, status, sequence)
    return b""


def _tlvs(how: Responses, congestion: int | None) -> tuple[Tlv, ...]:
    tlvs = [] if congestion is None else [make_tlv(Tag.CONGESTION_STATE, congestion)]
    tlvs += [Tlv(extra.tag, extra.value) for extra in how.tlvs]
    if how.trailing:
        tlvs.append(Tlv(TRAILING, how.trailing))
    return tuple(tlvs)
