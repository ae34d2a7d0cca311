"""tshark reads a capture in which every PDU of SMPP 3.4 passes between two of our sessions: none is malformed."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from carrier.smpp.constants import CommandId, Status, Tag
from carrier.smpp.events import Event, RequestReceived
from carrier.smpp.pdu import (
    HEADER,
    AlertNotification,
    BindReceiver,
    BindReceiverResp,
    BindTransceiver,
    BindTransceiverResp,
    BindTransmitter,
    BindTransmitterResp,
    CancelSm,
    CancelSmResp,
    DataSm,
    DataSmResp,
    DeliverSm,
    DeliverSmResp,
    DistributionList,
    Outbind,
    Pdu,
    QuerySm,
    QuerySmResp,
    ReplaceSm,
    ReplaceSmResp,
    SmeAddress,
    SubmitMulti,
    SubmitMultiResp,
    SubmitSm,
    SubmitSmResp,
    UnsuccessSme,
)
from carrier.smpp.session import Session, SessionConfig
from carrier.smpp.states import Side
from carrier.smpp.tlv import make_tlv
from tests.interop.captures import captured, dissected, faults

pytestmark = pytest.mark.interop

VERSION = (make_tlv(Tag.SC_INTERFACE_VERSION, 0x34),)
RECEIPT = DeliverSm(
    source_addr_ton=1, source_addr_npi=1, source_addr=b"4915112345678", dest_addr_ton=5, destination_addr=b"ACME",
    esm_class=0x04, short_message=b"id:1 sub:001 dlvrd:001 submit date:2601021530 done date:2601021531 stat:DELIVRD",
    tlvs=(make_tlv(Tag.RECEIPTED_MESSAGE_ID, b"1"), make_tlv(Tag.MESSAGE_STATE, 2),
          make_tlv(Tag.NETWORK_ERROR_CODE, b"\3\0\0")),
)  # fmt: skip
SUBMIT = SubmitSm(
    source_addr_ton=5, source_addr=b"ACME", dest_addr_ton=1, dest_addr_npi=1, destination_addr=b"4915112345678",
    validity_period=b"000000010000000R", registered_delivery=1, short_message=b"hello",
    tlvs=(make_tlv(Tag.USER_MESSAGE_REFERENCE, 7), make_tlv(0x1400, b"1101")),
)  # fmt: skip
PAYLOAD = (make_tlv(Tag.MESSAGE_PAYLOAD, b"hello"),)
ANSWERS: dict[type[Pdu], Pdu] = {
    BindTransmitter: BindTransmitterResp(b"smsc", VERSION),
    BindReceiver: BindReceiverResp(b"smsc", VERSION),
    BindTransceiver: BindTransceiverResp(b"smsc", VERSION),
    SubmitSm: SubmitSmResp(b"1"),
    SubmitMulti: SubmitMultiResp(b"2", (UnsuccessSme(1, 1, b"4915100000000", int(Status.ESME_RINVDSTADR)),)),
    DataSm: DataSmResp(b"3"),
    DeliverSm: DeliverSmResp(),
    QuerySm: QuerySmResp(b"1", b"260102153100000+", 2, 0),
    CancelSm: CancelSmResp(),
    ReplaceSm: ReplaceSmResp(),
}


class End:
    """One end of a connection: a session and its socket."""

    def __init__(self, side: Side, connection: socket.socket) -> None:
        self.session = Session(SessionConfig(side=side), now=0.0)
        self.connection = connection
        self.now = 0.0
        self.events: list[Event] = []

    def idle(self) -> None:
        """Let so much time pass without a word from the other end that an enquire_link is due."""
        due_at = self.session.next_deadline()
        assert due_at is not None
        self.now = due_at
        self.events += self.session.handle_timeout(due_at)

    def take(self, octets: int) -> None:
        """Read what the other end has written, and answer each request."""
        while octets:
            data = self.connection.recv(octets)
            assert data, "the other end has closed"
            octets -= len(data)
            events = self.session.receive_data(data, self.now)
            self.events += events
            for event in events:
                if isinstance(event, RequestReceived):
                    assert self.session.respond(event.sequence, ANSWERS[type(event.pdu)])


class Connection:
    """Both ends of one connection, over a real socket."""

    def __init__(self, server: socket.socket) -> None:
        client = socket.create_connection(server.getsockname(), timeout=10)
        accepted, _ = server.accept()
        accepted.settimeout(10)
        self.esme, self.smsc = End(Side.ESME, client), End(Side.SMSC, accepted)

    def exchange(self) -> None:
        """Carry octets until neither end has any more to say."""
        moved = True
        while moved:
            moved = False
            for ours, theirs in ((self.esme, self.smsc), (self.smsc, self.esme)):
                octets = ours.session.bytes_to_send()
                if octets:
                    moved = True
                    ours.connection.sendall(octets)
                    theirs.take(len(octets))

    def ask(self, end: End, pdu: Pdu) -> None:
        """Send a request from one end, and let the other answer it."""
        end.session.request(pdu, "ticket", end.now)
        self.exchange()

    def bind(self, pdu: BindTransmitter | BindReceiver | BindTransceiver) -> None:
        """Bind."""
        self.esme.session.bind(pdu, self.esme.now)
        self.exchange()

    def raw(self, ours: End, theirs: End, octets: bytes) -> None:
        """Send octets that no session would, from `ours`."""
        ours.connection.sendall(octets)
        theirs.take(len(octets))
        self.exchange()

    def end(self) -> None:
        """Unbind and close."""
        self.esme.session.unbind(self.esme.now)
        self.exchange()
        for end in (self.esme, self.smsc):
            end.connection.close()


def as_receiver(connection: Connection) -> None:
    """outbind, bind_receiver, deliver_sm, alert_notification."""
    connection.ask(connection.smsc, Outbind(b"smsc", b"secret"))
    connection.bind(BindReceiver(b"user", b"secret"))
    connection.ask(connection.smsc, RECEIPT)
    connection.ask(connection.smsc, AlertNotification(1, 1, b"4915112345678", 5, 0, b"ACME"))


def as_transmitter(connection: Connection) -> None:
    """bind_transmitter and all that an ESME asks."""
    connection.bind(BindTransmitter(b"user", b"secret"))
    addresses = (SmeAddress(1, 1, b"4915112345678"), SmeAddress(1, 1, b"4915100000000"), DistributionList(b"all"))
    for pdu in (
        SUBMIT,
        SubmitMulti(source_addr_ton=5, source_addr=b"ACME", dest_addresses=addresses, short_message=b"hello"),
        DataSm(source_addr_ton=5, source_addr=b"ACME", dest_addr_ton=1, dest_addr_npi=1,
               destination_addr=b"4915112345678", tlvs=PAYLOAD),
        QuerySm(b"1", 5, 0, b"ACME"),
        ReplaceSm(b"1", 5, 0, b"ACME", registered_delivery=1, short_message=b"other"),
        CancelSm(message_id=b"1", source_addr_ton=5, source_addr=b"ACME", dest_addr_ton=1, dest_addr_npi=1,
                 destination_addr=b"4915112345678"),
    ):  # fmt: skip
        connection.ask(connection.esme, pdu)


def as_transceiver(connection: Connection) -> None:
    """bind_transceiver, data_sm from the SMSC, enquire_link and generic_nack both ways."""
    connection.bind(BindTransceiver(b"user", b"secret"))
    data = DataSm(source_addr_ton=1, source_addr_npi=1, source_addr=b"4915112345678", dest_addr_ton=5,
                  destination_addr=b"ACME", tlvs=PAYLOAD)  # fmt: skip
    connection.ask(connection.smsc, data)
    for ours, theirs in ((connection.esme, connection.smsc), (connection.smsc, connection.esme)):
        ours.idle()
        connection.exchange()
        assert ours.session.in_flight == 0
        connection.raw(ours, theirs, HEADER.pack(16, 0x000000FE, 0, 901))  # a command that nobody knows


@contextmanager
def listening() -> Iterator[socket.socket]:
    """Listen on loopback."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server


def test_every_pdu_of_smpp_34_is_read_without_fault(tmp_path: Path) -> None:
    """All 27 command ids of SMPP 3.4 §5.1.2.1 pass, in the states in which they may, and tshark finds no fault."""
    capture = tmp_path / "every.pcapng"
    plays: tuple[Callable[[Connection], None], ...] = (as_receiver, as_transmitter, as_transceiver)
    with listening() as server:
        port = server.getsockname()[1]
        with captured(port, capture, connections=len(plays)):
            for play in plays:
                connection = Connection(server)
                play(connection)
                connection.end()
    assert faults(capture, port) == []
    kinds = {int(value, 16) for (each,) in dissected(capture, port, "smpp.command_id") for value in each.split(",")}
    assert {int(command) for command in CommandId} <= kinds
    ((message_id, state),) = dissected(
        capture, port, "smpp.message_id", "smpp.message_state", only="smpp.command_id == 0x80000003"
    )
    assert (message_id, int(state, 0)) == ("1", 2)
