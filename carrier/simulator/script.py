"""What a simulated SMSC is told to do: plain frozen data. `carrier.simulator.script_file` reads it from YAML.

Every field has a default under which the SMSC is a good one: takes any credentials, answers at once, delivers
everything. Times in seconds; `every` counts from 1, so that `every: 3` means the third, the sixth, and so on.
"""

from __future__ import annotations

from dataclasses import dataclass

RECEIPT_FIELDS = ("id", "sub", "dlvrd", "submit", "done", "stat", "err", "text")
APPENDIX_B = "id:{id} sub:{sub} dlvrd:{dlvrd} submit date:{submit} done date:{done} stat:{stat} err:{err} text:{text}"
ID_FORMS = ("uuid", "hex", "decimal")
RECEIPT_ID_FORMS = ("same", "upper", "hex", "decimal")
RECEIPT_FORMS = ("both", "text", "tlv")


@dataclass(frozen=True, slots=True, kw_only=True)
class Match:
    """Which submit_sm a rule takes: those that all of its conditions fit. Empty conditions fit all."""

    every: int = 1
    destination_prefix: str = ""  # digits without "+"
    destination_suffix: str = ""
    text: str = ""  # contained in the part's text
    times: int = 0  # how often at most; 0: without end


@dataclass(frozen=True, slots=True, kw_only=True)
class ErrorRule:
    """Answer what `match` fits with `status`, and do not accept it."""

    match: Match
    status: int


@dataclass(frozen=True, slots=True, kw_only=True)
class StateRule:
    """Give what `match` fits a receipt with `state` and `error`."""

    match: Match
    state: str
    error: str = "000"


@dataclass(frozen=True, slots=True, kw_only=True)
class Responses:
    """How submit_sm are answered."""

    delay_s: float = 0.0
    none_every: int = 0  # accept every Nth, and never answer it; 0: answer all


@dataclass(frozen=True, slots=True, kw_only=True)
class Receipts:
    """Which receipts follow, to those who asked for one."""

    send: bool = True
    delay_s: float = 0.0
    states: tuple[str, ...] = ("DELIVRD",)  # taken in turn where no rule fits
    rules: tuple[StateRule, ...] = ()  # the first that fits counts
    before_response: bool = False  # the receipt is written before the submit_sm_resp
    duplicates: int = 0  # how often each is repeated
    form: str = "both"  # text, TLVs, or both
    ids: str = "same"  # or in capital letters (upper), or the same number written in hex or decimal
    template: str = APPENDIX_B
    window: int = 100  # unanswered deliver_sm on a connection, at most
    redeliver_after_s: float = 30.0  # no deliver_sm_resp by then: deliver again


@dataclass(frozen=True, slots=True, kw_only=True)
class Throttle:
    """Answer what comes faster than `rate_s` a second, beyond a burst of one second, with `status`."""

    rate_s: float
    status: int


@dataclass(frozen=True, slots=True, kw_only=True)
class InboundScript:
    """A message from a handset, `at_s` after the first bind that can receive."""

    source: str
    destination: str
    text: str
    at_s: float = 0.0
    repeat: int = 1  # how many of them, one after another


@dataclass(frozen=True, slots=True, kw_only=True)
class Script:
    """All that a simulated SMSC is told."""

    system_id: str | None = None  # None: any
    password: str | None = None  # None: any
    message_ids: str = "uuid"
    responses: Responses = Responses()
    receipts: Receipts = Receipts()
    errors: tuple[ErrorRule, ...] = ()
    throttle: Throttle | None = None
    disconnect_after: int = 0  # cut a connection at its Nth submit_sm, unanswered; 0: never
    inbound: tuple[InboundScript, ...] = ()
