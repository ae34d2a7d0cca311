"""Our bundle endpoint over real TLS: what it serves, what it refuses, and that its certificate can be exchanged."""

from __future__ import annotations

import datetime as dt
import http.client
import socket
import ssl
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from certs.bundle import Bundle
from certs.errors import AuthorityError, SvidFileError
from certs.federation.answering import Answerer, Page
from certs.federation.serving import BundleServer, server_context
from certs.spiffe_id import TrustDomain
from tests.certificates import TestAuthority

WEB = TestAuthority("web.example")
HOST = "bundles.example.org"
CERTIFICATE = WEB.svid("/web", uris=(), dns=(HOST,))
OURS = TestAuthority("example.org")
BUNDLE = Bundle(trust_domain=TrustDomain("example.org"), authorities=(OURS.root,), sequence=3, refresh_hint_s=300)
PAGE = Page(path="/bundle.json", document=BUNDLE.to_jwks())
NOW = dt.datetime(2026, 11, 27, 12, tzinfo=dt.UTC)


def clock() -> dt.datetime:
    """Return a fixed time."""
    return NOW


@pytest.fixture
def server() -> Iterator[tuple[BundleServer, int]]:
    """Give a running endpoint and its port."""
    found = BundleServer(PAGE, server_context(CERTIFICATE.presented_pem, CERTIFICATE.key_pem), clock)
    port = found.start("127.0.0.1:0")
    try:
        yield found, port
    finally:
        found.stop()


def client_context() -> ssl.SSLContext:
    """Return what a client of the web has."""
    context = ssl.create_default_context(cadata=WEB.bundle_pem.decode())
    context.check_hostname = False  # it is called at 127.0.0.1; the names are judged elsewhere
    return context


def ask(
    port: int, method: str = "GET", target: str = "/bundle.json", **headers: str
) -> tuple[int, dict[str, str], bytes]:
    """Return status, headers and body of one request."""
    connection = http.client.HTTPSConnection("127.0.0.1", port, context=client_context(), timeout=20)
    try:
        connection.request(method, target)
        with connection.getresponse() as found:
            return found.status, {name.lower(): value for name, value in found.getheaders()}, found.read()
    finally:
        connection.close()


def tls(port: int, **changes: object) -> ssl.SSLSocket:
    """Return a TLS connection."""
    context = client_context()
    for name, value in changes.items():
        setattr(context, name, value)
    plain = socket.create_connection(("127.0.0.1", port), timeout=20)
    try:
        return context.wrap_socket(plain)
    except BaseException:
        plain.close()
        raise


def test_get(server: tuple[BundleServer, int]) -> None:
    """A GET is answered with the bundle, typed, for caches of a minute, and the connection ends."""
    status, headers, body = ask(server[1])
    assert (status, body) == (200, BUNDLE.to_jwks())
    assert headers == {
        "date": "Fri, 27 Nov 2026 12:00:00 GMT",
        "content-type": "application/json",
        "content-length": str(len(body)),
        "cache-control": "public, max-age=60",
        "x-content-type-options": "nosniff",
        "connection": "close",
    }
    assert ask(server[1], target="/bundle.json?v=1")[0] == 200


def test_head(server: tuple[BundleServer, int]) -> None:
    """A HEAD has the headers of the GET, and no body."""
    status, headers, body = ask(server[1], "HEAD")
    assert (status, body, headers["content-length"]) == (200, b"", str(len(BUNDLE.to_jwks())))


@pytest.mark.parametrize(
    ("method", "target", "status"),
    [
        ("GET", "/", 404),
        ("GET", "/bundle.json/", 404),
        ("GET", "/../bundle.json", 404),
        ("GET", "/%62undle.json", 404),
        ("GET", "//bundle.json", 404),
        ("GET", "https://example.org/bundle.json", 404),
        ("OPTIONS", "*", 404),
        ("POST", "/bundle.json", 405),
        ("PUT", "/bundle.json", 405),
        ("DELETE", "/bundle.json", 405),
        ("OPTIONS", "/bundle.json", 405),
        ("TRACE", "/bundle.json", 405),
        ("get", "/bundle.json", 405),
    ],
)
def test_nothing_else(server: tuple[BundleServer, int], method: str, target: str, status: int) -> None:
    """No other path and no other method is served, and errors are not cached."""
    found, headers, _ = ask(server[1], method, target)
    assert (found, headers["cache-control"]) == (status, "no-store")
    assert headers.get("allow") == ("GET, HEAD" if status == 405 else None)


def test_bodies_are_not_read(server: tuple[BundleServer, int]) -> None:
    """A request with a body is answered by its head, and the body is not waited for."""
    with tls(server[1]) as connection:
        connection.sendall(b"POST /bundle.json HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000000\r\n\r\n")
        assert connection.recv(4096).startswith(b"HTTP/1.1 405")


@pytest.mark.parametrize(
    ("octets", "status"),
    [
        (b"GET /bundle.json HTTP/1.1\r\n\r\n", b"400"),  # no Host
        (b"GET /bundle.json HTTP/1.1\r\nHost: x\r\nX: " + b"y" * 30_000, b"431"),
        (b"GET /" + b"x" * 30_000, b"431"),
        (b"nonsense\r\n\r\n", b"400"),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n", b"400"),
        (b"GET /bundle.json HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n", b"400"),
        (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", b"404"),
    ],
)
def test_broken_requests(server: tuple[BundleServer, int], octets: bytes, status: bytes) -> None:
    """What is no request, or too large, is refused; the endpoint goes on."""
    with tls(server[1]) as connection:
        connection.sendall(octets)
        assert connection.recv(4096).split()[1] == status
    assert ask(server[1])[0] == 200


@given(st.binary(max_size=200))
def test_any_octets(octets: bytes) -> None:
    """Whatever comes first, it is waited for more, or answered, and never with the bundle unless it was asked for."""
    found = Answerer().received(octets, {PAGE.path: PAGE}, NOW)
    if found and found.startswith(b"HTTP/1.1 200"):
        assert b"/bundle.json" in octets


def test_no_client_certificate_is_asked_for(server: tuple[BundleServer, int]) -> None:
    """Nobody has to authenticate (SPIFFE Federation §5.2.1.3), TLS is 1.3, or 1.2, and not less."""
    with tls(server[1]) as connection:
        assert connection.version() == "TLSv1.3"
    with tls(server[1], maximum_version=ssl.TLSVersion.TLSv1_2) as connection:
        assert connection.version() == "TLSv1.2"
    context = client_context()
    with pytest.warns(DeprecationWarning, match="TLSv1"):
        context.minimum_version = ssl.TLSVersion.TLSv1
    with pytest.warns(DeprecationWarning, match="TLSv1"):
        context.maximum_version = ssl.TLSVersion.TLSv1_1
    context.set_ciphers("ALL:@SECLEVEL=0")
    with (
        socket.create_connection(("127.0.0.1", server[1]), timeout=20) as plain,
        pytest.raises(ssl.SSLError),
        context.wrap_socket(plain),
    ):
        pass


def test_exchanged(server: tuple[BundleServer, int]) -> None:
    """Another document and another certificate are served from the next connection on."""
    found, port = server
    other = WEB.svid("/web", uris=(), dns=(HOST,))
    with tls(port) as before:
        first = before.getpeercert(binary_form=True)
        found.context = server_context(other.presented_pem, other.key_pem)
        found.page = Page(path="/bundle.json", document=b"{}")
        with tls(port) as after:
            assert after.getpeercert(binary_form=True) != first
        before.sendall(b"GET /bundle.json HTTP/1.1\r\nHost: x\r\n\r\n")
        assert before.recv(4096).startswith(b"HTTP/1.1 200")
    assert ask(port)[2] == b"{}"


def test_silent_connections_of_one_address(server: tuple[BundleServer, int]) -> None:
    """An address has so many places, silent ones included; more are ended at once, and others still get in."""
    found, port = server
    silent = [socket.create_connection(("127.0.0.1", port), timeout=20) for _ in range(17)]
    try:
        assert silent[16].recv(1) == b""
        assert found.answered["refused"] == 1
        context = client_context()
        with socket.socket() as other:
            other.bind(("127.0.0.2", 0))
            other.settimeout(20)
            other.connect(("127.0.0.1", port))
            with context.wrap_socket(other) as connection:
                connection.sendall(b"GET /bundle.json HTTP/1.1\r\nHost: x\r\n\r\n")
                assert connection.recv(64).startswith(b"HTTP/1.1 200")
    finally:
        for left in silent:
            left.close()
    until = time.monotonic() + 20
    while ask_or_nothing(port) != 200:
        assert time.monotonic() < until


def ask_or_nothing(port: int) -> int:
    """Return the status of a request, 0 when it is not let in."""
    try:
        return ask(port)[0]
    except OSError:
        return 0


def test_stopping_cuts_what_is_open() -> None:
    """Stopping ends silent connections too, and is idempotent."""
    found = BundleServer(PAGE, server_context(CERTIFICATE.presented_pem, CERTIFICATE.key_pem), clock)
    port = found.start("127.0.0.1:0")
    with socket.create_connection(("127.0.0.1", port), timeout=20) as silent:
        assert ask(port)[0] == 200
        found.stop()
        assert silent.recv(1) == b""
    found.stop()
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", port), timeout=20)


@pytest.mark.parametrize("listen", ["127.0.0.1", "127.0.0.1:x", "127.0.0.1:70000", "nowhere.invalid:1"])
def test_addresses(listen: str) -> None:
    """What is no address is refused before anything is served."""
    found = BundleServer(PAGE, server_context(CERTIFICATE.presented_pem, CERTIFICATE.key_pem), clock)
    with pytest.raises(AuthorityError, match="cannot be listened at"):
        found.start(listen)


def test_address_in_use(server: tuple[BundleServer, int]) -> None:
    """A port that is taken is told."""
    with pytest.raises(AuthorityError, match="free port"):
        BundleServer(PAGE, server_context(CERTIFICATE.presented_pem, CERTIFICATE.key_pem), clock).start(
            f"127.0.0.1:{server[1]}"
        )


def test_certificates_that_do_not_fit(tmp_path: Path) -> None:
    """A key of another certificate is refused, and no file of it is left behind."""
    with pytest.raises(SvidFileError, match="cannot be used"):
        server_context(CERTIFICATE.presented_pem, WEB.svid("/other").key_pem)
