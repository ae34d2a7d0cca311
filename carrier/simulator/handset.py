"""The messages of handsets as a carrier delivers them: every encoding, every way to cut them. Pure."""

from __future__ import annotations

from carrier.addresses import address_of
from carrier.errors import TextError
from carrier.simulator.payload import as_data_sm, in_payload
from carrier.simulator.script_deliveries import InboundScript
from carrier.smpp.constants import Tag
from carrier.smpp.pdu import DataSm, DeliverSm
from carrier.smpp.tlv import Tlv, make_tlv
from carrier.text import gsm7
from carrier.text.coding import encode_utf16
from carrier.text.gsm7 import GSM_CHARACTERS

_UDHI = 0x40
_ROOM = 140  # octets of user data in one SMS, header included (3GPP TS 23.040 §9.2.3.24)
_SEPTETS = 160
_DATA_CODINGS = {"gsm": 0, "packed": 0, "ascii": 1, "latin1": 3, "ucs2": 8, "binary": 4}
_SEPTET_ENCODINGS = ("gsm", "packed")
MAX_PARTS = 255


def handset_pdus(message: InboundScript, reference: int) -> list[DeliverSm | DataSm]:
    """Return the PDUs of one message, in the order in which they come.

    `reference` names its parts. Raises TextError for what the encoding or an address cannot hold, or too many parts.
    """
    encoding = _encoding(message)
    units = _units(message, encoding)
    pieces = _cut(message, units, encoding)
    if len(pieces) > MAX_PARTS:
        raise TextError(f"the message takes {len(pieces)} parts; a long message has at most {MAX_PARTS}")
    data_coding = _DATA_CODINGS[encoding] if message.data_coding is None else message.data_coding
    pdus = [
        _pdu(message, data_coding, encoding, piece, number, len(pieces), reference)
        for number, piece in enumerate(pieces, 1)
        if number != message.missing_part
    ]
    return pdus[::-1] if message.reverse else pdus


def _encoding(message: InboundScript) -> str:
    if message.octets is not None:
        return "binary"
    if message.encoding != "auto":
        return message.encoding
    return "gsm" if GSM_CHARACTERS.issuperset(message.text) else "ucs2"


def _units(message: InboundScript, encoding: str) -> bytes:
    """Return septets (one in each octet) or octets."""
    if message.octets is not None:
        return message.octets
    if encoding == "ucs2":
        return encode_utf16(message.text)
    codec = {"latin1": "latin-1", "ascii": "ascii"}.get(encoding)
    if codec is None:
        return gsm7.encode(message.text)
    try:
        return message.text.encode(codec)
    except UnicodeEncodeError as error:
        raise TextError(f"character {error.start} of the text cannot be written in {encoding}") from None


def _cut(message: InboundScript, units: bytes, encoding: str) -> list[bytes]:
    """Cut by the room that header and elements leave. Handsets cut where they like: escapes and surrogates stay whole
    only by luck, and joining the octets before they are decoded is the receiver's task."""
    extra = len(message.udh)
    septets = encoding in _SEPTET_ENCODINGS
    if message.segmentation == "payload" or len(units) <= _room(septets, extra + 1 if extra else 0):
        return [units]
    header = {"udh8": 5, "udh16": 6, "sar": 0}[message.segmentation] + extra
    step = _room(septets, header + 1 if header else 0)
    step -= step % 2 if encoding == "ucs2" else 0
    return [units[at : at + step] for at in range(0, len(units), step)]


def _room(septets: bool, header: int) -> int:
    return (_ROOM - header) * 8 // 7 if septets else _ROOM - header


def _pdu(
    message: InboundScript, data_coding: int, encoding: str, piece: bytes, number: int, total: int, reference: int
) -> DeliverSm | DataSm:
    header, tlvs = _header(message, number, total, reference)
    body = gsm7.pack(piece, -8 * len(header) % 7) if encoding == "packed" else piece
    source_ton, source_npi, source = address_of(message.source)
    dest_ton, dest_npi, destination = address_of(message.destination)
    pdu = DeliverSm(
        source_addr_ton=source_ton,
        source_addr_npi=source_npi,
        source_addr=source,
        dest_addr_ton=dest_ton,
        dest_addr_npi=dest_npi,
        destination_addr=destination,
        esm_class=message.esm_class | (_UDHI if header else 0),
        data_coding=data_coding,
        short_message=header + body,
        tlvs=(*tlvs, *[Tlv(extra.tag, extra.value) for extra in message.tlvs]),
    )
    if message.by == "data_sm":
        return as_data_sm(pdu)
    return in_payload(pdu) if message.segmentation == "payload" else pdu


def _header(message: InboundScript, number: int, total: int, reference: int) -> tuple[bytes, list[Tlv]]:
    """Return the user data header, empty for none, and the SAR TLVs."""
    elements, tlvs = message.udh, []
    if total > 1 and message.segmentation == "udh8":
        elements += bytes((0, 3, reference & 0xFF, total, number))
    elif total > 1 and message.segmentation == "udh16":
        elements += bytes((8, 4)) + (reference & 0xFFFF).to_bytes(2, "big") + bytes((total, number))
    elif total > 1 and message.segmentation == "sar":
        tlvs = [
            make_tlv(Tag.SAR_MSG_REF_NUM, reference & 0xFFFF),
            make_tlv(Tag.SAR_TOTAL_SEGMENTS, total),
            make_tlv(Tag.SAR_SEGMENT_SEQNUM, number),
        ]
    return (bytes((len(elements),)) + elements if elements else b""), tlvs


def text_message(source: str, destination: str, text: str) -> InboundScript:
    """Return the plain message that `inject` and the control port send."""
    return InboundScript(source=source, destination=destination, text=text)
