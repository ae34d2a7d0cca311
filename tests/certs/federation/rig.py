"""A bundle endpoint that says whatever a test wants, over real TLS on loopback, and what fetches from it."""

from __future__ import annotations

import asyncio
import contextlib
import datetime as dt
import ipaddress
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from certs.bundle import Bundle
from certs.federation.endpoint import Endpoint, parse_url
from certs.federation.fetching import Fetcher
from certs.spiffe_id import TrustDomain
from tests.certificates import IssuedSvid, TestAuthority

DOMAIN = TrustDomain("partner.example")
HOST = "bundles.partner.example"
LOOPBACK = (ipaddress.ip_network("127.0.0.0/8"),)
Answer = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


def real_now() -> dt.datetime:
    """Return the real time: TLS reads it as well."""
    return dt.datetime.now(dt.UTC)


def answer(body: bytes, status: str = "200 OK", *headers: str) -> bytes:
    """Return an answer of HTTP."""
    lines = [f"HTTP/1.1 {status}", "Content-Type: application/json", f"Content-Length: {len(body)}", *headers, "", ""]
    return "\r\n".join(lines).encode() + body


@dataclass(kw_only=True)
class FakeEndpoint:
    """The server: `octets` answer every request, or `reply` does what it likes."""

    web: TestAuthority
    octets: bytes = b""
    reply: Answer | None = None
    port: int = 0
    heads: list[bytes] = field(default_factory=list)
    connections: int = 0
    _server: asyncio.Server | None = None
    _writers: set[asyncio.StreamWriter] = field(default_factory=set)

    async def start(self, folder: Path, certificate: IssuedSvid, host: str = "127.0.0.1") -> None:
        """Serve with a certificate, on a free port."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(*certificate.write(folder, f"endpoint-{id(certificate)}"))
        self._server = await asyncio.start_server(self._connected, host, 0, ssl=context)
        self.port = self._server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        """End it, and every connection."""
        if self._server is not None:
            self._server.close()
        for writer in tuple(self._writers):
            writer.transport.abort()
        await asyncio.sleep(0)

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        self._writers.add(writer)
        try:
            with contextlib.suppress(OSError, asyncio.IncompleteReadError):
                self.heads.append(await reader.readuntil(b"\r\n\r\n"))
                if self.reply is not None:
                    await self.reply(reader, writer)
                else:
                    writer.write(self.octets)
                    await writer.drain()
        finally:
            self._writers.discard(writer)
            writer.close()
            with contextlib.suppress(OSError):
                await writer.wait_closed()


@contextlib.asynccontextmanager
async def serving(
    folder: Path, octets: bytes = b"", *, reply: Answer | None = None, **plan: Any
) -> AsyncIterator[FakeEndpoint]:
    """Give a running endpoint with a web certificate for HOST; `plan` changes that certificate."""
    web = TestAuthority("web.example")
    (folder / "web.pem").write_bytes(web.bundle_pem)
    endpoint = FakeEndpoint(web=web, octets=octets, reply=reply)
    await endpoint.start(folder, web.svid("/web", **{"uris": (), "dns": (HOST,), **plan}))
    try:
        yield endpoint
    finally:
        await endpoint.stop()


def endpoint_at(port: int, folder: Path, **changes: Any) -> Endpoint:
    """Return the parameters of an endpoint on loopback, by the web profile."""
    url = f"https://{HOST}:{port}/bundle.json"
    fields = {"ca_file": folder / "web.pem", "networks": LOOPBACK, "timeout_s": 20.0, **changes}
    return Endpoint(trust_domain=DOMAIN, location=parse_url(url, (port,)), **fields)


def names(table: dict[str, Sequence[str]]) -> Callable[[str, int], Awaitable[Sequence[str]]]:
    """Return a resolver that knows these names and no others."""

    async def resolve(host: str, port: int) -> Sequence[str]:
        del port
        return table[host]

    return resolve


def fetcher(bundle: Bundle | None = None, addresses: Sequence[str] = ("127.0.0.1",)) -> Fetcher:
    """Return a fetcher for which HOST has these addresses, and which knows one bundle."""
    return Fetcher(lambda _: bundle, real_now, names({HOST: addresses}))
