"""One connection of a simulated SMSC, as octets in and out: frames, binding, links kept alive, deliveries awaiting.

What is done with a request is the SMSC's (`carrier.simulator.smsc`); how an answer looks is
`carrier.simulator.answering`. No sockets, no clock: `now` is monotonic seconds.
"""

from __future__ import annotations

import enum
import hmac
from typing import NamedTuple, Protocol

from carrier.errors import FatalPduError, RecoverablePduError
from carrier.simulator.answering import REFUSING, bind_response, nack, odd
from carrier.simulator.book import Entry
from carrier.simulator.script import OddAnswer, Script
from carrier.smpp.constants import SEQUENCE_MAX, CommandId, Status, command_name
from carrier.smpp.frames import FrameSplitter
from carrier.smpp.pdu import (
    HEADER,
    BindReceiver,
    BindTransceiver,
    BindTransmitter,
    DataSm,
    DataSmResp,
    DeliverSm,
    DeliverSmResp,
    EnquireLink,
    EnquireLinkResp,
    GenericNack,
    Header,
    Pdu,
    SubmitSm,
    Unbind,
    UnbindResp,
    decode,
    encode,
    printable,
)

BIND_WITHIN_S = 30.0
MAX_ODD = 10_000  # requests whose odd answer waits for its time
_RESPONSE_BIT = 0x80000000


class Binding(enum.Enum):
    """What a peer is bound as."""

    NONE = "unbound"
    TRANSMITTER = "transmitter"
    RECEIVER = "receiver"
    TRANSCEIVER = "transceiver"


class Delivery(NamedTuple):
    """A deliver_sm or data_sm on its way to whoever is bound."""

    pdu: DeliverSm | DataSm
    is_receipt: bool
    entry: Entry | None = None  # what a receipt is about


class Owner(Protocol):
    """The SMSC behind a peer."""

    def bound(self, peer: Peer, now: float) -> None:
        """`peer` has bound."""

    def full(self, system_id: str) -> bool:
        """Say whether this account has all the binds it may have."""

    def saw(self, peer: Peer, header: Header, pdu: Pdu, now: float) -> None:
        """A PDU came in."""

    def odd_answer(self, request: str) -> OddAnswer | None:
        """Say how this request is answered oddly."""

    def submitted(self, peer: Peer, sequence: int, pdu: SubmitSm | DataSm, now: float) -> None:
        """`peer` submits."""

    def asked(self, peer: Peer, sequence: int, pdu: Pdu, now: float) -> None:
        """`peer` asks something else."""

    def answered(self, delivery: Delivery, status: int, now: float) -> None:
        """A delivery was answered."""

    def refused(self, peer: Peer, what: str, status: int) -> None:
        """Something of `peer` was refused before it came to the SMSC."""


_BINDS: dict[type[Pdu], Binding] = {
    BindTransmitter: Binding.TRANSMITTER,
    BindReceiver: Binding.RECEIVER,
    BindTransceiver: Binding.TRANSCEIVER,
}


class Peer:
    """One connection. `closing` set: write what is left and close."""

    def __init__(self, owner: Owner, script: Script, name: str, now: float) -> None:
        self.name = name
        self.binding = Binding.NONE
        self.system_id = ""
        self.closing = False
        self.paused = False  # its socket takes no more: no deliveries until it does
        self.submits = 0
        self.owed = 0  # submit_sm accepted and not answered yet
        self.unanswered: dict[int, tuple[Delivery, float]] = {}  # sequence: (delivery, redeliver at), oldest first
        self.bind_deadline = now + BIND_WITHIN_S
        self.enquire_at: float | None = None
        self._owner = owner
        self._script = script
        self._frames = FrameSplitter()
        self._out: list[bytes] = []
        self._odd: dict[int, OddAnswer] = {}
        self._sequence = 0

    @property
    def transmits(self) -> bool:
        """Say whether it may submit."""
        return self.binding in (Binding.TRANSMITTER, Binding.TRANSCEIVER)

    @property
    def receives(self) -> bool:
        """Say whether a delivery can be written to it now."""
        bound = self.binding in (Binding.RECEIVER, Binding.TRANSCEIVER)
        return bound and not (self.closing or self.paused) and len(self.unanswered) < self._script.receipts.window

    def take_output(self) -> bytes:
        """Return and forget what has to be written."""
        octets = b"".join(self._out)
        self._out.clear()
        return octets

    def receive(self, data: bytes, now: float) -> None:
        """Take octets from the connection. Never raises: what cannot be read is nacked."""
        for frame in self._frames.feed(data):
            if self.closing:
                return
            try:
                header, pdu = decode(frame)
            except RecoverablePduError as error:
                self.write(nack(error.sequence, error.status))
            except FatalPduError:  # the splitter has checked the length already
                self._close_with_nack()
            else:
                self._owner.saw(self, header, pdu, now)
                self._take(header, pdu, now)
        if self._frames.unsound is not None and not self.closing:
            self._close_with_nack()

    def deliver(self, delivery: Delivery, now: float) -> None:
        """Write a delivery; ask `receives` before."""
        sequence = self._next_sequence()
        self.unanswered[sequence] = (delivery, now + self._script.receipts.redeliver_after_s)
        self.write(encode(delivery.pdu, sequence))

    def enquire(self, now: float) -> None:
        """Ask whether the other side is there, when it is time to."""
        if self.enquire_at is not None and self.enquire_at <= now:
            self.enquire_at = now + self._script.enquire_link_s
            self.write(encode(EnquireLink(), self._next_sequence()))

    def answer(self, sequence: int, pdu: Pdu, status: int = 0) -> None:
        """Write a response."""
        self.answer_octets(encode(pdu, sequence, status))

    def answer_octets(self, octets: bytes) -> None:
        """Write a response that is encoded already; oddly, where the script says so."""
        rule = self._odd.pop(HEADER.unpack_from(octets)[3], None)
        self.write(octets if rule is None else odd(octets, rule))

    def write(self, octets: bytes) -> None:
        """Write octets as they are."""
        self._out.append(octets)

    def _next_sequence(self) -> int:
        self._sequence = self._sequence + 1 if self._sequence < SEQUENCE_MAX else 1
        return self._sequence

    def _take(self, header: Header, pdu: Pdu, now: float) -> None:
        sequence = header.sequence_number
        if sequence > SEQUENCE_MAX:
            self.write(nack(0, Status.ESME_RINVCMDID))
        elif isinstance(pdu, DeliverSmResp | DataSmResp | GenericNack):
            self._delivery_answered(header, now)
        elif not header.command_id & _RESPONSE_BIT and not self._refused_oddly(header):
            self._request(sequence, pdu, now)

    def _request(self, sequence: int, pdu: Pdu, now: float) -> None:
        if isinstance(pdu, SubmitSm):
            self._submit(sequence, pdu, now)
        elif isinstance(pdu, EnquireLink):
            self.answer(sequence, EnquireLinkResp())
        elif isinstance(pdu, BindTransmitter | BindReceiver | BindTransceiver):
            self._bind(sequence, pdu, now)
        elif isinstance(pdu, Unbind):
            self.answer(sequence, UnbindResp())
            self.closing = True
        else:
            self._owner.asked(self, sequence, pdu, now)

    def _refused_oddly(self, header: Header) -> bool:
        """Note an odd answer, and give it at once when the request is not carried out because of it."""
        rule = self._owner.odd_answer(command_name(header.command_id))
        if rule is None:
            return False
        if rule.answer in REFUSING:
            response = header.command_id | _RESPONSE_BIT
            self.write(odd(HEADER.pack(header.command_length, response, 0, header.sequence_number), rule))
            return True
        if len(self._odd) < MAX_ODD:
            self._odd[header.sequence_number] = rule
        return False

    def _submit(self, sequence: int, pdu: SubmitSm, now: float) -> None:
        self.submits += 1
        if self.transmits and self._script.disconnect_after and self.submits >= self._script.disconnect_after:
            self.closing = True
            return
        self._owner.submitted(self, sequence, pdu, now)

    def _delivery_answered(self, header: Header, now: float) -> None:
        waiting = self.unanswered.pop(header.sequence_number, None)
        if waiting is not None:
            nacked = header.command_id == CommandId.GENERIC_NACK
            status = header.command_status or (Status.ESME_RUNKNOWNERR if nacked else 0)
            self._owner.answered(waiting[0], status, now)

    def _bind(self, sequence: int, pdu: BindTransmitter | BindReceiver | BindTransceiver, now: float) -> None:
        binding = _BINDS[type(pdu)]
        if binding.value not in self._script.binds.kinds:
            self._owner.refused(self, "bind", Status.ESME_RINVCMDID)
            self.write(nack(sequence, Status.ESME_RINVCMDID))
            self.closing = True
            return
        status = self._bind_status(pdu)
        self.answer(sequence, bind_response(pdu, self._script.binds, status), status)
        if status:
            self._owner.refused(self, "bind", status)
            self.closing = self.binding is Binding.NONE
            return
        self.binding = binding
        self.system_id = printable(pdu.system_id)
        if self._script.enquire_link_s:
            self.enquire_at = now + self._script.enquire_link_s
        self._owner.bound(self, now)

    def _bind_status(self, pdu: BindTransmitter | BindReceiver | BindTransceiver) -> int:
        if self.binding is not Binding.NONE:
            return Status.ESME_RALYBND
        wanted, longest = self._script, self._script.binds.longest_password
        if wanted.system_id is not None and not hmac.compare_digest(wanted.system_id.encode(), pdu.system_id):
            return Status.ESME_RINVSYSID
        if wanted.password is not None and not hmac.compare_digest(wanted.password.encode(), pdu.password):
            return Status.ESME_RINVPASWD
        if longest and len(pdu.password) > longest:
            return Status.ESME_RINVPASWD
        return wanted.binds.status if self._owner.full(printable(pdu.system_id)) else Status.ESME_ROK

    def _close_with_nack(self) -> None:
        self.write(nack(0, Status.ESME_RINVCMDLEN))
        self.closing = True
