"""A simulated SMSC without its sockets: takes submit_sm as its script says, delivers receipts and inbound messages.

Stores and forwards: a receipt or inbound message that was not answered, or had nobody to go to, is delivered again
over the next connection. Everything it holds is bounded; when it is full it answers ESME_RMSGQFUL. No clock: `now` is
monotonic seconds.
"""

from __future__ import annotations

import heapq
import itertools
from collections import deque
from collections.abc import Sequence
from dataclasses import asdict
from typing import NamedTuple

from carrier.simulator.answering import error_response, nack, submit_response
from carrier.simulator.arrival import Arrivals, Part, Received, read_part
from carrier.simulator.book import Book, Entry
from carrier.simulator.events import Counts, Event, Happened, Seen, SimulatorFull
from carrier.simulator.handset import handset_pdus, text_message
from carrier.simulator.ids import Ids
from carrier.simulator.judge import Judge, Odd
from carrier.simulator.operations import Operator
from carrier.simulator.payload import as_submit
from carrier.simulator.peer import Binding, Delivery, Peer
from carrier.simulator.receipting import deleted_receipt, receipts_of, wants_receipt
from carrier.simulator.script import InboundScript, OddAnswer, Receipts, Script
from carrier.smpp.constants import Status, command_name, status_name
from carrier.smpp.pdu import DataSm, DataSmResp, Header, Pdu, SubmitSm, SubmitSmResp

__all__ = ["Counts", "Event", "Happened", "Received", "Seen", "SimulatorFull", "Smsc"]

MAX_HELD = 100_000  # answers, receipts and inbound messages that wait
MAX_SEEN = 10_000  # PDUs that are remembered
_TEMPORARY = frozenset({Status.ESME_RSYSERR, Status.ESME_RMSGQFUL, Status.ESME_RTHROTTLED, Status.ESME_RX_T_APPN})


class _Answer(NamedTuple):
    peer: Peer
    octets: bytes


class _Raw(NamedTuple):
    peer: Peer
    octets: bytes


class Smsc:
    """The one account that all connections bind to."""

    def __init__(self, script: Script, *, now: float, wall_offset_s: float, first_id: int) -> None:
        """`wall_offset_s` makes Unix time of `now`; ids count up from `first_id`, unless the script says from where."""
        self.counts = Counts()
        self.peers: list[Peer] = []
        self.seen: deque[Seen] = deque(maxlen=MAX_SEEN)
        self._script = script
        self._judge = Judge(script, now)
        self._odd = Odd(script.answers)
        self._ids = Ids(script.message_ids, script.first_id or first_id)
        self._arrivals = Arrivals(script)
        self._book = Book()
        self._operator = Operator(script.operations, self._book, wall_offset_s=wall_offset_s, cancelled=self._cancelled)
        self._congestion = iter(script.responses.congestion)
        self._congested: int | None = None
        self._wall_offset_s = wall_offset_s
        self._now = now
        self._events: list[Event] = []
        self._later: list[tuple[float, int, _Answer | Delivery | _Raw]] = []
        self._order = itertools.count()
        self._ready: deque[Delivery] = deque()
        self._played = False
        self._references = itertools.count(1)

    # What the driver does

    def connect(self, now: float) -> Peer:
        """Return a new connection's peer."""
        self.counts.connections += 1
        peer = Peer(self, self._script, f"#{self.counts.connections}", now)
        self.peers.append(peer)
        return peer

    def disconnect(self, peer: Peer) -> None:
        """Forget a connection: what it had not answered will be delivered again."""
        if peer not in self.peers:
            return
        self.peers.remove(peer)
        self._again([delivery for delivery, _ in peer.unanswered.values()])
        peer.unanswered.clear()
        self._events.append(Happened("disconnected", f"{peer.name} {peer.system_id}".strip()))

    def take_events(self) -> list[Event]:
        """Return and forget what has happened."""
        events, self._events = self._events, []
        return events

    def next_deadline(self) -> float | None:
        """Return when `tick` has to be called, or None."""
        deadlines = [self._later[0][0]] if self._later else []
        for peer in self.peers:
            if peer.binding is Binding.NONE:
                deadlines.append(peer.bind_deadline)
            if peer.enquire_at is not None:
                deadlines.append(peer.enquire_at)
            deadlines.extend(at for _, at in itertools.islice(peer.unanswered.values(), 1))
        return min(deadlines, default=None)

    def tick(self, now: float) -> None:
        """Do what is due, and write what is ready to those who can take it."""
        while self._later and self._later[0][0] <= now:
            _, _, due = heapq.heappop(self._later)
            if isinstance(due, Delivery):
                self._ready.append(due)
            elif due.peer in self.peers and not due.peer.closing:
                self._write(due)
        for peer in self.peers:
            self._expire(peer, now)
            peer.enquire(now)
        self._pump(now)

    def inject(self, source: str, destination: str, text: str, *, now: float) -> int:
        """Send a message from a handset, in as many parts as it takes; returns how many.

        Raises TextError for a text or an address that cannot be sent, SimulatorFull when too much waits already.
        """
        return self.inject_message(text_message(source, destination, text), now=now)

    def inject_message(self, message: InboundScript, *, now: float, delay_s: float = 0.0) -> int:
        """Send one message from a handset as its script says; returns its number of PDUs. Raises as `inject`."""
        pdus = handset_pdus(message, next(self._references))
        if self._held + len(pdus) > MAX_HELD:
            raise SimulatorFull(f"{self._held} deliveries wait already: bind a receiver that takes them")
        for pdu in pdus:
            self._schedule(now + delay_s, Delivery(pdu, is_receipt=False))
        self.tick(now)
        return len(pdus)

    def stats(self) -> dict[str, int]:
        """Return all counts, and what waits."""
        waiting = len(self._ready) + sum(isinstance(due, Delivery) for _, _, due in self._later)
        unanswered = sum(len(peer.unanswered) for peer in self.peers)
        bound = self._bound()
        owed = sum(isinstance(due, _Answer) for _, _, due in self._later)
        return asdict(self.counts) | {"bound": bound, "waiting": waiting, "in_flight": unanswered, "owed": owed}

    # What peers tell (carrier.simulator.peer.Owner)

    def bound(self, peer: Peer, now: float) -> None:
        """Count a bind; the first that can receive starts the script's inbound messages."""
        self.counts.binds += 1
        self.counts.most_bound = max(self.counts.most_bound, self._bound())
        self._events.append(Happened("bound", f"{peer.name} {peer.system_id} as {peer.binding.value}"))
        for raw in self._script.raw:
            self._schedule(now + raw.at_s, _Raw(peer, raw.octets))
        if peer.binding is not Binding.TRANSMITTER and not self._played:
            self._played = True
            try:
                self._play(now)
            except SimulatorFull as error:
                self._events.append(Happened("inbound_dropped", str(error)))

    def _bound(self) -> int:
        return sum(peer.binding is not Binding.NONE for peer in self.peers)

    def full(self, system_id: str) -> bool:
        """Say whether this account has all the binds it may have."""
        most = self._script.binds.most
        bound = sum(peer.binding is not Binding.NONE and peer.system_id == system_id for peer in self.peers)
        return bool(most) and bound >= most

    def saw(self, peer: Peer, header: Header, pdu: Pdu, now: float) -> None:
        """Remember a PDU that came in."""
        if isinstance(pdu, SubmitSm):
            return
        name = command_name(header.command_id)
        self.seen.append(Seen(now, peer.name, name, header.command_status, header.sequence_number, pdu))
        if name == "generic_nack":
            self.counts.nacks += 1
            self._events.append(Happened("nacked", f"{peer.name}: {status_name(header.command_status)}"))

    def odd_answer(self, request: str) -> OddAnswer | None:
        """Say how this request is answered oddly."""
        return self._odd.take(request)

    def refused(self, peer: Peer, what: str, status: int) -> None:
        """Tell of something that was refused."""
        self._events.append(Happened("refused", f"{peer.name} {what}: {status_name(status)}"))

    def asked(self, peer: Peer, sequence: int, pdu: Pdu, now: float) -> None:
        """Answer what is neither a submit_sm nor of the session."""
        if isinstance(pdu, DataSm) and self._operator.how(pdu) == "answer":
            self.submitted(peer, sequence, pdu, now)
            return
        self._now = now
        answer = self._operator.answer(pdu, now) if peer.transmits else None
        if answer is None:
            peer.write(nack(sequence, Status.ESME_RINVCMDID))
        else:
            peer.answer(sequence, *answer)

    def submitted(self, peer: Peer, sequence: int, pdu: SubmitSm | DataSm, now: float) -> None:
        """Accept or refuse a submit_sm or data_sm."""
        kind = SubmitSmResp if isinstance(pdu, SubmitSm) else DataSmResp
        submit = as_submit(pdu)
        part = read_part(submit)
        text = self._arrivals.text(submit, part)
        self.counts.submits += peer.transmits
        status, accepted = self._status(peer, submit, part, text, now)
        if status:
            self.counts.refused += peer.transmits
            self.refused(peer, f"submit_sm to {part.destination}", status)
            octets = error_response(
                kind, sequence, status, how=self._script.responses, congestion=self._next_congestion()
            )
            if not accepted:
                peer.answer_octets(octets)
                return
        entry, how = self._accept(peer, submit, part, text, now)
        if not status:
            octets = submit_response(
                kind, entry.message_id, sequence, how=self._script.responses, congestion=self._next_congestion()
            )
        after_s = self._script.responses.delay_s + how.delay_s
        receipts = receipts_of(entry, part, how, submitted_at=now + self._wall_offset_s, after_s=after_s)
        self._respond(_Answer(peer, octets), receipts, now, early=how.before_response)

    def answered(self, delivery: Delivery, status: int, now: float) -> None:
        """Count an answer; a temporary error brings the delivery back after a while."""
        if status in _TEMPORARY:
            self.counts.deliveries_repeated += 1
            self._schedule(now + self._script.receipts.retry_s, delivery)
        elif status:
            self.counts.deliveries_refused += 1
            self._events.append(Happened("delivery_refused", status_name(status)))
        elif delivery.is_receipt:
            self.counts.receipts_answered += 1
        else:
            self.counts.inbound_answered += 1

    # The inside

    @property
    def _held(self) -> int:
        return len(self._later) + len(self._ready)

    def _status(self, peer: Peer, submit: SubmitSm, part: Part, text: str, now: float) -> tuple[int, bool]:
        """Return the command_status of a submit_sm, and whether it is accepted all the same."""
        if not peer.transmits:
            return Status.ESME_RINVBNDSTS, False
        window = self._script.window
        if window is not None and peer.owed >= window.most:
            return window.status, False
        fault = self._arrivals.fault(submit)
        status = (Status.ESME_RMSGQFUL if self._held >= MAX_HELD else 0) or self._judge.throttled(now) or fault
        if status:
            return status, False
        rule = self._judge.error(part.destination, text)
        return (rule.status, rule.accepted) if rule is not None else (0, True)

    def _accept(self, peer: Peer, submit: SubmitSm, part: Part, text: str, now: float) -> tuple[Entry, Receipts]:
        """Enter a part into the book; returns it, and how its receipts are written."""
        number, message_id = self._ids.new()
        self.counts.accepted += 1
        whole = self._arrivals.whole(part, text)
        self.counts.messages += whole is not None
        how = self._judge.receipts(part.destination, text)
        state, error = self._judge.outcome(part.destination, text, how)
        done_at = now + self._script.responses.delay_s + how.delay_s + len(how.before) * how.gap_s
        entry = Entry(number, message_id, submit, text, state, error, done_at)
        self._book.add(entry)
        self._events.append(
            Received(
                message_id, part.source, part.destination, part.part, part.total, text, whole, submit, now, peer.name,
                part.elements,
            )
        )  # fmt: skip
        return entry, how

    def _next_congestion(self) -> int | None:
        self._congested = next(self._congestion, self._congested)
        return self._congested

    def _cancelled(self, entry: Entry) -> None:
        how = self._judge.receipts(entry.submit.destination_addr.decode("latin-1"), entry.text)
        if wants_receipt(entry, how):
            at = self._now + self._wall_offset_s
            self._schedule(self._now, deleted_receipt(entry, how, submitted_at=at, after_s=0.0))

    def _play(self, now: float) -> None:
        for entry in self._script.inbound:
            for _ in range(entry.repeat):
                self.inject_message(entry, now=now, delay_s=entry.at_s)

    def _schedule(self, at: float, due: _Answer | Delivery | _Raw) -> None:
        heapq.heappush(self._later, (at, next(self._order), due))

    def _again(self, deliveries: Sequence[Delivery]) -> None:
        self.counts.deliveries_repeated += len(deliveries)
        self._ready.extendleft(reversed(deliveries))

    def _respond(self, answer: _Answer, receipts: list[tuple[float, Delivery]], now: float, *, early: bool) -> None:
        """Write or schedule an answer and its receipts, in the script's order."""
        delay_s = self._script.responses.delay_s
        if early:
            self._ready.extend(delivery for _, delivery in receipts)
            self._pump(now)
        extra_s = self._judge.answer_after()
        answer.peer.owed += extra_s is not None
        self.counts.most_unanswered = max(self.counts.most_unanswered, answer.peer.owed)
        if extra_s is None:
            self.counts.unanswered += 1
        elif delay_s + extra_s:
            self._schedule(now + delay_s + extra_s, answer)
        else:
            self._write(answer)
        if not early:
            for after_s, delivery in receipts:
                self._schedule(now + after_s, delivery)

    def _write(self, due: _Answer | _Raw) -> None:
        """Write to a connection that is still there."""
        if isinstance(due, _Raw):
            due.peer.write(due.octets)
        else:
            due.peer.owed -= 1
            due.peer.answer_octets(due.octets)

    def _expire(self, peer: Peer, now: float) -> None:
        if peer.binding is Binding.NONE and peer.bind_deadline <= now:
            peer.closing = True
        late = []
        for sequence, (_, again_at) in peer.unanswered.items():
            if again_at > now:
                break
            late.append(sequence)
        self._again([peer.unanswered.pop(sequence)[0] for sequence in late])

    def _pump(self, now: float) -> None:
        while self._ready:
            takers = [peer for peer in self.peers if peer.receives]
            if not takers:
                return
            peer = min(takers, key=lambda peer: len(peer.unanswered))
            delivery = self._ready.popleft()
            if delivery.entry is not None and delivery.entry.cancelled:
                continue
            peer.deliver(delivery, now)
            if delivery.is_receipt:
                self.counts.receipts += 1
            else:
                self.counts.inbound += 1
