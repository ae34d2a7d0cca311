"""What a carrier makes of the submit_sm that arrive: text by its default alphabet, parts to messages, what is wrong.

Judges what was sent, and so shares no code with what sends and decodes in the link, but for the GSM tables. No clock.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping
from typing import NamedTuple

from carrier.simulator.script import Script
from carrier.smpp.constants import Status, Tag
from carrier.smpp.pdu import SubmitSm, printable
from carrier.smpp.tlv import find
from carrier.text import gsm7, national

MAX_GROUPS = 10_000  # long messages whose parts have not all come
_UDHI = 0x40
_MAX_ADDRESS = 20  # octets of a submit_sm's address (SMPP 3.4 §5.2.8)
_CONCAT_8, _CONCAT_16 = 0x00, 0x08  # information elements (3GPP TS 23.040 §9.2.3.24)
_SAR = (Tag.SAR_MSG_REF_NUM, Tag.SAR_TOTAL_SEGMENTS, Tag.SAR_SEGMENT_SEQNUM)
_CODECS: Mapping[int, str] = {
    1: "ascii", 3: "latin-1", 5: "shift_jis", 6: "iso8859-5", 7: "iso8859-8", 8: "utf-16-be", 10: "iso2022_jp",
}  # fmt: skip
_OCTETS = frozenset({2, 4})


class Received(NamedTuple):
    """One submit_sm (or data_sm) that was accepted."""

    message_id: str
    source: str
    destination: str  # digits as on the wire
    part: int
    total: int
    text: str  # of this part; octets that are no text in hex
    whole: str | None  # the message's full text, with the part that completes it
    submit: SubmitSm  # of a data_sm, its fields
    at: float  # when it arrived, monotonic seconds
    connection: str
    elements: tuple[tuple[int, bytes], ...]  # of its user data header


class Part(NamedTuple):
    """What one PDU carries."""

    source: str
    destination: str
    reference: tuple[str, int]  # how it is concatenated ("", "udh8", "udh16", "sar") and by which number
    part: int
    total: int
    octets: bytes  # without header
    elements: tuple[tuple[int, bytes], ...]


class Arrivals:
    """Reads parts, and puts them together."""

    def __init__(self, script: Script) -> None:
        self._alphabet = script.alphabet
        self._refuse_both = script.refuse_udhi_with_sar
        self._required = script.required_tlvs
        self._groups: OrderedDict[tuple[object, ...], dict[int, str]] = OrderedDict()

    def fault(self, pdu: SubmitSm) -> int:
        """Return the command_status that refuses `pdu` for what it holds; 0: nothing is wrong with it."""
        if len(pdu.source_addr) > _MAX_ADDRESS:  # a receipt could not name it
            return Status.ESME_RINVSRCADR
        if len(pdu.destination_addr) > _MAX_ADDRESS:
            return Status.ESME_RINVDSTADR
        if self._refuse_both and pdu.esm_class & _UDHI and any(find(pdu.tlvs, tag) is not None for tag in _SAR):
            return Status.ESME_RINVESMCLASS
        for wanted in self._required:
            value = find(pdu.tlvs, wanted.tag)
            if value is None:
                return wanted.missing
            sound = not wanted.digits or value.rstrip(b"\0").isdigit()
            if not (sound and wanted.shortest <= len(value) <= wanted.longest):
                return wanted.invalid
        return 0

    def text(self, pdu: SubmitSm, part: Part) -> str:
        """Return the text of a part as this carrier reads it; octets that are no text in hex."""
        languages = national.languages_of(part.elements)
        return decode(part.octets, pdu.data_coding, self._alphabet, header_octets(pdu), languages)

    def whole(self, part: Part, text: str) -> str | None:
        """Return the whole text once its last part is here. The oldest unfinished message goes when there are many."""
        if part.total == 1:
            return text
        key = (part.source, part.destination, part.reference, part.total)
        group = self._groups.setdefault(key, {})
        group[part.part] = text
        if len(group) == part.total:
            del self._groups[key]
            return "".join(group[number] for number in sorted(group))
        if len(self._groups) > MAX_GROUPS:
            self._groups.popitem(last=False)
        return None


def read_part(pdu: SubmitSm) -> Part:
    """Return what `pdu` carries. Never fails: a header that makes no sense is text."""
    octets = pdu.short_message or find(pdu.tlvs, Tag.MESSAGE_PAYLOAD) or b""
    elements: tuple[tuple[int, bytes], ...] = ()
    if pdu.esm_class & _UDHI and octets and octets[0] < len(octets):
        elements = read_elements(octets[1 : octets[0] + 1])
        octets = octets[octets[0] + 1 :]
    reference, part, total = _concatenation(elements, pdu)
    return Part(printable(pdu.source_addr), printable(pdu.destination_addr), reference, part, total, octets, elements)


def header_octets(pdu: SubmitSm) -> int:
    """Return how many octets of the user data are its header."""
    octets = pdu.short_message or find(pdu.tlvs, Tag.MESSAGE_PAYLOAD) or b""
    return octets[0] + 1 if pdu.esm_class & _UDHI and octets and octets[0] < len(octets) else 0


def read_elements(header: bytes) -> tuple[tuple[int, bytes], ...]:
    """Return the information elements of a user data header without its length octet, up to the first broken one."""
    found: list[tuple[int, bytes]] = []
    while len(header) >= 2 and len(header) >= 2 + header[1]:
        found.append((header[0], header[2 : 2 + header[1]]))
        header = header[2 + header[1] :]
    return tuple(found)


def _concatenation(elements: tuple[tuple[int, bytes], ...], pdu: SubmitSm) -> tuple[tuple[str, int], int, int]:
    for iei, value in elements:
        if iei == _CONCAT_8 and len(value) == 3:
            return ("udh8", value[0]), value[2], value[1]
        if iei == _CONCAT_16 and len(value) == 4:
            return ("udh16", int.from_bytes(value[:2], "big")), value[3], value[2]
    sar = [find(pdu.tlvs, tag) for tag in _SAR]
    if all(sar):
        number, total, part = (int.from_bytes(value or b"", "big") for value in sar)
        return ("sar", number), part, total
    return ("", 0), 1, 1


def decode(octets: bytes, data_coding: int, alphabet: str, header: int = 0, languages: tuple[int, int] = (0, 0)) -> str:
    """Return the text that a carrier with this default alphabet reads; octets that are no text in hex.

    `header`: the octets of the header before them, which decide where packed septets begin (TS 23.040 §9.2.3.24).
    `languages`: the national tables that it names, single shift and locking; 0 for none.
    """
    if data_coding in _OCTETS:
        return octets.hex()
    codec = _CODECS.get(data_coding) or {"latin1": "latin-1", "ascii": "ascii"}.get(alphabet)
    if codec is not None:
        return octets.decode(codec, "replace")
    septets = unpack(octets, header) if alphabet == "packed" else octets
    return national.decode(septets, *languages) if any(languages) else gsm7.decode(septets)


def unpack(octets: bytes, header: int) -> bytes:
    """Return the septets packed into `octets`, which follow `header` octets; the last one goes if it is only fill."""
    fill = -8 * header % 7
    count = (8 * len(octets) - fill) // 7
    septets = gsm7.unpack(octets, max(count, 0), fill)
    spare = (8 * len(octets) - fill) % 7 == 0
    return septets[:-1] if spare and septets.endswith((b"\0", b"\r")) else septets
