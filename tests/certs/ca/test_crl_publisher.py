"""Published lists: made when needed, written in one step, and kept when something fails."""

from __future__ import annotations

import datetime as dt
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from certs.ca import rotation
from certs.ca.authority import Authority
from certs.ca.crl_publisher import ALL_FILE, RETRY, CrlPublisher
from certs.ca.profile import LeafRequest
from certs.ca.revocations import Code, Order, revoke_serial
from certs.spiffe_id import SpiffeId, TrustDomain
from tests.certificates import utc_now

NOW = utc_now()
HOUR, MINUTE = dt.timedelta(hours=1), dt.timedelta(minutes=1)
DOMAIN = TrustDomain("example.org")


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    """Make an authority whose root key is apart."""
    return Authority.create(tmp_path / "ca", DOMAIN, tmp_path / "root", NOW)


@pytest.fixture
def publisher(authority: Authority, tmp_path: Path) -> CrlPublisher:
    """Publish into tmp_path/crl."""
    return CrlPublisher(authority, tmp_path / "crl", 4 * HOUR)


def revoked(authority: Authority) -> str:
    """Issue a certificate and revoke it; its serial number."""
    svid = authority.issue(LeafRequest(spiffe_id=SpiffeId(DOMAIN, "/billing")), NOW)
    revoke_serial(authority.ledger, svid.serial, Order(code=Code.SUPERSEDED, reason="x", asked_by="me"), NOW)
    return svid.serial


def listed(folder: Path) -> dict[str, set[str]]:
    """Return what each file's list says, once crls.pem says the same."""
    ders = {path.stem: path.read_bytes() for path in folder.glob("*.crl")}
    lists = {key_id: x509.load_der_x509_crl(der) for key_id, der in ders.items()}
    pem = (folder / ALL_FILE).read_bytes()
    blocks = [block + b"-----END X509 CRL-----\n" for block in pem.split(b"-----END X509 CRL-----\n")[:-1]]
    assert {x509.load_pem_x509_crl(block).public_bytes(Encoding.DER) for block in blocks} == set(ders.values())
    return {key_id: {f"{entry.serial_number:x}" for entry in crl} for key_id, crl in lists.items()}


def test_the_first_round(authority: Authority, publisher: CrlPublisher, tmp_path: Path) -> None:
    """There is a list of the root, the active intermediate and the standby, and everybody may read them."""
    assert len(publisher.refresh(NOW).made) == 2
    assert set(listed(tmp_path / "crl")) == {found.key_id for found in authority.records}
    assert {path.stat().st_mode & 0o777 for path in (tmp_path / "crl").iterdir()} == {0o644}
    assert publisher.refresh(NOW + MINUTE).made == ()


def test_a_revocation_is_published_in_the_next_round(
    authority: Authority, publisher: CrlPublisher, tmp_path: Path
) -> None:
    """Only the list that has to say more is made, and the files say it."""
    publisher.refresh(NOW)
    serial = revoked(authority)
    done = publisher.refresh(NOW + MINUTE)
    assert [(one.crl.key_id, one.why) for one in done.made] == [(authority.active.key_id, "something is revoked")]
    assert listed(tmp_path / "crl")[authority.active.key_id] == {serial}
    assert publisher.published[authority.active.key_id].serials == {serial}


def test_lists_are_renewed_in_time(authority: Authority, publisher: CrlPublisher) -> None:
    """At half its time each list is made anew, though nothing happened."""
    publisher.refresh(NOW)
    assert publisher.refresh(NOW + HOUR).made == ()
    assert {one.why for one in publisher.refresh(NOW + 2 * HOUR).made} == {"it is due"}


def test_lists_that_end(authority: Authority, publisher: CrlPublisher, tmp_path: Path) -> None:
    """The list of a revoked intermediate is taken away, its root's says why; foreign files stay."""
    publisher.refresh(NOW)
    (tmp_path / "crl" / "readme.txt").write_text("mine")
    gone = authority.active
    rotation.activate(authority, NOW)
    rotation.revoke(authority, authority.find(gone.key_id), NOW, tmp_path / "root")
    publisher.refresh(NOW)
    found = listed(tmp_path / "crl")
    assert gone.key_id not in found
    assert {f"{gone.certificate.serial_number:x}"} in found.values()
    assert (tmp_path / "crl" / "readme.txt").exists()


def test_one_that_cannot_be_made_does_not_keep_the_others(
    authority: Authority, publisher: CrlPublisher, tmp_path: Path
) -> None:
    """A retired authority without its key is told and tried again; the others' lists come, and its old one stays."""
    publisher.refresh(NOW)
    old = authority.active
    rotation.activate(authority, NOW)
    (tmp_path / "ca" / "keys" / f"{old.key_id}.key").rename(tmp_path / "elsewhere")
    later = NOW + 2 * HOUR
    done = publisher.refresh(later)
    assert ([one.crl.key_id for one in done.made], len(done.failed)) == ([authority.active.key_id], 1)
    assert old.key_id in listed(tmp_path / "crl")
    assert publisher.refresh(later + RETRY / 2).failed == ()
    (tmp_path / "elsewhere").rename(tmp_path / "ca" / "keys" / f"{old.key_id}.key")
    assert [one.crl.key_id for one in publisher.refresh(later + RETRY).made] == [old.key_id]


def test_a_folder_that_cannot_be_written(authority: Authority, publisher: CrlPublisher, tmp_path: Path) -> None:
    """It is told, what is served from memory goes on, and the files come when it is mended."""
    (tmp_path / "crl").write_text("in the way")
    assert publisher.refresh(NOW).failed
    serial = revoked(authority)
    assert publisher.refresh(NOW).failed
    assert publisher.published[authority.active.key_id].serials == {serial}
    (tmp_path / "crl").unlink()
    assert publisher.refresh(NOW + RETRY).failed == ()
    assert listed(tmp_path / "crl")[authority.active.key_id] == {serial}


def test_a_standby_whose_key_is_elsewhere(authority: Authority, publisher: CrlPublisher, tmp_path: Path) -> None:
    """It has no list until it takes over, and that is no failure."""
    standby = authority.standby
    assert standby is not None
    (tmp_path / "ca" / "keys" / f"{standby.key_id}.key").rename(tmp_path / "elsewhere")
    done = publisher.refresh(NOW)
    assert ([one.crl.key_id for one in done.made], done.failed) == ([authority.active.key_id], ())
