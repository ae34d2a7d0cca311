"""The session under reorder, loss, duplication, hostile octets and time, held against a model by Hypothesis."""

from __future__ import annotations

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from carrier.smpp.constants import SEQUENCE_MAX, CommandId
from carrier.smpp.events import (
    Event,
    Failed,
    InDoubt,
    LateAnswer,
    RequestAnswered,
    RequestReceived,
    SubmitAnswered,
    Unbound,
)
from carrier.smpp.messages import (
    BindTransceiver,
    BindTransceiverResp,
    EnquireLink,
    QuerySm,
    QuerySmResp,
    SubmitSm,
    SubmitSmResp,
    Unbind,
)
from carrier.smpp.pdu import HEADER, encode, encode_body
from carrier.smpp.session import Session, SessionConfig

WINDOW, MAX_INCOMING, TIMEOUT_S, RATE = 4, 3, 10, 2
BODY = encode_body(SubmitSm(short_message=b"x"))
HOSTILE = st.builds(
    lambda command, status, sequence, body: HEADER.pack(16 + len(body), command, status, sequence) + body,
    st.one_of(st.sampled_from([int(c) for c in CommandId if c != CommandId.UNBIND]), st.integers(0, 0xFFFFFFFF)),
    st.sampled_from([0, 1, 0x58]),
    st.one_of(st.integers(0, 12), st.just(0xFFFFFFFF)),
    st.binary(max_size=30),
)


class SessionMachine(RuleBasedStateMachine):
    """The model: what was written on the wire, what was answered, what each ticket came to."""

    @initialize(first=st.sampled_from([1, SEQUENCE_MAX - 2]), count=st.integers(0, WINDOW))
    def connect(self, first: int, count: int) -> None:
        """Bind a session, near the wrap of its numbers or not, and send the first submit_sm."""
        config = SessionConfig(
            window=WINDOW, response_timeout_s=TIMEOUT_S, enquire_link_s=7, max_incoming=MAX_INCOMING,
            max_inbound_rate=RATE, max_pdu_bytes=1024,
        )  # fmt: skip
        self.now = 0.0
        self.session = Session(config, now=self.now, first_sequence=first)
        self.session.bind(BindTransceiver(b"u", b"p"), self.now)
        ((_, _, sequence),) = self.drain()
        self.tickets = 0
        self.open: dict[int, int] = {}  # on the wire, not settled: sequence to ticket
        self.submitted_at: dict[int, float] = {}
        self.settled: set[int] = set()
        self.late: set[object] = set()
        self.queries: set[int] = set()  # tickets of query_sm
        self.given_up: dict[int, int] = {}  # not answered in time: sequence to ticket
        self.wraps = first > 1
        self.taken = 0  # requests of the peer
        self.answered: list[int] = []  # sequences that the peer has answered once
        self.waiting: list[int] = []  # deliveries that the driver has not answered
        self.over = False
        self.read(encode(BindTransceiverResp(b"s"), sequence))
        self.submit_some(count)

    def drain(self) -> list[tuple[int, int, int]]:
        """Take the octets to send as (command_id, status, sequence); they must be whole frames."""
        octets, found = self.session.bytes_to_send(), []
        while octets:
            length, command_id, status, sequence = HEADER.unpack_from(octets)
            assert 16 <= length <= len(octets)
            found.append((command_id, status, sequence))
            octets = octets[length:]
        return found

    def read(self, data: bytes) -> None:
        """Feed octets, and check what comes of them."""
        self.check(self.session.receive_data(data, self.now))

    def check(self, events: list[Event]) -> None:
        """Each ticket settles once, and only if it was open."""
        requests_seen = False
        for event in events:
            match event:
                case SubmitAnswered(ticket) | RequestAnswered(ticket):
                    assert not requests_seen, "an answer came after a request of the same read"
                    assert isinstance(event, RequestAnswered) == (ticket in self.queries)
                    self.settle(ticket)
                case InDoubt(ticket):
                    assert isinstance(ticket, int)
                    assert self.submitted_at[ticket] + TIMEOUT_S <= self.now, "given up too early"
                    self.given_up |= {
                        sequence: ticket for sequence, open_ticket in self.open.items() if open_ticket == ticket
                    }
                    self.settle(ticket)
                case LateAnswer(ticket):
                    assert ticket in self.settled, "an answer is late that was not given up"
                    assert ticket not in self.queries, "only a submit_sm is remembered"
                    assert ticket not in self.late, "a late answer was told twice"
                    self.late.add(ticket)
                case RequestReceived(sequence):
                    requests_seen = True
                    self.taken += 1
                    assert self.taken <= RATE * (1 + self.now), "more than the rate and a second's worth"
                    assert sequence not in self.waiting
                    self.waiting.append(sequence)
                case Failed() | Unbound():
                    self.over = True
                case _:
                    pass

    def settle(self, ticket: object) -> None:
        assert isinstance(ticket, int)
        assert ticket not in self.settled
        self.settled.add(ticket)
        self.open = {sequence: open_ticket for sequence, open_ticket in self.open.items() if open_ticket != ticket}

    @precondition(lambda self: not self.over and self.session.room)
    @rule(count=st.integers(1, WINDOW))
    def submit(self, count: int) -> None:
        """Fill part of the window."""
        self.submit_some(count)

    def submit_some(self, count: int) -> None:
        """Submit what has room; every number on the wire is fresh and legal."""
        for _ in range(min(count, self.session.room)):
            self.tickets += 1
            self.submitted_at[self.tickets] = self.now
            self.session.submit(BODY, self.tickets, self.now)
            for command_id, _, sequence in self.drain():
                if command_id == CommandId.SUBMIT_SM:
                    assert 1 <= sequence <= SEQUENCE_MAX
                    assert sequence not in self.open
                    self.open[sequence] = self.tickets

    @precondition(lambda self: not self.over and self.session.room)
    @rule()
    def query(self) -> None:
        """Ask about a message: it takes a place of the window, and a number, as a submit_sm does."""
        self.tickets += 1
        self.queries.add(self.tickets)
        self.submitted_at[self.tickets] = self.now
        self.session.request(QuerySm(b"id"), self.tickets, self.now)
        for command_id, _, sequence in self.drain():
            if command_id == CommandId.QUERY_SM:
                assert sequence not in self.open
                self.open[sequence] = self.tickets

    @precondition(lambda self: self.open)
    @rule()
    def numbers_come_round(self) -> None:
        """Two thousand million requests later, the next number is one that is still in flight."""
        self.session._sequence = min(self.open)

    @precondition(lambda self: self.open)
    @rule(data=st.data(), status=st.sampled_from([0, 0x58]), copies=st.integers(1, 3))
    def answer_any(self, data: st.DataObject, status: int, copies: int) -> None:
        """Answer any open request, in any order, once or more often."""
        sequence = data.draw(st.sampled_from(sorted(self.open)))
        ticket = self.open[sequence]
        self.answered.append(sequence)
        kind = QuerySmResp if ticket in self.queries else SubmitSmResp
        self.read(encode(kind(b"" if status else b"id"), sequence, status) * copies)
        assert self.over or ticket in self.settled

    @precondition(lambda self: not self.over and bool(set(self.given_up) - set(self.open)))
    @rule(data=st.data())
    def answer_late(self, data: st.DataObject) -> None:
        """Answer what was given up, twice: a submit_sm's answer is told once as late, a query's not at all; after the
        numbers have wrapped, neither."""
        sequence = data.draw(st.sampled_from(sorted(set(self.given_up) - set(self.open))))
        ticket = self.given_up.pop(sequence)
        kind = QuerySmResp if ticket in self.queries else SubmitSmResp
        self.read(encode(kind(b"late"), sequence) * 2)
        assert self.wraps or (ticket in self.late) == (ticket not in self.queries)

    @precondition(lambda self: self.answered)
    @rule(data=st.data())
    def answer_again(self, data: st.DataObject) -> None:
        """Repeat an old answer: it settles nothing unless its number is in use again. After the peer's unbind, what it
        had on its way may still settle something."""
        sequence = data.draw(st.sampled_from(self.answered))
        before = set(self.settled)
        meant = {self.open[sequence]} - self.queries if sequence in self.open else set()
        self.read(encode(SubmitSmResp(b"old"), sequence))
        settled = self.settled - before
        assert settled <= meant if self.over else settled == meant

    @rule(sequence=st.integers(0, 6), with_answer=st.booleans())
    def deliver(self, sequence: int, with_answer: bool) -> None:
        """Deliver, behind an answer or alone; the driver is never asked twice for one number."""
        answers = b""
        if with_answer and self.open:
            answers = encode(SubmitSmResp(b"id"), min(self.open))
        self.read(HEADER.pack(33, CommandId.DELIVER_SM, 0, sequence) + bytes(17) + answers)

    @precondition(lambda self: self.waiting)
    @rule(data=st.data())
    def answer_delivery(self, data: st.DataObject) -> None:
        """Answer a delivery: it leaves once, unless the session is over."""
        sequence = data.draw(st.sampled_from(self.waiting))
        self.waiting.remove(sequence)
        self.drain()
        assert self.session.answer(sequence, 0)
        assert len(self.drain()) == (0 if self.session.state.value == "unbound" else 1)
        assert not self.session.answer(sequence, 0)

    @rule(frame=HOSTILE)
    def hostile_frame(self, frame: bytes) -> None:
        """Any sound frame: whatever it is, nothing raises."""
        self.read(frame)

    @rule(frame=HOSTILE, cut=st.integers(0, 40))
    def split_frame(self, frame: bytes, cut: int) -> None:
        """A frame in two reads."""
        self.read(frame[:cut])
        self.read(frame[cut:])

    @rule(seconds=st.sampled_from([0.0, 1.0, 4.0, 7.5, 11.0]), alive=st.booleans())
    def time_passes(self, seconds: float, alive: bool) -> None:
        """Let time pass, with a sign of life of the peer at its end or without: what is due happens, and afterwards no
        deadline lies in the past."""
        self.now += seconds
        if alive:
            self.read(encode(EnquireLink(), 77))
        self.check(self.session.handle_timeout(self.now))
        for _ in range(3):  # a long silence asks once per call
            if (self.session.next_deadline() or self.now + 1) <= self.now:
                self.check(self.session.handle_timeout(self.now))
        assert self.over or all(self.submitted_at[n] + TIMEOUT_S > self.now for n in self.open.values())
        deadline = self.session.next_deadline()
        assert self.over or (deadline is not None and deadline > self.now)

    @precondition(lambda self: self.tickets > 5)
    @rule(kind=st.sampled_from(["bad length", "unbind"]))
    def peer_ends(self, kind: str) -> None:
        """The peer breaks the framing or unbinds."""
        self.read(b"\xff" * 4 if kind == "bad length" else encode(Unbind(), 9))
        assert self.over

    @invariant()
    def bounds_hold(self) -> None:
        """The window, the deliveries and the model agree at every moment."""
        if hasattr(self, "session"):
            assert self.session.in_flight == len(self.open) <= WINDOW
            assert self.session.unanswered_incoming == len(self.waiting) <= MAX_INCOMING
            self.drain()

    def teardown(self) -> None:
        """When the connection is lost, exactly the open tickets are in doubt."""
        if hasattr(self, "session"):
            for ticket in self.session.lost():
                self.settle(ticket)
            assert self.settled == set(range(1, self.tickets + 1))
            assert not self.open


SessionMachine.TestCase.settings = settings(
    max_examples=150, stateful_step_count=40, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
TestSession = SessionMachine.TestCase
