"""A link without a socket, for tests of the pipeline: it holds submissions until the test says what became of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from carrier.contract import (
    Delivery,
    LinkListener,
    LinkState,
    LinkStats,
    Outcome,
    Request,
    RequestResult,
    Submission,
    SubmitResult,
)
from carrier.smpp.constants import CommandId
from carrier.smpp.pdu import DataSm, DeliverSm, Pdu


class FakeLink:
    """Implements `carrier.contract.Link`; every callback happens inside the call that causes it."""

    def __init__(self, listener: LinkListener, *, carrier: str = "acme", index: int = 0, window: int = 10) -> None:
        self._listener = listener
        self._carrier = carrier
        self._index = index
        self._window = window
        self.held: list[Submission] = []
        self.answers: list[tuple[object, int]] = []
        self.requests: list[Request] = []
        self.refused: set[CommandId] = set()
        self.rebinds: list[str] = []
        self.sink: Callable[[float, bool, bytes], None] | None = None
        self.state = LinkState.BOUND
        self.most_held = 0
        self.rate = 10_000.0
        self.writes = 1 << 30  # how many of those that it holds count as written
        self.withdrawn = 0
        self.on_submit: Callable[[Sequence[Submission]], None] = lambda batch: None
        self._tickets = 0
        self.connection = 1

    @property
    def carrier(self) -> str:
        """The carrier's name."""
        return self._carrier

    @property
    def name(self) -> str:
        """The link's name."""
        return f"{self._carrier}/{self._index}"

    @property
    def window(self) -> int:
        """The window."""
        return self._window

    @property
    def unanswered(self) -> int:
        """What it holds and has written."""
        return min(len(self.held), self.writes)

    @property
    def staged(self) -> int:
        """What it holds and has not written."""
        return len(self.held) - self.unanswered

    @property
    def pace(self) -> float:
        """As the test has set it."""
        return self.rate

    def withdraw(self) -> None:
        """Report what is not written."""
        self.withdrawn += 1
        written, staged = self.held[: self.unanswered], self.held[self.unanswered :]
        self.held = staged
        self.finish(len(staged), outcome=Outcome.NOT_WRITTEN)
        self.held = written

    def room(self, lane: int) -> int:
        """As much as two windows allow."""
        return 2 * self._window - len(self.held) if self.state is LinkState.BOUND else 0

    def submit(self, batch: Sequence[Submission]) -> None:
        """Keep the submissions."""
        self.on_submit(batch)
        self.held += batch
        self.most_held = max(self.most_held, len(self.held))

    def answer(self, answers: Sequence[tuple[object, int]]) -> None:
        """Note the answers."""
        self.answers += answers

    def request(self, batch: Sequence[Request]) -> None:
        """Keep the requests."""
        self.requests += batch

    def supports(self, command: CommandId) -> bool:
        """As the test has set `refused`."""
        return command not in self.refused

    def stats(self) -> LinkStats:
        """What a link has that has done nothing yet."""
        return LinkStats(
            binds=(), window=self._window, unanswered=len(self.held), staged=0, requests_waiting=len(self.requests),
            submitted=0, answered={}, in_doubt=0, late=0, deliveries=0, refused_deliveries=0, unmatched_responses=0,
            malformed=0, submitted_per_s=0.0, deliveries_per_s=0.0, round_trip_s=0.0, rate_pdus_s=1.0, slow_factor=1.0,
        )  # fmt: skip

    def tap(self, sink: Callable[[float, bool, bytes], None] | None) -> None:
        """Keep the sink: the test feeds it."""
        self.sink = sink

    def rebind(self, why: str) -> None:
        """Note why."""
        self.rebinds.append(why)

    async def run(self) -> None:
        """Nothing to run: the test moves it."""

    async def stop(self, grace_s: float) -> None:
        """Report what is held as in doubt."""
        self.lose()

    def finish(self, count: int, status: int = 0, outcome: Outcome = Outcome.ANSWERED) -> list[str]:
        """Give `count` submissions an outcome, in one batch; returns the ids given."""
        batch, self.held = self.held[:count], self.held[count:]
        ids = [f"{id(submission.key):x}-{submission.part}" if not status else "" for submission in batch]
        results = [
            SubmitResult(submission.key, submission.part, outcome, status, message_id)
            for submission, message_id in zip(batch, ids, strict=True)
        ]
        self._listener.on_results(self, results)
        return ids

    def finish_request(self, status: int = 0, pdu: Pdu | None = None, outcome: Outcome = Outcome.ANSWERED) -> None:
        """Give the oldest request its result."""
        request = self.requests.pop(0)
        self._listener.on_request_results(self, [RequestResult(request.key, outcome, status, pdu)])

    def answer_late(self, submission: Submission, message_id: str, status: int = 0) -> None:
        """Answer a submission that was in doubt."""
        result = SubmitResult(submission.key, submission.part, Outcome.ANSWERED, status, message_id)
        self._listener.on_late_results(self, [result])

    def lose(self) -> None:
        """The connection ends: everything written is in doubt."""
        self.state = LinkState.BACKOFF
        self._listener.on_state(self, self.state, "the peer closed the connection")
        if self.held:
            self.finish(len(self.held), outcome=Outcome.IN_DOUBT)

    def come_back(self) -> None:
        """The link is bound again, on a new connection."""
        self.connection += 1
        self.state = LinkState.BOUND
        self._listener.on_state(self, self.state, "bound")

    def deliver(self, *pdus: DeliverSm | DataSm) -> list[object]:
        """The carrier sends PDUs; returns their tickets."""
        tickets: list[object] = []
        for _ in pdus:
            self._tickets += 1
            tickets.append(self._tickets)
        self._listener.on_deliveries(
            self, [Delivery(ticket, self.connection, pdu) for ticket, pdu in zip(tickets, pdus, strict=True)]
        )
        return tickets
