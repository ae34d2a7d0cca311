"""What crosses the border between a carrier link and whoever drives it (the gateway's pipeline, a test, a probe).

The link owns the connection, the window and the pace; it holds no durable state and decides no retry. It reports each
PDU's outcome exactly once. All calls and callbacks happen in one event loop; callbacks carry batches: everything that
one read from the socket brought.
"""

from __future__ import annotations

import enum
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

from carrier.smpp.constants import CommandId
from carrier.smpp.pdu import CancelSm, DataSm, DeliverSm, Pdu, QuerySm, ReplaceSm


class LinkState(enum.Enum):
    """Where a link stands; of a pair, its transmitter."""

    CONNECTING = "connecting"
    BOUND = "bound"
    UNBINDING = "unbinding"  # answers are awaited, nothing new is sent
    BACKOFF = "backoff"  # waits before it connects again
    STOPPED = "stopped"


class Submission(NamedTuple):
    """One submit_sm to send (hot: one per segment)."""

    key: object  # the driver's own; comes back with the outcome
    part: int  # 0-based
    body: bytes  # an encoded submit_sm body (`carrier.smpp.pdu.encode_submit_sm`); the link adds the header
    lane: int  # 1 goes before 2 goes before 3; a fifth of window and pace is kept for 1
    write_by: float = (
        math.inf
    )  # of a message's first part, on the link's clock: later it is not written, nor the others


class Outcome(enum.Enum):
    """How a submission ended."""

    ANSWERED = 1  # a response came: see `status`
    NOT_WRITTEN = 2  # the link went down, or its time was over, before any of its octets were handed to the socket
    IN_DOUBT = 3  # written, and the link was lost, or no response came in time


class SubmitResult(NamedTuple):
    """The outcome of one Submission."""

    key: object
    part: int
    outcome: Outcome
    status: int  # command_status of the response; 0 (ESME_ROK) is success
    message_id: str  # the carrier's id as it wrote it, from a successful response; control characters escaped


@dataclass(frozen=True, slots=True, kw_only=True)
class BindStats:
    """One bind of a link: its only one, or the transmitter or receiver of a pair."""

    role: str  # transceiver, transmitter or receiver
    where: str  # host:port
    secured: bool  # by TLS; otherwise everything on it can be read by others
    state: LinkState
    why: str  # for people; holds no secret
    connections: int  # so far
    bound_for_s: float | None
    stated_version: int | None  # sc_interface_version as the carrier sent it: 0x34 is SMPP 3.4; None: it sent none


@dataclass(frozen=True, slots=True, kw_only=True)
class LinkStats:
    """A link at one moment. Counts are since it was made; rates over the last ten seconds."""

    binds: tuple[BindStats, ...]
    window: int
    unanswered: int
    staged: int
    requests_waiting: int
    submitted: int  # submit_sm written
    answered: Mapping[int, int]  # by command_status; the key -1 holds the statuses beyond the first 64
    in_doubt: int
    late: int  # answered after they had been in doubt
    deliveries: int
    refused_deliveries: int  # beyond max_inbound_rate, or too many without our answer: the carrier delivers again
    unmatched_responses: int  # late, duplicate, or to nothing that was asked
    malformed: int
    submitted_per_s: float
    deliveries_per_s: float
    round_trip_s: float  # smoothed; 0 before the first
    rate_pdus_s: float  # what the account may send now, all its binds together
    slow_factor: float  # the part of the configured rate that this is: below 1 while the carrier is congested


class Request(NamedTuple):
    """One request about a message that has left, or a data_sm."""

    key: object  # the driver's own; comes back with the result
    pdu: QuerySm | CancelSm | ReplaceSm | DataSm


class RequestResult(NamedTuple):
    """How one Request ended.

    ANSWERED by the link itself, without a PDU on the wire, are a request that the carrier is known not to take
    (ESME_RINVCMDID; see `Link.supports`) and one that no PDU can hold (ESME_RINVPARLEN: a message id of more than 64
    octets, say).
    """

    key: object
    outcome: Outcome
    status: int  # command_status of the response, or of the generic_nack
    pdu: Pdu | None  # the decoded response; None where it had no usable body, or none came


class Delivery(NamedTuple):
    """A deliver_sm or data_sm from the carrier. Answer it, once its effect is durable, with `Link.answer`."""

    ticket: object  # the link's own: names this PDU on this connection
    connection: int  # counts the link's connections: a PDU that comes again on another one may be a redelivery
    pdu: DeliverSm | DataSm


class LinkListener(Protocol):
    """What a link tells its driver."""

    # Each submission is reported once to `on_results`; one that was IN_DOUBT for want of an answer may come once more,
    # to `on_late_results`, if the answer comes after all on the same connection (of the latest such, two windows' worth
    # or a hundred are remembered).

    def on_state(self, link: Link, state: LinkState, why: str) -> None:
        """The link changed state, or of a pair one bind did; `why` is for people and holds no secret."""

    def on_results(self, link: Link, results: Sequence[SubmitResult]) -> None:
        """Submissions ended."""

    def on_late_results(self, link: Link, results: Sequence[SubmitResult]) -> None:
        """Submissions that were IN_DOUBT have been ANSWERED after all."""

    def on_request_results(self, link: Link, results: Sequence[RequestResult]) -> None:
        """Requests ended."""

    def on_deliveries(self, link: Link, deliveries: Sequence[Delivery]) -> None:
        """The carrier sent receipts or inbound messages. Unanswered ones are bounded by the link."""

    def on_room(self, link: Link) -> None:
        """The link can take more than before: it came up, or answers made room."""


class Link(Protocol):
    """One bind to one carrier, or a pair of transmitter and receiver."""

    @property
    def carrier(self) -> str:
        """The name of the carrier's profile."""

    @property
    def name(self) -> str:
        """Carrier and number of the bind: `acme/0`."""

    @property
    def state(self) -> LinkState:
        """Where the link stands."""

    @property
    def window(self) -> int:
        """Unanswered submit_sm and requests at most."""

    @property
    def unanswered(self) -> int:
        """submit_sm and requests written and not answered."""

    @property
    def staged(self) -> int:
        """Submissions taken and not written yet."""

    @property
    def pace(self) -> float:
        """PDUs a second that may go now, on all binds of the account together."""

    def room(self, lane: int) -> int:
        """Return how many submissions of `lane` would be taken now: staged and unanswered together stay within two
        windows, of which a fifth is kept for lane 1. 0 unless BOUND."""

    def submit(self, batch: Sequence[Submission]) -> None:
        """Take submissions, lane 1 first, and write them as window and pace allow. Never refuses when BOUND (the driver
        asks `room` before); otherwise each comes back NOT_WRITTEN through `on_results`, in a later loop turn."""

    def request(self, batch: Sequence[Request]) -> None:
        """Take requests: they count in window and pace, and go when no submission is due; while submissions are always
        due, one goes for every sixteen of them. Outside BOUND, and beyond a bound on those that wait, each comes back
        NOT_WRITTEN through `on_request_results`, in a later loop turn."""

    def supports(self, command: CommandId) -> bool:
        """Say whether the carrier is not known to refuse `command` (query_sm, cancel_sm, replace_sm, data_sm) as one
        that it does not take: learned from its answers on this link, and kept over reconnects."""

    def withdraw(self) -> None:
        """Give back what is staged: each comes back NOT_WRITTEN through `on_results`, in a later loop turn."""

    def answer(self, answers: Sequence[tuple[object, int]]) -> None:
        """Answer deliveries: (ticket, command_status). A ticket of a lost connection is ignored: the carrier will
        deliver again."""

    def stats(self) -> LinkStats:
        """Return how the link stands and what it has done. Cheap, and of use to people: nothing decides by it."""

    def rebind(self, why: str) -> None:
        """Leave in good order (what is staged comes back NOT_WRITTEN, answers are awaited for a few seconds), and bind
        again. Does nothing while it is not bound."""

    def tap(self, sink: Callable[[float, bool, bytes], None] | None) -> None:
        """Give `sink` each PDU from now on, on this connection and later ones: Unix time in seconds, whether we sent
        it, its octets as on the wire (see `carrier.redaction`). None ends it. One sink at a time: the last counts."""

    async def run(self) -> None:
        """Connect, bind, serve, and connect again with jittered backoff, until `stop` is called or it is cancelled."""

    async def stop(self, grace_s: float) -> None:
        """Stop taking, wait up to `grace_s` for answers, unbind, close; what is left is reported."""
