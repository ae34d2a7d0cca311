"""The verification of peers: paths, trust domains, time and bounds (X509-SVID §5, SPIFFE Federation §7.3)."""

from __future__ import annotations

import base64
import datetime as dt
from dataclasses import replace
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ObjectIdentifier
from hypothesis import given, settings
from hypothesis import strategies as st

from certs.bundle import Bundle, TrustBundles
from certs.errors import BadSvid, IdentityRefused, NotValidNow, Reason, Untrusted
from certs.pem import MAX_CERTIFICATE_BYTES
from certs.spiffe_id import TrustDomain
from certs.verify import PeerSvid, public_key_hash, verify_peer
from tests.certificates import IssuedSvid, TestAuthority, cert_pem, new_key
from tests.certs.test_leaf import ACCEPTED, MUTATIONS

A = TestAuthority("example.org")
B = TestAuthority("other.org", now=A.now)
SECOND = dt.timedelta(seconds=1)


def bundle_of(authority: TestAuthority) -> Bundle:
    """Return the bundle of a test authority."""
    return Bundle.from_pem(TrustDomain(authority.trust_domain), authority.bundle_pem)


BOTH = TrustBundles([bundle_of(A), bundle_of(B)])


def verify(svid: IssuedSvid, *, now: dt.datetime = A.now, bundles: TrustBundles = BOTH) -> PeerSvid:
    """Verify with the chain that the SVID brings."""
    return verify_peer(svid.leaf_pem, svid.chain_pem, bundles, now)


def refusal(svid: IssuedSvid, **changes: Any) -> Reason:
    """Return why an SVID is refused."""
    with pytest.raises(IdentityRefused) as refused:
        verify(svid, **changes)
    assert str(refused.value).isprintable()
    return refused.value.reason


def test_valid() -> None:
    """A valid SVID is verified, and its facts are those of the path."""
    svid = A.svid("/billing", dns=("b.example.org",))
    peer = verify(svid)
    assert str(peer.spiffe_id) == "spiffe://example.org/billing"
    assert peer.issuer_keys == (public_key_hash(A.intermediate), public_key_hash(A.root))
    assert peer.valid_until == peer.not_after == svid.leaf.not_valid_after_utc
    assert peer.dns_names == ("b.example.org",)


@pytest.mark.parametrize("variation", ACCEPTED.values(), ids=ACCEPTED.keys())
def test_accepts_what_the_specification_allows(variation: dict[str, Any]) -> None:
    """The path builder has no objection to what X509-SVID allows in a leaf."""
    assert str(verify(A.svid(**variation)).spiffe_id) == "spiffe://example.org/service"


@pytest.mark.parametrize(("mutation", "reason"), MUTATIONS.values(), ids=MUTATIONS.keys())
def test_refuses_each_mutation(mutation: dict[str, Any], reason: Reason) -> None:
    """The whole verification refuses what the reading of the leaf refuses, for the same reason."""
    assert refusal(A.svid(**mutation)) is reason


def test_leaf_of_the_root_itself() -> None:
    """A leaf that an authority of the bundle signed needs no intermediate."""
    assert verify(A.svid(by_root=True)).issuer_keys == (public_key_hash(A.root),)


def test_rsa_leaf() -> None:
    """A leaf with an RSA key of 2,048 bits is verified."""
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    assert verify(A.svid(key=key)).spiffe_id.path == "/service"


def test_unknown_trust_domain() -> None:
    """A domain without a bundle is refused, whoever signed."""
    assert refusal(B.svid(), bundles=TrustBundles([bundle_of(A)])) is Reason.WRONG_TRUST_DOMAIN


def test_other_domains_authority_minting_our_id() -> None:
    """With both domains trusted, B's authority cannot make an id of A: its leaf has no path to A's bundle."""
    assert refusal(B.svid(uris=("spiffe://example.org/admin",))) is Reason.UNTRUSTED


def test_other_domain_with_its_own_bundle() -> None:
    """B's authority makes ids of B, and those are B's."""
    assert verify(B.svid()).spiffe_id.trust_domain == TrustDomain("other.org")


def test_same_names_other_keys() -> None:
    """An authority that only bears the names of ours is not trusted."""
    assert refusal(TestAuthority("example.org", now=A.now).svid()) is Reason.UNTRUSTED


def test_missing_intermediate() -> None:
    """Without the intermediate there is no path, and the text says what to present."""
    with pytest.raises(Untrusted, match="Present the intermediates"):
        verify_peer(A.svid().leaf_pem, b"", BOTH, A.now)


def test_empty_bundle_trusts_nobody() -> None:
    """An empty bundle means that every authority is revoked (Bundle §4.1.3)."""
    empty = TrustBundles([Bundle(trust_domain=TrustDomain("example.org"), authorities=())])
    assert refusal(A.svid(), bundles=empty) is Reason.UNTRUSTED


def test_root_among_the_presented() -> None:
    """A peer that presents the root and its own leaf once more is verified like any other."""
    svid = A.svid()
    chain = svid.leaf_pem + svid.chain_pem + A.bundle_pem + svid.chain_pem
    assert verify_peer(svid.leaf_pem, chain, BOTH, A.now).fingerprint


@pytest.mark.parametrize(
    ("offset", "reason"),
    [
        (dt.timedelta(seconds=-31), Reason.NOT_YET_VALID),
        (dt.timedelta(seconds=-30), None),
        (dt.timedelta(hours=1), None),
        (dt.timedelta(hours=1, microseconds=1), Reason.EXPIRED),
        (dt.timedelta(days=1), Reason.EXPIRED),
    ],
    ids=["before", "first second", "last second", "just after", "a day after"],
)
def test_validity(offset: dt.timedelta, reason: Reason | None) -> None:
    """A leaf counts from its first second to its last, and not a microsecond longer."""
    if reason is None:
        assert verify(A.svid(), now=A.now + offset).fingerprint
        return
    with pytest.raises(NotValidNow) as refused:
        verify(A.svid(), now=A.now + offset)
    assert refused.value.reason is reason


def test_intermediate_that_ends_first() -> None:
    """The path ends with its first certificate that ends: `valid_until` says so, and it is refused afterwards."""
    svid = A.svid()
    ends = A.now + dt.timedelta(minutes=10)
    short = cert_pem(A.sub_authority(A.intermediate_key, not_after=ends))
    assert verify_peer(svid.leaf_pem, short, BOTH, A.now).valid_until == ends
    with pytest.raises(Untrusted):
        verify_peer(svid.leaf_pem, short, BOTH, ends + SECOND)
    with pytest.raises(NotValidNow):  # within the second in which the library still counts it
        verify_peer(svid.leaf_pem, short, BOTH, ends + SECOND / 1000)


def test_authority_key_id_of_another_key() -> None:
    """A leaf that names another issuer's key cannot be tied to a tainted authority, and is refused."""
    assert refusal(A.svid(authority_key_id=b"\x01" * 20)) is Reason.AUTHORITY_KEY_MISMATCH


def test_leaf_signed_by_a_leaf() -> None:
    """A workload cannot sign another: its certificate is no authority."""
    impostor = A.sub_authority(A.intermediate_key, is_ca=False)
    with pytest.raises(Untrusted):
        verify_peer(A.svid().leaf_pem, cert_pem(impostor), BOTH, A.now)


def test_path_length() -> None:
    """An intermediate below an intermediate whose path length is 0 is refused."""
    below = TestAuthority("example.org", now=A.now)
    below.root, below.root_key = A.intermediate, A.intermediate_key
    below.intermediate = below.sub_authority(below.intermediate_key)
    svid = below.svid()
    with pytest.raises(Untrusted):
        verify_peer(svid.leaf_pem, svid.chain_pem + cert_pem(A.intermediate), BOTH, A.now)


def test_unknown_critical_extension() -> None:
    """A critical extension that nobody here understands is refused (RFC 5280 §4.2)."""
    unknown = x509.UnrecognizedExtension(ObjectIdentifier("1.2.3.4"), b"\x05\x00")
    assert refusal(A.svid(extra=((unknown, True),))) is Reason.UNTRUSTED
    assert verify(A.svid(extra=((unknown, False),))).fingerprint


def test_tampered_signature() -> None:
    """One changed bit of the signed part breaks the path."""
    svid = A.svid("/aaaa")
    der = bytearray(svid.leaf.public_bytes(Encoding.DER))
    der[der.index(b"/aaaa") + 1] ^= 2  # /caaa: as good an id as before
    leaf = cert_pem(x509.load_der_x509_certificate(bytes(der)))
    with pytest.raises(Untrusted):
        verify_peer(leaf, svid.chain_pem, BOTH, A.now)


@pytest.mark.parametrize(
    ("leaf", "reason"),
    [
        (b"", Reason.NO_CERTIFICATE),
        (b"  \n", Reason.NO_CERTIFICATE),
        (b"hello", Reason.MALFORMED),
        (b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", Reason.MALFORMED),
        (b"x" * (MAX_CERTIFICATE_BYTES + 1), Reason.TOO_LARGE),
        (A.svid().leaf_pem * 2, Reason.MALFORMED),
    ],
    ids=["empty", "blank", "no PEM", "no certificate", "too large", "two"],
)
def test_leaf_bounds(leaf: bytes, reason: Reason) -> None:
    """What is not exactly one certificate within its bound is refused."""
    with pytest.raises(BadSvid) as refused:
        verify_peer(leaf, b"", BOTH, A.now)
    assert refused.value.reason is reason


def test_chain_bounds() -> None:
    """Eight intermediates are looked at, nine are not; nor are more octets than eight may have."""
    svid = A.svid()
    others = [cert_pem(A.sub_authority(new_key())) for _ in range(8)]
    assert verify_peer(svid.leaf_pem, b"".join([*others[:7], svid.chain_pem]), BOTH, A.now).fingerprint
    for chain in (b"".join([*others, svid.chain_pem]), svid.chain_pem + b" " * 8 * MAX_CERTIFICATE_BYTES):
        with pytest.raises(BadSvid) as refused:
            verify_peer(svid.leaf_pem, chain, BOTH, A.now)
        assert refused.value.reason is Reason.TOO_LARGE


def test_intermediates_with_one_key() -> None:
    """Certificates that could sign each other in circles are refused before any path is tried."""
    svid = A.svid()
    twin = cert_pem(A.sub_authority(A.intermediate_key))
    with pytest.raises(BadSvid, match="one key"):
        verify_peer(svid.leaf_pem, svid.chain_pem + twin, BOTH, A.now)


def test_garbage_after_the_intermediates() -> None:
    """Octets that look like a further certificate and are none are refused."""
    svid = A.svid()
    junk = b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"
    with pytest.raises(BadSvid):
        verify_peer(svid.leaf_pem, svid.chain_pem + junk, BOTH, A.now)


FLIPPED = A.svid()


@settings(max_examples=80, deadline=None)
@given(st.integers(0, 10_000), st.integers(1, 255))
def test_flipped_octets_never_escape(position: int, change: int) -> None:
    """A leaf with one changed octet is refused, or is the same identity (a bit outside of what is signed)."""
    der = bytearray(FLIPPED.leaf.public_bytes(Encoding.DER))
    der[position % len(der)] ^= change
    pem = b"-----BEGIN CERTIFICATE-----\n" + base64.encodebytes(bytes(der)) + b"-----END CERTIFICATE-----\n"
    try:
        peer = verify_peer(pem, FLIPPED.chain_pem, BOTH, A.now)
    except IdentityRefused:
        return
    assert replace(peer, fingerprint="") == replace(verify(FLIPPED), fingerprint="")


@pytest.mark.parametrize("octet", [0x03, 0x06, 0x00], ids=["version 4", "version 7", "version 1 with extensions"])
def test_other_versions(octet: int) -> None:
    """A certificate of another X.509 version is refused."""
    der = bytearray(FLIPPED.leaf.public_bytes(Encoding.DER))
    der[der.index(b"\xa0\x03\x02\x01") + 4] = octet
    pem = b"-----BEGIN CERTIFICATE-----\n" + base64.encodebytes(bytes(der)) + b"-----END CERTIFICATE-----\n"
    with pytest.raises(BadSvid) as refused:
        verify_peer(pem, FLIPPED.chain_pem, BOTH, A.now)
    assert refused.value.reason is Reason.MALFORMED


@pytest.mark.filterwarnings("ignore:Parsed a serial number")
def test_negative_serial_number() -> None:
    """A serial number that is not positive is refused also where the library only warns of it."""
    der = bytearray(A.svid(serial=0x5A5A5A5A5A5A5A5A).leaf.public_bytes(Encoding.DER))
    der[der.index(b"\x5a" * 8)] = 0xDA
    pem = b"-----BEGIN CERTIFICATE-----\n" + base64.encodebytes(bytes(der)) + b"-----END CERTIFICATE-----\n"
    with pytest.raises(BadSvid, match="serial number"):
        verify_peer(pem, FLIPPED.chain_pem, BOTH, A.now)
