"""The re-reading of what was signed: a defect in the profile or the signer is caught here."""

from __future__ import annotations

import datetime as dt
from dataclasses import replace
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding

from certs.ca.authority import new_key
from certs.ca.checker import check_authority, check_leaf
from certs.ca.profile import CertificatePlan, LeafRequest, plan_intermediate, plan_leaf, plan_root
from certs.ca.signer import sign
from certs.errors import CheckFailed
from certs.spiffe_id import SpiffeId, TrustDomain
from tests.certificates import DIGITAL_SIGNATURE, TestAuthority

A = TestAuthority("example.org")
DOMAIN = TrustDomain("example.org")
KEY = new_key()
REQUEST = LeafRequest(spiffe_id=SpiffeId.parse("spiffe://example.org/gw"), dns_names=("gw.example.org",))
HOUR = dt.timedelta(hours=1)


def signed(**changes: Any) -> bytes:
    """Sign the plan of REQUEST with fields changed, as a defective profile might."""
    plan = plan_leaf(REQUEST, DOMAIN, KEY.public_key(), 5, A.now, A.intermediate)
    return sign(replace(plan, **changes), A.intermediate.subject, A.intermediate_key)


def check(der: bytes) -> x509.Certificate:
    """Check against REQUEST."""
    return check_leaf(der, REQUEST, KEY.public_key(), A.intermediate, A.now)


def other_issuer(**kwargs: Any) -> bytes:
    """Return the leaf that a test authority makes for KEY."""
    fields = {"key": KEY, "dns": ("gw.example.org",), **kwargs}
    return A.svid("/gw", **fields).leaf.public_bytes(Encoding.DER)


def test_sound_leaf() -> None:
    """What profile and signer make is let out, as is what an independent authority makes of the same request."""
    assert check(signed()).serial_number == 5
    assert check(other_issuer()).public_key() == KEY.public_key()


FAULTS: dict[str, bytes] = {
    "another id": signed(uri="spiffe://example.org/admin"),
    "another domain": signed(uri="spiffe://other.org/gw"),
    "no SPIFFE ID": signed(uri="https://example.org/gw"),
    "no path": signed(uri="spiffe://example.org"),
    "no DNS name": signed(dns_names=()),
    "a further DNS name": signed(dns_names=("gw.example.org", "admin.example.org")),
    "another key": signed(public_key=new_key().public_key()),
    "the issuer's key": signed(public_key=A.intermediate_key.public_key()),
    "an authority": signed(path_length=0),
    "expired": signed(not_before=A.now - 2 * HOUR, not_after=A.now - HOUR),
    "not valid yet": signed(not_before=A.now + HOUR, not_after=A.now + 2 * HOUR),
    "25 hours": signed(not_after=A.now + 25 * HOUR),
    "outlives its issuer": signed(not_after=A.intermediate.not_valid_after_utc + HOUR),
    "signed by another key": sign(
        plan_leaf(REQUEST, DOMAIN, KEY.public_key(), 5, A.now, A.intermediate), A.intermediate.subject, new_key()
    ),
    "signed under another name": sign(
        plan_leaf(REQUEST, DOMAIN, KEY.public_key(), 5, A.now, A.intermediate), A.root.subject, A.intermediate_key
    ),
    "no authority key id": other_issuer(authority_key_id=False),
    "another authority key id": other_issuer(authority_key_id=b"\x01" * 20),
    "no key usage": other_issuer(usages=None),
    "keyCertSign": other_issuer(usages=DIGITAL_SIGNATURE | {"key_cert_sign"}),
    "no purposes": other_issuer(purposes=None),
    "two URIs": other_issuer(uris=("spiffe://example.org/gw", "spiffe://example.org/admin")),
    "an address": other_issuer(
        extra=((x509.SubjectAlternativeName([x509.RFC822Name("a@example.org")]), True),), uris=(), dns=()
    ),
    "an unknown extension": other_issuer(
        extra=((x509.UnrecognizedExtension(x509.ObjectIdentifier("1.2.3"), b"\x05\x00"), False),)
    ),
    "no DER": b"nothing",
    "empty": b"",
}


@pytest.mark.parametrize("der", FAULTS.values(), ids=FAULTS.keys())
def test_faulty_leafs_stay_inside(der: bytes) -> None:
    """A certificate that is not exactly what was asked for is not handed out."""
    with pytest.raises(CheckFailed, match="not handed out"):
        check(der)


def test_other_curve() -> None:
    """A key on a curve that the profile does not know is not certified."""
    key = ec.generate_private_key(ec.SECP521R1()).public_key()
    with pytest.raises(CheckFailed, match="its key is weak"):
        check_leaf(signed(public_key=key), REQUEST, key, A.intermediate, A.now)


def authority_plan(**changes: Any) -> CertificatePlan:
    """Return the plan of an intermediate with fields changed."""
    return replace(plan_intermediate(DOMAIN, KEY.public_key(), 5, A.now, A.root), **changes)


def check_intermediate(plan: CertificatePlan) -> x509.Certificate:
    """Sign with the root, and check."""
    return check_authority(sign(plan, A.root.subject, A.root_key), DOMAIN, KEY.public_key(), A.root, path_length=0)


def test_sound_authorities() -> None:
    """Root and intermediate of profile and signer are let out."""
    assert check_intermediate(authority_plan()).serial_number == 5
    root = sign(plan_root(DOMAIN, KEY.public_key(), 5, A.now), None, KEY)
    assert check_authority(root, DOMAIN, KEY.public_key(), None, path_length=1).serial_number == 5


@pytest.mark.parametrize(
    "changes",
    [
        {"path_length": 1},
        {"path_length": None},
        {"uri": "spiffe://other.org"},
        {"uri": "spiffe://example.org/gw"},
        {"dns_names": ("example.org",)},
        {"public_key": new_key().public_key()},
        {"not_after": A.root.not_valid_after_utc + HOUR},
    ],
    ids=["longer path", "a leaf", "other domain", "with a path", "with a name", "other key", "outlives the root"],
)
def test_faulty_authorities_stay_inside(changes: dict[str, Any]) -> None:
    """An authority that is not exactly what was asked for is not handed out."""
    with pytest.raises(CheckFailed, match="not handed out"):
        check_intermediate(authority_plan(**changes))


def test_root_that_is_not_self_signed() -> None:
    """A root must be signed by its own key."""
    der = sign(plan_root(DOMAIN, KEY.public_key(), 5, A.now), None, new_key())
    with pytest.raises(CheckFailed):
        check_authority(der, DOMAIN, KEY.public_key(), None, path_length=1)


def test_root_without_end() -> None:
    """A root of more than ten years is not handed out."""
    plan = replace(plan_root(DOMAIN, KEY.public_key(), 5, A.now), not_after=A.now + dt.timedelta(days=4000))
    with pytest.raises(CheckFailed, match="lifetime"):
        check_authority(sign(plan, None, KEY), DOMAIN, KEY.public_key(), None, path_length=1)
