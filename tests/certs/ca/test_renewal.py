"""Renewal by the current SVID: believed for what is on record, not for its signature alone."""

from __future__ import annotations

import datetime as dt
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import rsa

from certs.ca import rotation, store
from certs.ca.authority import Authority, new_key
from certs.ca.profile import LeafRequest, plan_leaf
from certs.ca.renewal import renew
from certs.ca.signer import sign
from certs.errors import NotValidNow, Reason, RenewalRefused
from certs.leaf import read_leaf
from certs.spiffe_id import SpiffeId, TrustDomain
from tests.certificates import TestAuthority, utc_now

NOW = utc_now()
HOUR = dt.timedelta(hours=1)
MINUTE = dt.timedelta(minutes=1)
DOMAIN = TrustDomain("example.org")
REQUEST = LeafRequest(
    spiffe_id=SpiffeId.parse("spiffe://example.org/gateway"), dns_names=("gw.example.org",), ttl_s=7200
)


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    """Make an authority in tmp_path/ca."""
    return Authority.create(tmp_path / "ca", DOMAIN, tmp_path / "ca", NOW)


def test_the_next_svid_is_like_the_one_before(authority: Authority) -> None:
    """Identity, names and lifetime stay, key and serial number change, and the record says by what it was renewed."""
    svid, key = authority.issue(REQUEST, NOW), new_key()
    leaf, intermediate = renew(authority, svid.chain[0], key.public_key(), NOW + HOUR)
    facts = read_leaf(leaf)
    assert (facts.spiffe_id, facts.dns_names) == (REQUEST.spiffe_id, REQUEST.dns_names)
    assert facts.not_after == NOW + 3 * HOUR
    assert (leaf.public_key(), intermediate) == (key.public_key(), authority.intermediate)
    record = authority.ledger.issued(facts.serial)
    assert record is not None
    assert (record.asked_by, record.attested_by) == (str(REQUEST.spiffe_id), f"svid {svid.serial}")


def test_rsa_keys_renew_too(authority: Authority) -> None:
    """A workload may have an RSA key within the profile's bounds."""
    svid, key = authority.issue(REQUEST, NOW), rsa.generate_private_key(65537, 2048)
    leaf, _ = renew(authority, svid.chain[0], key.public_key(), NOW, ttl_s=300)
    assert leaf.public_key() == key.public_key()


def test_an_expired_svid_is_not_renewed(authority: Authority) -> None:
    """Who has missed the end is attested anew."""
    svid = authority.issue(REQUEST, NOW)
    with pytest.raises(NotValidNow):
        renew(authority, svid.chain[0], new_key().public_key(), NOW + 2 * HOUR + MINUTE)


def test_another_authority_is_not_believed(authority: Authority) -> None:
    """An SVID for our trust domain that another authority signed renews nothing."""
    stranger = TestAuthority(now=NOW).svid("/gateway").leaf
    with pytest.raises(RenewalRefused, match="not issued by this authority") as refused:
        renew(authority, stranger, new_key().public_key(), NOW)
    assert refused.value.reason is Reason.UNTRUSTED


@pytest.mark.parametrize("tainted", [False, True], ids=["active", "tainted"])
def test_a_stolen_authority_key_renews_nothing(authority: Authority, tmp_path: Path, tainted: bool) -> None:
    """What is signed with the stolen key is refused: unknown serial numbers, and known ones with another key."""
    svid = authority.issue(REQUEST, NOW)
    stolen, issuer = store.load_key(tmp_path / "ca", authority.active.key_id), authority.intermediate
    if tainted:
        rotation.taint(authority, authority.active, NOW + MINUTE, NOW + MINUTE)
    for serial in (x509.random_serial_number(), int(svid.serial, 16)):
        forged = x509.load_der_x509_certificate(
            sign(plan_leaf(REQUEST, DOMAIN, new_key().public_key(), serial, NOW, issuer), issuer.subject, stolen)
        )
        with pytest.raises(RenewalRefused, match="not on record") as refused:
            renew(authority, forged, new_key().public_key(), NOW + MINUTE)
        assert refused.value.reason is Reason.NOT_RECORDED


def test_good_workloads_renew_after_a_compromise(authority: Authority) -> None:
    """Below a tainted authority, an SVID from before the compromise renews below the standby; a later one does not."""
    good, late = authority.issue(REQUEST, NOW), authority.issue(REQUEST, NOW + 30 * MINUTE)
    rotation.taint(authority, authority.active, NOW + HOUR, NOW + 20 * MINUTE)
    leaf, intermediate = renew(authority, good.chain[0], new_key().public_key(), NOW + HOUR)
    assert intermediate == authority.intermediate != good.chain[1]
    assert read_leaf(leaf).spiffe_id == REQUEST.spiffe_id
    with pytest.raises(RenewalRefused, match="suspect") as refused:
        renew(authority, late.chain[0], new_key().public_key(), NOW + HOUR)
    assert refused.value.reason is Reason.AUTHORITY_STATE


def test_a_retired_authority_is_good_for_renewal(authority: Authority) -> None:
    """After a planned rotation everybody renews; after a revocation nobody does."""
    svid = authority.issue(REQUEST, NOW)
    rotation.activate(authority, NOW)
    assert renew(authority, svid.chain[0], new_key().public_key(), NOW)
    rotation.revoke(authority, authority.find(svid.authority_key_id), NOW)
    with pytest.raises(RenewalRefused, match="revoked"):
        renew(authority, svid.chain[0], new_key().public_key(), NOW)
