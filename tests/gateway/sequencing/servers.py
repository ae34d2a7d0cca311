"""Servers on 127.0.0.1 over TLS: an endpoint that takes POSTs, a syslog server, a witness that really verifies."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from gateway.sequencing.lines_out import Place, TlsFiles
from gateway.tlog.checkpoints import Checkpoint, parse_text
from gateway.tlog.cosignatures import Cosigner
from gateway.tlog.errors import TlogError
from gateway.tlog.merkle import EMPTY_ROOT, verify_consistency
from gateway.tlog.notes import VerifyingKey, verify
from gateway.tlog.witnessing import parse_request
from tests.certificates import TestAuthority

AUTHORITY = TestAuthority("archive.example")
STRANGER = TestAuthority("stranger.example")


@dataclass(slots=True)
class Posted:
    """What a server has been sent."""

    requests: list[tuple[bytes, bytes]] = field(default_factory=list)  # head, body
    there: asyncio.Event = field(default_factory=asyncio.Event)


Reply = Callable[[bytes, bytes], bytes]  # head and body of the request → the whole answer


def answer(status: int, body: bytes = b"", kind: str = "text/plain") -> bytes:
    """Return an answer of HTTP."""
    head = f"HTTP/1.1 {status} Said\r\nContent-Type: {kind}\r\nContent-Length: {len(body)}\r\n\r\n"
    return head.encode() + body


def tls_files(folder: Path, authority: TestAuthority = AUTHORITY) -> TlsFiles:
    """Return whom to believe."""
    file = folder / "ca.pem"
    file.write_bytes(authority.bundle_pem)
    return TlsFiles(ca_file=file)


def server_context(folder: Path, name: str = "localhost") -> ssl.SSLContext:
    """Return what a server of this name has."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*AUTHORITY.svid("/server", uris=(), dns=(name,)).write(folder, f"server-{name}"))
    return context


@asynccontextmanager
async def posting(context: ssl.SSLContext | None, reply: Reply) -> AsyncIterator[tuple[int, Posted]]:
    """Run a server that answers each POST; its port, and what it was sent."""
    posted = Posted()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            head = await reader.readuntil(b"\r\n\r\n")
            length = int(head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0])
            body = await reader.readexactly(length)
            posted.requests.append((head, body))
            writer.write(reply(head, body))
            await writer.drain()
            posted.there.set()
        except (OSError, asyncio.IncompleteReadError):
            pass
        finally:
            await _closed(writer)

    server = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=context)
    async with server:
        yield server.sockets[0].getsockname()[1], posted


@dataclass(slots=True)
class Syslog:
    """What a syslog server has got: messages, and how many connections."""

    messages: list[bytes] = field(default_factory=list)
    connections: list[asyncio.StreamWriter] = field(default_factory=list)
    there: asyncio.Event = field(default_factory=asyncio.Event)


@asynccontextmanager
async def syslog(context: ssl.SSLContext | None, port: int = 0) -> AsyncIterator[tuple[int, Syslog]]:
    """Run a server of RFC 5425: frames with their length before them."""
    got = Syslog()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        got.connections.append(writer)
        try:
            while True:
                length = int(await reader.readuntil(b" "))
                got.messages.append(await reader.readexactly(length))
                got.there.set()
        except (OSError, asyncio.IncompleteReadError):
            pass
        finally:
            await _closed(writer)

    server = await asyncio.start_server(serve, "127.0.0.1", port, ssl=context)
    async with server:
        yield server.sockets[0].getsockname()[1], got
        for writer in got.connections:
            await _closed(writer)


async def _closed(writer: asyncio.StreamWriter) -> None:
    writer.transport.abort()
    try:
        await writer.wait_closed()
    except OSError:
        return


def place(port: int, tls: TlsFiles | None, timeout_s: float = 20.0) -> Place:
    """Return where such a server is."""
    return Place(host="localhost" if tls else "127.0.0.1", port=port, tls=tls, timeout_s=timeout_s)


class JudgingWitness:
    """A witness by the letter of C2SP tlog-witness, for one log: it believes nothing, and forgets nothing."""

    def __init__(self, name: str, seed: int, log_key: VerifyingKey, origin: str) -> None:
        self.cosigner = Cosigner(name, Ed25519PrivateKey.from_private_bytes(bytes([seed]) * 32))
        self._log_key, self._origin = log_key, origin
        self.latest = Checkpoint(origin=origin, size=0, root=EMPTY_ROOT)
        self.at = 1_800_000_000
        self.refusals: list[int] = []

    def reply(self, head: bytes, body: bytes) -> bytes:
        """Answer a request."""
        if not head.startswith(b"POST /w1/add-checkpoint HTTP/1.1\r\n"):
            return self._refuse(404)
        try:
            request = parse_request(body)
            checkpoint = parse_text(request.note.text)
        except TlogError:
            return self._refuse(400)
        if checkpoint.origin != self._origin:
            return self._refuse(404)
        try:
            verify(request.note, [self._log_key])
        except TlogError:
            return self._refuse(403)
        if request.old > checkpoint.size:
            return self._refuse(400)
        if request.old != self.latest.size:
            return self._conflict()
        if request.old == checkpoint.size and self.latest.root != checkpoint.root:
            return self._refuse(409)
        try:
            verify_consistency(request.old, self.latest.root, checkpoint.size, checkpoint.root, request.proof)
        except TlogError:
            return self._refuse(422)
        self.latest = checkpoint
        return answer(200, self.cosigner.cosign(request.note.text, self.at).line.encode())

    def _conflict(self) -> bytes:
        self.refusals.append(409)
        return answer(409, b"%d\n" % self.latest.size, "text/x.tlog.size")

    def _refuse(self, status: int) -> bytes:
        self.refusals.append(status)
        return answer(status)
