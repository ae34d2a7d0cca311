"""Keeping SVIDs on disk fresh, round by round, with a clock of the test's."""

from __future__ import annotations

import datetime as dt
from pathlib import Path

import pytest

from certs.ca import rotation
from certs.ca.authority import Authority
from certs.ca.keeper import LOOK_AGAIN, RETRY, keep_fresh
from certs.ca.profile import LeafRequest
from certs.ca.revocations import Code, Order, revoke_serial
from certs.ca.wanted import WantedSvid, out_paths
from certs.errors import Reason
from certs.spiffe_id import SpiffeId, TrustDomain
from certs.svid import X509Svid
from tests.certificates import TestAuthority, utc_now

NOW = utc_now()
SECOND = dt.timedelta(seconds=1)


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    """Make an authority in tmp_path/ca."""
    return Authority.create(tmp_path / "ca", TrustDomain("example.org"), tmp_path / "ca", NOW)


def wanted(tmp_path: Path, name: str, *, dns: tuple[str, ...] = (), ttl_s: int = 3600) -> WantedSvid:
    """Return an entry for tmp_path/tls/NAME."""
    cert_path, key_path = out_paths(tmp_path / "tls" / name)
    request = LeafRequest(spiffe_id=SpiffeId.parse(f"spiffe://example.org/{name}"), dns_names=dns, ttl_s=ttl_s)
    return WantedSvid(request=request, cert_path=cert_path, key_path=key_path)


def on_disk(entry: WantedSvid) -> X509Svid:
    """Return what a reader finds."""
    return X509Svid.load(entry.cert_path, entry.key_path)


def test_issues_what_is_missing_and_leaves_it(authority: Authority, tmp_path: Path) -> None:
    """The first round issues everything, the second nothing, and looks again soon."""
    entries = [wanted(tmp_path, "gw", dns=("gw.example.org",)), wanted(tmp_path, "billing")]
    first = keep_fresh(authority, entries, NOW)
    assert [found.why for found in first.renewed] == ["missing", "missing"]
    assert [on_disk(entry) for entry in entries] == [found.svid for found in first.renewed]
    second = keep_fresh(authority, entries, NOW + SECOND)
    assert (second.renewed, second.failed, second.next_at) == ((), (), NOW + SECOND + LOOK_AGAIN)


def test_renews_at_half_life(authority: Authority, tmp_path: Path) -> None:
    """An SVID is renewed at the half of its life, not a second before, and the round before knows when."""
    entry = wanted(tmp_path, "gw")
    keep_fresh(authority, [entry], NOW)
    before = on_disk(entry)
    soon = keep_fresh(authority, [entry], before.half_life - SECOND)
    assert (soon.renewed, soon.next_at) == ((), before.half_life)
    (renewed,) = keep_fresh(authority, [entry], before.half_life).renewed
    assert renewed.why == "half its life is over"
    assert on_disk(entry).serial == renewed.svid.serial != before.serial


def test_replaces_what_is_not_right(authority: Authority, tmp_path: Path) -> None:
    """A file that was damaged, opened to others, exchanged or meant for something else is replaced at once."""
    entry = wanted(tmp_path, "gw")

    def why() -> str:
        (renewed,) = keep_fresh(authority, [entry], NOW).renewed
        assert on_disk(entry) == renewed.svid
        return renewed.why

    assert why() == "missing"
    entry.cert_path.write_bytes(b"junk")
    assert why() == "not readable"
    entry.key_path.chmod(0o644)
    assert why() == "its key was readable by others"
    entry.key_path.unlink()
    assert why() == "missing"
    authority.issue(wanted(tmp_path, "other").request, NOW).write(entry.cert_path, entry.key_path)
    assert why() == "for other names"
    authority.issue(wanted(tmp_path, "gw", ttl_s=7200).request, NOW).write(entry.cert_path, entry.key_path)
    assert why() == "for a longer time"
    stranger = TestAuthority(now=NOW).svid("/gw")
    X509Svid.from_pem(stranger.presented_pem, stranger.key_pem).write(entry.cert_path, entry.key_path)
    assert why() == "from another intermediate"


def test_takes_up_a_new_intermediate(authority: Authority, tmp_path: Path) -> None:
    """After a taint of the intermediate, every SVID is issued anew by the one that takes over."""
    entry = wanted(tmp_path, "gw")
    keep_fresh(authority, [entry], NOW)
    rotation.taint(authority, authority.active, NOW, NOW)
    assert [found.why for found in keep_fresh(authority, [entry], NOW).renewed] == ["from another intermediate"]
    assert on_disk(entry).chain[1] == authority.intermediate


def test_replaces_what_is_revoked(authority: Authority, tmp_path: Path) -> None:
    """An SVID that is revoked is issued anew, with another key."""
    entry = wanted(tmp_path, "gw")
    keep_fresh(authority, [entry], NOW)
    before = on_disk(entry)
    order = Order(code=Code.KEY_COMPROMISE, reason="copied", asked_by="me")
    revoke_serial(authority.ledger, before.serial, order, NOW)
    assert [found.why for found in keep_fresh(authority, [entry], NOW).renewed] == ["revoked"]
    assert on_disk(entry).key.public_key() != before.key.public_key()
    assert keep_fresh(authority, [entry], NOW).renewed == ()


def test_without_an_intermediate_nothing_is_lost(authority: Authority, tmp_path: Path) -> None:
    """When nothing can issue, the round says so and leaves the SVIDs that there are."""
    entry = wanted(tmp_path, "gw")
    keep_fresh(authority, [entry], NOW)
    before = on_disk(entry)
    rotation.activate(authority, NOW)
    rotation.taint(authority, authority.active, NOW, NOW)
    done = keep_fresh(authority, [entry], NOW)
    assert [failed.error.reason for failed in done.failed] == [Reason.AUTHORITY_STATE]
    assert on_disk(entry) == before


def test_one_failure_does_not_stop_the_others(authority: Authority, tmp_path: Path) -> None:
    """A target that cannot be written is reported and tried again soon; the others are issued."""
    (tmp_path / "tls").mkdir()
    (tmp_path / "tls" / "bad.pem").mkdir()
    bad, good = wanted(tmp_path, "bad"), wanted(tmp_path, "good")
    done = keep_fresh(authority, [bad, good], NOW)
    assert [failed.wanted for failed in done.failed] == [bad]
    assert done.failed[0].error.reason is Reason.SVID_FILE
    assert on_disk(good).spiffe_id == good.request.spiffe_id
    assert done.next_at == NOW + RETRY


def test_intermediate_that_ended(authority: Authority, tmp_path: Path) -> None:
    """When the intermediate has ended, the round says so for each SVID, and does not raise."""
    done = keep_fresh(authority, [wanted(tmp_path, "gw")], NOW + dt.timedelta(days=366))
    assert [failed.error.reason for failed in done.failed] == [Reason.PROFILE]
    assert "smsgw ca rotate" in str(done.failed[0].error)
