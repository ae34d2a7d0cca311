"""What crosses the border between a carrier link and whoever drives it (the gateway's pipeline, a test, a probe).

The link owns the connection, the window and the pace; it holds no durable state and decides no retry. It reports each
PDU's outcome exactly once. All calls and callbacks happen in one event loop; callbacks carry batches: everything that
one read from the socket brought.
"""

from __future__ import annotations

import enum
from collections.abc import Sequence
from typing import NamedTuple, Protocol

from carrier.smpp.constants import CommandId
from carrier.smpp.pdu import CancelSm, DataSm, DeliverSm, Pdu, QuerySm, ReplaceSm


class LinkState(enum.Enum):
    """Where a link stands."""

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


class Outcome(enum.Enum):
    """How a submission ended."""

    ANSWERED = 1  # a response came: see `status`
    NOT_WRITTEN = 2  # the link went down before any of its octets were handed to the socket: safe to send again
    IN_DOUBT = 3  # written, and the link was lost, or no response came in time


class SubmitResult(NamedTuple):
    """The outcome of one Submission."""

    key: object
    part: int
    outcome: Outcome
    status: int  # command_status of the response; 0 (ESME_ROK) is success
    message_id: str  # the carrier's id as it wrote it, from a successful response; control characters escaped


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

    def on_state(self, link: Link, state: LinkState, why: str) -> None:
        """The link changed state; `why` is for people and holds no secret."""

    def on_results(self, link: Link, results: Sequence[SubmitResult]) -> None:
        """Submissions ended."""

    def on_request_results(self, link: Link, results: Sequence[RequestResult]) -> None:
        """Requests ended."""

    def on_deliveries(self, link: Link, deliveries: Sequence[Delivery]) -> None:
        """The carrier sent receipts or inbound messages. Unanswered ones are bounded by the link."""

    def on_room(self, link: Link) -> None:
        """The link can take more than before: it came up, or answers made room."""


class Link(Protocol):
    """One bind to one carrier."""

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

    def answer(self, answers: Sequence[tuple[object, int]]) -> None:
        """Answer deliveries: (ticket, command_status). A ticket of a lost connection is ignored: the carrier will
        deliver again."""

    async def run(self) -> None:
        """Connect, bind, serve, and connect again with jittered backoff, until `stop` is called or it is cancelled."""

    async def stop(self, grace_s: float) -> None:
        """Stop taking, wait up to `grace_s` for answers, unbind, close; what is left is reported."""
