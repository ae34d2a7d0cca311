"""The keys that sign JWT-SVIDs: published before they sign, kept until what they signed is over."""

from __future__ import annotations

import datetime as dt
from pathlib import Path

import pytest

from certs import jwt_svid
from certs.ca.authority import Authority
from certs.ca.jwt_keys import PUBLISHED_AFTER, PUBLISHED_BEFORE, SIGNS_FOR
from certs.errors import AuthorityError, ProfileRefused, Untrusted
from certs.spiffe_id import SpiffeId, TrustDomain
from tests.certificates import utc_now

NOW = utc_now()
SECOND = dt.timedelta(seconds=1)
WHO = SpiffeId.parse("spiffe://example.org/billing")


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    """Make an authority in tmp_path/ca."""
    return Authority.create(tmp_path / "ca", TrustDomain("example.org"), tmp_path / "ca", NOW)


def signed_by(authority: Authority, now: dt.datetime) -> str:
    """Sign a token, and return the id of the one key in the bundle that verifies it."""
    token, ends = authority.sign_jwt(WHO, ["api"], now)
    (found,) = [key for key in authority.bundle.jwt_authorities if end_of(token, key, now) == ends]
    return found.key_id


def end_of(token: str, key: jwt_svid.JwtAuthority, now: dt.datetime) -> dt.datetime | None:
    """Return the end of a token that this key signed, None for another's."""
    try:
        return jwt_svid.verify(token, [key], "api", now).expires_at
    except Untrusted:
        return None


def bundled(authority: Authority) -> list[str]:
    """Return the ids of the keys in the bundle."""
    return [key.key_id for key in authority.bundle.jwt_authorities]


def test_a_key_is_published_before_it_signs(authority: Authority) -> None:
    """The next key is in the bundle for a day before it signs, and the last for an hour after it did."""
    sequence = authority.bundle.sequence or 0
    first = signed_by(authority, NOW)
    assert authority.bundle.sequence == sequence + 1
    before = NOW + SIGNS_FOR - PUBLISHED_BEFORE
    assert signed_by(authority, before - SECOND) == first
    assert len(bundled(authority)) == 1
    assert signed_by(authority, before) == first
    assert len(bundled(authority)) == 2
    second = signed_by(authority, NOW + SIGNS_FOR)
    assert second != first
    assert set(bundled(authority)) == {first, second}
    assert signed_by(authority, NOW + SIGNS_FOR + PUBLISHED_AFTER + SECOND) == second
    assert bundled(authority) == [second]
    assert not (authority.directory / "keys" / f"{first}.key").exists()


def test_after_a_long_time_off(authority: Authority) -> None:
    """An authority that was off for longer than its keys live makes a new one, and signs at once."""
    first = signed_by(authority, NOW)
    assert signed_by(authority, NOW + 5 * SIGNS_FOR) != first
    assert len(bundled(authority)) == 1


@pytest.mark.parametrize("after", [dt.timedelta(), SIGNS_FOR - PUBLISHED_BEFORE], ids=["alone", "with the next one"])
def test_tainted_key(authority: Authority, tmp_path: Path, after: dt.timedelta) -> None:
    """A tainted key leaves the bundle at once, its key is gone, and another one signs."""
    first, now = signed_by(authority, NOW), NOW + after
    token, _ = authority.sign_jwt(WHO, ["api"], now)
    authority.taint_jwt_key(first, now)
    assert first not in bundled(authority)
    with pytest.raises(Untrusted):
        jwt_svid.verify(token, authority.bundle.jwt_authorities, "api", now)
    assert not (tmp_path / "ca" / "keys" / f"{first}.key").exists()
    assert signed_by(authority, now) != first
    with pytest.raises(AuthorityError, match="no JWT key"):
        authority.taint_jwt_key(first, now)


def test_what_is_signed(authority: Authority) -> None:
    """Tokens are for workloads of the trust domain, and for an audience."""
    for spiffe_id in ("spiffe://other.org/billing", "spiffe://example.org"):
        with pytest.raises(ProfileRefused):
            authority.sign_jwt(SpiffeId.parse(spiffe_id), ["api"], NOW)
    with pytest.raises(ProfileRefused, match="audience"):
        authority.sign_jwt(WHO, [], NOW)
