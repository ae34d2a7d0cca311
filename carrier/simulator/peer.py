"""One connection of a simulated SMSC, as octets in and out: frames, binding, links kept alive, deliveries awaiting.

What is done with a submit_sm is the SMSC's (`carrier.simulator.smsc`). No sockets, no clock: `now` is monotonic
seconds.
"""

from __future__ import annotations

import enum
import hmac
from typing import NamedTuple, Protocol

from carrier.errors import FatalPduError, RecoverablePduError
from carrier.simulator.script import Script
from carrier.smpp.constants import SEQUENCE_MAX, VERSION_34, CommandId, Status, Tag
from carrier.smpp.frames import FrameSplitter
from carrier.smpp.pdu import (
    BindReceiver,
    BindReceiverResp,
    BindTransceiver,
    BindTransceiverResp,
    BindTransmitter,
    BindTransmitterResp,
    CancelSm,
    CancelSmResp,
    DataSmResp,
    DeliverSm,
    DeliverSmResp,
    EnquireLink,
    EnquireLinkResp,
    GenericNack,
    Header,
    Pdu,
    QuerySm,
    QuerySmResp,
    SubmitSm,
    SubmitSmResp,
    Unbind,
    UnbindResp,
    decode,
    encode,
    printable,
)
from carrier.smpp.tlv import make_tlv

BIND_WITHIN_S = 30.0
_RESPONSE_BIT = 0x80000000


class Binding(enum.Enum):
    """What a peer is bound as."""

    NONE = "unbound"
    TRANSMITTER = "transmitter"
    RECEIVER = "receiver"
    TRANSCEIVER = "transceiver"


class Delivery(NamedTuple):
    """A deliver_sm on its way to whoever is bound."""

    pdu: DeliverSm
    is_receipt: bool


class Owner(Protocol):
    """The SMSC behind a peer."""

    def bound(self, peer: Peer, now: float) -> None:
        """`peer` has bound."""

    def submitted(self, peer: Peer, sequence: int, pdu: SubmitSm, now: float) -> None:
        """`peer` submits."""

    def answered(self, delivery: Delivery, status: int, now: float) -> None:
        """A delivery was answered."""

    def refused(self, peer: Peer, what: str, status: int) -> None:
        """Something of `peer` was refused before it came to the SMSC."""


_BINDS: dict[type[Pdu], tuple[Binding, Pdu]] = {
    BindTransmitter: (Binding.TRANSMITTER, BindTransmitterResp()),
    BindReceiver: (Binding.RECEIVER, BindReceiverResp()),
    BindTransceiver: (Binding.TRANSCEIVER, BindTransceiverResp()),
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
        self.unanswered: dict[int, tuple[Delivery, float]] = {}  # sequence: (delivery, redeliver at), oldest first
        self.bind_deadline = now + BIND_WITHIN_S
        self._owner = owner
        self._script = script
        self._frames = FrameSplitter()
        self._out: list[bytes] = []
        self._sequence = 0

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
                self._nack(error.sequence, error.status)
            except FatalPduError:  # the splitter has checked the length already
                self._close_with_nack()
            else:
                self._take(header, pdu, now)
        if self._frames.unsound is not None and not self.closing:
            self._close_with_nack()

    def deliver(self, delivery: Delivery, now: float) -> None:
        """Write a delivery; ask `receives` before."""
        self._sequence = self._sequence + 1 if self._sequence < SEQUENCE_MAX else 1
        self.unanswered[self._sequence] = (delivery, now + self._script.receipts.redeliver_after_s)
        self._out.append(encode(delivery.pdu, self._sequence))

    def answer(self, sequence: int, pdu: Pdu, status: int = 0) -> None:
        """Write a response."""
        self._out.append(encode(pdu, sequence, status))

    def _take(self, header: Header, pdu: Pdu, now: float) -> None:
        sequence = header.sequence_number
        if sequence > SEQUENCE_MAX:
            self._nack(0, Status.ESME_RINVCMDID)
        elif isinstance(pdu, SubmitSm):
            self._submit(sequence, pdu, now)
        elif isinstance(pdu, DeliverSmResp | DataSmResp | GenericNack):
            self._delivery_answered(header, now)
        elif isinstance(pdu, EnquireLink):
            self.answer(sequence, EnquireLinkResp())
        elif type(pdu) in _BINDS:
            self._bind(sequence, pdu, now)
        elif isinstance(pdu, Unbind):
            self.answer(sequence, UnbindResp())
            self.closing = True
        elif not header.command_id & _RESPONSE_BIT:
            self._unsupported(sequence, pdu)

    def _submit(self, sequence: int, pdu: SubmitSm, now: float) -> None:
        if self.binding not in (Binding.TRANSMITTER, Binding.TRANSCEIVER):
            self._owner.refused(self, "submit_sm", Status.ESME_RINVBNDSTS)
            self.answer(sequence, SubmitSmResp(), Status.ESME_RINVBNDSTS)
            return
        self.submits += 1
        if self._script.disconnect_after and self.submits >= self._script.disconnect_after:
            self.closing = True
            return
        self._owner.submitted(self, sequence, pdu, now)

    def _delivery_answered(self, header: Header, now: float) -> None:
        waiting = self.unanswered.pop(header.sequence_number, None)
        if waiting is not None:
            nacked = header.command_id == CommandId.GENERIC_NACK
            status = header.command_status or (Status.ESME_RUNKNOWNERR if nacked else 0)
            self._owner.answered(waiting[0], status, now)

    def _bind(self, sequence: int, pdu: Pdu, now: float) -> None:
        if not isinstance(pdu, BindTransmitter | BindReceiver | BindTransceiver):
            return
        binding, response = _BINDS[type(pdu)]
        status = self._bind_status(pdu)
        if status:
            self._owner.refused(self, "bind", status)
            self.answer(sequence, response, status)
            self.closing = status != Status.ESME_RALYBND
            return
        self.binding = binding
        self.system_id = printable(pdu.system_id)
        version = make_tlv(Tag.SC_INTERFACE_VERSION, VERSION_34)
        self.answer(sequence, response._replace(system_id=b"smsgw-simulator"[:15], tlvs=(version,)))  # type: ignore[call-arg]  # every bind response has a system_id
        self._owner.bound(self, now)

    def _bind_status(self, pdu: BindTransmitter | BindReceiver | BindTransceiver) -> int:
        if self.binding is not Binding.NONE:
            return Status.ESME_RALYBND
        wanted = self._script
        if wanted.system_id is not None and not hmac.compare_digest(wanted.system_id.encode(), pdu.system_id):
            return Status.ESME_RINVSYSID
        if wanted.password is not None and not hmac.compare_digest(wanted.password.encode(), pdu.password):
            return Status.ESME_RINVPASWD
        return Status.ESME_ROK

    def _unsupported(self, sequence: int, pdu: Pdu) -> None:
        if isinstance(pdu, QuerySm):
            self.answer(sequence, QuerySmResp(), Status.ESME_RQUERYFAIL)
        elif isinstance(pdu, CancelSm):
            self.answer(sequence, CancelSmResp(), Status.ESME_RCANCELFAIL)
        else:
            self._nack(sequence, Status.ESME_RINVCMDID)

    def _nack(self, sequence: int, status: int) -> None:
        self._out.append(encode(GenericNack(), sequence & SEQUENCE_MAX, status))

    def _close_with_nack(self) -> None:
        self._nack(0, Status.ESME_RINVCMDLEN)
        self.closing = True
