"""What gRPC's core would write past our log."""

from __future__ import annotations

import contextlib
import datetime as dt
import json
import re
import signal
import socket
import ssl
import time
import urllib.request
from pathlib import Path

import yaml

from tests.certificates import TestAuthority
from tests.gateway.cli.test_serve import metrics_page, ready_line, running
from visibility.core_log import FILE

_WAIT_S = 20


def test_the_core_is_silent(site: Path) -> None:
    """However clients misbehave in their handshakes, every line on standard error is a record of ours."""
    config = site / "smsgw.yaml"
    config.write_text(re.sub(r"127\.0\.0\.1:(7443|7444|9464)", "127.0.0.1:0", config.read_text()))
    with running(site, "serve", "--json") as node:
        host, _, port = json.loads(ready_line(node))["api"].rpartition(":")
        for octets in (b"GET / HTTP/1.1\r\n\r\n", b"\x16\x03\x01\x00\x05hello", b"\x1b[31m\n" * 100):
            with socket.create_connection((host, int(port)), timeout=_WAIT_S) as bad:
                bad.sendall(octets)
                bad.settimeout(_WAIT_S)
                with contextlib.suppress(ConnectionError):
                    while bad.recv(4096):
                        pass
        node.send_signal(signal.SIGINT)
        assert node.wait(_WAIT_S) == 0
    events = [json.loads(line)["event"] for line in (site / "stderr.log").read_text().splitlines()]
    assert "ready" in events


def test_refused_handshakes_are_counted_by_reason(site: Path) -> None:
    """No certificate, one of an authority that is not trusted, one that has expired, no TLS: how many, and why."""
    partner, hour = TestAuthority("example.net"), dt.timedelta(hours=1)
    (site / "partner.pem").write_bytes(partner.bundle_pem)
    config = site / "smsgw.yaml"
    document = yaml.safe_load(re.sub(r"127\.0\.0\.1:(7443|7444|9464)", "127.0.0.1:0", config.read_text()))
    document["identity"]["bundles"]["example.net"] = "partner.pem"
    config.write_text(yaml.safe_dump(document))
    now = dt.datetime.now(dt.UTC)
    late = partner.svid("/late", not_before=now - 2 * hour, not_after=now - hour).write(site, "late")
    with running(site, "serve", "--json") as node:
        host, _, port = json.loads(ready_line(node))["api"].rpartition(":")
        stranger = TestAuthority("example.com").svid("/x").write(site, "stranger")
        for presented in (None, None, stranger, late):
            with contextlib.suppress(OSError):
                tls_client(host, int(port), presented)
        with socket.create_connection((host, int(port)), timeout=_WAIT_S) as plain:
            plain.sendall(b"GET / HTTP/1.1\r\n\r\n")
            plain.recv(1)
        wanted = {
            b'smsgw_handshakes_failed_total{reason="NO_CERTIFICATE"} 2.0',
            b'smsgw_handshakes_failed_total{reason="UNTRUSTED"} 1.0',
            b'smsgw_handshakes_failed_total{reason="EXPIRED"} 1.0',
            b'smsgw_handshakes_failed_total{reason="NOT_TLS"} 1.0',
            b'smsgw_handshakes_total{server="api"} 5.0',
        }
        deadline = time.monotonic() + _WAIT_S
        while not wanted <= set(page := metrics_page(site / "stderr.log").splitlines()):
            assert time.monotonic() < deadline, [line for line in page if b"handshake" in line]
            time.sleep(0.1)
        node.send_signal(signal.SIGINT)
        assert node.wait(_WAIT_S) == 0
    assert (site / "data" / FILE).read_bytes() == b""


def tls_client(host: str, port: int, presented: tuple[Path, Path] | None) -> None:
    """Connect, and wait for the server to end it. It believes anybody: what the server does is looked at."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    context.set_alpn_protocols(["h2"])
    if presented is not None:
        context.load_cert_chain(*presented)
    with (
        socket.create_connection((host, port), timeout=_WAIT_S) as connection,
        context.wrap_socket(connection, server_hostname="gateway") as secure,
    ):
        secure.recv(1)


def test_the_authority_reads_it_too(site: Path) -> None:
    """`smsgw ca serve` counts handshakes that its nodes' port refuses, and its log stays its own."""
    (site / "entries.yaml").write_text("nodes: []\n")
    arguments = ["ca", "serve", "--dir", "ca", "--entries", "entries.yaml", "--listen", "127.0.0.1:0"]
    arguments += ["--join-listen", "127.0.0.1:0", "--metrics-listen", "127.0.0.1:0", "--metrics-insecure", "--json"]
    with running(site, *arguments) as authority:
        ready = json.loads(ready_line(authority))
        with contextlib.suppress(OSError):
            tls_client("127.0.0.1", ready["port"], None)
        deadline = time.monotonic() + _WAIT_S
        page = f"http://127.0.0.1:{ready['metrics_port']}/metrics"
        while True:
            with urllib.request.urlopen(page, timeout=_WAIT_S) as response:
                if b'smsgw_handshakes_failed_total{reason="NO_CERTIFICATE"} 1.0' in response.read():
                    break
            assert time.monotonic() < deadline
            time.sleep(0.1)
        authority.send_signal(signal.SIGTERM)
        assert authority.wait(_WAIT_S) == 0
    assert all(json.loads(line)["event"] for line in (site / "stderr.log").read_text().splitlines())
    assert (site / "ca" / FILE).read_bytes() == b""
