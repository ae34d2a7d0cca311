"""What one read of a connection brought, sorted and handed on in batches: outcomes, requests' answers, deliveries.

Hot: each event costs a comparison or two and one tuple. What concerns the connection itself (it is bound, unbound,
failed) comes back to `carrier.connection`.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Protocol, cast

from carrier.congestion import Sign, sign_of
from carrier.contract import Delivery, Outcome, Request, RequestResult, Submission, SubmitResult
from carrier.meter import Meter
from carrier.requests import is_refusal, not_written, request_result
from carrier.smpp.constants import CommandId
from carrier.smpp.events import Event, InDoubt, LateAnswer, RequestAnswered, RequestReceived, SubmitAnswered
from carrier.smpp.pdu import DataSm, DeliverSm, command_id_of, printable
from carrier.smpp.session import Session
from carrier.staging import Staging

_ANSWERED = Outcome.ANSWERED
_tuple = tuple.__new__  # makes a named tuple in half the time that its class takes: each message has two here


class Sink(Protocol):
    """The link, which takes what its connections bring. None of these may raise."""

    def take_results(self, results: Sequence[SubmitResult]) -> None:
        """Submissions ended."""

    def take_late_results(self, results: Sequence[SubmitResult]) -> None:
        """Submissions that were IN_DOUBT have been answered after all."""

    def take_request_results(self, results: Sequence[RequestResult]) -> None:
        """Requests ended."""

    def take_refusal(self, command: CommandId) -> None:
        """The carrier does not take `command` at all."""

    def take_deliveries(self, deliveries: Sequence[Delivery]) -> None:
        """The carrier sent messages or receipts."""

    def take_errors(self, statuses: Sequence[int], round_trip_s: float) -> None:
        """Submissions were answered with these statuses, none of them 0."""

    def take_sign(self, sign: Sign, round_trip_s: float) -> None:
        """The carrier let us know how congested it is."""


class Sorter:
    """Sorts the events of one connection."""

    def __init__(
        self, session: Session, sink: Sink, *, owner: object, number: int, staging: Staging, meter: Meter
    ) -> None:
        """`owner`: the first half of a delivery's ticket. `number`: the connection's, in each delivery."""
        self._session = session
        self._sink = sink
        self._owner = owner
        self._number = number
        self._staging = staging
        self._meter = meter

    def sort(self, events: Iterable[Event], now: float) -> list[Event]:
        """Hand on what the link takes: answers before deliveries. Returns the rest."""
        results: list[SubmitResult] = []
        errors: list[int] = []
        deliveries: list[Delivery] = []
        rare: list[Event] = []
        in_doubt = 0
        owner, number, settled = self._owner, self._number, self._staging.settled
        for event in events:
            kind = type(event)
            if kind is SubmitAnswered:
                submission, status, message_id = cast("tuple[Submission, int, bytes]", event)
                settled(submission.lane)
                key, part = submission[:2]
                results.append(_tuple(SubmitResult, (key, part, _ANSWERED, status, printable(message_id))))
                if status:
                    errors.append(status)
            elif kind is RequestReceived:
                sequence, pdu = cast("tuple[int, DeliverSm | DataSm]", event)  # the state table lets no other in
                deliveries.append(_tuple(Delivery, ((owner, sequence), number, pdu)))
            elif kind is InDoubt and isinstance(event[0], Submission):
                settled(event[0].lane)
                results.append(_ended(event[0], Outcome.IN_DOUBT))
                in_doubt += 1
            else:
                rare.append(event)
        if errors:
            self._sink.take_errors(errors, self._session.round_trip_s)
        if results:
            self._meter.ended(answered=len(results) - in_doubt, errors=errors, in_doubt=in_doubt)
            self._sink.take_results(results)
        if rare:
            rare = self._sort_rare(rare)
        if deliveries:
            self._meter.received(len(deliveries), now)
            self._sink.take_deliveries(deliveries)
        return rare

    def heed_congestion(self, state: int) -> None:
        """Take a congestion_state."""
        sign = sign_of(state)
        if sign is not None:
            self._sink.take_sign(sign, self._session.round_trip_s)

    def report_late(self, submissions: Sequence[Submission]) -> None:
        """Report submissions whose time was over before they could be written."""
        self._sink.take_results([_ended(submission, Outcome.NOT_WRITTEN) for submission in submissions])

    def report_lost(self, tickets: Sequence[object]) -> None:
        """Report what the connection had taken: `tickets` were written, what is staged was not."""
        doubtful = [_ended(ticket, Outcome.IN_DOUBT) for ticket in tickets if isinstance(ticket, Submission)]
        requests = [request_result(ticket, Outcome.IN_DOUBT) for ticket in tickets if isinstance(ticket, Request)]
        requests += not_written(self._staging.withdraw_requests())
        unwritten = [_ended(submission, Outcome.NOT_WRITTEN) for submission in self._staging.clear()]
        if doubtful or unwritten:
            self._meter.ended(answered=0, errors=(), in_doubt=len(doubtful))
            self._sink.take_results(doubtful + unwritten)
        if requests:
            self._sink.take_request_results(requests)

    def _sort_rare(self, events: Iterable[Event]) -> list[Event]:
        requests: list[RequestResult] = []
        late: list[SubmitResult] = []
        rest: list[Event] = []
        for event in events:
            match event:
                case RequestAnswered():
                    requests.append(self._request_answered(event))
                case InDoubt(ticket) if isinstance(ticket, Request):
                    self._staging.request_settled()
                    requests.append(request_result(ticket, Outcome.IN_DOUBT))
                case LateAnswer():
                    late.append(self._answered_late(event))
                case _:
                    rest.append(event)
        if late:
            self._sink.take_late_results(late)
        if requests:
            self._sink.take_request_results(requests)
        return rest

    def _request_answered(self, event: RequestAnswered) -> RequestResult:
        request = cast(Request, event.ticket)
        self._staging.request_settled()
        if is_refusal(event.status, event.pdu):
            self._sink.take_refusal(command_id_of(request.pdu))
        return RequestResult(request.key, Outcome.ANSWERED, event.status, event.pdu)

    def _answered_late(self, event: LateAnswer) -> SubmitResult:
        self._meter.late += 1
        submission = cast(Submission, event.ticket)
        return SubmitResult(
            submission.key, submission.part, Outcome.ANSWERED, event.status, printable(event.message_id)
        )


def _ended(submission: Submission, outcome: Outcome) -> SubmitResult:
    return SubmitResult(submission.key, submission.part, outcome, 0, "")
