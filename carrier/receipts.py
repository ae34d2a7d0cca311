"""Delivery receipts: what a deliver_sm or data_sm of a carrier says about a message sent before (SMPP 3.4 §5.2.12, B).

A PDU is a receipt by its esm_class alone, never by its text: a handset may send `id:1 stat:DELIVRD`. TLVs come before
the text; the text is read tolerantly, since Appendix B is an example that every carrier varies, and never beyond
`text:`, where the message's own words begin. Reading never fails: what is missing is empty.

Knows nothing of stores or matching.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, tzinfo
from types import MappingProxyType
from typing import NamedTuple

from carrier.inbound import split_user_data, user_data
from carrier.receipt_rules import IdSource, ReceiptRules, StatMeaning, zone_of
from carrier.smpp.constants import MessageState, Tag
from carrier.smpp.pdu import DataSm, DeliverSm, printable
from carrier.smpp.tlv import Tlv
from carrier.text.gsm7 import unpack
from carrier.tlvs import TlvRule

# The states of a part; the characters are those of gateway.states.PartState.
DELIVERED, UNDELIVERABLE, EXPIRED, CANCELLED, REJECTED = "D", "U", "E", "C", "R"
PENDING = ""  # intermediate: recorded, and nothing changes
UNKNOWN = "?"  # not understood, or not said: the same, and somebody should look

_TYPE_BITS = 0x3C  # esm_class, message type (SMPP 3.4 §5.2.12)
_RECEIPT, _INTERMEDIATE = 0x04, 0x20
_UDHI = 0x40
_DATA_CODING_UCS2 = 8

MAX_ID, MAX_STAT, MAX_ERROR = 255, 16, 32  # characters kept
_tuple = tuple.__new__  # makes a named tuple in half the time that its class takes: each receipt takes two here
_MAX_TEXT = 1024  # octets looked at

# message_state: its stat in Appendix B's words (SMPP 3.4), and what it means.
_STATES: dict[int, tuple[str, str]] = {
    MessageState.SCHEDULED: ("SCHEDLD", PENDING),
    MessageState.ENROUTE: ("ENROUTE", PENDING),
    MessageState.DELIVERED: ("DELIVRD", DELIVERED),
    MessageState.EXPIRED: ("EXPIRED", EXPIRED),
    MessageState.DELETED: ("DELETED", CANCELLED),
    MessageState.UNDELIVERABLE: ("UNDELIV", UNDELIVERABLE),
    MessageState.ACCEPTED: ("ACCEPTD", PENDING),
    MessageState.UNKNOWN: ("UNKNOWN", PENDING),
    MessageState.REJECTED: ("REJECTD", REJECTED),
    MessageState.SKIPPED: ("SKIPPED", UNDELIVERABLE),
}
_STATS: dict[str, str] = dict(_STATES.values()) | {
    "ACKED": PENDING,
    "BUFFRED": PENDING,
    "BUFFERD": PENDING,
    "DELIVERED": DELIVERED,
    "UNDELIVERABLE": UNDELIVERABLE,
    "UNDELIVERED": UNDELIVERABLE,
    "FAILED": UNDELIVERABLE,
    "REJECTED": REJECTED,
    "CANCELED": CANCELLED,
    "CANCELLED": CANCELLED,
}

# Appendix B as it mostly comes: one match takes it apart.
_USUAL = re.compile(
    rb"id:(\S+) (?:sub:\S* )?(?:dlvrd:\S* )?(?:submit ?date:\S* )?done ?date:(\d*) stat:(\w+)(?: err:(\S*))?(?: |\Z)",
    re.IGNORECASE,
)
_KEY = re.compile(rb"\b(?:id|stat)\s*:", re.IGNORECASE)
_TEXT = re.compile(rb"\btext\s*:", re.IGNORECASE)
# A value ends at white space, or where the next key begins without any.
_PAIR = re.compile(
    rb"\b(id|submit\s?date|done\s?date|stat(?:us)?|err(?:or)?)\s*:\s*"
    rb"((?!(?:sub|dlvrd|submit|done|stat|err)[^:]{0,6}:)[^\s,;\0]*|)",  # an empty value does not swallow the next key
    re.IGNORECASE,
)
# In reverse order of the alphabet a longer word comes before its own beginning.
_BARE_STAT = re.compile(
    rb"(?<![\w:])(" + b"|".join(sorted((stat.encode() for stat in _STATS), reverse=True)) + rb")(?![\w:])",
    re.IGNORECASE,
)
_KEYS = {b"id": "id", b"do": "done", b"st": "stat", b"er": "err"}

# Plain ints: comparing an IntEnum costs more.
_RECEIPTED_MESSAGE_ID = int(Tag.RECEIPTED_MESSAGE_ID)
_MESSAGE_STATE = int(Tag.MESSAGE_STATE)
_NETWORK_ERROR_CODE = int(Tag.NETWORK_ERROR_CODE)


class Receipt(NamedTuple):
    """What a receipt says (hot: a tuple). All texts are printable ASCII; empty where the carrier said nothing."""

    carrier_id: str  # as the carrier wrote it, in the same escaping as a submit_sm_resp's, at most 255 characters
    part_state: str  # a PartState, or PENDING or UNKNOWN: the part stays as it is
    stat: str  # at most 16 characters
    network_error: str  # "type:code" from the TLV, else the text's err; at most 32 characters
    done_at: int | None  # the operator's time, microseconds since the Unix epoch, UTC
    recipient: str  # the digits of the handset's international number; empty when it is written otherwise


class _Text(NamedTuple):
    """The fields of a receipt's text, raw."""

    id: bytes = b""
    done: bytes = b""
    stat: bytes = b""
    err: bytes = b""


_NOTHING = _Text()


def state_of(message_state: int) -> tuple[str, str]:
    """Return the stat of a message_state and what it means: a state of the part, PENDING or UNKNOWN."""
    return _STATES.get(message_state, (f"state {message_state}"[:MAX_STAT], UNKNOWN))


class ReceiptForm(NamedTuple):
    """How one carrier writes receipts, where that is a matter of its own."""

    zone: tzinfo = UTC  # of its dates, which name none
    id_in_text: bool = False  # the id of the text counts before that of the TLV
    stats: Mapping[str, str] = MappingProxyType(_STATS)  # in capitals → state of the part
    packed: bool = False  # the text may be packed septets
    own_tlvs: Mapping[int, TlvRule] = MappingProxyType({})  # by tag: they stand for keys of the text, and before it


PLAIN_FORM = ReceiptForm()
_PART_STATES = {
    StatMeaning.DELIVERED: DELIVERED,
    StatMeaning.UNDELIVERABLE: UNDELIVERABLE,
    StatMeaning.EXPIRED: EXPIRED,
    StatMeaning.CANCELLED: CANCELLED,
    StatMeaning.REJECTED: REJECTED,
    StatMeaning.PENDING: PENDING,
}


def receipt_form(rules: ReceiptRules, *, packed: bool = False, tlvs: Iterable[TlvRule] = ()) -> ReceiptForm:
    """Return the form of a carrier's rules; `packed`: its default alphabet is packed; `tlvs`: those of its own. Raises
    ValueError for a time zone that is none."""
    read = {rule.tag: rule for rule in tlvs if rule.receipt_key is not None}
    own = {stat.upper(): _PART_STATES[meaning] for stat, meaning in rules.stats.items()}
    return ReceiptForm(zone_of(rules.timezone), rules.id_from is IdSource.TEXT, {**_STATS, **own}, packed, read)


def parse_receipt(pdu: DeliverSm | DataSm, form: ReceiptForm = PLAIN_FORM) -> Receipt | None:
    """Return the receipt in `pdu`, None when it is none. Never fails."""
    kind = pdu.esm_class & _TYPE_BITS
    if kind != _RECEIPT and kind != _INTERMEDIATE:
        return None
    tlvs = pdu.tlvs
    fields = _read_text(_receipt_text(pdu, form.packed))
    carrier_id, state, error = _read_tlvs(tlvs) if tlvs else (None, None, None)
    if form.own_tlvs:
        fields = _with_own_tlvs(fields, tlvs, form.own_tlvs)
    said_id, done, said_stat, said_error = fields
    stat = _stat(said_stat)
    known = _STATES.get(state) if state is not None else None
    if known is not None:
        part_state = known[1]
        stat = stat or known[0]
    else:
        part_state = form.stats.get(stat.upper(), UNKNOWN)
        if state is not None and not stat:
            stat = f"state {state}"[:MAX_STAT]
    return _tuple(
        Receipt,
        (
            printable((said_id or carrier_id or b"") if form.id_in_text else carrier_id or said_id)[:MAX_ID],
            PENDING if kind == _INTERMEDIATE else part_state,
            stat,
            error or _error(said_error),
            _done_at(done, form.zone) if done else None,
            _recipient(pdu.source_addr_ton, pdu.source_addr),
        ),
    )


@functools.lru_cache(maxsize=256)  # few are ever said
def _stat(octets: bytes) -> str:
    return printable(octets)[:MAX_STAT]


@functools.lru_cache(maxsize=256)
def _error(octets: bytes) -> str:
    return printable(octets)[:MAX_ERROR]


def _receipt_text(pdu: DeliverSm | DataSm, packed: bool) -> bytes:
    octets = user_data(pdu)
    if pdu.esm_class & _UDHI:
        octets = split_user_data(octets)[1]
    if pdu.data_coding == _DATA_CODING_UCS2 and b"\0" in octets[:2]:
        return octets[: 2 * _MAX_TEXT].decode("utf-16-be", "replace").encode("ascii", "replace")
    octets = octets[:_MAX_TEXT]
    if packed and octets and not _KEY.search(octets):
        return unpack(octets, 8 * len(octets) // 7)
    return octets


def _read_tlvs(tlvs: Iterable[Tlv]) -> tuple[bytes | None, int | None, str | None]:
    """Return receipted_message_id, message_state and network_error_code; the first of each counts."""
    carrier_id = state = error = None
    for tag, value in tlvs:
        if tag == _RECEIPTED_MESSAGE_ID and carrier_id is None:
            carrier_id = value.partition(b"\0")[0]
        elif tag == _MESSAGE_STATE and state is None and 0 < len(value) <= 4:
            state = int.from_bytes(value, "big")
        elif tag == _NETWORK_ERROR_CODE and error is None:
            error = _network_error(value)
    return carrier_id, state, error


def _with_own_tlvs(fields: _Text, tlvs: Iterable[Tlv], own: Mapping[int, TlvRule]) -> _Text:
    """Return the fields of the text, with what a carrier's own TLVs say in their place."""
    said = {own[tag].receipt_key: own[tag].read(value) for tag, value in tlvs if tag in own}
    return fields._replace(**{str(key): value for key, value in said.items() if value})


def _network_error(value: bytes) -> str | None:
    """The network's type, as number or as digit, and its code (SMPP 3.4 §5.3.2.31)."""
    if len(value) != 3:
        return printable(value.partition(b"\0")[0])[:MAX_ERROR] or None
    kind = chr(value[0]) if 0x30 <= value[0] <= 0x39 else str(value[0])
    return f"{kind}:{int.from_bytes(value[1:], 'big')}"


def _read_text(octets: bytes) -> _Text:
    usual = _USUAL.match(octets)
    if usual is not None:
        return _tuple(_Text, usual.groups(b""))
    return _read_tolerantly(octets) if octets else _NOTHING


def _read_tolerantly(octets: bytes) -> _Text:
    """Any order, any case, anything missing; the first of each key counts."""
    end = _TEXT.search(octets)
    head = octets[: end.start()] if end else octets
    found: dict[str, bytes] = {}
    for pair in _PAIR.finditer(head):
        key = _KEYS.get(pair[1][:2].lower())
        if key is not None:
            found.setdefault(key, pair[2])
    if not found.get("stat"):
        bare = _BARE_STAT.search(head)
        if bare:
            found["stat"] = bare[1]
    return _Text(**found)


@functools.lru_cache(maxsize=512)
def _done_at(digits: bytes, zone: tzinfo) -> int | None:
    """YYMMDDhhmm, YYMMDDhhmmss, YYYYMMDDhhmm or YYYYMMDDhhmmss; None for all else, an all-zero date among it.

    Of a time that comes twice, when clocks are set back, the first is meant.
    """
    if not digits.isdigit() or len(digits) not in (10, 12, 14):
        return None
    text = digits.decode("ascii")
    candidates = [text] if len(text) == 14 else ["20" + text.ljust(12, "0")]
    if len(text) == 12:  # since 2013 at most one of the two readings is a date
        candidates.append(text + "00")
    for candidate in candidates:
        numbers = [int(candidate[:4]), *(int(candidate[at : at + 2]) for at in range(4, 14, 2))]
        try:
            at = datetime(*numbers, tzinfo=zone)  # type: ignore[misc, arg-type]  # six numbers: year to second
        except ValueError:
            continue
        return int(at.timestamp()) * 1_000_000
    return None


def _recipient(ton: int, address: bytes) -> str:
    """Digits only where they can be the international number: TON international or unknown, no trunk prefix."""
    digits = address.removeprefix(b"+")
    if ton == 0:
        digits = digits.removeprefix(b"00")
    if ton > 1 or not digits.isdigit() or digits[0] == 0x30 or not 7 <= len(digits) <= 15:
        return ""
    return digits.decode("ascii")
