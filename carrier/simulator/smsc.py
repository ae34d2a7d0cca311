"""A simulated SMSC without its sockets: takes submit_sm as its script says, delivers receipts and inbound messages.

Stores and forwards: a receipt or inbound message that was not answered, or had nobody to go to, is delivered again
over the next connection. Everything it holds is bounded; when it is full it answers ESME_RMSGQFUL. No clock: `now` is
monotonic seconds.
"""

from __future__ import annotations

import heapq
import itertools
from collections import OrderedDict, deque
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import NamedTuple

from carrier.errors import CarrierError
from carrier.inbound import InboundBinary, InboundPart, assemble, parse_inbound
from carrier.outbound import address_of
from carrier.simulator.dialect import Ids, Outcome, receipt_pdu
from carrier.simulator.judge import Judge
from carrier.simulator.peer import Binding, Delivery, Peer
from carrier.simulator.script import Script
from carrier.smpp.constants import Status, status_name
from carrier.smpp.pdu import DeliverSm, SubmitSm, SubmitSmResp, printable
from carrier.text.segment import segment_text

MAX_HELD = 100_000  # answers, receipts and inbound messages that wait
MAX_GROUPS = 10_000  # long messages whose parts have not all come
_RETRY_S = 1.0  # a delivery that was answered with a temporary error comes again after this
_TEMPORARY = frozenset({Status.ESME_RSYSERR, Status.ESME_RMSGQFUL, Status.ESME_RTHROTTLED, Status.ESME_RX_T_APPN})
_WANTS_RECEIPT = 0x03  # registered_delivery, SMPP 3.4 §5.2.17


class SimulatorFull(CarrierError):
    """More is waiting to be delivered than a simulator holds."""


@dataclass(slots=True)
class Counts:
    """What has happened so far."""

    connections: int = 0
    binds: int = 0
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


class Received(NamedTuple):
    """One submit_sm that was accepted."""

    message_id: str
    source: str
    destination: str  # digits as on the wire
    part: int
    total: int
    text: str  # of this part; octets that are no text in hex
    whole: str | None  # the message's full text, with the part that completes it
    submit: SubmitSm


class Happened(NamedTuple):
    """Something else: `name` is static, `detail` for people."""

    name: str
    detail: str


Event = Received | Happened


class _Answer(NamedTuple):
    peer: Peer
    sequence: int
    message_id: str


class Smsc:
    """The one account that all connections bind to."""

    def __init__(self, script: Script, *, now: float, wall_offset_s: float, first_id: int) -> None:
        """`wall_offset_s` makes Unix time of `now`; ids count up from `first_id`."""
        self.counts = Counts()
        self.peers: list[Peer] = []
        self._script = script
        self._judge = Judge(script, now)
        self._ids = Ids(script.message_ids, first_id)
        self._wall_offset_s = wall_offset_s
        self._events: list[Event] = []
        self._later: list[tuple[float, int, _Answer | Delivery]] = []
        self._order = itertools.count()
        self._ready: deque[Delivery] = deque()
        self._groups: OrderedDict[tuple[str, str, int, int], dict[int, InboundPart]] = OrderedDict()
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
            deadlines.extend(at for _, at in itertools.islice(peer.unanswered.values(), 1))
        return min(deadlines, default=None)

    def tick(self, now: float) -> None:
        """Do what is due, and write what is ready to those who can take it."""
        while self._later and self._later[0][0] <= now:
            _, _, due = heapq.heappop(self._later)
            if isinstance(due, Delivery):
                self._ready.append(due)
            else:
                self._answer(due)
        for peer in self.peers:
            self._expire(peer, now)
        self._pump(now)

    def inject(self, source: str, destination: str, text: str, *, now: float, delay_s: float = 0.0) -> int:
        """Send a message from a handset, in as many parts as it takes; returns how many.

        Raises TextError for a text or an address that cannot be sent, SimulatorFull when too much waits already.
        """
        source_ton, source_npi, source_addr = address_of(source)
        dest_ton, dest_npi, destination_addr = address_of(destination)
        segmented = segment_text(text, reference=next(self._references) & 0xFF)
        if self._held + len(segmented.parts) > MAX_HELD:
            raise SimulatorFull(f"{self._held} deliveries wait already: bind a receiver that takes them")
        for part in segmented.parts:
            pdu = DeliverSm(
                source_addr_ton=source_ton,
                source_addr_npi=source_npi,
                source_addr=source_addr,
                dest_addr_ton=dest_ton,
                dest_addr_npi=dest_npi,
                destination_addr=destination_addr,
                esm_class=segmented.esm_class,
                data_coding=segmented.data_coding,
                short_message=part,
            )
            self._schedule(now + delay_s, Delivery(pdu, is_receipt=False))
        self.tick(now)
        return len(segmented.parts)

    def stats(self) -> dict[str, int]:
        """Return all counts, and what waits."""
        waiting = len(self._ready) + sum(isinstance(due, Delivery) for _, _, due in self._later)
        unanswered = sum(len(peer.unanswered) for peer in self.peers)
        bound = sum(peer.binding is not Binding.NONE for peer in self.peers)
        owed = sum(not isinstance(due, Delivery) for _, _, due in self._later)
        return asdict(self.counts) | {"bound": bound, "waiting": waiting, "in_flight": unanswered, "owed": owed}

    # What peers tell (carrier.simulator.peer.Owner)

    def bound(self, peer: Peer, now: float) -> None:
        """Count a bind; the first that can receive starts the script's inbound messages."""
        self.counts.binds += 1
        self._events.append(Happened("bound", f"{peer.name} {peer.system_id} as {peer.binding.value}"))
        if peer.binding is not Binding.TRANSMITTER and not self._played:
            self._played = True
            try:
                self._play(now)
            except SimulatorFull as error:
                self._events.append(Happened("inbound_dropped", str(error)))

    def refused(self, peer: Peer, what: str, status: int) -> None:
        """Tell of something that was refused."""
        self._events.append(Happened("refused", f"{peer.name} {what}: {status_name(status)}"))

    def submitted(self, peer: Peer, sequence: int, pdu: SubmitSm, now: float) -> None:
        """Accept or refuse a submit_sm."""
        self.counts.submits += 1
        part = parse_inbound(DeliverSm(*pdu))
        destination = printable(pdu.destination_addr)
        text = _shown(part)
        status = Status.ESME_RMSGQFUL if self._held >= MAX_HELD else self._judge.status(destination, text, now)
        if status:
            self.counts.refused += 1
            self.refused(peer, f"submit_sm to {destination}", status)
            peer.answer(sequence, SubmitSmResp(), status)
            return
        number, message_id = self._ids.new()
        self.counts.accepted += 1
        whole = self._reassemble(part)
        self.counts.messages += whole is not None
        source = printable(pdu.source_addr)
        self._events.append(Received(message_id, source, destination, part.part, part.total, text, whole, pdu))
        receipt = self._receipt(pdu, number, message_id, destination, text, now)
        self._respond(_Answer(peer, sequence, message_id), receipt, now)

    def answered(self, delivery: Delivery, status: int, now: float) -> None:
        """Count an answer; a temporary error brings the delivery back after a while."""
        if status in _TEMPORARY:
            self.counts.deliveries_repeated += 1
            self._schedule(now + _RETRY_S, delivery)
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

    def _play(self, now: float) -> None:
        for entry in self._script.inbound:
            for _ in range(entry.repeat):
                self.inject(entry.source, entry.destination, entry.text, now=now, delay_s=entry.at_s)

    def _schedule(self, at: float, due: _Answer | Delivery) -> None:
        heapq.heappush(self._later, (at, next(self._order), due))

    def _again(self, deliveries: Sequence[Delivery]) -> None:
        self.counts.deliveries_repeated += len(deliveries)
        self._ready.extendleft(reversed(deliveries))

    def _respond(self, answer: _Answer, receipt: list[Delivery], now: float) -> None:
        """Write or schedule an answer and its receipts, in the script's order."""
        early, delay_s = self._script.receipts.before_response, self._script.responses.delay_s
        if early:
            self._ready.extend(receipt)
            self._pump(now)
        if not self._judge.answers():
            self.counts.unanswered += 1
        elif delay_s:
            self._schedule(now + delay_s, answer)
        else:
            self._answer(answer)
        if not early:
            for delivery in receipt:
                self._schedule(now + delay_s + self._script.receipts.delay_s, delivery)

    def _answer(self, answer: _Answer) -> None:
        if answer.peer in self.peers and not answer.peer.closing:
            answer.peer.answer(answer.sequence, SubmitSmResp(answer.message_id.encode("ascii")))

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
            peer.deliver(delivery, now)
            if delivery.is_receipt:
                self.counts.receipts += 1
            else:
                self.counts.inbound += 1

    def _receipt(
        self, pdu: SubmitSm, number: int, message_id: str, destination: str, text: str, now: float
    ) -> list[Delivery]:
        how = self._script.receipts
        if not how.send or not pdu.registered_delivery & _WANTS_RECEIPT:
            return []
        state, error = self._judge.outcome(destination, text)
        submitted_at = now + self._wall_offset_s
        done_at = submitted_at + self._script.responses.delay_s + how.delay_s
        outcome = Outcome(number, message_id, state, error, submitted_at, done_at, text)
        return [Delivery(receipt_pdu(pdu, outcome, how), is_receipt=True)] * (1 + how.duplicates)

    def _reassemble(self, part: InboundPart) -> str | None:
        """Return the whole text once its last part is here. The oldest unfinished message goes when there are many."""
        if part.total == 1:
            return _text([part])
        key = (part.sender, part.recipient, part.reference or 0, part.total)
        group = self._groups.setdefault(key, {})
        group[part.part] = part
        if len(group) == part.total:
            del self._groups[key]
            return _text(list(group.values()))
        if len(self._groups) > MAX_GROUPS:
            self._groups.popitem(last=False)
        return None


def _text(parts: list[InboundPart]) -> str:
    whole = assemble(parts)
    return whole.data.hex() if isinstance(whole, InboundBinary) else whole


def _shown(part: InboundPart) -> str:
    return _text([part])
