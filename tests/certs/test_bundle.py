"""Bundles: PEM and the SPIFFE format (Trust Domain and Bundle §4, X509-SVID §6.1), and the set that is trusted now."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding
from hypothesis import given, settings
from hypothesis import strategies as st

from certs.bundle import MAX_AUTHORITIES, MAX_BUNDLE_BYTES, Bundle, JoinedTrust, TrustBundles
from certs.errors import BundleError
from certs.spiffe_id import TrustDomain
from tests.certificates import TestAuthority, cert_pem, new_key

A = TestAuthority("example.org")
DOMAIN = TrustDomain("example.org")
BUNDLE = Bundle.from_pem(DOMAIN, A.bundle_pem)


def jwk(**changes: Any) -> dict[str, Any]:
    """Return the JWK of A's root with fields changed; None removes one."""
    key = {**json.loads(BUNDLE.to_jwks())["keys"][0], **changes}
    return {name: value for name, value in key.items() if value is not None}


def document(*keys: object, **fields: object) -> bytes:
    """Return a JWK Set."""
    return json.dumps({"keys": list(keys), **fields}).encode()


def test_pem_round_trip() -> None:
    """Two authorities come out of PEM as they went in."""
    both = Bundle.from_pem(DOMAIN, A.bundle_pem + cert_pem(A.intermediate))
    assert both.authorities == (A.root, A.intermediate)
    assert Bundle.from_pem(DOMAIN, both.to_pem()) == both


def test_jwks_round_trip() -> None:
    """A bundle with sequence and refresh hint comes out of JSON as it went in, and has no kid."""
    found = Bundle(trust_domain=DOMAIN, authorities=(A.root, A.intermediate), sequence=7, refresh_hint_s=300)
    assert Bundle.from_jwks(DOMAIN, found.to_jwks()) == found
    keys = json.loads(found.to_jwks())["keys"]
    assert all(key["use"] == "x509-svid" and "kid" not in key and len(key["x5c"]) == 1 for key in keys)


def test_jwks_rsa_round_trip() -> None:
    """An RSA authority is written and read too."""
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    root = (
        x509.CertificateBuilder()
        .subject_name(A.root.subject)
        .issuer_name(A.root.subject)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(A.root.not_valid_before_utc)
        .not_valid_after(A.root.not_valid_after_utc)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    found = Bundle(trust_domain=DOMAIN, authorities=(root,))
    assert Bundle.from_jwks(DOMAIN, found.to_jwks()) == found
    assert json.loads(found.to_jwks())["keys"][0]["kty"] == "RSA"


@pytest.mark.parametrize(
    "ignored",
    [jwk(use="jwt-svid"), jwk(use=None), jwk(kty="OKP"), jwk(kty=None), {"kty": "oct", "k": "AAAA"}, {}],
    ids=["jwt-svid", "no use", "unknown kty", "no kty", "secret", "empty"],
)
def test_unknown_keys_are_ignored(ignored: dict[str, Any]) -> None:
    """Keys for other uses, or of other types, are passed over (Bundle §4.2)."""
    assert Bundle.from_jwks(DOMAIN, document(ignored, jwk())).authorities == (A.root,)


def test_no_keys() -> None:
    """An empty list of keys is a bundle without authorities: all are revoked (Bundle §4.1.3)."""
    assert Bundle.from_jwks(DOMAIN, document()).authorities == ()


LEAF = base64.b64encode(A.svid().leaf.public_bytes(Encoding.DER)).decode()


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{}",
        b"[]",
        b'{"keys": {}}',
        b"\xff\xfe",
        b"[" * 100_000,
        document(1),
        document(jwk(x5c=None)),
        document(jwk(x5c=[])),
        document(jwk(x5c=jwk()["x5c"] * 2)),
        document(jwk(x5c=[1])),
        document(jwk(x5c=["%%%"])),
        document(jwk(x5c=["AAAA"])),
        document(jwk(x5c=["A" * 40_000])),
        document(jwk(x=jwk()["y"])),
        document(jwk(x=None)),
        document(jwk(n="AQAB")),
        document(jwk(x5c=[LEAF])),
        document(jwk(), spiffe_sequence="7"),
        document(jwk(), spiffe_sequence=-1),
        document(jwk(), spiffe_sequence=True),
        document(jwk(), spiffe_refresh_hint=1.5),
        b" " * (MAX_BUNDLE_BYTES + 1),
    ],
)
def test_bad_documents(content: bytes) -> None:
    """Whatever is not a SPIFFE bundle is refused as one."""
    with pytest.raises(BundleError, match=r"example\.org"):
        Bundle.from_jwks(DOMAIN, content)


@settings(max_examples=60, deadline=None)
@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(max_size=8),
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(st.sampled_from(["keys", "kty", "use", "x5c", "x", "spiffe_sequence"]), inner, max_size=4)
        ),
        max_leaves=12,
    )
)
def test_any_json_is_read_or_refused(value: object) -> None:
    """No JSON makes anything but a bundle or a BundleError."""
    try:
        Bundle.from_jwks(DOMAIN, json.dumps(value).encode())
    except BundleError:
        return


@pytest.mark.parametrize("pem", [b"", b"nothing", A.svid().leaf_pem], ids=["empty", "no PEM", "a leaf"])
def test_bad_pem(pem: bytes) -> None:
    """PEM without an authority is refused: an empty file must not revoke everything by accident."""
    with pytest.raises(BundleError):
        Bundle.from_pem(DOMAIN, pem)


def test_too_many_authorities() -> None:
    """64 authorities are the most."""
    with pytest.raises(BundleError, match="64"):
        Bundle.from_pem(DOMAIN, A.bundle_pem * (MAX_AUTHORITIES + 1))
    with pytest.raises(BundleError, match="64"):
        Bundle(trust_domain=DOMAIN, authorities=(A.root,) * (MAX_AUTHORITIES + 1))


def test_trusted_set_is_replaced_whole() -> None:
    """A replacement raises the version, and what is not in it is not trusted any more."""
    other = Bundle(trust_domain=TrustDomain("other.org"), authorities=(A.root,))
    trusted = TrustBundles([BUNDLE])
    assert (trusted.version, trusted.get(DOMAIN)) == (1, BUNDLE)
    assert trusted.replace([other]) == trusted.version == 2
    assert trusted.get(DOMAIN) is None
    assert trusted.all() == (other,)


def test_a_domain_named_twice() -> None:
    """Two bundles of one domain are refused, and the old set stays."""
    trusted = TrustBundles([BUNDLE])
    twin = Bundle(trust_domain=DOMAIN, authorities=(A.sub_authority(new_key()),))
    with pytest.raises(BundleError, match="two bundles"):
        trusted.replace([BUNDLE, twin])
    assert (trusted.version, trusted.all()) == (1, (BUNDLE,))


def test_pem_of_all_domains() -> None:
    """The coarse gate of TLS is every authority of every domain."""
    other = TestAuthority("other.org")
    trusted = TrustBundles([Bundle.from_pem(TrustDomain("other.org"), other.bundle_pem), BUNDLE])
    assert trusted.to_pem() == A.bundle_pem + other.bundle_pem


@pytest.mark.parametrize(("number", "fine"), [(1024, True), (1025, False)])
def test_number_of_keys(number: int, fine: bool) -> None:
    """So many keys are looked at, unknown ones included, and no more."""
    content = document(*[{"kty": "OKP"}] * number)
    if fine:
        assert Bundle.from_jwks(DOMAIN, content).authorities == ()
    else:
        with pytest.raises(BundleError, match="1025 keys"):
            Bundle.from_jwks(DOMAIN, content)


B = TestAuthority("partner.example")
OTHER = TrustDomain("partner.example")
THEIRS = Bundle(trust_domain=OTHER, authorities=(B.root,))


def test_joined() -> None:
    """Two sources are one trust, by name; a trust domain of both is that of the first, and never of both together."""
    own, others = TrustBundles([BUNDLE]), TrustBundles([THEIRS, Bundle(trust_domain=DOMAIN, authorities=(B.root,))])
    joined = JoinedTrust(own, others)
    assert joined.all() == (BUNDLE, THEIRS)
    assert joined.get(DOMAIN) == BUNDLE
    assert joined.get(OTHER) == THEIRS
    assert joined.get(TrustDomain("third.example")) is None
    assert joined.to_pem() == A.bundle_pem + B.bundle_pem


def test_joined_versions() -> None:
    """A change of either is another version."""
    own, others = TrustBundles([BUNDLE]), TrustBundles()
    joined = JoinedTrust(own, others)
    versions = [joined.version]
    others.replace([THEIRS])
    versions.append(joined.version)
    own.replace([Bundle(trust_domain=DOMAIN, authorities=())])
    versions.append(joined.version)
    others.replace([])
    versions.append(joined.version)
    assert versions == sorted(set(versions))


def test_joined_without_oneself() -> None:
    """Who trusts nobody of his own trust domain trusts no other either."""
    joined = JoinedTrust(TrustBundles(), TrustBundles([THEIRS]))
    assert (joined.all(), joined.get(OTHER), joined.to_pem()) == ((), None, b"")
