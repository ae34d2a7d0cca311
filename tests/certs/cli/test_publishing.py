"""`smsgw ca serve --bundle-listen`, as a process: two profiles, and what is refused on the command line."""

from __future__ import annotations

import datetime as dt
import http.client
import json
import signal
import ssl
from contextlib import closing
from pathlib import Path

import pytest

from certs.bundle import Bundle
from certs.ca.authority import Authority
from certs.ca.events import events_after
from certs.spiffe_id import TrustDomain
from tests.certificates import TestAuthority, utc_now
from tests.certs.cli.conftest import done, run
from tests.certs.cli.test_serving import page_of, served

WEB = TestAuthority("web.example")


def get(port: int, roots: bytes) -> tuple[int, bytes]:
    """Return status and body of GET /b.json."""
    context = ssl.create_default_context(cadata=roots.decode())
    context.check_hostname = False
    connection = http.client.HTTPSConnection("127.0.0.1", port, context=context, timeout=30)
    try:
        connection.request("GET", "/b.json")
        with connection.getresponse() as answer:
            return answer.status, answer.read()
    finally:
        connection.close()


def test_serve_bundle(directory: Path, tmp_path: Path) -> None:
    """The bundle is published by both profiles; a new root is in it within seconds, and files that break are told."""
    cert, key = WEB.svid("/w", uris=(), dns=("b.example",), not_after=utc_now() + dt.timedelta(days=30)).write(
        tmp_path, "web"
    )
    arguments = ["--bundle-listen", "127.0.0.1:0", "--bundle-cert", cert, "--bundle-key", key]
    arguments += ["--bundle-spiffe-listen", "127.0.0.1:0", "--bundle-path", "/b.json"]
    roots = (directory / "root.pem").read_bytes()
    with served(directory, *arguments) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        ready = json.loads(process.stdout.readline())
        status, by_web = get(ready["bundle_port"], WEB.bundle_pem)
        assert (status, get(ready["bundle_spiffe_port"], roots)) == (200, (200, by_web))
        cert.unlink()
        assert any("web.pem: cannot be read" in line for line in process.stderr)
        done("rotate", "root", "--dir", directory, "--root-dir", tmp_path / "root2")
        domain = TrustDomain("example.org")
        while len(Bundle.from_jwks(domain, get(ready["bundle_port"], WEB.bundle_pem)[1]).authorities) != 2:
            assert process.poll() is None
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 0


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--bundle-listen", "127.0.0.1:0"], "belong together"),
        (["--bundle-spiffe-listen", "127.0.0.1:0", "--bundle-path", "b.json"], "no path"),
        (["--bundle-spiffe-listen", "127.0.0.1:0", "--bundle-path", "/b?c"], "no path"),
        (["--bundle-spiffe-listen", "127.0.0.1:0", "--bundle-path", "/b\r\nX: y"], "no path"),
    ],
)
def test_wrong_usage(directory: Path, arguments: list[str], words: str) -> None:
    """Options that make no sense are wrong usage."""
    result = run("serve", "--dir", directory, *arguments)
    assert result.exit_code == 2
    assert words in result.output


def test_address_in_use(directory: Path) -> None:
    """An address that cannot be had ends it with 1 before it says that it is ready."""
    result = run("serve", "--dir", directory, "--bundle-spiffe-listen", "192.0.2.1:443")
    assert result.exit_code == 1
    assert "cannot be listened at" in result.stderr
    assert "ready" not in result.output


def test_two_authorities(directory: Path, tmp_path: Path) -> None:
    """One authority fetches the bundle of another, as its registration says, keeps it, and says so."""
    done("init", "--dir", tmp_path / "theirs", "--trust-domain", "partner.example")
    done("bundle", "--dir", tmp_path / "theirs", "--out", tmp_path / "partner.pem")
    metrics = ["--metrics-listen", "127.0.0.1:0", "--metrics-insecure"]
    with served(tmp_path / "theirs", "--bundle-spiffe-listen", "127.0.0.1:0", *metrics) as theirs:
        assert theirs.stdout is not None
        said = json.loads(theirs.stdout.readline())
        port = said["bundle_spiffe_port"]
        entries = tmp_path / "entries.yaml"
        entries.write_text(
            f"nodes: []\nfederation: [{{trust_domain: partner.example, url: 'https://127.0.0.1:{port}/bundle.json', "
            "profile: https_spiffe, server_id: 'spiffe://partner.example/bundle-endpoint', "
            "bootstrap_file: partner.pem, refresh_min: 1s, allow_networks: [127.0.0.1/32], "
            f"allow_ports: [{port}]}}]\n"
        )
        shown = done("entries", "--dir", directory, "--file", entries)["federation"]
        assert shown == [{"trust_domain": "partner.example", "url": f"https://127.0.0.1:{port}/bundle.json"}]
        arguments = ["--entries", entries, "--listen", "127.0.0.1:0", "--join-listen", "127.0.0.1:0", *metrics]
        with served(directory, *arguments) as ours:
            assert ours.stdout is not None
            assert ours.stderr is not None
            ready = json.loads(ours.stdout.readline())
            while "from its endpoint counts: 1 authorities" not in ours.stderr.readline():
                assert ours.poll() is None
            for told, row in (
                (ready, 'smsgw_federation_trusted{trust_domain="partner.example"} 1.0'),
                (said, 'smsgw_ca_bundle_requests_total{outcome="answered",profile="https_spiffe"}'),
            ):
                while row not in page_of(told["metrics_port"])[1]:
                    assert ours.poll() is None
            ours.send_signal(signal.SIGTERM)
            assert ours.wait(30) == 0
    with closing(Authority.open(directory)) as authority:
        (event,) = events_after(authority.ledger, 0, limit=10, what=["FEDERATION"])
    assert (event.subject, event.reason, event.asked_by) == ("partner.example", "TAKEN", "itself")
    kept = json.loads((directory / "federation" / "bundle-partner.example.json").read_text())
    assert (kept["origin"], kept["trust_domain"]) == ("endpoint", "partner.example")
