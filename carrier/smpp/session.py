"""One SMPP 3.4 session as bytes in, events and bytes out (§2.2 to §2.10): states, sequence numbers, window, timers.

Serves both ends. Time is an argument: `now` is monotonic seconds and never goes back. The driver feeds `receive_data`,
calls `handle_timeout` when `next_deadline` has come, writes `bytes_to_send` after each call, and calls `lost` once when
the connection ends. Which PDU may pass when is a table: `carrier.smpp.states`.

What is bounded: the frame (`max_pdu_bytes`), our unanswered requests (`window`), the peer's requests that the driver
has not answered (`max_incoming`, `max_incoming_bytes`), how many of them come in a second (`max_inbound_rate`). What is
beyond is answered at once with a temporary error. To stop reading instead would hold up the responses behind it, and
turn them into false timeouts.
"""

from __future__ import annotations

from collections.abc import Sequence

from carrier.errors import LocalSessionError, RecoverablePduError
from carrier.smpp.bounds import GivenUp, SessionConfig, SessionCounts
from carrier.smpp.constants import HEADER_BYTES, RESPONSE_BIT, SEQUENCE_MAX, CommandId, Status, Tag, command_name
from carrier.smpp.events import (
    BindRejected,
    Bound,
    Event,
    Failed,
    InDoubt,
    LateAnswer,
    Nacked,
    RequestAnswered,
    SubmitAnswered,
    Unbound,
)
from carrier.smpp.frames import FrameSplitter
from carrier.smpp.incoming import UNANSWERABLE, Incoming
from carrier.smpp.liveness import UNANSWERED, Liveness
from carrier.smpp.pdu import (
    HEADER,
    BindReceiver,
    BindReceiverResp,
    BindTransceiver,
    BindTransceiverResp,
    BindTransmitter,
    BindTransmitterResp,
    GenericNack,
    Pdu,
    Unbind,
    command_id_of,
    decode_body,
    encode,
)
from carrier.smpp.states import BOUND_STATES, COMMANDS_OF, TRANSITIONS, SessionState, may_send
from carrier.smpp.tlv import Tlv, decode_tlvs, read_int

__all__ = ["Session", "SessionConfig", "SessionCounts"]

# Plain ints: comparing and packing an IntEnum costs more, and these run once per message.
_SUBMIT_SM = int(CommandId.SUBMIT_SM)
_SUBMIT_SM_RESP = int(CommandId.SUBMIT_SM_RESP)
_ENQUIRE_LINK = int(CommandId.ENQUIRE_LINK)
_tuple = tuple.__new__  # makes a named tuple in half the time that its class takes (hot)
_ROUND_TRIP_SHARE = 8  # a new round trip counts an eighth in their smoothed value
_BIND_RESPONSES: dict[int, Pdu] = {
    int(CommandId.BIND_TRANSMITTER_RESP): BindTransmitterResp(),
    int(CommandId.BIND_RECEIVER_RESP): BindReceiverResp(),
    int(CommandId.BIND_TRANSCEIVER_RESP): BindTransceiverResp(),
}


class Session:
    """One end of one connection. Not thread-safe; single use."""

    def __init__(
        self, config: SessionConfig, *, now: float, first_sequence: int = 1, counts: SessionCounts | None = None
    ) -> None:
        """`first_sequence`, 1 to 0x7FFFFFFF, is the first number we use; `counts` go on from an earlier session."""
        self.state = SessionState.OPEN
        self.counts = counts if counts is not None else SessionCounts()
        self._config = config
        self._side = config.side
        self._window = config.window
        self._frames = FrameSplitter(config.max_pdu_bytes)
        self._out: list[bytes] = []
        self._sequence = first_sequence
        # sequence: (command_id of the response, ticket, deadline); in the order of their deadlines
        self._pending: dict[int, tuple[int, object, float]] = {}
        self._control: dict[int, tuple[int, float]] = {}  # bind and unbind: outside the window
        self._given_up = GivenUp(max(100, 2 * config.window))
        self._liveness = Liveness(config.enquire_link_s, now)
        self._incoming = Incoming(config, self.counts, self._out, now=now, unbinds=self._peer_unbinds)
        self.round_trip_s = 0.0
        """From a submit_sm to its response, smoothed; 0 before the first."""
        self.congestion_state: int | None = None
        """The last one that the peer told, until the driver has taken it and set None."""
        self._peer_may = COMMANDS_OF[self._side.peer, self.state]
        self._bound = self._may_submit = self._unbinding = self._over = False

    # What the driver asks

    @property
    def in_flight(self) -> int:
        """Our requests in the window: written, not answered."""
        return len(self._pending)

    @property
    def room(self) -> int:
        """Requests that the window takes now; 0 where none may be sent."""
        return max(0, self._window - len(self._pending)) if self._may_submit else 0

    @property
    def unanswered_incoming(self) -> int:
        """The peer's requests that wait for `answer` or `respond`."""
        return len(self._incoming)

    @property
    def unfinished(self) -> bytes:
        """What has come of a PDU whose rest has not."""
        return self._frames.held

    def next_deadline(self) -> float | None:
        """Return when `handle_timeout` has to be called next, or None."""
        if self._over or self.state is SessionState.CLOSED:
            return None
        deadlines = [deadline for _, deadline in self._control.values()]
        if self._pending:
            deadlines.append(next(iter(self._pending.values()))[2])  # the first is the earliest
        if self._bound:
            deadlines.append(self._liveness.due_at)
        return min(deadlines, default=None)

    def bytes_to_send(self) -> bytes:
        """Return and forget the octets that have to be written, in one piece."""
        out = self._out
        if not out:
            return b""
        octets = b"".join(out)
        out.clear()
        return octets

    # What the driver does

    def bind(self, pdu: BindTransceiver | BindTransmitter | BindReceiver, now: float) -> None:
        """Send a bind. The outcome is Bound, BindRejected or, without an answer in time, Failed."""
        self._control_request(pdu, now)

    def unbind(self, now: float) -> None:
        """Send an unbind: no request passes after it. The outcome is Unbound or Failed."""
        self._control_request(Unbind(), now)
        self._unbinding = True
        self._may_submit = False

    def submit(self, body: bytes, ticket: object, now: float) -> None:
        """Send a submit_sm whose `body` is encoded (hot). The outcome is SubmitAnswered or InDoubt with `ticket`.

        Raises LocalSessionError beyond the window or outside a transmitting state.
        """
        pending = self._pending
        if not self._may_submit or len(pending) >= self._window:
            raise self._no_request("submit_sm")
        sequence = self._sequence
        if sequence in pending or sequence in self._control or sequence in self._liveness.asked:
            sequence = self._free_sequence()
        self._sequence = sequence + 1 if sequence < SEQUENCE_MAX else self._wrap()
        pending[sequence] = (_SUBMIT_SM_RESP, ticket, now + self._config.response_timeout_s)
        self._out += (HEADER.pack(HEADER_BYTES + len(body), _SUBMIT_SM, 0, sequence), body)

    def request(self, pdu: Pdu, ticket: object, now: float) -> None:
        """Send another request that counts in the window. The outcome is RequestAnswered (SubmitAnswered for a
        submit_sm) or InDoubt with `ticket`. Raises LocalSessionError as `submit` does."""
        command_id = command_id_of(pdu)
        permitted = may_send(self._side, command_id, self.state) and not command_id & RESPONSE_BIT
        if not permitted or self._unbinding or self._over or len(self._pending) >= self._window:
            raise self._no_request(command_name(command_id))
        sequence = self._take_sequence()
        octets = encode(pdu, sequence)
        if command_id not in UNANSWERABLE:
            self._pending[sequence] = (command_id | RESPONSE_BIT, ticket, now + self._config.response_timeout_s)
        self._out.append(octets)

    def answer(self, sequence: int, status: int) -> bool:
        """Answer a deliver_sm or data_sm of the peer with `status` and no id (hot). False if it is not waiting."""
        command_id = self._incoming.remove(sequence)
        if command_id is None:
            return False
        if self._bound:
            self._out.append(HEADER.pack(HEADER_BYTES + 1, command_id | RESPONSE_BIT, status, sequence) + b"\0")
        return True

    def respond(self, sequence: int, pdu: Pdu, status: int = 0) -> bool:
        """Answer a request of the peer with a response of its kind, or a generic_nack. False if it is not waiting.

        A successful bind response binds the session. Raises LocalSessionError for a response of another kind.
        """
        command_id = self._incoming.command_id(sequence)
        if command_id is None:
            return False
        response_id = command_id | RESPONSE_BIT
        if command_id_of(pdu) != response_id and not isinstance(pdu, GenericNack):
            raise LocalSessionError(f"{command_name(command_id)} is not answered with {type(pdu).__name__}")
        octets = encode(pdu, sequence, status)
        self._incoming.remove(sequence)
        if may_send(self._side, response_id, self.state):
            self._out.append(octets)
            if status == 0 and not isinstance(pdu, GenericNack):
                self._enter(response_id)
        return True

    def lost(self) -> list[object]:
        """End the session, and return the tickets of all requests that are in doubt now."""
        tickets = [ticket for _, ticket, _ in self._pending.values()]
        for kept in (self._pending, self._control, self._given_up, self._incoming, self._out):
            kept.clear()
        self._may_submit = self._bound = False
        self.state = SessionState.CLOSED
        return tickets

    # What the peer does

    def receive_data(self, data: bytes, now: float) -> list[Event]:
        """Take octets from the peer. Raises nothing. Responses come before requests, whatever their order was: a burst
        of deliveries must not turn answers that have arrived into false timeouts."""
        if self._over or self.state is SessionState.CLOSED:
            return []
        events: list[Event] = []
        requests: list[tuple[int, int, bytes]] = []
        frames = self._frames.feed(data)
        pending = self._pending
        entry = None
        for frame in frames:
            _, command_id, status, sequence = HEADER.unpack_from(frame)
            if command_id == _SUBMIT_SM_RESP:
                entry = pending.get(sequence)
                if entry is None or entry[0] != _SUBMIT_SM_RESP:
                    self._take_unmatched(frame, status, sequence, events)
                    entry = None
                    continue
                del pending[sequence]
                end = frame.find(0, HEADER_BYTES)
                if 0 <= end < len(frame) - 1:
                    self._look_for_congestion(decode_tlvs(frame, end + 1))
                    if status:  # without a message_id, some leave out its NUL too
                        self._look_for_congestion(decode_tlvs(frame, HEADER_BYTES))
                message_id = frame[HEADER_BYTES:end] if end >= 0 else frame[HEADER_BYTES:]
                events.append(_tuple(SubmitAnswered, (entry[1], status, message_id if not status else b"")))
            elif command_id & RESPONSE_BIT:
                self._take_response(frame, command_id, status, sequence, events)
            else:
                requests.append((command_id, sequence, frame))
        if frames:
            self._liveness.heard(now)
            if entry is not None:  # the last of the read stands for all
                self._note_round_trip(now - entry[2] + self._config.response_timeout_s)
            if requests:
                self._incoming.take(requests, now, self._peer_may, events)
        if self._frames.unsound is not None:
            self._out.append(HEADER.pack(HEADER_BYTES, CommandId.GENERIC_NACK, Status.ESME_RINVCMDLEN, 0))
            self._fail(str(self._frames.unsound), events)
        return events

    def handle_timeout(self, now: float) -> list[Event]:
        """Do what is due at `now`: give up requests, ask a silent peer, declare it dead."""
        if self._over or self.state is SessionState.CLOSED:
            return []
        events = self._expire(now)
        for response_id, deadline in self._control.values():
            if deadline <= now:
                self._fail(f"no {command_name(response_id)} within {self._config.response_timeout_s:g} s", events)
                return events
        if self._bound and self._liveness.due_at <= now:
            if self._liveness.dead:
                self._fail(f"{UNANSWERED} enquire_link were not answered", events)
            else:
                sequence = self._take_sequence()
                self._liveness.asked.add(sequence)
                self._out.append(HEADER.pack(HEADER_BYTES, CommandId.ENQUIRE_LINK, 0, sequence))
        return events

    # The inside

    def _expire(self, now: float) -> list[Event]:
        due = []
        for sequence, (_, _, deadline) in self._pending.items():
            if deadline > now:
                break
            due.append(sequence)
        events: list[Event] = []
        for sequence in due:
            response_id, ticket, _ = self._pending.pop(sequence)
            events.append(InDoubt(ticket))
            if response_id == _SUBMIT_SM_RESP:
                self._given_up.add(sequence, ticket)
        return events

    def _no_request(self, name: str) -> LocalSessionError:
        if len(self._pending) >= self._window:
            return LocalSessionError(f"{name}: the window of {self._window} is full: wait for answers")
        over = ", after an unbind" if self._unbinding else ""
        return LocalSessionError(f"{name} may not be sent by the {self._side.value} in state {self.state.value}{over}")

    def _control_request(self, pdu: Pdu, now: float) -> None:
        command_id = command_id_of(pdu)
        if not may_send(self._side, command_id, self.state) or self._control or self._over:
            raise self._no_request(command_name(command_id))
        sequence = self._take_sequence()
        octets = encode(pdu, sequence)
        self._control[sequence] = (command_id | RESPONSE_BIT, now + self._config.response_timeout_s)
        self._out.append(octets)

    def _free_sequence(self) -> int:
        # SMPP 3.4 §5.1.4: a number that no request in flight has
        sequence = self._sequence
        while sequence in self._pending or sequence in self._control or sequence in self._liveness.asked:
            sequence = sequence + 1 if sequence < SEQUENCE_MAX else self._wrap()
        return sequence

    def _take_sequence(self) -> int:
        sequence = self._free_sequence()
        self._sequence = sequence + 1 if sequence < SEQUENCE_MAX else self._wrap()
        return sequence

    def _wrap(self) -> int:
        self._given_up.clear()  # their numbers come again
        return 1

    def _enter(self, response_id: int) -> None:
        self.state = TRANSITIONS.get((self.state, response_id), self.state)
        self._peer_may = COMMANDS_OF[self._side.peer, self.state]
        self._bound = self.state in BOUND_STATES  # kept: hashing an Enum costs more than the rest of a PDU's check
        self._may_submit = may_send(self._side, _SUBMIT_SM, self.state) and not self._unbinding

    def _fail(self, why: str, events: list[Event]) -> None:
        self._over = True
        self._may_submit = False
        events.append(Failed(why))

    def _take_response(self, frame: bytes, command_id: int, status: int, sequence: int, events: list[Event]) -> None:
        if command_id == CommandId.GENERIC_NACK:
            self._take_nack(status or Status.ESME_RUNKNOWNERR, sequence, events)
        elif sequence in self._control and self._control[sequence][0] == command_id:
            del self._control[sequence]
            self._settle_control(frame, command_id, status, events)
        elif sequence in self._pending and self._pending[sequence][0] == command_id:
            _, ticket, _ = self._pending.pop(sequence)
            pdu = self._decoded(frame, command_id, status)
            if pdu is not None and pdu.tlvs:
                self._look_for_congestion(pdu.tlvs)
            events.append(RequestAnswered(ticket, status, pdu))
        elif sequence not in self._liveness.asked:
            self.counts.unmatched_responses += 1

    def _take_unmatched(self, frame: bytes, status: int, sequence: int, events: list[Event]) -> None:
        self.counts.unmatched_responses += 1
        if sequence in self._given_up:
            self.counts.late_responses += 1
            message_id = frame[HEADER_BYTES:].partition(b"\0")[0] if not status else b""
            events.append(LateAnswer(self._given_up.pop(sequence), status, message_id))

    def _note_round_trip(self, sample_s: float) -> None:
        known = self.round_trip_s
        self.round_trip_s = known + (sample_s - known) / _ROUND_TRIP_SHARE if known else sample_s

    def _look_for_congestion(self, tlvs: Sequence[Tlv]) -> None:
        state = read_int(tlvs, Tag.CONGESTION_STATE)
        if state is not None:
            self.congestion_state = state

    def _take_nack(self, status: int, sequence: int, events: list[Event]) -> None:
        """A generic_nack may answer any request (SMPP 3.4 §4.3), or name none."""
        if sequence in self._pending:
            response_id, ticket, _ = self._pending.pop(sequence)
            if response_id == _SUBMIT_SM_RESP:
                events.append(SubmitAnswered(ticket, status, b""))
            else:
                events.append(RequestAnswered(ticket, status, None))
        elif sequence in self._control:
            response_id, _ = self._control.pop(sequence)
            self._settle_control(b"", response_id, status, events)
        elif sequence in self._given_up:
            self._take_unmatched(b"", status, sequence, events)
        elif sequence not in self._liveness.asked:
            events.append(Nacked(sequence, status))

    def _settle_control(self, frame: bytes, response_id: int, status: int, events: list[Event]) -> None:
        if response_id in _BIND_RESPONSES:
            if status:
                events.append(BindRejected(status))
                return
            self._enter(response_id)
            events.append(Bound(self._decoded(frame, response_id, status) or _BIND_RESPONSES[response_id]))
        else:  # unbind, refused or not: the peer has heard that we go
            self._enter(response_id)
            events.append(Unbound(by_peer=False))

    def _decoded(self, frame: bytes, command_id: int, status: int) -> Pdu | None:
        try:
            return decode_body(frame, command_id, status, 0)
        except RecoverablePduError:
            self.counts.malformed += 1
            return None

    def _peer_unbinds(self) -> frozenset[int]:
        self._enter(CommandId.UNBIND_RESP)
        return self._peer_may
