"""Revocation lists over HTTP: the format without a socket, and the bounds with one."""

from __future__ import annotations

import datetime as dt
import http.client
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from certs.ca import crls
from certs.ca.authority import Authority
from certs.ca.crls import Crl
from certs.errors import AuthorityError
from certs.service.crl_http import MAX_HEAD_BYTES, answer
from certs.service.crl_server import MAX_OF_ADDRESS, CrlServer
from certs.spiffe_id import TrustDomain
from tests.certificates import utc_now

NOW = utc_now()
KEY_ID = "ab" * 20
CRL = Crl(
    key_id=KEY_ID,
    number=7,
    der=b"0\x82 a list",
    next_update=NOW + dt.timedelta(hours=4),
    made_at=NOW,
    serials=frozenset(),
)


def ask(text: str) -> tuple[int, dict[str, str], bytes]:
    """Return status, headers and body of the answer to a head, without its last empty line."""
    said = answer(text.encode("latin-1") + b"\r\n\r\n", {KEY_ID: CRL}, NOW)
    head, _, body = said.partition(b"\r\n\r\n")
    status, *lines = head.decode().split("\r\n")
    headers = dict(line.split(": ", 1) for line in lines)
    assert headers["Connection"] == "close"
    return int(status.split()[1]), headers, body


def test_a_list() -> None:
    """GET gives the list with its type and times, HEAD the same without it, and who has it gets 304."""
    status, headers, body = ask(f"GET /{KEY_ID}.crl HTTP/1.1\r\nHost: crl.example.org")
    assert (status, body, headers["Content-Type"]) == (200, CRL.der, "application/pkix-crl")
    assert headers["Content-Length"] == str(len(body))
    assert headers["Expires"].endswith("GMT")
    assert headers["Cache-Control"] == "public, max-age=60"
    assert ask(f"HEAD /{KEY_ID}.crl HTTP/1.0") == (200, headers, b"")
    for etag in (headers["ETag"], f'"x", W/{headers["ETag"]}', "*"):
        assert ask(f"GET /{KEY_ID}.crl HTTP/1.1\r\nIf-None-Match: {etag}")[0] == 304
    assert ask(f'GET /{KEY_ID}.crl HTTP/1.1\r\nIf-None-Match: "other"')[0] == 200


@pytest.mark.parametrize(
    ("text", "status"),
    [
        ("GET / HTTP/1.1", 404),
        (f"GET /{KEY_ID[:-2]}.crl HTTP/1.1", 404),
        (f"GET /x/../{KEY_ID}.crl HTTP/1.1", 404),
        ("GET /../ca/ca.db HTTP/1.1", 404),
        (f"POST /{KEY_ID}.crl HTTP/1.1", 405),
        (f"GET http://x/{KEY_ID}.crl HTTP/1.1", 400),
        (f"GET /{KEY_ID}.crl HTTP/2.0", 400),
        (f"GET /{KEY_ID}.crl", 400),
        ("", 400),
        (f"GET /{KEY_ID}.crl HTTP/1.1\r\nno colon", 400),
        (f"GET /{KEY_ID}.crl HTTP/1.1\r\n folded: 1", 400),
        (f"GET /{KEY_ID}.crl HTTP/1.1\r\nHost : x", 400),
    ],
)
def test_what_is_not_answered(text: str, status: int) -> None:
    """Other paths, methods and forms get an answer without a list."""
    assert ask(text)[0] == status


@given(st.binary(max_size=300))
def test_any_octets(head: bytes) -> None:
    """Whatever comes, an answer is one, and only the path of a list gives it."""
    said = answer(head, {KEY_ID: CRL}, NOW)
    assert said.startswith(b"HTTP/1.1 ")
    assert (b" 200 " in said[:20]) <= (KEY_ID.encode() in head)


@pytest.fixture
def port(tmp_path: Path) -> Iterator[int]:
    """Serve the list of a new authority."""
    server = CrlServer(lambda: {KEY_ID: CRL}, utc_now)
    yield server.start("127.0.0.1:0")
    server.stop()


def test_over_a_socket(port: int, tmp_path: Path) -> None:
    """A client of the standard library gets a real list, octet by octet."""
    made = Authority.create(tmp_path / "ca", TrustDomain("example.org"), tmp_path / "ca", NOW)
    crl = crls.make(made.ledger, made.active, made.key_of(made.active), NOW)
    server = CrlServer(lambda: {crl.key_id: crl}, utc_now)
    connection = http.client.HTTPConnection("127.0.0.1", server.start("127.0.0.1:0"), timeout=30)
    try:
        connection.request("GET", f"/{crl.key_id}.crl")
        reply = connection.getresponse()
        assert (reply.status, reply.read()) == (200, crl.der)
    finally:
        connection.close()
        server.stop()


def test_a_head_without_end(port: int) -> None:
    """A head that is too long is refused before its end, and who leaves in the middle harms nobody."""
    with socket.create_connection(("127.0.0.1", port), timeout=30) as peer:
        peer.sendall(b"GET / HTTP/1.1\r\n" + b"a: " + b"b" * (2 * MAX_HEAD_BYTES))
        assert b" 431 " in peer.recv(100)
    with socket.create_connection(("127.0.0.1", port), timeout=30) as peer:
        peer.sendall(b"GET / HT")
    assert fetched(port) == 200


def fetched(port: int) -> int:
    """Return the status of a request for the list."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    try:
        connection.request("GET", f"/{KEY_ID}.crl")
        return connection.getresponse().status
    finally:
        connection.close()


def test_many_silent_connections(port: int) -> None:
    """One address has so many connections at a time, and is served again when they are gone."""
    silent = [socket.create_connection(("127.0.0.1", port), timeout=30) for _ in range(MAX_OF_ADDRESS)]
    try:
        for peer in silent:
            peer.sendall(b"G")
        statuses = set()
        for _ in range(100):
            statuses.add(fetched(port))
            if 503 in statuses:
                break
        assert 503 in statuses
    finally:
        for peer in silent:
            peer.close()
    assert any(fetched(port) == 200 for _ in range(200))


@pytest.mark.parametrize("address", ["", "8080", "127.0.0.1:", "127.0.0.1:x", "127.0.0.1:70000"])
def test_what_is_no_address(address: str) -> None:
    """It says how an address is written."""
    with pytest.raises(AuthorityError, match="HOST:PORT"):
        CrlServer(dict, utc_now).start(address)


def test_a_port_in_use(port: int) -> None:
    """It says that the address cannot be used, and leaves no thread."""
    server = CrlServer(dict, utc_now)
    with pytest.raises(AuthorityError, match="cannot be listened at"):
        server.start(f"127.0.0.1:{port}")
    server.stop()
