"""The page: who gets it, and what does not bring it down."""

from __future__ import annotations

import asyncio
import datetime as dt
import socket
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from certs.errors import SvidFileError
from certs.readers import may_read, server_context
from certs.svid import X509Svid
from tests.certificates import IssuedSvid, TestAuthority
from visibility.metrics_server import CONTENT_TYPE, MetricsServer, Security

AUTHORITY = TestAuthority("example.org")
OTHER_DOMAIN = TestAuthority("other.org")
READERS = ("spiffe://example.org/prometheus",)
PAGE = b"# a page\nsmsgw_messages_accepted_total 1.0\n"
LOOPBACK = ("127.0.0.1", 0)
_WAIT_S = 20.0


@asynccontextmanager
async def serving(security: Security | None = None) -> AsyncIterator[tuple[MetricsServer, int]]:
    """Run a server on a free port."""
    server = MetricsServer(LOOPBACK, lambda: PAGE, security)
    port = await server.start()
    try:
        yield server, port
    finally:
        await server.stop()


async def ask(port: int, request: bytes, context: ssl.SSLContext | None = None) -> bytes:
    """Return everything that the server answers."""
    async with asyncio.timeout(_WAIT_S):
        name = "gateway.example.org" if context else None
        reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=context, server_hostname=name)
        try:
            writer.write(request)
            return await reader.read()
        finally:
            writer.close()


GET = b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n"


@pytest.mark.parametrize(
    ("request_", "status", "body"),
    [
        (GET, b"200 OK", PAGE),
        (b"GET /metrics?x=y HTTP/1.1\r\n\r\n", b"200 OK", PAGE),
        (b"HEAD /metrics HTTP/1.1\r\n\r\n", b"200 OK", b""),
        (b"GET / HTTP/1.1\r\n\r\n", b"404 Not Found", b"GET /metrics\n"),
        (b"GET /metrics/../etc/passwd HTTP/1.1\r\n\r\n", b"404 Not Found", b"GET /metrics\n"),
        (b"POST /metrics HTTP/1.1\r\n\r\n", b"405 Method Not Allowed", b"GET /metrics\n"),
        (b"\r\n\r\n", b"405 Method Not Allowed", b"GET /metrics\n"),
        (b"GET /metrics HTTP/1.1\r\nX: " + b"x" * 20_000, b"431 Request Header Fields Too Large", b""),
    ],
)
async def test_requests(request_: bytes, status: bytes, body: bytes) -> None:
    """One path, two methods, bounded heads; every answer has its length and ends the connection."""
    async with serving() as (_, port):
        head, _, octets = (await ask(port, request_)).partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 " + status)
    assert b"Connection: close" in head
    assert octets == body
    if status == b"200 OK":
        assert f"Content-Type: {CONTENT_TYPE}".encode() in head
        assert f"Content-Length: {len(PAGE)}".encode() in head


async def test_silent_clients_are_bounded() -> None:
    """So many connections may wait, one more is closed at once, and a place that is free again serves."""
    async with serving() as (_, port):
        silent = [await asyncio.open_connection("127.0.0.1", port) for _ in range(8)]
        async with asyncio.timeout(_WAIT_S):
            while await ask_or_nothing(port):  # the server may not have taken all of them yet
                await asyncio.sleep(0.01)
            for _, writer in silent:
                writer.close()
            while not await ask_or_nothing(port):
                await asyncio.sleep(0.01)


async def ask_or_nothing(port: int) -> bytes:
    """Return the answer, nothing when the connection is cut."""
    try:
        return await ask(port, GET)
    except ConnectionError:
        return b""


async def test_an_address_that_is_taken() -> None:
    """The setting is named."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = ("127.0.0.1", taken.getsockname()[1])
        with pytest.raises(OSError, match=r"the metrics. address 127\.0\.0\.1:\d+ cannot be had"):
            await MetricsServer(address, lambda: PAGE, None).start()


class Pki:
    """The node's files, and contexts for clients."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.renew()

    def renew(self, authority: TestAuthority = AUTHORITY) -> None:
        """Write a new SVID of the node."""
        authority.svid("/gateway", dns=("gateway.example.org",)).write(self.folder, "node")

    def security(self, roots: TestAuthority = AUTHORITY) -> Security:
        """Return what the node's telemetry would be built with."""

        def context() -> ssl.SSLContext:
            try:
                svid = X509Svid.load(self.folder / "node.pem", self.folder / "node.key")
            except SvidFileError as error:
                raise OSError(str(error)) from error
            return server_context(svid, roots.bundle_pem.decode())

        return Security(context, lambda leaf: may_read(leaf, "example.org", READERS, dt.datetime.now(dt.UTC)))

    def client(self, svid: IssuedSvid | None, trusted: TestAuthority = AUTHORITY) -> ssl.SSLContext:
        """Return a client's context, with this certificate or none."""
        context = ssl.create_default_context(cadata=trusted.bundle_pem.decode())
        if svid is not None:
            certificate, key = svid.write(self.folder, "client")
            context.load_cert_chain(certificate, key)
        return context


@pytest.fixture
def pki(tmp_path: Path) -> Pki:
    """Give the node's files."""
    return Pki(tmp_path)


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/prometheus", b"200 OK"),
        ("/prometheus/eu-1", b"200 OK"),
        ("/prometheus-of-somebody-else", b"403 Forbidden"),
        ("/payments", b"403 Forbidden"),
    ],
)
async def test_readers(pki: Pki, path: str, status: bytes) -> None:
    """Over TLS the page is for the readers named, by whole segments of their path."""
    async with serving(pki.security()) as (_, port):
        answer = await ask(port, GET, pki.client(AUTHORITY.svid(path)))
    assert answer.startswith(b"HTTP/1.1 " + status)
    assert (PAGE in answer) == (status == b"200 OK")


async def test_no_certificate(pki: Pki) -> None:
    """Without a certificate, with one of another authority, or in plain text there is no page."""
    async with serving(pki.security()) as (_, port):
        for context in (pki.client(None), pki.client(OTHER_DOMAIN.svid("/prometheus")), None):
            try:
                answer = await ask(port, GET, context)
            except (ssl.SSLError, ConnectionError):
                answer = b""
            assert PAGE not in answer


def test_leaves_that_may_not_read() -> None:
    """TLS has verified the chain; identity, trust domain and time are looked at here."""
    now = dt.datetime.now(dt.UTC)
    good = AUTHORITY.svid("/prometheus")
    leaf = der(good)
    assert may_read(leaf, "example.org", READERS, now)
    assert not may_read(leaf, "example.org", (), now)
    assert not may_read(leaf, "other.org", READERS, now)
    assert not may_read(leaf, "example.org", READERS, now + dt.timedelta(hours=2))
    assert not may_read(leaf, "example.org", READERS, now - dt.timedelta(hours=2))
    two_names = AUTHORITY.svid("/x", uris=(*READERS, "spiffe://example.org/x"))
    assert not may_read(der(two_names), "example.org", READERS, now)
    assert not may_read(b"no certificate", "example.org", READERS, now)


def der(svid: IssuedSvid) -> bytes:
    """Return a leaf's octets."""
    from cryptography.hazmat.primitives.serialization import Encoding

    return svid.leaf.public_bytes(Encoding.DER)


async def test_renewed_certificates(pki: Pki) -> None:
    """A renewed SVID is shown from the next connection on, at the same port; a bad one leaves the old in force."""
    renewed = TestAuthority("example.org")
    reader = AUTHORITY.svid("/prometheus")
    async with serving(pki.security()) as (server, port):
        assert PAGE in await ask(port, GET, pki.client(reader))
        (pki.folder / "node.pem").write_text("none")
        with pytest.raises(OSError):  # noqa: PT011 -- the TLS library's own words
            await server.reload()
        assert PAGE in await ask(port, GET, pki.client(reader))
        pki.renew(renewed)
        await server.reload()
        with pytest.raises(ssl.SSLCertVerificationError):
            await ask(port, GET, pki.client(reader))
        assert PAGE in await ask(port, GET, pki.client(reader, trusted=renewed))
