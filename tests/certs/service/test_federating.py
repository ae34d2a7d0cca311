"""The federation of an authority: on a thread of its own, over real TLS, following the registration."""

from __future__ import annotations

import datetime as dt
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from certs.bundle import Bundle
from certs.ca.registration import RegistrationFile
from certs.errors import SvidFileError
from certs.federation.answering import Page
from certs.federation.serving import BundleServer, server_context
from certs.service.federating import Federating
from certs.spiffe_id import TrustDomain
from tests.certificates import TestAuthority

DOMAIN, PARTNER = TrustDomain("example.org"), TrustDomain("partner.example")
WEB, THEIRS = TestAuthority("web.example"), TestAuthority("partner.example")
BUNDLE = Bundle(trust_domain=PARTNER, authorities=(THEIRS.root,), sequence=1, refresh_hint_s=1)


def now() -> dt.datetime:
    """Return the time."""
    return dt.datetime.now(dt.UTC)


@pytest.fixture
def endpoint() -> Iterator[tuple[BundleServer, int]]:
    """Serve the bundle of partner.example as localhost."""
    issued = WEB.svid("/web", uris=(), dns=("localhost",))
    page = Page(path="/b", document=BUNDLE.to_jwks())
    server = BundleServer(page, server_context(issued.presented_pem, issued.key_pem), now)
    yield server, server.start("127.0.0.1:0")
    server.stop()


def until(condition: Callable[[], bool]) -> None:
    """Wait for a condition, within bounds."""
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def section(port: int, more: str = "") -> str:
    """Return a registration that federates."""
    return (
        f"nodes: []\nfederation: [{{trust_domain: partner.example, url: 'https://localhost:{port}/b', "
        "ca_file: web.pem, refresh_min: 1s, refresh_max: 1s, allow_networks: [127.0.0.0/8], "
        f"allow_ports: [{port}]{more}}}]\n"
    )


def written(folder: Path, text: str) -> RegistrationFile:
    """Return a registration in a file, beside the web's roots."""
    (folder / "web.pem").write_bytes(WEB.bundle_pem)
    (folder / "entries.yaml").write_text(text)
    return RegistrationFile(folder / "entries.yaml", DOMAIN)


def rewritten(folder: Path, registration: RegistrationFile, text: str) -> None:
    """Change the file, and let its owner read it."""
    fresh = folder / "fresh.yaml"
    fresh.write_text(text)
    fresh.replace(folder / "entries.yaml")
    assert registration.refresh()


def test_followed(endpoint: tuple[BundleServer, int], tmp_path: Path) -> None:
    """A section begins to count when it is there, follows the endpoint, and ends when it is taken out; what was kept
    counts at once when it comes back."""
    server, port = endpoint
    registration = written(tmp_path, "nodes: []\n")
    with Federating(registration, tmp_path / "federation", now, others=lambda _: None) as found:
        found.refresh()
        assert found.bundle_of(PARTNER) is None
        rewritten(tmp_path, registration, section(port))
        found.refresh()
        until(lambda: found.bundle_of(PARTNER) is not None)
        assert found.bundle_of(PARTNER) == BUNDLE
        assert [event.kind.value for event in found.events()] == ["TAKEN"]
        assert list(found.events()) == []
        found.refresh()
        server.page = Page(path="/b", document=Bundle(trust_domain=PARTNER, authorities=(), sequence=2).to_jwks())
        until(lambda: found.bundle_of(PARTNER) == Bundle(trust_domain=PARTNER, authorities=(), sequence=2))
        rewritten(tmp_path, registration, "nodes: []\n")
        found.refresh()
        assert found.bundle_of(PARTNER) is None
        server.stop()
        rewritten(tmp_path, registration, section(port, ", max_age: 2h"))
        found.refresh()
        assert found.bundle_of(PARTNER) is not None


def test_troubles_are_told_once(endpoint: tuple[BundleServer, int], tmp_path: Path) -> None:
    """A section that cannot be used is told once, and the one before goes on; once it can be used, it counts."""
    registration = written(tmp_path, section(endpoint[1]))
    with Federating(registration, tmp_path / "federation", now, others=lambda _: None) as found:
        found.refresh()
        until(lambda: found.bundle_of(PARTNER) is not None)
        rewritten(tmp_path, registration, section(endpoint[1], ", bootstrap_file: first.pem"))
        with pytest.raises(SvidFileError, match=r"first\.pem"):
            found.refresh()
        found.refresh()
        assert found.bundle_of(PARTNER) == BUNDLE
        (tmp_path / "first.pem").write_bytes(THEIRS.bundle_pem)
        found.refresh()
        assert found.bundle_of(PARTNER) is not None


def test_large_bundles(endpoint: tuple[BundleServer, int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A bundle that is too large to be told to every node every few seconds is refused."""
    monkeypatch.setattr("certs.service.federating.MAX_TOLD_BYTES", 100)
    registration = written(tmp_path, section(endpoint[1]))
    with Federating(registration, tmp_path / "federation", now, others=lambda _: None) as found:
        found.refresh()
        reasons: list[str] = []

        def told() -> bool:
            reasons.extend(event.reason for event in found.events())
            return bool(reasons)

        until(told)
        assert found.bundle_of(PARTNER) is None
    assert reasons == ["BUNDLE"]
