"""Authorities by schedule, over years of an explicit clock."""

from __future__ import annotations

import datetime as dt
from pathlib import Path

import pytest

from certs.bundle import TrustBundles
from certs.ca import crls, rotation
from certs.ca.authority import Authority
from certs.ca.keys import Places
from certs.ca.profile import LeafRequest
from certs.ca.schedule import Schedule, turn, warnings
from certs.ca.states import Kind, State
from certs.cli.rotating import Rotating
from certs.errors import ProfileRefused
from certs.spiffe_id import SpiffeId, TrustDomain
from certs.svid import X509Svid
from certs.verify import verify_peer
from tests.certificates import utc_now

NOW = utc_now()
DAY, HOUR, YEAR = dt.timedelta(days=1), dt.timedelta(hours=1), dt.timedelta(days=365)
DOMAIN = TrustDomain("example.org")
DAILY = LeafRequest(spiffe_id=SpiffeId(DOMAIN, "/billing"), ttl_s=24 * 3600)
BY_ITSELF = Schedule()


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    """Make an authority whose root key is apart."""
    return Authority.create(tmp_path / "ca", DOMAIN, tmp_path / "root", NOW)


def whats(authority: Authority, schedule: Schedule, now: dt.datetime) -> list[str]:
    """Do a turn in which nothing fails; what was done."""
    done = turn(authority, schedule, now)
    assert done.failed == ()
    return [what for what, _ in done.done]


def verified(svid: X509Svid, authority: Authority, now: dt.datetime) -> None:
    """Verify an SVID as a peer with today's bundle does."""
    verify_peer(svid.leaf_pem(), svid.intermediates_pem(), TrustBundles([authority.bundle]), now)


def test_years_without_people(authority: Authority, tmp_path: Path) -> None:
    """With the root's key at hand, for six years: one issues, SVIDs outlive a takeover, spent keys are destroyed."""
    schedule = Schedule(root_place=tmp_path / "root", revoke_spent=True)
    events: list[str] = []
    for day in range(0, 6 * 365, 4):
        now = NOW + day * DAY
        held = authority.issue(DAILY, now)
        assert held.expires_at == now + DAY
        events += whats(authority, schedule, now + 12 * HOUR)
        verified(held, authority, now + 12 * HOUR)
        assert authority.standby is not None
        assert authority.standby.certificate.not_valid_after_utc > authority.intermediate.not_valid_after_utc
    assert events.count("activated") == events.count("prepared") == events.count("revoked") > 3
    assert len(list((tmp_path / "ca" / "keys").iterdir())) == 2, "the active one's and the standby's"
    gone = [found for found in authority.records if found.state is State.REVOKED]
    assert len(gone) == events.count("revoked")
    (root,) = [found for found in authority.records if found.kind is Kind.ROOT]
    listed = crls.current(authority.ledger, root.key_id)
    assert listed is not None
    assert f"{gone[-1].certificate.serial_number:x}" in listed.serials, "its key is at hand"


def test_the_time_of_the_takeover(authority: Authority) -> None:
    """The standby takes over as long before the end as the schedule says."""
    ends = authority.intermediate.not_valid_after_utc
    late = Schedule(takes_over_before=10 * DAY)
    assert whats(authority, late, ends - 11 * DAY) == []
    assert whats(authority, late, ends - 10 * DAY) == ["activated"]
    for wrong in (HOUR, 301 * DAY):
        with pytest.raises(ProfileRefused, match="1 to 300 days"):
            Schedule(takes_over_before=wrong)


def test_after_a_taint_without_a_standby(authority: Authority, tmp_path: Path) -> None:
    """As soon as a standby is signed, or its key is attached again, it issues: nobody has to say `activate`."""
    rotation.activate(authority, NOW)
    rotation.taint(authority, authority.active, NOW, NOW)
    assert whats(authority, BY_ITSELF, NOW) == []
    assert "nothing is issued" in warnings(authority, BY_ITSELF, NOW)[0]
    assert whats(authority, Schedule(root_place=tmp_path / "root"), NOW) == ["prepared", "activated"]
    verified(authority.issue(DAILY, NOW), authority, NOW)


def test_spent_authorities(authority: Authority) -> None:
    """A retired or tainted one is revoked a day after its last SVID has ended, and only if that is wanted."""
    first = authority.active
    last = authority.issue(DAILY, NOW + 20 * HOUR)
    rotation.activate(authority, NOW + 20 * HOUR)
    spent = Schedule(revoke_spent=True)
    assert whats(authority, spent, last.expires_at) == []
    assert whats(authority, BY_ITSELF, NOW + 10 * DAY) == []
    assert whats(authority, spent, NOW + 10 * DAY) == ["revoked"]
    assert authority.find(first.key_id).state is State.REVOKED
    assert whats(authority, spent, NOW + 10 * DAY) == []


def test_what_people_have_to_do(authority: Authority, tmp_path: Path) -> None:
    """Nothing while all goes by itself; a missing standby, the end of what issues, and that of the root are told."""
    ends = authority.intermediate.not_valid_after_utc
    assert warnings(authority, BY_ITSELF, NOW) == ()
    whats(authority, BY_ITSELF, ends - 90 * DAY)
    assert warnings(authority, BY_ITSELF, ends) == ("no standby is prepared: run `smsgw ca rotate prepare`",)
    ends = authority.intermediate.not_valid_after_utc
    soon = warnings(authority, BY_ITSELF, ends - 29 * DAY)
    assert any("the intermediate ends" in said for said in soon)
    root_ends = authority.bundle.authorities[0].not_valid_after_utc
    assert any("rotate root" in said for said in warnings(authority, BY_ITSELF, root_ends - 2 * YEAR + DAY))
    rotation.prepare(authority, tmp_path / "root", root_ends - YEAR)
    rotation.activate(authority, root_ends - YEAR)
    rotation.prepare(authority, tmp_path / "root", root_ends - YEAR)
    said = warnings(authority, BY_ITSELF, root_ends - 60 * DAY)
    assert any("no later than the active one" in one for one in said)


def test_a_standby_whose_key_is_away(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """It is told once a day while nothing is due, once a minute when it is, and done when it is back."""
    safe = tmp_path / "safe"
    authority = Authority.create(tmp_path / "ca", DOMAIN, tmp_path / "root", NOW, places=Places(standby=safe))
    safe.rename(tmp_path / "away")
    at = [NOW]
    rotating = Rotating(authority, BY_ITSELF, as_json=False, clock=lambda: at[0])

    def said(moments: list[dt.datetime]) -> str:
        for moment in moments:
            at[0] = moment
            rotating.refresh()
        return capsys.readouterr().err

    assert said([NOW + minutes * HOUR / 60 for minutes in range(48 * 60)]).count("is not at hand") == 2
    due = authority.intermediate.not_valid_after_utc - 90 * DAY
    complained = said([due + seconds * HOUR / 3600 for seconds in range(180)])
    assert complained.count("[SVID_FILE]") == 3
    (tmp_path / "away").rename(safe)
    assert said([due + HOUR]) == "smsgw ca: no standby is prepared: run `smsgw ca rotate prepare`\n"
    assert authority.active.state is State.ACTIVE
    verified(authority.issue(DAILY, due + HOUR), authority, due + HOUR)


def test_one_step_that_fails_keeps_no_other(authority: Authority, tmp_path: Path) -> None:
    """When the root's key is not there, the takeover and the end of spent authorities go on."""
    away = Schedule(root_place=tmp_path / "nowhere", revoke_spent=True)
    ends = authority.intermediate.not_valid_after_utc
    done = turn(authority, away, ends - 80 * DAY)
    assert ([what for what, _ in done.done], len(done.failed)) == (["activated"], 1)
    later = turn(authority, away, ends - 70 * DAY)
    assert ([what for what, _ in later.done], len(later.failed)) == (["revoked"], 1)
