"""The other side of the simulator in these tests: a peer without sockets, and one on a loopback connection."""

from __future__ import annotations

import asyncio
import ssl
from dataclasses import dataclass, field
from typing import Any

from carrier.simulator.script_file import parse_script
from carrier.simulator.smsc import Smsc
from carrier.smpp.frames import FrameSplitter
from carrier.smpp.pdu import (
    BindReceiver,
    BindTransceiver,
    BindTransmitter,
    DeliverSm,
    DeliverSmResp,
    Header,
    Pdu,
    SubmitSm,
    SubmitSmResp,
    decode,
    encode,
)

NOON = 1_800_000_000.0  # Unix time at `now` 0


def submit(text: bytes = b"hello", to: bytes = b"4915112345678", **fields: Any) -> SubmitSm:
    """Make a submit_sm that asks for a receipt."""
    usual: dict[str, Any] = {
        "source_addr_ton": 5,
        "source_addr": b"ACME",
        "dest_addr_ton": 1,
        "dest_addr_npi": 1,
        "destination_addr": to,
        "registered_delivery": 1,
        "short_message": text,
    }
    return SubmitSm(**(usual | fields))


def smsc(script: str = "", now: float = 0.0) -> Smsc:
    """Make an SMSC that plays `script`."""
    return Smsc(parse_script(script), now=now, wall_offset_s=NOON, first_id=255)


@dataclass
class Esme:
    """A bound peer of an Smsc, by function calls."""

    smsc: Smsc
    kind: type[BindTransceiver | BindReceiver | BindTransmitter] | None = BindTransceiver
    now: float = 0.0
    sequence: int = 0
    early: list[tuple[Header, Pdu]] = field(default_factory=list)  # what came right behind the bind's answer

    def __post_init__(self) -> None:
        self.peer = self.smsc.connect(self.now)
        if self.kind is not None:
            self.send(self.kind(system_id=b"smsgw", password=b"secret"), now=self.now)
            (header, _), *self.early = self.read()
            assert header.command_status == 0

    def send(self, *pdus: Pdu, now: float) -> None:
        """Send requests."""
        octets = b""
        for pdu in pdus:
            self.sequence += 1
            octets += encode(pdu, self.sequence)
        self.raw(octets, now=now)

    def raw(self, octets: bytes, *, now: float) -> None:
        """Send octets."""
        self.peer.receive(octets, now)
        self.smsc.tick(now)

    def tick(self, now: float) -> None:
        """Let the time come to `now`."""
        self.smsc.tick(now)

    def read(self) -> list[tuple[Header, Pdu]]:
        """Return what was written to us since the last time."""
        early, self.early = self.early, []
        return early + [decode(frame) for frame in FrameSplitter().feed(self.peer.take_output())]

    def take(self) -> list[tuple[int, str]]:
        """The same as (status, kind) pairs."""
        return [(header.command_status, type(pdu).__name__) for header, pdu in self.read()]

    def deliveries(self) -> list[tuple[int, DeliverSm]]:
        """The same, of deliver_sm only, with their sequence numbers."""
        return [(header.sequence_number, pdu) for header, pdu in self.read() if isinstance(pdu, DeliverSm)]

    def answer(self, sequence: int, *, now: float, status: int = 0) -> None:
        """Answer a deliver_sm."""
        self.raw(encode(DeliverSmResp(), sequence, status), now=now)


class Connection:
    """A bound connection on loopback."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer
        self._sequence = 0

    @classmethod
    async def bound(cls, port: int, context: ssl.SSLContext | None = None) -> Connection:
        """Connect and bind."""
        name = "localhost" if context else None
        reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=context, server_hostname=name)
        connection = cls(reader, writer)
        connection.send(BindTransceiver(system_id=b"smsgw", password=b"secret"))
        try:
            header, _ = await connection.read()
        except BaseException:
            await connection.close()
            raise
        assert header.command_status == 0
        return connection

    def send(self, pdu: Pdu) -> None:
        """Send a request."""
        self._sequence += 1
        self._writer.write(encode(pdu, self._sequence))

    def respond(self, pdu: Pdu, sequence: int, status: int = 0) -> None:
        """Send a response."""
        self._writer.write(encode(pdu, sequence, status))

    async def read(self) -> tuple[Header, Pdu]:
        """Return the next PDU; EOFError when there is none."""
        async with asyncio.timeout(5):
            head = await self._reader.readexactly(4)
            return decode(head + await self._reader.readexactly(int.from_bytes(head, "big") - 4))

    async def submitted(self, pdu: SubmitSm) -> str:
        """Send a submit_sm, return the id it was given."""
        self.send(pdu)
        while True:
            _, answer = await self.read()
            if isinstance(answer, SubmitSmResp):
                return answer.message_id.decode()

    async def delivery(self) -> DeliverSm:
        """Return the next deliver_sm, answered."""
        while True:
            header, pdu = await self.read()
            if isinstance(pdu, DeliverSm):
                self.respond(DeliverSmResp(), header.sequence_number)
                return pdu

    async def ended(self) -> bool:
        """Say that the other side closes."""
        try:
            while True:
                await self.read()
        except (asyncio.IncompleteReadError, ConnectionError):
            return True

    async def close(self) -> None:
        """Close."""
        self._writer.close()
        try:
            await self._writer.wait_closed()
        except OSError:  # the other side was quicker
            return
