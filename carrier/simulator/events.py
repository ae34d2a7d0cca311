"""What a simulated SMSC counts and tells: plain data."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from carrier.errors import CarrierError
from carrier.simulator.arrival import Received
from carrier.smpp.pdu import Pdu


class SimulatorFull(CarrierError):
    """More is waiting to be delivered than a simulator holds."""


@dataclass(slots=True)
class Counts:
    """What has happened so far."""

    connections: int = 0
    binds: int = 0
    most_bound: int = 0  # connections at the same time
    submits: int = 0
    accepted: int = 0
    messages: int = 0  # complete ones
    refused: int = 0
    unanswered: int = 0  # accepted, and left without a response on purpose
    receipts: int = 0  # written, again and again counted
    receipts_answered: int = 0
    inbound: int = 0
    inbound_answered: int = 0
    deliveries_refused: int = 0
    deliveries_repeated: int = 0
    nacks: int = 0  # generic_nack that came in
    most_unanswered: int = 0  # submit_sm on one connection, at the same time


class Happened(NamedTuple):
    """Something else: `name` is static, `detail` for people."""

    name: str
    detail: str


class Seen(NamedTuple):
    """One PDU that came in, submit_sm aside."""

    at: float  # monotonic seconds
    connection: str
    command: str
    status: int
    sequence: int
    pdu: Pdu


Event = Received | Happened
