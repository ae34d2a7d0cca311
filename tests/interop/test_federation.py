"""Others read our bundle endpoint: curl, openssl s_client, Node's https and crypto, and PyPI's `spiffe`."""

from __future__ import annotations

import asyncio
import datetime as dt
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import pytest

from certs.bundle import Bundle
from certs.ca.authority import Authority
from certs.service.publishing import BundleEndpoints, Publication
from certs.spiffe_id import TrustDomain
from tests.certificates import TestAuthority, utc_now
from tests.certs.agent.rig import NODES, entry, running
from tests.certs.service.rig import Rig
from tests.interop.conftest import PYTHON_PACKAGES

pytestmark = pytest.mark.interop
SCRIPTS = Path(__file__).parent
DOMAIN = TrustDomain("example.org")
HOST = "bundles.example.org"


@dataclass(frozen=True, kw_only=True)
class Published:
    """Running endpoints of a new authority."""

    authority: Authority
    web: int
    spiffe: int
    roots: Path

    def curl(self, *arguments: str) -> subprocess.CompletedProcess[bytes]:
        """Ask the web's endpoint by curl."""
        return run(
            *("curl", "--silent", "--show-error", "--max-time", "20", "--noproxy", "*"),
            *("--cacert", str(self.roots), "--resolve", f"{HOST}:{self.web}:127.0.0.1"),
            *arguments,
            f"https://{HOST}:{self.web}/bundle.json",
        )


def run(*command: str, stdin: bytes = b"") -> subprocess.CompletedProcess[bytes]:
    """Run a command to its end."""
    environment = {**os.environ, "PYTHONPATH": str(PYTHON_PACKAGES)}
    return subprocess.run(command, input=stdin, capture_output=True, timeout=60, check=False, env=environment)


@pytest.fixture
def published(tmp_path: Path) -> Iterator[Published]:
    """Publish a bundle by both profiles."""
    now = dt.datetime.now(dt.UTC)
    web = TestAuthority("web.example")
    (tmp_path / "web-roots.pem").write_bytes(web.bundle_pem)
    cert, key = web.svid("/web", uris=(), dns=(HOST,), not_after=utc_now() + dt.timedelta(days=30)).write(
        tmp_path, "web"
    )
    wanted = Publication(path="/bundle.json", web="127.0.0.1:0", certificate=cert, key=key, spiffe="127.0.0.1:0")
    with (
        closing(Authority.create(tmp_path / "ca", DOMAIN, tmp_path / "root", now)) as authority,
        BundleEndpoints(authority, wanted, lambda: dt.datetime.now(dt.UTC)) as endpoints,
    ):
        ports = endpoints.start()
        assert ports[0] is not None
        assert ports[1] is not None
        yield Published(authority=authority, web=ports[0], spiffe=ports[1], roots=tmp_path / "web-roots.pem")


def test_curl(published: Published) -> None:
    """curl gets the bundle, by GET over TLS 1.2 and 1.3 with the host's name verified; other methods are refused."""
    for version in ("--tlsv1.3", "--tls-max=1.2"):
        option, _, value = version.partition("=")
        done = published.curl("--fail", option, *([value] if value else []))
        assert done.returncode == 0, done.stderr
        assert Bundle.from_jwks(DOMAIN, done.stdout) == published.authority.bundle
    head = published.curl("--head").stdout.decode().lower()
    assert head.startswith("http/1.1 200 ok")
    assert "content-type: application/json" in head
    assert published.curl("--request", "POST", "--data", "x", "--write-out", "%{http_code}").stdout.endswith(b"405")


def test_curl_verifies(published: Published) -> None:
    """curl refuses the endpoint without its roots: what it accepted above was verified."""
    done = run("curl", "--silent", "--noproxy", "*", f"https://127.0.0.1:{published.web}/bundle.json")
    assert done.returncode == 60  # CURLE_PEER_FAILED_VERIFICATION


def test_openssl(published: Published, tmp_path: Path) -> None:
    """openssl verifies the https_spiffe endpoint up to the bundle, and reads its SPIFFE ID."""
    (tmp_path / "bundle.pem").write_bytes(published.authority.bundle.to_pem())
    request = b"GET /bundle.json HTTP/1.1\r\nHost: x\r\n\r\n"
    done = run(
        *("openssl", "s_client", "-connect", f"127.0.0.1:{published.spiffe}", "-quiet", "-ign_eof"),
        *("-CAfile", str(tmp_path / "bundle.pem"), "-verify_return_error", "-x509_strict"),
        stdin=request,
    )
    assert done.stdout.startswith(b"HTTP/1.1 200 "), done.stderr
    assert Bundle.from_jwks(DOMAIN, done.stdout.partition(b"\r\n\r\n")[2]) == published.authority.bundle
    shown = run("openssl", "s_client", "-connect", f"127.0.0.1:{published.spiffe}")
    names = run("openssl", "x509", "-noout", "-ext", "subjectAltName", stdin=shown.stdout).stdout
    assert b"URI:spiffe://example.org/bundle-endpoint" in names
    old = run("openssl", "s_client", "-connect", f"127.0.0.1:{published.spiffe}", "-tls1_1")
    assert b"Cipher is (NONE)" in old.stdout


def test_node(published: Published, node_environment: dict[str, str]) -> None:
    """Node's https fetches it, and its own parsers agree that each certificate is of its key."""
    del node_environment  # no package is needed
    script = str(SCRIPTS / "node" / "bundle_client.js")
    done = run("node", script, "127.0.0.1", str(published.web), HOST, str(published.roots))
    assert done.returncode == 0, done.stderr
    bundle = published.authority.bundle
    assert json.loads(done.stdout) == {
        "status": 200,
        "type": "application/json",
        "x509": 1,
        "jwt": [found.key_id for found in bundle.jwt_authorities],
        "sequence": bundle.sequence,
        "hint": 300,
    }


def test_spiffe(published: Published) -> None:
    """PyPI's `spiffe` reads both kinds of authorities out of what is served."""
    document = published.curl("--fail").stdout
    done = run(sys.executable, str(SCRIPTS / "python" / "spiffe_bundle.py"), "example.org", stdin=document)
    assert done.returncode == 0, done.stderr
    keys = sorted(found.key_id for found in published.authority.bundle.jwt_authorities)
    assert json.loads(done.stdout) == {"jwt": keys, "x509": 1}


async def test_spiffe_workload(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A workload that uses PyPI's `spiffe` is given the bundle of the trust domain that its entry federates with, and
    not that of another one."""
    monkeypatch.setattr("certs.service.servicer.REFRESH_S", 1)
    theirs = TestAuthority("partner.example")
    bundles = {
        TrustDomain(name): Bundle(trust_domain=TrustDomain(name), authorities=(theirs.root,))
        for name in ("partner.example", "other.example")
    }
    rig = Rig.start(tmp_path, federated=bundles.get)
    try:
        endpoints = "".join(f"  - {{trust_domain: {name}, url: 'https://{name}/'}}\n" for name in bundles)
        federates = entry("/billing", more="    federates_with: [partner.example]\n")
        rig.register(f"{NODES}{federates}federation:\n{endpoints}")
        async with running(rig, tmp_path) as agent:
            script, socket = str(SCRIPTS / "python" / "spiffe_federated.py"), f"unix://{agent.socket}"
            names = ("example.org", "partner.example", "other.example")
            done = await asyncio.to_thread(run, sys.executable, script, socket, *names)
            rig.authority.refresh()
            keys = sorted(found.key_id for found in rig.authority.bundle.jwt_authorities)
    finally:
        rig.server.stop()
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["partner.example"] == [1, 1, []]
    assert found["other.example"] == [0, 0, None]
    assert found["example.org"] == [1, 1, keys]
