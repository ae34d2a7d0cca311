"""The part of a script about what comes back: receipts, handsets' messages, octets that are no SMPP. Plain data.

Times in seconds. Every default is a carrier without quirks.
"""

from __future__ import annotations

from dataclasses import dataclass

from carrier.simulator.script_flow import ExtraTlv, Match

RECEIPT_FIELDS = ("id", "sub", "dlvrd", "submit", "done", "stat", "err", "text")
APPENDIX_B = "id:{id} sub:{sub} dlvrd:{dlvrd} submit date:{submit} done date:{done} stat:{stat} err:{err} text:{text}"
ID_FORMS = (
    "uuid", "uuid_upper", "hex", "hex_upper", "hex_padded", "hex_bytes", "decimal", "decimal_plain", "spaced", "text",
    "text_upper",
)  # fmt: skip
RECEIPT_ID_FORMS = ("same", "upper", *ID_FORMS)
RECEIPT_FORMS = ("both", "text", "tlv", "id")
RECEIPT_PARTS = ("all", "first", "last")
RECEIPT_COMMANDS = ("deliver_sm", "data_sm")
CHARSETS = ("ascii", "latin1")
DATES = ("minutes", "seconds", "century", "zero", "impossible")
ENCODINGS = ("auto", "gsm", "packed", "latin1", "ascii", "ucs2", "binary")
SEGMENTATIONS = ("udh8", "udh16", "sar", "payload")


@dataclass(frozen=True, slots=True, kw_only=True)
class StateRule:
    """Give what `match` fits a receipt with `state` and `error`."""

    match: Match
    state: str
    error: str = "000"


@dataclass(frozen=True, slots=True, kw_only=True)
class ReceiptVariant:
    """Give what `match` fits receipts as `how` says instead. Its window, times and variants are not looked at."""

    match: Match
    how: Receipts


@dataclass(frozen=True, slots=True, kw_only=True)
class Receipts:
    """Which receipts follow, to those who asked for one."""

    send: bool = True
    delay_s: float = 0.0
    states: tuple[str, ...] = ("DELIVRD",)  # taken in turn where no rule fits
    rules: tuple[StateRule, ...] = ()  # the first that fits counts
    before: tuple[str, ...] = ()  # states told by receipts of their own before it: ACCEPTD, ENROUTE
    afterwards: tuple[str, ...] = ()  # states told after it, which contradict it
    gap_s: float = 0.0  # between the receipts of one message
    before_response: bool = False  # the receipt is written before the submit_sm_resp
    duplicates: int = 0  # how often each is repeated
    unrequested: bool = False  # receipts also for those who did not ask
    parts: str = "all"  # all, or only the first or the last part of a message gets one
    form: str = "both"  # text, TLVs, or both; "id": a TLV with the id, and nothing else
    ids: str = "same"  # or in capital letters (upper), or the same number in one of ID_FORMS
    unknown_id: str = ""  # this id instead of the message's
    template: str = APPENDIX_B
    dates: str = "minutes"  # 10 digits; seconds: 12, century: 14, zero: all 0, impossible: no date
    done_offset_s: float = 0.0  # added to the done date: a clock in another zone, or an impossible latency
    network_type: int = 0  # 1 to 255: a TLV network_error_code of this type with the error's number
    by: str = "deliver_sm"  # or data_sm, whose text is a message_payload
    esm_class: int = 0x04  # 0 makes it a handset's message that looks like a receipt
    before_esm_class: int = 0x04  # of those in `before`; 0x20 is SMPP's intermediate notification
    udh: bytes = b""  # a whole user data header in front of the text
    payload: bool = False  # the text is a message_payload, short_message is empty
    data_coding: int = 0  # 8: the text is UCS2
    charset: str = "ascii"  # or latin1: what the text is written in otherwise; what that lacks becomes "?"
    destination: str = ""  # digits: the receipt says to be from this handset instead
    tlvs: tuple[ExtraTlv, ...] = ()
    trailing: bytes = b""  # octets after the last TLV that are no whole one
    variants: tuple[ReceiptVariant, ...] = ()  # the first that fits counts
    window: int = 100  # unanswered deliver_sm on a connection, at most
    redeliver_after_s: float = 30.0  # no deliver_sm_resp by then: deliver again
    retry_s: float = 1.0  # answered with a temporary error: deliver again after this


@dataclass(frozen=True, slots=True, kw_only=True)
class InboundScript:
    """A message from a handset, `at_s` after the first bind that can receive."""

    source: str
    destination: str
    text: str = ""
    octets: bytes | None = None  # the user data as it is, instead of a text; needs `data_coding`
    at_s: float = 0.0
    repeat: int = 1  # how many of them, one after another
    encoding: str = "auto"  # of the text: GSM or UCS2 as it needs, or one of ENCODINGS
    data_coding: int | None = None  # None: the encoding's own
    segmentation: str = "udh8"  # of what is longer than one SMS
    udh: bytes = b""  # further information elements, without a length octet: a national shift table is 24 01 xx
    esm_class: int = 0  # added to what the segmentation sets
    by: str = "deliver_sm"
    reverse: bool = False  # the last part first
    missing_part: int = 0  # this part never comes; 0: all come
    tlvs: tuple[ExtraTlv, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Raw:
    """Octets that are written to a connection as they are, `at_s` after it has bound."""

    octets: bytes
    at_s: float = 0.0
