"""The authority's record, as a file that outlives processes and is written before a certificate leaves."""

from __future__ import annotations

import datetime as dt
from pathlib import Path

import apsw
import pytest

from certs.ca.authority import Asked, Authority
from certs.ca.ledger import KEEP_EXPIRED, IssuedRecord, Ledger
from certs.ca.profile import LeafRequest
from certs.ca.states import TRANSITIONS, Kind, State, require_transition
from certs.errors import AuthorityError, AuthorityMissing
from certs.spiffe_id import SpiffeId, TrustDomain
from tests.certificates import TestAuthority, utc_now

NOW = utc_now()
HOUR = dt.timedelta(hours=1)


@pytest.fixture
def ledger(tmp_path: Path) -> Ledger:
    """Make an empty record."""
    return Ledger.create(tmp_path / "ca.db")


def record(serial: str, *, ends: dt.datetime = NOW + HOUR, path: str = "/billing", key_id: str = "aa") -> IssuedRecord:
    """Return a record of a certificate that ends at `ends`."""
    return IssuedRecord(
        serial=serial,
        spiffe_id=f"spiffe://example.org{path}",
        key_hash="kk",
        authority_key_id=key_id,
        asked_by="somebody",
        attested_by="token",
        issued_at=ends - HOUR,
        not_before=ends - HOUR,
        not_after=ends,
    )


def test_round_trip_through_the_file(ledger: Ledger, tmp_path: Path) -> None:
    """What was recorded is found by another process, all of it; the file is for its owner only."""
    ledger.record(record("1f"))
    ledger.close()
    again = Ledger(tmp_path / "ca.db")
    assert again.issued("1f") == record("1f")
    assert again.issued("2f") is None
    assert (tmp_path / "ca.db").stat().st_mode & 0o777 == 0o600


def test_what_is_valid_and_what_ends(ledger: Ledger) -> None:
    """Lists are by end, without what has expired, and narrowed by end, identity and authority."""
    ledger.record(record("1", ends=NOW + 3 * HOUR, key_id="bb"))
    ledger.record(record("2", ends=NOW + HOUR))
    ledger.record(record("3", ends=NOW + 2 * HOUR, path="/other"))
    ledger.record(record("4", ends=NOW - HOUR))
    assert [found.serial for found in ledger.valid_at(NOW)] == ["2", "3", "1"]
    assert [found.serial for found in ledger.valid_at(NOW, ending_by=NOW + HOUR)] == ["2"]
    assert [found.serial for found in ledger.valid_at(NOW, spiffe_id="spiffe://example.org/other")] == ["3"]
    assert [found.serial for found in ledger.valid_at(NOW, authority_key_id="bb")] == ["1"]
    assert [found.serial for found in ledger.valid_at(NOW, limit=1)] == ["2"]


def test_a_serial_number_is_recorded_once(ledger: Ledger) -> None:
    """A second certificate with one serial number cannot be recorded, and so is not handed out."""
    ledger.record(record("1"))
    with pytest.raises(AuthorityError, match="recorded already"):
        ledger.record(record("1"))


def test_long_expired_records_go(ledger: Ledger) -> None:
    """Records are kept for 90 days after their certificate's end, and no longer."""
    ledger.record(record("1", ends=NOW - KEEP_EXPIRED - HOUR))
    ledger.record(record("2", ends=NOW - KEEP_EXPIRED + 2 * HOUR))
    ledger.record(record("3"))
    assert [ledger.issued(serial) is not None for serial in "123"] == [False, True, True]


def test_a_failed_change_leaves_nothing(ledger: Ledger) -> None:
    """A change of authorities is whole or is not: neither a row nor an epoch stays of one that failed."""
    before, root = ledger.epoch, TestAuthority(now=NOW).root

    def change() -> None:
        with ledger.changing():
            ledger.add_authority(Kind.ROOT, State.ACTIVE, root, NOW)
            raise RuntimeError("in the middle")

    with pytest.raises(RuntimeError, match="in the middle"):
        change()
    assert (ledger.epoch, ledger.authorities()) == (before, ())


def test_one_active_intermediate(ledger: Ledger) -> None:
    """The record itself refuses a second active intermediate, whatever the code above it does."""
    authority = TestAuthority(now=NOW)
    with ledger.changing():
        ledger.add_authority(Kind.INTERMEDIATE, State.ACTIVE, authority.intermediate, NOW)
    with pytest.raises(AuthorityError), ledger.changing():
        ledger.add_authority(Kind.INTERMEDIATE, State.ACTIVE, authority.root, NOW)


def test_a_change_under_another_process(ledger: Ledger, tmp_path: Path) -> None:
    """A state that another process has changed meanwhile is not overwritten."""
    with ledger.changing():
        ledger.add_authority(Kind.INTERMEDIATE, State.ACTIVE, TestAuthority(now=NOW).intermediate, NOW)
    (seen,) = ledger.authorities()
    other = Ledger(tmp_path / "ca.db")
    with other.changing():
        other.set_state(seen, State.TAINTED, NOW, suspect_from=NOW)
    with pytest.raises(AuthorityError, match="another process"), ledger.changing():
        ledger.set_state(seen, State.RETIRED, NOW)
    assert ledger.authorities()[0].state is State.TAINTED


@pytest.mark.parametrize("before", State)
@pytest.mark.parametrize("after", State)
def test_only_transitions_of_the_table(before: State, after: State) -> None:
    """A state changes as the table says, and nothing leaves REVOKED or goes back to ACTIVE after a taint."""
    if after in TRANSITIONS[before]:
        require_transition("k", before, after)
    else:
        with pytest.raises(AuthorityError, match=f"k is {before}"):
            require_transition("k", before, after)
    assert State.ACTIVE not in TRANSITIONS[State.TAINTED] | TRANSITIONS[State.RETIRED] | TRANSITIONS[State.REVOKED]


@pytest.mark.parametrize("content", [None, b"", b"no database at all, but long enough to be read as one" * 20])
def test_record_that_cannot_be_used(tmp_path: Path, content: bytes | None) -> None:
    """Without its record, or with a damaged one, the authority is not opened."""
    Authority.create(tmp_path / "ca", TrustDomain("example.org"), tmp_path / "ca", NOW).close()
    for name in ("ca.db-wal", "ca.db-shm"):
        (tmp_path / "ca" / name).unlink(missing_ok=True)
    if content is None:
        (tmp_path / "ca" / "ca.db").unlink()
    else:
        (tmp_path / "ca" / "ca.db").write_bytes(content)
    with pytest.raises(AuthorityMissing if content is None else AuthorityError, match=r"ca\.db"):
        Authority.open(tmp_path / "ca")


def test_nothing_is_issued_without_its_record(tmp_path: Path) -> None:
    """When the record cannot be written, the certificate is not handed out; afterwards issuing goes on."""
    authority = Authority.create(tmp_path / "ca", TrustDomain("example.org"), tmp_path / "ca", NOW)
    request = LeafRequest(spiffe_id=SpiffeId.parse("spiffe://example.org/billing"))
    db = apsw.Connection(str(tmp_path / "ca" / "ca.db"))
    db.execute("CREATE TRIGGER full BEFORE INSERT ON issued BEGIN SELECT RAISE(ABORT, 'disk full'); END")
    with pytest.raises(AuthorityError):
        authority.issue(request, NOW)
    db.execute("DROP TRIGGER full")
    svid = authority.issue(request, NOW, Asked(by="me", attested="my word"))
    kept = authority.ledger.issued(svid.serial)
    assert kept is not None
    assert (kept.asked_by, kept.attested_by, kept.authority_key_id) == ("me", "my word", authority.active.key_id)
