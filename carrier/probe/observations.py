"""What a probe has seen of a carrier: plain data, in the order in which it was seen. No conclusions."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

from carrier.smpp.pdu import DataSm, DeliverSm


class Answered(NamedTuple):
    """The answer to one submit_sm."""

    status: int | None  # None: no answer in time
    message_id: str
    after_s: float  # from its writing; the whole time of waiting where none came
    unanswered: int  # submit_sm without an answer when it was written, itself among them


class Told(NamedTuple):
    """A deliver_sm or data_sm that came."""

    pdu: DeliverSm | DataSm
    at: float  # monotonic seconds
    wall: float  # Unix seconds


class Exchange(NamedTuple):
    """One message that was sent alone: its answer, and all that came until the next one."""

    octets: bytes
    sent_at: float  # monotonic seconds
    answer: Answered
    told: tuple[Told, ...]


class Asked(NamedTuple):
    """The answer to another request."""

    status: int | None  # None: no answer in time
    nacked: bool  # answered by a generic_nack


@dataclass(slots=True)
class Observations:
    """All of it. Empty where nothing was tried."""

    pair: bool = False  # a transceiver was refused, transmitter and receiver were taken
    transceiver_status: int = 0  # what the transceiver was refused with
    interface_version: int | None = None  # sc_interface_version of the bind response
    tls_version: str = ""  # "TLSv1.3"; empty for plain text
    single: list[Exchange] = field(default_factory=list)  # of ASCII letters that every alphabet has
    alphabet: list[Exchange] = field(default_factory=list)  # of octets that alphabets differ in
    parts: list[Answered] = field(default_factory=list)  # of one long message
    parts_told: list[Told] = field(default_factory=list)
    one_by_one: list[list[Answered]] = field(default_factory=list)  # runs, each as fast as answers came
    one_by_one_s: list[float] = field(default_factory=list)  # how long each run took
    at_once: list[Answered] = field(default_factory=list)  # a burst, in the order of its writing
    queried: Asked | None = None
    cancelled: Asked | None = None
    replaced: Asked | None = None
    binds: int = 0  # that were held at the same time
    bind_refused: int = 0  # what one more was refused with; 0: none was
    sent: int = 0  # submit_sm written
