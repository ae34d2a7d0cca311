"""Servers that are not the gateway: they finish the handshake, count what is said to them, and never answer."""

from __future__ import annotations

import asyncio
import datetime as dt
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.certificates import IssuedSvid, utc_now
from visibility.listening import stop_accepting

GATEWAY = "/gateway"
# Of the right trust domain, and not the gateway: the path, what else is odd, and what is said of it.
ROGUES: dict[str, tuple[str, dict[str, Any], str]] = {
    "another identity with the right DNS name": ("/payments/other", {"dns": ("127.0.0.1",)}, "payments/other answers"),
    "the identity in another case": ("/Gateway", {}, "/Gateway answers"),
    "a path below": ("/gateway/x", {}, "/gateway/x answers"),
    "two identities": (
        "/x", {"uris": ("spiffe://example.org/gateway", "spiffe://example.org/x")}, "exactly one",
    ),
    "the identity as a DNS name": (
        "/x", {"dns": ("spiffe://example.org/gateway",)}, "could not prove who it is|/x answers",
    ),
    "expired": (
        GATEWAY,
        {"not_before": utc_now() - dt.timedelta(hours=2), "not_after": utc_now() - dt.timedelta(hours=1)},
        "expired",
    ),
}  # fmt: skip


@dataclass(slots=True)
class Rogue:
    """What a server saw."""

    port: int = 0
    handshakes: int = 0
    octets: bytearray = field(default_factory=bytearray)  # of the application, decrypted
    seen: asyncio.Event = field(default_factory=asyncio.Event)


@asynccontextmanager
async def rogue(
    folder: Path, issued: IssuedSvid, client_authority: bytes, *, alpn: tuple[str, ...] = ("h2",)
) -> AsyncIterator[Rogue]:
    """Run a server with this certificate that demands one of its clients."""
    certificate, key = issued.write(folder, "rogue")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    context.load_verify_locations(cadata=client_authority.decode())
    context.verify_mode = ssl.CERT_REQUIRED
    context.set_alpn_protocols(list(alpn))
    found = Rogue()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        found.handshakes += 1
        try:
            while octets := await reader.read(65536):
                found.octets += octets
        except OSError:
            pass
        finally:
            found.seen.set()
            writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=context)
    found.port = server.sockets[0].getsockname()[1]
    try:
        yield found
    finally:
        closed = asyncio.create_task(server.wait_closed())  # begun before `close`: else Python 3.11 waits for nobody
        await stop_accepting(server)
        server.close()
        async with asyncio.timeout(10):
            await closed  # also for connections whose handshake was under way
