"""What a simulated SMSC is told to do: plain frozen data. `carrier.simulator.script_file` reads it from YAML.

Every field has a default under which the SMSC is a good one: takes any credentials, answers at once, delivers
everything. Times in seconds; `every` counts from 1, so that `every: 3` means the third, the sixth, and so on.
docs/carriers.md says which field plays which row of the table of quirks.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from carrier.simulator.script_deliveries import InboundScript, Raw, Receipts, ReceiptVariant, StateRule
from carrier.simulator.script_flow import (
    Binds,
    ErrorRule,
    ExtraTlv,
    Match,
    OddAnswer,
    Operations,
    RequiredTlv,
    Responses,
    Throttle,
    Window,
)

__all__ = [
    "Binds", "ErrorRule", "ExtraTlv", "InboundScript", "Match", "OddAnswer", "Operations", "Raw", "ReceiptVariant",
    "Receipts", "RequiredTlv", "Responses", "Script", "StateRule", "Throttle", "Window",
]  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Script:
    """All that a simulated SMSC is told."""

    system_id: str | None = None  # None: any
    password: str | None = None  # None: any
    binds: Binds = field(default_factory=Binds)
    message_ids: str = "uuid"  # how ids are written in submit_sm_resp
    first_id: int = 0  # ids count up from here; 0: from a number that differs from run to run
    alphabet: str = "gsm"  # what data_coding 0 means here: gsm, latin1, ascii, packed
    responses: Responses = field(default_factory=Responses)
    answers: tuple[OddAnswer, ...] = ()  # the first that fits counts
    receipts: Receipts = field(default_factory=Receipts)
    errors: tuple[ErrorRule, ...] = ()
    throttle: Throttle | None = None
    window: Window | None = None
    required_tlvs: tuple[RequiredTlv, ...] = ()
    refuse_udhi_with_sar: bool = False  # ESME_RINVESMCLASS for a part that has both
    operations: Operations = field(default_factory=Operations)
    enquire_link_s: float = 0.0  # ask each bound peer that often; 0: never
    disconnect_after: int = 0  # cut a connection at its Nth submit_sm, unanswered; 0: never
    inbound: tuple[InboundScript, ...] = ()
    raw: tuple[Raw, ...] = ()
