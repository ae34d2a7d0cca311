"""TLS: versions, client certificates, and certificates that change while a server runs."""

from __future__ import annotations

import asyncio
import ssl
import warnings
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
import pytest
from cryptography.hazmat.primitives.serialization import Encoding

from certs.bundle import Bundle, TrustBundles
from certs.errors import BadSvid, BundleError, IdentityRefused, Reason, SvidFileError
from certs.spiffe_id import TrustDomain
from certs.svid import X509Svid, publish
from certs.tls import (
    BundleFiles,
    FixedSvid,
    SvidFiles,
    channel_credentials,
    check_own_svid,
    server_credentials,
    server_name_option,
)
from tests.certificates import IssuedSvid, TestAuthority

A = TestAuthority("example.org")
B = TestAuthority("other.org", now=A.now)
DOMAIN = TrustDomain("example.org")
TIMEOUT_S = 10


def loaded(issued: IssuedSvid) -> X509Svid:
    """Return an issued SVID as the product holds it."""
    return X509Svid.from_pem(issued.presented_pem, issued.key_pem)


def bundle_of(authority: TestAuthority) -> Bundle:
    """Return the bundle of a test authority."""
    return Bundle.from_pem(TrustDomain(authority.trust_domain), authority.bundle_pem)


CLIENT = loaded(A.svid("/client"))
OWN = A.svid("/gateway", dns=("gateway.example.org",))


class Changing:
    """An SVID source that tests change."""

    def __init__(self, svid: X509Svid) -> None:
        self.svid = svid
        self.version = 1

    def change(self, svid: X509Svid) -> None:
        """Present another SVID from now on."""
        self.svid, self.version = svid, self.version + 1


class Echo(grpc.GenericRpcHandler):
    """Answers each call with its octets."""

    def service(self, handler_call_details: grpc.HandlerCallDetails) -> Any:
        """Serve any method."""
        return grpc.unary_unary_rpc_method_handler(self.answer)

    async def answer(self, request: bytes, _context: object) -> bytes:
        """Say it again."""
        return request


class Server:
    """A server whose SVID and bundles can be changed."""

    def __init__(self, *trusted: Bundle) -> None:
        self.source = Changing(loaded(OWN))
        self.bundles = TrustBundles(trusted)
        self.grpc = grpc.aio.server()
        self.grpc.add_generic_rpc_handlers((Echo(),))
        self.port = self.grpc.add_secure_port("127.0.0.1:0", server_credentials(self.source, self.bundles))

    def channel(self, client: X509Svid = CLIENT, trusted: Bundle | None = None) -> grpc.aio.Channel:
        """Return a channel with a connection of its own."""
        options = [server_name_option("gateway.example.org"), ("grpc.use_local_subchannel_pool", 1)]
        credentials = channel_credentials(client, trusted or bundle_of(A))
        return grpc.aio.secure_channel(f"127.0.0.1:{self.port}", credentials, options=options)

    async def served_leaf(self) -> bytes:
        """Return the DER of the leaf that the server presents to a new connection."""
        _, writer = await connect(self.port, context())
        found = writer.get_extra_info("ssl_object").getpeercert(binary_form=True)
        writer.close()
        assert isinstance(found, bytes)
        return found


async def call(channel: grpc.aio.Channel) -> bytes:
    """Make one call."""
    method: Callable[..., Awaitable[bytes]] = channel.unary_unary("/test/Echo")
    return await method(b"hello", timeout=TIMEOUT_S)


@pytest.fixture
async def server() -> AsyncIterator[Server]:
    """Run a server on a free port."""
    running = Server(bundle_of(A))
    await running.grpc.start()
    yield running
    await running.grpc.stop(None)


CLIENT_FILES: dict[str, Path] = {}


@pytest.fixture(autouse=True)
def client_files(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Keep one pair of client files for all contexts of this module."""
    if not CLIENT_FILES:
        directory = tmp_path_factory.mktemp("client")
        CLIENT_FILES["cert"], CLIENT_FILES["key"] = A.svid("/client").write(directory, "client")


def context(version: ssl.TLSVersion | None = None, *, certificate: bool = True) -> ssl.SSLContext:
    """Return a client's TLS context of one version, with the weakest security level that OpenSSL has."""
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    made.load_verify_locations(cadata=A.bundle_pem.decode())
    made.set_alpn_protocols(["h2"])
    made.set_ciphers("ALL:@SECLEVEL=0")
    if certificate:
        made.load_cert_chain(CLIENT_FILES["cert"], CLIENT_FILES["key"])
    if version is not None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # TLS 1.1 is old: that is the point
            made.minimum_version = made.maximum_version = version
    return made


async def connect(port: int, tls: ssl.SSLContext) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """Connect with Python's own TLS."""
    opening = asyncio.open_connection("127.0.0.1", port, ssl=tls, server_hostname="gateway.example.org")
    return await asyncio.wait_for(opening, TIMEOUT_S)


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
async def test_current_versions_are_accepted(server: Server, version: ssl.TLSVersion) -> None:
    """TLS 1.2 and 1.3 reach HTTP/2: the server sends its settings."""
    first = await first_octets(server.port, context(version))
    assert first[3] == 4  # a SETTINGS frame (RFC 9113 §6.5)


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1, ssl.TLSVersion.TLSv1_1])
async def test_old_versions_are_refused(server: Server, version: ssl.TLSVersion) -> None:
    """TLS 1.0 and 1.1 are refused by the server; a lax server shows that the same client does offer them."""
    lax = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    lax.load_cert_chain(*OWN.write(CLIENT_FILES["cert"].parent, "lax"))
    lax.set_ciphers("ALL:@SECLEVEL=0")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        lax.minimum_version = ssl.TLSVersion.TLSv1
    spoken: list[str | None] = []

    async def note(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        spoken.append(writer.get_extra_info("ssl_object").version())
        writer.close()

    control = await asyncio.start_server(note, "127.0.0.1", 0, ssl=lax)
    async with control:
        reader, writer = await connect(control.sockets[0].getsockname()[1], context(version))
        await asyncio.wait_for(reader.read(), TIMEOUT_S)
        writer.close()
    assert spoken == ["TLSv1" if version is ssl.TLSVersion.TLSv1 else "TLSv1.1"]
    with pytest.raises((ssl.SSLError, ConnectionError)):
        await connect(server.port, context(version))


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
async def test_no_client_certificate(server: Server, version: ssl.TLSVersion) -> None:
    """Without a client certificate nothing of HTTP/2 is served (in TLS 1.3 the refusal follows the handshake)."""
    with pytest.raises((ssl.SSLError, ConnectionError, asyncio.IncompleteReadError)):
        await first_octets(server.port, context(version, certificate=False))


async def first_octets(port: int, tls: ssl.SSLContext) -> bytes:
    """Connect and return the header of the first HTTP/2 frame."""
    reader, writer = await connect(port, tls)
    try:
        return await asyncio.wait_for(reader.readexactly(9), TIMEOUT_S)
    finally:
        writer.close()


async def test_client_without_the_name_option(server: Server) -> None:
    """A Python client checks the DNS name: the address alone does not match."""
    credentials = channel_credentials(CLIENT, bundle_of(A))
    async with grpc.aio.secure_channel(f"127.0.0.1:{server.port}", credentials) as channel:
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await call(channel)
    assert refused.value.code() is grpc.StatusCode.UNAVAILABLE


async def test_client_that_trusts_another_domain(server: Server) -> None:
    """A client does not talk to a server of a domain that it does not trust."""
    async with server.channel(trusted=bundle_of(B)) as channel:
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await call(channel)
    assert refused.value.code() is grpc.StatusCode.UNAVAILABLE


async def test_new_svid_from_the_next_handshake_on(server: Server) -> None:
    """A renewed SVID is presented to new connections; a live one goes on."""
    async with server.channel() as live:
        assert await call(live) == b"hello"
        before = await server.served_leaf()
        renewed = A.svid("/gateway", dns=("gateway.example.org",))
        server.source.change(loaded(renewed))
        after = await server.served_leaf()
        assert after != before
        assert await call(live) == b"hello"
    assert after == renewed.leaf.public_bytes(Encoding.DER)


async def test_new_bundles_from_the_next_handshake_on(server: Server) -> None:
    """A domain is let in by TLS once its bundle is there, and kept out once it is gone."""
    stranger = loaded(B.svid("/client"))
    for bundles, welcome in (([A], False), ([A, B], True), ([A], False)):
        server.bundles.replace(bundle_of(authority) for authority in bundles)
        async with server.channel(stranger) as channel:
            if welcome:
                assert await call(channel) == b"hello"
                continue
            with pytest.raises(grpc.aio.AioRpcError) as refused:
                await call(channel)
            assert refused.value.code() is grpc.StatusCode.UNAVAILABLE


@pytest.mark.parametrize("at_first", [True, False], ids=["from the start", "later"])
async def test_nothing_trusted(at_first: bool) -> None:
    """With no authority left, TLS lets nobody in: it does not fall back to the system's roots or to the old ones."""
    revoked = Bundle(trust_domain=DOMAIN, authorities=())
    server = Server(revoked if at_first else bundle_of(A))
    await server.grpc.start()
    try:
        if not at_first:
            server.bundles.replace([revoked])
        async with server.channel() as channel:
            with pytest.raises(grpc.aio.AioRpcError) as refused:
                await call(channel)
        assert refused.value.code() is grpc.StatusCode.UNAVAILABLE
    finally:
        await server.grpc.stop(None)


def test_files_that_are_renewed(tmp_path: Path) -> None:
    """A renewed SVID is seen by the next refresh, once."""
    cert, key = tmp_path / "gw.pem", tmp_path / "gw.key"
    publish(loaded(OWN), cert, key)
    source = SvidFiles(cert, key)
    assert not source.refresh()
    renewed = loaded(A.svid("/gateway"))
    publish(renewed, cert, key)
    assert source.refresh()
    assert (source.version, source.svid) == (2, renewed)
    assert not source.refresh()
    publish(renewed, cert, key)  # written again, the same
    assert not source.refresh()
    assert source.version == 2


def test_files_that_become_unusable(tmp_path: Path) -> None:
    """A broken renewal is reported at each refresh, the old SVID stays, and a repaired one is taken."""
    cert, key = OWN.write(tmp_path, "gw")
    source = SvidFiles(cert, key)
    cert.write_bytes(b"nothing")
    for _ in range(2):
        with pytest.raises(SvidFileError):
            source.refresh()
    cert.unlink()
    with pytest.raises(SvidFileError, match="cannot be read"):
        source.refresh()
    bad = A.svid(uris=())
    bad.write(tmp_path, "gw")
    with pytest.raises(BadSvid):
        source.refresh()
    assert (source.version, source.svid) == (1, loaded(OWN))
    A.svid("/repaired").write(tmp_path, "gw")
    assert source.refresh()
    assert source.svid.spiffe_id.path == "/repaired"


def test_bundle_files(tmp_path: Path) -> None:
    """Bundles are read from PEM and from SPIFFE JSON, and replaced as a whole when a file changes."""
    pem, jwks = tmp_path / "a.pem", tmp_path / "b.json"
    pem.write_bytes(A.bundle_pem)
    jwks.write_bytes(b" \n" + bundle_of(B).to_jwks())
    found = BundleFiles({DOMAIN: pem, TrustDomain("other.org"): jwks})
    assert found.bundles.all() == (bundle_of(A), bundle_of(B))
    assert not found.refresh()
    fresh = TestAuthority("example.org")
    pem.write_bytes(A.bundle_pem + fresh.bundle_pem)
    assert found.refresh()
    assert found.bundles.version == 2
    pem.write_bytes(b"")
    for _ in range(2):
        with pytest.raises(BundleError, match=r"a\.pem"):
            found.refresh()
    assert len(found.bundles.all()[0].authorities) == 2


def test_own_svid_is_checked_like_a_peer() -> None:
    """A node finds out before it serves that peers would refuse it."""
    trusted = TrustBundles([bundle_of(A)])
    assert check_own_svid(loaded(OWN), trusted, A.now).dns_names == ("gateway.example.org",)
    with pytest.raises(IdentityRefused) as refused:
        check_own_svid(loaded(B.svid()), trusted, A.now)
    assert refused.value.reason is Reason.WRONG_TRUST_DOMAIN
    with pytest.raises(IdentityRefused) as refused:
        check_own_svid(loaded(OWN), trusted, OWN.leaf.not_valid_after_utc.replace(year=2100))
    assert refused.value.reason is Reason.EXPIRED


def test_fixed_source() -> None:
    """A fixed source never changes."""
    source = FixedSvid(CLIENT)
    assert (source.svid, source.version) == (CLIENT, 1)
