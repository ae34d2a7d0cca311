"""Authorities that change under the SVIDs they signed: prepared, activated, tainted, revoked."""

from __future__ import annotations

import datetime as dt
from pathlib import Path

import pytest
from cryptography import x509

from certs.bundle import TrustBundles
from certs.ca import rotation
from certs.ca.authority import Authority
from certs.ca.ledger import AuthorityRecord
from certs.ca.profile import LeafRequest
from certs.ca.states import State
from certs.errors import AuthorityError, AuthorityMissing, Untrusted
from certs.spiffe_id import SpiffeId, TrustDomain
from certs.svid import X509Svid
from certs.verify import verify_peer
from tests.certificates import key_pem, new_key, utc_now

NOW = utc_now()
DOMAIN = TrustDomain("example.org")
REQUEST = LeafRequest(spiffe_id=SpiffeId.parse("spiffe://example.org/billing"))
HOUR = dt.timedelta(hours=1)


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    """Make an authority whose root key is apart."""
    return Authority.create(tmp_path / "ca", DOMAIN, tmp_path / "root", NOW)


def verified(svid: X509Svid, authority: Authority, now: dt.datetime = NOW) -> str:
    """Verify an SVID as a peer with the authority's bundle does."""
    bundles = TrustBundles([authority.bundle])
    return str(verify_peer(svid.leaf_pem(), svid.intermediates_pem(), bundles, now).spiffe_id)


def root_of(authority: Authority, certificate: x509.Certificate | None = None) -> AuthorityRecord:
    """Return the record of the first root in the bundle, or of the one with this certificate."""
    wanted = certificate or authority.bundle.authorities[0]
    return next(found for found in authority.records if found.certificate == wanted)


def drop_standby(authority: Authority) -> None:
    """Revoke the standby, to make room for another."""
    assert authority.standby is not None
    rotation.revoke(authority, authority.standby, NOW)


def test_standby_takes_over_with_overlap(authority: Authority) -> None:
    """After an activation the standby issues, and SVIDs of the one before it verify with the same bundle."""
    old, standby, bundle = authority.issue(REQUEST, NOW), authority.standby, authority.bundle
    assert standby is not None
    assert rotation.activate(authority, NOW).key_id == standby.key_id
    new = authority.issue(REQUEST, NOW)
    assert new.authority_key_id == standby.key_id != old.authority_key_id
    assert verified(old, authority) == verified(new, authority)
    assert authority.bundle == bundle
    assert authority.find(old.authority_key_id).state is State.RETIRED
    with pytest.raises(AuthorityError, match="rotate prepare"):
        rotation.activate(authority, NOW)


def test_prepare_needs_the_root(authority: Authority, tmp_path: Path) -> None:
    """A standby is signed by this authority's root only, and there is one at a time."""
    with pytest.raises(AuthorityError, match="standby already"):
        rotation.prepare(authority, tmp_path / "root", NOW)
    rotation.activate(authority, NOW)
    with pytest.raises(AuthorityMissing, match="root-dir"):
        rotation.prepare(authority, tmp_path / "ca", NOW)
    Authority.create(tmp_path / "other", DOMAIN, tmp_path / "other-root", NOW)
    with pytest.raises(AuthorityError, match="not that of a root"):
        rotation.prepare(authority, tmp_path / "other-root", NOW)
    made = rotation.prepare(authority, tmp_path / "root", NOW)
    assert (made.state, made.key_id) == (State.STANDBY, rotation.activate(authority, NOW).key_id)
    assert verified(authority.issue(REQUEST, NOW), authority)


def test_taint_makes_the_standby_issue_at_once(authority: Authority, tmp_path: Path) -> None:
    """One call taints and takes over; another process that has the authority open sees it at its next look."""
    other = Authority.open(tmp_path / "ca")
    before, standby = other.active, authority.standby
    rotation.taint(authority, authority.active, NOW, NOW - HOUR)
    assert other.refresh()
    assert standby is not None
    assert other.issue(REQUEST, NOW).authority_key_id == standby.key_id
    tainted = other.find(before.key_id)
    assert (tainted.state, tainted.suspect_from) == (State.TAINTED, NOW - HOUR)
    assert not other.refresh()


def test_taint_without_a_standby_stops_issuing(authority: Authority, tmp_path: Path) -> None:
    """Without a standby nothing issues after a taint, rather than the tainted key; a new standby mends it."""
    rotation.activate(authority, NOW)
    rotation.taint(authority, authority.active, NOW, NOW)
    with pytest.raises(AuthorityError, match="nothing can be issued"):
        authority.issue(REQUEST, NOW)
    again = Authority.open(tmp_path / "ca")
    rotation.prepare(again, tmp_path / "root", NOW)
    rotation.activate(again, NOW)
    assert verified(again.issue(REQUEST, NOW), again)


def test_taint_with_a_damaged_standby(authority: Authority, tmp_path: Path) -> None:
    """A standby that cannot take over does not keep a compromised key in use."""
    assert authority.standby is not None
    (tmp_path / "ca" / "keys" / f"{authority.standby.key_id}.key").write_bytes(key_pem(new_key()))
    with pytest.raises(AuthorityError, match="does not fit"):
        rotation.activate(authority, NOW)
    rotation.taint(authority, authority.active, NOW, NOW)
    with pytest.raises(AuthorityError, match="nothing can be issued"):
        authority.issue(REQUEST, NOW)


def test_what_cannot_be_tainted(authority: Authority) -> None:
    """A taint has a beginning that has been, and happens once."""
    first = authority.active
    with pytest.raises(AuthorityError, match="future"):
        rotation.taint(authority, first, NOW, NOW + HOUR)
    rotation.taint(authority, first, NOW, NOW)
    with pytest.raises(AuthorityError, match="is tainted"):
        rotation.taint(authority, authority.find(first.key_id), NOW, NOW)


def test_revoked_intermediate(authority: Authority, tmp_path: Path) -> None:
    """The one that issues is not revoked; a tainted one is, its key is gone, and it never comes back."""
    first = authority.active
    with pytest.raises(AuthorityError, match="in use"):
        rotation.revoke(authority, first, NOW)
    rotation.taint(authority, first, NOW, NOW)
    key = tmp_path / "ca" / "keys" / f"{first.key_id}.key"
    assert key.exists()
    (revoked,) = rotation.revoke(authority, authority.find(first.key_id), NOW)
    assert revoked.state is State.REVOKED
    assert not key.exists()
    with pytest.raises(AuthorityError, match="is revoked"):
        rotation.taint(authority, authority.find(first.key_id), NOW, NOW)


def test_another_root_with_overlap(authority: Authority, tmp_path: Path) -> None:
    """A new root is in the bundle before it is used; the old one stays until it is revoked, with all below it."""
    old, (first,) = authority.issue(REQUEST, NOW), authority.bundle.authorities
    sequence = authority.bundle.sequence
    drop_standby(authority)
    made = rotation.add_root(authority, tmp_path / "root2", NOW)
    assert set(authority.bundle.authorities) == {first, made.certificate}
    assert authority.bundle.sequence == (sequence or 0) + 1
    assert (tmp_path / "ca" / "root.pem").read_bytes() == authority.bundle.to_pem()
    rotation.prepare(authority, tmp_path / "root2", NOW)
    rotation.activate(authority, NOW)
    new = authority.issue(REQUEST, NOW)
    assert verified(old, authority) == verified(new, authority)
    old_root = root_of(authority, first)
    assert (old_root.state, authority.find(made.key_id).state) == (State.RETIRED, State.ACTIVE)
    rotation.revoke(authority, old_root, NOW)
    assert authority.bundle.authorities == (made.certificate,)
    assert authority.find(old.authority_key_id).state is State.REVOKED
    assert verified(new, authority)
    with pytest.raises(Untrusted):
        verified(old, authority)


def test_tainted_root(authority: Authority, tmp_path: Path) -> None:
    """A tainted root taints all below it, the standby too; one below another root takes over."""
    drop_standby(authority)
    first = authority.active
    root = root_of(authority)
    made = rotation.add_root(authority, tmp_path / "root2", NOW)
    standby = rotation.prepare(authority, tmp_path / "root2", NOW)
    rotation.taint(authority, root, NOW, NOW)
    assert authority.active.key_id == standby.key_id
    assert [authority.find(key_id).state for key_id in (root.key_id, first.key_id, made.key_id)] == [
        State.TAINTED,
        State.TAINTED,
        State.ACTIVE,
    ]
    with pytest.raises(AuthorityError, match="tainted"):
        rotation.prepare(authority, tmp_path / "root", NOW)
    rotation.revoke(authority, authority.find(root.key_id), NOW)
    assert authority.bundle.authorities == (made.certificate,)


def test_the_last_root_stays(authority: Authority) -> None:
    """The bundle is never emptied: a reader would keep what it has."""
    root = root_of(authority)
    rotation.taint(authority, root, NOW, NOW)
    with pytest.raises(AuthorityError, match="last root"):
        rotation.revoke(authority, authority.find(root.key_id), NOW)


def test_a_second_root_never_overwrites_the_first(authority: Authority, tmp_path: Path) -> None:
    """Another root goes into a directory of its own."""
    with pytest.raises(AuthorityError, match="root key already"):
        rotation.add_root(authority, tmp_path / "root", NOW)


def test_rotation_by_schedule(authority: Authority) -> None:
    """The standby takes over 90 days before the end of the active intermediate, and not a day before."""
    ends, standby = authority.intermediate.not_valid_after_utc, authority.standby
    assert standby is not None
    early = ends - rotation.TAKES_OVER_BEFORE - dt.timedelta(days=1)
    assert rotation.rotate_if_due(authority, early) is None
    found = rotation.rotate_if_due(authority, ends - rotation.TAKES_OVER_BEFORE)
    assert found is not None
    assert found.key_id == standby.key_id
    assert found.certificate.not_valid_after_utc - ends > dt.timedelta(days=300)
    assert rotation.rotate_if_due(authority, ends) is None
