"""The part of a script about sessions and requests: binds, answers, limits, and which operations there are. Plain data.

Times in seconds. Every default is a carrier without quirks.
"""

from __future__ import annotations

from dataclasses import dataclass

from carrier.smpp.constants import VERSION_34, CommandId, Status

REQUESTS = (
    "bind_transmitter", "bind_receiver", "bind_transceiver", "submit_sm", "submit_multi", "data_sm", "query_sm",
    "cancel_sm", "replace_sm", "enquire_link", "unbind",
)  # fmt: skip
ANSWERS = ("nothing", "twice", "generic_nack", "generic_nack_0", "bad_length", "other_kind")
RESPONSE_BODIES = ("full", "empty", "absent", "unterminated")
ERROR_BODIES = ("absent", "empty", "tlv")
BIND_KINDS = ("transmitter", "receiver", "transceiver")
OPERATION_ANSWERS = ("nack", "fail", "answer")
ALPHABETS = ("gsm", "latin1", "ascii", "packed")

REQUEST_IDS = {name: int(CommandId[name.upper()]) for name in REQUESTS}


@dataclass(frozen=True, slots=True, kw_only=True)
class Match:
    """Which submit_sm a rule takes: those that all of its conditions fit. Empty conditions fit all."""

    every: int = 1
    destination_prefix: str = ""  # digits without "+"
    destination_suffix: str = ""
    text: str = ""  # contained in the part's text
    times: int = 0  # how often at most; 0: without end


@dataclass(frozen=True, slots=True, kw_only=True)
class ExtraTlv:
    """A TLV that is put into a PDU as it is: unknown, misplaced, or of a wrong length."""

    tag: int
    value: bytes = b""


@dataclass(frozen=True, slots=True, kw_only=True)
class ErrorRule:
    """Answer what `match` fits with `status`, and do not accept it."""

    match: Match
    status: int
    accepted: bool = False  # take it all the same: a carrier that sends what it says to have refused


@dataclass(frozen=True, slots=True, kw_only=True)
class OddAnswer:
    """Answer the requests `to` (a name of SMPP, or "any" but a bind) in an odd way instead of the proper one."""

    to: str
    answer: str  # one of ANSWERS
    status: int = int(Status.ESME_RINVCMDID)  # of a generic_nack
    every: int = 1
    times: int = 0  # how often at most; 0: without end


@dataclass(frozen=True, slots=True, kw_only=True)
class Binds:
    """Which binds are taken, and what their response says."""

    kinds: tuple[str, ...] = BIND_KINDS  # others are refused with ESME_RINVCMDID's nack, as carriers do
    most: int = 0  # at the same time; 0: without end
    status: int = int(Status.ESME_RALYBND)  # of the refusal of one more
    interface_version: int | None = VERSION_34  # None: the response has no sc_interface_version
    tlvs: tuple[ExtraTlv, ...] = ()
    longest_password: int = 0  # octets; a longer one is refused with ESME_RINVPASWD. 0: any


@dataclass(frozen=True, slots=True, kw_only=True)
class Responses:
    """How submit_sm are answered."""

    delay_s: float = 0.0
    none_every: int = 0  # accept every Nth, and never answer it; 0: answer all
    late_every: int = 0  # answer every Nth `late_s` later than the others; 0: none
    late_s: float = 0.0
    swap_s: float = 0.0  # every odd one comes so much later, so that pairs come in the wrong order
    body: str = "full"  # of a success: full, empty (an empty id), absent, unterminated (an id without its NUL)
    error_body: str = "absent"  # of an error: absent, empty (an empty id), tlv (additional_status_info_text)
    congestion: tuple[int, ...] = ()  # congestion_state, one for each response, the last one for all others
    tlvs: tuple[ExtraTlv, ...] = ()
    trailing: bytes = b""  # octets after the last TLV that are no whole one


@dataclass(frozen=True, slots=True, kw_only=True)
class Throttle:
    """Answer what comes faster than `rate_s` PDUs a second, beyond a burst of `burst_s` seconds, with `status`.

    Counts submit_sm, not messages, over all binds together.
    """

    rate_s: float
    status: int
    burst_s: float = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Window:
    """Answer a submit_sm beyond `most` unanswered ones on its connection with `status`, at once."""

    most: int
    status: int = int(Status.ESME_RTHROTTLED)


@dataclass(frozen=True, slots=True, kw_only=True)
class RequiredTlv:
    """Refuse a submit_sm that has no TLV `tag`, or one that is too short or too long."""

    tag: int
    missing: int = int(Status.ESME_RMISSINGOPTPARAM)  # 0xC3
    invalid: int = int(Status.ESME_RINVOPTPARAMVAL)  # 0xC4
    shortest: int = 0  # octets
    longest: int = 65_535
    digits: bool = False  # it may hold digits only, before a NUL


@dataclass(frozen=True, slots=True, kw_only=True)
class Operations:
    """What is done with other requests: "nack" (unknown), "fail" (its own error), "answer" (done, with real states)."""

    query: str = "fail"
    cancel: str = "fail"
    replace: str = "nack"
    data: str = "nack"
    multi: str = "nack"
