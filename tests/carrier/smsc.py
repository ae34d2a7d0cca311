"""A carrier of the link tests' own: a few lines of struct on a loopback socket, sharing no code with the link."""

from __future__ import annotations

import asyncio
import ssl
import struct
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import cast

HEADER = struct.Struct(">IIII")
BIND, UNBIND, SUBMIT, DELIVER, ENQUIRE = 0x9, 0x6, 0x4, 0x5, 0x15
BIND_RX, BIND_TX = 0x1, 0x2
RESP = 0x80000000


def pdu(command_id: int, sequence: int, body: bytes = b"", status: int = 0) -> bytes:
    """Return a PDU."""
    return HEADER.pack(16 + len(body), command_id, status, sequence) + body


class Peer(asyncio.Protocol):
    """One accepted connection. `answering` says whether submit_sm are answered by themselves."""

    def __init__(self, smsc: Smsc) -> None:
        self.smsc = smsc
        self.transport: asyncio.Transport
        self.octets = b""
        self.unanswered: list[int] = []
        self.closed = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)
        self.smsc.peers.append(self)
        self.transport.write(self.smsc.greeting)

    def connection_lost(self, exc: Exception | None) -> None:
        self.closed.set_result(exc)
        self.smsc.changed.set()

    def data_received(self, data: bytes) -> None:
        self.octets += data
        self.smsc.reads.append(len(data))
        while len(self.octets) >= 4 and len(self.octets) >= (length := int.from_bytes(self.octets[:4], "big")):
            frame, self.octets = self.octets[:length], self.octets[length:]
            self.take(frame)
        self.smsc.changed.set()

    def take(self, frame: bytes) -> None:
        _, command_id, status, sequence = HEADER.unpack_from(frame)
        self.smsc.log.append((command_id, status, sequence, frame[16:]))
        if command_id in (BIND, BIND_RX, BIND_TX):
            if self.smsc.bind_status is not None:
                body = b"smsc\0" + self.smsc.bind_tlvs
                self.transport.write(pdu(command_id | RESP, sequence, body, self.smsc.bind_status))
        elif command_id == SUBMIT:
            self.unanswered.append(sequence)
            self.smsc.most_unanswered = max(self.smsc.most_unanswered, len(self.unanswered))
            if self.smsc.answering:
                self.answer()
        elif command_id in (UNBIND, ENQUIRE) and self.smsc.polite:
            self.transport.write(pdu(command_id | RESP, sequence))

    def answer(self, count: int | None = None, status: int = 0) -> None:
        """Answer the oldest `count` submit_sm (all by default)."""
        taken = self.unanswered[:count]
        self.unanswered = self.unanswered[len(taken) :]
        body = b"" if status else b"id-%d\0"
        self.transport.write(b"".join(pdu(SUBMIT | RESP, n, body % n if body else b"", status) for n in taken))


class Smsc:
    """A listening carrier."""

    def __init__(self) -> None:
        self.port = 0
        self.peers: list[Peer] = []
        self.log: list[tuple[int, int, int, bytes]] = []
        self.reads: list[int] = []
        self.changed = asyncio.Event()
        self.bind_status: int | None = 0
        self.bind_tlvs = b""
        self.greeting = b""
        self.answering = True
        self.polite = True
        self.most_unanswered = 0

    def count(self, command_id: int) -> int:
        """Return how many PDUs of one kind came."""
        return sum(1 for entry in self.log if entry[0] == command_id)

    async def until(self, condition: Callable[[], bool]) -> None:
        """Wait, at most 5 s, until something that came made `condition` true."""
        async with asyncio.timeout(5):
            while not condition():
                self.changed.clear()
                await self.changed.wait()


@asynccontextmanager
async def listening(context: ssl.SSLContext | None = None) -> AsyncIterator[Smsc]:
    """Serve on a loopback port until left; then every connection is cut."""
    smsc = Smsc()
    server = await asyncio.get_running_loop().create_server(lambda: Peer(smsc), "127.0.0.1", 0, ssl=context)
    smsc.port = server.sockets[0].getsockname()[1]
    try:
        yield smsc
    finally:
        server.close()
        for peer in smsc.peers:
            peer.transport.abort()
            await asyncio.wait({peer.closed}, timeout=2)
        await server.wait_closed()
