"""What the bundle endpoints serve, and as whom: sequences, rotations, renewals, and files that cannot be used."""

from __future__ import annotations

import datetime as dt
import http.client
import json
import ssl
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest
from cryptography import x509

from certs.bundle import Bundle
from certs.ca.authority import Authority
from certs.ca.revocations import Code, Order, revoke_serial
from certs.ca.rotation import activate, add_root
from certs.errors import AuthorityError, SvidFileError
from certs.federation.authentication import check_server
from certs.leaf import read_leaf
from certs.service.publishing import BundleEndpoints, Publication, WebCertificate
from certs.spiffe_id import SpiffeId, TrustDomain
from tests.certificates import TestAuthority, utc_now

DOMAIN = TrustDomain("example.org")
WEB = TestAuthority("web.example")
HOST = "bundles.example.org"


class Clock:
    """A clock that a test sets forward; TLS reads the real one."""

    def __init__(self) -> None:
        self.now = dt.datetime.now(dt.UTC)

    def __call__(self) -> dt.datetime:
        return self.now


@pytest.fixture
def authority(tmp_path: Path) -> Iterator[Authority]:
    """Give an authority as the command line opens it: beside the one that serves."""
    with closing(Authority.create(tmp_path / "ca", DOMAIN, tmp_path / "root", dt.datetime.now(dt.UTC))) as found:
        yield found


def publication(folder: Path) -> Publication:
    """Return both endpoints on free ports."""
    cert, key = WEB.svid("/web", uris=(), dns=(HOST,), not_after=utc_now() + dt.timedelta(days=30)).write(folder, "web")
    return Publication(path="/bundle.json", web="127.0.0.1:0", certificate=cert, key=key, spiffe="127.0.0.1:0")


@contextmanager
def published(authority: Authority, wanted: Publication, clock: Clock) -> Iterator[BundleEndpoints]:
    """Give endpoints that are not started yet, with an authority of their own."""
    with closing(Authority.open(authority.directory)) as own, BundleEndpoints(own, wanted, clock) as both:
        yield both


def get(port: int | None) -> tuple[Bundle, bytes]:
    """Return the bundle that a port serves, and the certificate that it shows."""
    assert port is not None
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE  # here it is looked at, and elsewhere verified
    connection = http.client.HTTPSConnection("127.0.0.1", port, context=context, timeout=20)
    try:
        connection.connect()
        leaf = connection.sock.getpeercert(binary_form=True) or b""
        connection.request("GET", "/bundle.json")
        with connection.getresponse() as answer:
            assert answer.status == 200
            return Bundle.from_jwks(DOMAIN, answer.read()), leaf
    finally:
        connection.close()


def test_published(authority: Authority, tmp_path: Path) -> None:
    """Both endpoints serve the whole bundle: one with the web's certificate, one with an SVID."""
    clock = Clock()
    with (
        closing(Authority.open(authority.directory)) as own,
        BundleEndpoints(own, publication(tmp_path), clock) as both,
    ):
        web, spiffe = both.start()
        authority.refresh()
        (by_web, leaf), (by_spiffe, svid) = get(web), get(spiffe)
    assert by_web == by_spiffe == authority.bundle
    assert by_web.sequence == authority.ledger.bundle_sequence > 0
    assert by_web.refresh_hint_s == 300
    assert len(by_web.jwt_authorities) == 1
    names = x509.load_der_x509_certificate(leaf).extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.DNSName) == [HOST]
    check_server(svid, SpiffeId(DOMAIN, "/bundle-endpoint"), clock.now)


def test_rotation(authority: Authority, tmp_path: Path) -> None:
    """A new root is published with a higher sequence, and a new intermediate signs the endpoint's next SVID."""
    clock = Clock()
    with (
        closing(Authority.open(authority.directory)) as own,
        BundleEndpoints(own, publication(tmp_path), clock) as both,
    ):
        web, spiffe = both.start()
        before, svid = get(spiffe)
        add_root(authority, tmp_path / "root2", clock.now)
        activate(authority, clock.now)
        both.refresh()
        after, renewed = get(web)[0], get(spiffe)[1]
    assert len(after.authorities) == len(before.authorities) + 1
    assert (after.sequence or 0) > (before.sequence or 0)
    old, new = (read_leaf(x509.load_der_x509_certificate(der)) for der in (svid, renewed))
    assert old.authority_key_id != new.authority_key_id == authority.active.key_id


def test_renewal(authority: Authority, tmp_path: Path) -> None:
    """The endpoint's SVID is renewed at half its life, and at once when it is revoked."""
    clock = Clock()
    with (
        closing(Authority.open(authority.directory)) as own,
        BundleEndpoints(own, publication(tmp_path), clock) as both,
    ):
        spiffe = both.start()[1]
        serials = [read_leaf(x509.load_der_x509_certificate(get(spiffe)[1])).serial]
        both.refresh()
        assert read_leaf(x509.load_der_x509_certificate(get(spiffe)[1])).serial == serials[0]
        clock.now += dt.timedelta(minutes=31)
        both.refresh()
        serials.append(read_leaf(x509.load_der_x509_certificate(get(spiffe)[1])).serial)
        order = Order(code=Code.KEY_COMPROMISE, reason="a test", asked_by="tests")
        revoke_serial(authority.ledger, serials[1], order, clock.now)
        both.refresh()
        serials.append(read_leaf(x509.load_der_x509_certificate(get(spiffe)[1])).serial)
    assert len(set(serials)) == 3


def test_sequence_is_that_of_the_content(authority: Authority, tmp_path: Path) -> None:
    """A process that has not yet taken up a change says the sequence of what it has: never a new one over old keys."""
    with closing(Authority.open(authority.directory)) as other:
        before = other.bundle
        add_root(authority, tmp_path / "root2", dt.datetime.now(dt.UTC))
        assert other.bundle == before
        assert other.refresh()
        assert other.bundle == authority.bundle
        assert (other.bundle.sequence or 0) > (before.sequence or 0)


def test_web_certificate_renewed(authority: Authority, tmp_path: Path) -> None:
    """A renewed certificate is shown from the next refresh on; broken files are told once, and the old one stays."""
    clock = Clock()
    wanted = publication(tmp_path)
    assert wanted.certificate is not None
    with published(authority, wanted, clock) as both:
        web = both.start()[0]
        first = get(web)[1]
        wanted.certificate.write_bytes(b"-----BEGIN CERTIFICATE-----\nbroken\n-----END CERTIFICATE-----\n")
        with pytest.raises(SvidFileError, match=r"web\.pem"):
            both.refresh()
        both.refresh()
        assert get(web)[1] == first
        wanted.certificate.unlink()
        with pytest.raises(SvidFileError, match=r"web\.pem: cannot be read"):
            both.refresh()
        both.refresh()
        publication(tmp_path)
        both.refresh()
        assert get(web)[1] != first


def test_web_certificate_that_ends(tmp_path: Path) -> None:
    """A certificate that ends within days is told, once, and once more for the next one."""
    now = dt.datetime.now(dt.UTC)
    paths = WEB.svid("/web", uris=(), dns=(HOST,), not_after=utc_now() + dt.timedelta(days=3)).write(tmp_path, "web")
    files = WebCertificate(*paths)
    with pytest.raises(SvidFileError, match="ends at"):
        files.refresh(now)
    assert not files.refresh(now)
    WEB.svid("/web", uris=(), dns=(HOST,), not_after=utc_now() + dt.timedelta(days=60)).write(tmp_path, "web")
    assert files.refresh(now)


def test_readable_key(tmp_path: Path) -> None:
    """A key that others may read is refused."""
    cert, key = WEB.svid("/web", uris=(), dns=(HOST,)).write(tmp_path, "web")
    key.chmod(0o644)
    with pytest.raises(SvidFileError, match="chmod 600"):
        WebCertificate(cert, key)


def test_authority_that_cannot_be_read(authority: Authority, tmp_path: Path) -> None:
    """While the record cannot be read, what was served goes on being served, and that is told."""
    clock = Clock()
    own = Authority.open(authority.directory)
    with BundleEndpoints(own, publication(tmp_path), clock) as both:
        web = both.start()[0]
        before = get(web)[0]
        own.close()
        with pytest.raises(AuthorityError):
            both.refresh()
        assert get(web)[0] == before


def test_documents_are_json(authority: Authority) -> None:
    """What is served is a JWK Set with both parameters of the bundle format (Bundle §4.1)."""
    found = json.loads(authority.bundle.to_jwks())
    assert set(found) == {"keys", "spiffe_sequence", "spiffe_refresh_hint"}
