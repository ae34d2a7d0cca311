"""Revocation lists over plain HTTP: what is answered, and that the bounds of the server hold without TLS too."""

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
from certs.federation.answering import Answerer
from certs.federation.serving import PageServer
from certs.service.crl_http import crl_server, pages_of
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
    said = Answerer().received(text.encode("latin-1") + b"\r\n\r\n", pages_of({KEY_ID: CRL}), NOW)
    head, _, body = (said or b"").partition(b"\r\n\r\n")
    status, *lines = head.decode().split("\r\n")
    headers = {name.lower(): value for name, value in (line.split(": ", 1) for line in lines)}
    assert headers["connection"] == "close"
    return int(status.split()[1]), headers, body


def test_a_list() -> None:
    """GET gives the list with its type and times, HEAD the same without it, and who has it gets 304."""
    status, headers, body = ask(f"GET /{KEY_ID}.crl HTTP/1.1\r\nHost: crl.example.org")
    assert (status, body, headers["content-type"]) == (200, CRL.der, "application/pkix-crl")
    assert headers["content-length"] == str(len(body))
    assert headers["expires"].endswith("GMT")
    assert headers["cache-control"] == "public, max-age=60"
    assert ask(f"HEAD /{KEY_ID}.crl HTTP/1.1\r\nHost: x") == (200, headers, b"")
    for etag in (headers["etag"], f'"x", W/{headers["etag"]}'):
        again = ask(f"GET /{KEY_ID}.crl HTTP/1.1\r\nHost: x\r\nIf-None-Match: {etag}")
        assert (again[0], again[2], again[1]["etag"]) == (304, b"", headers["etag"])
    for other in ('"other"', headers["etag"].strip('"'), '"', ""):
        assert ask(f"GET /{KEY_ID}.crl HTTP/1.1\r\nHost: x\r\nIf-None-Match: {other}")[0] == 200


@pytest.mark.parametrize(
    ("text", "status"),
    [
        ("GET / HTTP/1.1\r\nHost: x", 404),
        (f"GET /{KEY_ID[:-2]}.crl HTTP/1.1\r\nHost: x", 404),
        (f"GET /x/../{KEY_ID}.crl HTTP/1.1\r\nHost: x", 404),
        ("GET /../ca/ca.db HTTP/1.1\r\nHost: x", 404),
        (f"POST /{KEY_ID}.crl HTTP/1.1\r\nHost: x\r\nContent-Length: 0", 405),
        (f"GET /{KEY_ID}.crl HTTP/1.1", 400),
        (f"GET /{KEY_ID}.crl HTTP/1.1\r\nHost: x\r\nno colon", 400),
    ],
)
def test_what_is_not_answered(text: str, status: int) -> None:
    """Other paths, methods and forms get an answer without a list."""
    assert ask(text)[0] == status


@given(st.binary(max_size=300))
def test_any_octets(head: bytes) -> None:
    """Whatever comes, there is an answer or none, and only the path of a list gives it."""
    said = Answerer().received(head + b"\r\n\r\n", pages_of({KEY_ID: CRL}), NOW) or b""
    assert (b" 200 " in said[:20]) <= (KEY_ID.encode() in head)


@pytest.fixture
def served() -> Iterator[tuple[PageServer, int]]:
    """Serve one list."""
    server = crl_server(lambda: {KEY_ID: CRL}, utc_now)
    yield server, server.start("127.0.0.1:0")
    server.stop()


def fetched(port: int, key_id: str = KEY_ID) -> tuple[int, bytes]:
    """Return status and body of a request for a list; 0 when the connection was refused."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    try:
        connection.request("GET", f"/{key_id}.crl")
        reply = connection.getresponse()
        return reply.status, reply.read()
    except (ConnectionError, http.client.HTTPException):
        return 0, b""
    finally:
        connection.close()


def test_over_a_socket(tmp_path: Path) -> None:
    """A client of the standard library gets real lists, octet by octet, and the next one as soon as there is one."""
    made = Authority.create(tmp_path / "ca", TrustDomain("example.org"), tmp_path / "ca", NOW)
    key = made.key_of(made.active)
    now = [{made.active.key_id: crls.make(made.ledger, made.active, key, NOW)}]
    server = crl_server(lambda: now[0], utc_now)
    port = server.start("127.0.0.1:0")
    try:
        for _ in range(2):
            (crl,) = now[0].values()
            assert fetched(port, crl.key_id) == (200, crl.der)
            now[0] = {made.active.key_id: crls.make(made.ledger, made.active, key, NOW)}
    finally:
        server.stop()


def test_heads_without_end(served: tuple[PageServer, int]) -> None:
    """A head that is too long is refused before its end, and who leaves in the middle harms nobody."""
    _, port = served
    with socket.create_connection(("127.0.0.1", port), timeout=30) as peer:
        peer.sendall(b"GET / HTTP/1.1\r\n" + b"a: " + b"b" * (16 * 1024))
        assert b" 431 " in peer.recv(100)
    with socket.create_connection(("127.0.0.1", port), timeout=30) as peer:
        peer.sendall(b"GET / HT")
    assert fetched(port)[0] == 200


def test_many_silent_connections(served: tuple[PageServer, int]) -> None:
    """One address has so many connections at a time, and is served again when they are gone."""
    server, port = served
    silent = [socket.create_connection(("127.0.0.1", port), timeout=30) for _ in range(16)]
    try:
        assert 0 in {fetched(port)[0] for _ in range(200)}
        assert server.answered["refused"] > 0
    finally:
        for peer in silent:
            peer.close()
    assert any(fetched(port)[0] == 200 for _ in range(200))


@pytest.mark.parametrize("address", ["", "8080", "127.0.0.1:", "127.0.0.1:x", "127.0.0.1:70000"])
def test_what_is_no_address(address: str) -> None:
    """It says how an address is written."""
    with pytest.raises(AuthorityError, match="host:port"):
        crl_server(dict, utc_now).start(address)
