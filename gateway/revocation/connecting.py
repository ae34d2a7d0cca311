"""The way to the publisher: one verified TLS connection for each attempt, which gRPC reaches over a private Unix
socket.

gRPC for Python checks a server by host name only, and a node is known by its SPIFFE ID. So the TLS connection is made
here: OpenSSL verifies the chain against the bundle of the publisher's own trust domain and nothing else, the leaf is
read by the rules of X509-SVID, and its SPIFFE ID has to be the one that is configured before an octet passes. The
socket lies in a fresh directory of mode 0700.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import ssl
import tempfile
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import grpc.aio
from cryptography import x509

from certs.bundle import Bundle, Trust
from certs.errors import BundleError, Untrusted
from certs.leaf import read_leaf
from certs.spiffe_id import SpiffeId
from certs.svid import X509Svid
from certs.tls import SvidSource
from gateway.revocation.codec import MAX_BODY_BYTES
from smsgw.v1.revocation_service_pb2_grpc import RevocationServiceStub
from visibility.listening import stop_accepting

if TYPE_CHECKING:
    from smsgw.v1.revocation_service_pb2_grpc import RevocationServiceAsyncStub  # known to the stubs' types only

DIAL_S = 5.0
_PIECE = 64 << 10
_ALPN = "h2"
_OPTIONS = (
    ("grpc.use_local_subchannel_pool", 1),
    ("grpc.max_receive_message_length", MAX_BODY_BYTES + 65_536),
    ("grpc.enable_http_proxy", 0),
    ("grpc.default_authority", "publisher"),
    ("grpc.keepalive_time_ms", 20_000),
    ("grpc.keepalive_timeout_ms", 10_000),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Whereabouts:
    """Where the publisher is, and who it has to be."""

    host: str
    port: int
    spiffe_id: SpiffeId


class Connector:
    """Opens connections with the node's present SVID and bundles."""

    def __init__(self, publisher: Whereabouts, svid: SvidSource, bundles: Trust) -> None:
        self._publisher = publisher
        self._svid = svid
        self._bundles = bundles

    @contextlib.asynccontextmanager
    async def __call__(self) -> AsyncIterator[RevocationServiceAsyncStub]:
        """Return what the publisher is called by. Raises CertsError or OSError when it cannot be reached, or is
        another."""
        bundle = self._bundles.get(self._publisher.spiffe_id.trust_domain)
        if bundle is None:
            raise BundleError(f"there is no bundle of {self._publisher.spiffe_id.trust_domain}, the publisher's domain")
        context = _context(self._svid.svid, bundle)
        async with (
            _dialled(self._publisher, context) as far,
            _near(far) as path,
            grpc.aio.insecure_channel(f"unix:{path}", options=_OPTIONS) as channel,
        ):
            yield RevocationServiceStub(channel)


_Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]


@contextlib.asynccontextmanager
async def _dialled(publisher: Whereabouts, context: ssl.SSLContext) -> AsyncIterator[_Streams]:
    """Connect, and verify who answers. Raises OSError, TimeoutError, CertsError."""
    async with asyncio.timeout(DIAL_S):
        reader, writer = await asyncio.open_connection(
            publisher.host, publisher.port, ssl=context, server_hostname=publisher.host, limit=_PIECE
        )
    try:
        _verify(publisher, writer.get_extra_info("ssl_object"))
        yield reader, writer
    finally:
        writer.transport.abort()


def _verify(publisher: Whereabouts, connection: ssl.SSLObject) -> None:
    """Raise CertsError unless the publisher is at the other end."""
    if connection.selected_alpn_protocol() != _ALPN:
        raise Untrusted("what answers at the publisher's address does not speak HTTP/2")
    leaf = connection.getpeercert(binary_form=True)
    if leaf is None:
        raise Untrusted("what answers at the publisher's address presents no certificate")
    found = read_leaf(x509.load_der_x509_certificate(leaf)).spiffe_id
    if found != publisher.spiffe_id:
        raise Untrusted(f"{found} answers at the publisher's address, and {publisher.spiffe_id} is expected")


@contextlib.asynccontextmanager
async def _near(far: _Streams) -> AsyncIterator[Path]:
    """Listen for gRPC's one connection, and join it with `far`."""
    directory = Path(tempfile.mkdtemp(prefix="smsgw-"))
    pumps: set[asyncio.Task[None]] = set()
    taken = False

    def met(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal taken
        if taken:  # the connection to the publisher has been used: this attempt is over
            writer.transport.abort()
            return
        taken = True
        for source, sink, other in ((reader, far[1], writer), (far[0], writer, far[1])):
            pump = asyncio.get_running_loop().create_task(_pump(source, sink, other))
            pumps.add(pump)
            pump.add_done_callback(pumps.discard)

    server = await asyncio.start_unix_server(met, str(directory / "s"), limit=_PIECE)
    try:
        yield directory / "s"
    finally:
        await stop_accepting(server)
        server.close()
        for pump in tuple(pumps):
            pump.cancel()
        await asyncio.gather(*pumps, return_exceptions=True)
        shutil.rmtree(directory, ignore_errors=True)


async def _pump(source: asyncio.StreamReader, sink: asyncio.StreamWriter, other: asyncio.StreamWriter) -> None:
    """Pass on what comes until one side ends; then both do."""
    try:
        while octets := await source.read(_PIECE):
            sink.write(octets)
            await sink.drain()
    except OSError:
        pass  # one of the two has gone, which is the end
    finally:
        sink.transport.abort()
        other.transport.abort()


def _context(svid: X509Svid, bundle: Bundle) -> ssl.SSLContext:
    """Return the context that presents `svid` and trusts `bundle` alone."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False  # the SPIFFE ID is verified instead
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.verify_flags |= (
        ssl.VERIFY_X509_PARTIAL_CHAIN
    )  # an authority of a bundle need not sign itself (X509-SVID §6)
    context.set_alpn_protocols([_ALPN])
    context.load_verify_locations(cadata=bundle.to_pem().decode("ascii"))
    with _in_memory(svid.chain_pem() + svid.key_pem()) as path:
        context.load_cert_chain(path)
    return context


@contextlib.contextmanager
def _in_memory(pem: bytes) -> Iterator[str]:
    """Give a path at which `pem` can be read, and which is on no disk: `ssl` takes keys by path only."""
    descriptor = os.memfd_create("smsgw-svid", os.MFD_CLOEXEC)
    try:
        os.write(descriptor, pem)
        yield f"/proc/self/fd/{descriptor}"
    finally:
        os.close(descriptor)
