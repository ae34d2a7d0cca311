"""Revocation lists: what is on them and for how long, their numbers, and what the third party refuses."""

from __future__ import annotations

import datetime as dt
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from cryptography import x509

from certs.ca import crls, rotation
from certs.ca.authority import Authority, new_key
from certs.ca.crl_checker import check_crl
from certs.ca.crl_profile import DEFAULT_LIFETIME, ROOT_LIFETIME, CrlPlan, RevokedSerial, plan_crl
from certs.ca.crls import Crl
from certs.ca.ledger import AuthorityRecord
from certs.ca.profile import BACKDATE, LeafRequest
from certs.ca.revocations import Code, Order, revoke_serial
from certs.ca.signer import sign_crl
from certs.ca.states import Kind
from certs.errors import AuthorityError, CheckFailed, ProfileRefused
from certs.spiffe_id import SpiffeId, TrustDomain
from tests.certificates import utc_now

NOW = utc_now()
HOUR, MINUTE = dt.timedelta(hours=1), dt.timedelta(minutes=1)
FIRST = int(NOW.timestamp())  # the number of the first list of NOW
DOMAIN = TrustDomain("example.org")


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    """Make an authority whose root key is apart."""
    return Authority.create(tmp_path / "ca", DOMAIN, tmp_path / "root", NOW)


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    """Make an authority with two revoked certificates, for tests that change nothing."""
    folder = tmp_path_factory.mktemp("shared")
    made_once = Authority.create(folder / "ca", DOMAIN, folder / "root", NOW)
    for _ in range(2):
        revoked(made_once)
    return made_once


def revoked(authority: Authority, at: dt.datetime = NOW, code: Code = Code.KEY_COMPROMISE) -> str:
    """Issue a certificate of an hour and revoke it; its serial number."""
    svid = authority.issue(LeafRequest(spiffe_id=SpiffeId(DOMAIN, "/billing")), at)
    revoke_serial(authority.ledger, svid.serial, Order(code=code, reason="stolen", asked_by="me"), at)
    return svid.serial


def made(authority: Authority, at: dt.datetime = NOW) -> Crl:
    """Make the next list of the active intermediate."""
    return crls.make(authority.ledger, authority.active, authority.key_of(authority.active), at)


def root_of(authority: Authority) -> AuthorityRecord:
    """Return the first root."""
    return next(found for found in authority.records if found.kind is Kind.ROOT)


def test_what_a_list_says(authority: Authority) -> None:
    """cryptography reads serial numbers, reasons, number, key id and times of a list, and verifies it."""
    plain, stolen = revoked(authority, code=Code.UNSPECIFIED), revoked(authority)
    crl = x509.load_der_x509_crl(made(authority, NOW + MINUTE).der)
    issuer = authority.intermediate
    assert crl.is_signature_valid(issuer.public_key())  # type: ignore[arg-type]  # it is an EC key
    assert crl.issuer == issuer.subject
    assert (crl.last_update_utc, crl.next_update_utc) == (NOW + MINUTE - BACKDATE, NOW + MINUTE + DEFAULT_LIFETIME)
    assert crl.extensions.get_extension_for_class(x509.CRLNumber).value.crl_number == int((NOW + MINUTE).timestamp())
    key_id = crl.extensions.get_extension_for_class(x509.AuthorityKeyIdentifier).value.key_identifier
    assert (key_id or b"").hex() == authority.active.key_id
    entries = {f"{entry.serial_number:x}": entry for entry in crl}
    assert set(entries) == {plain, stolen}
    assert not list(entries[plain].extensions), "unspecified is written by leaving it out (RFC 5280 §5.3.1)"
    reason = entries[stolen].extensions.get_extension_for_class(x509.CRLReason).value.reason
    assert (reason, entries[stolen].revocation_date_utc) == (x509.ReasonFlags.key_compromise, NOW)


def test_each_authority_lists_its_own(authority: Authority) -> None:
    """What another intermediate issued is not on a list, and each counts its own lists."""
    first, before = authority.active, revoked(authority)
    rotation.activate(authority, NOW)
    after = revoked(authority)
    assert made(authority).serials == {after}
    old = crls.make(authority.ledger, authority.find(first.key_id), authority.key_of(authority.find(first.key_id)), NOW)
    assert (set(old.serials), old.number) == ({before}, FIRST)
    assert {found.key_id for found in crls.listing(authority.records, NOW)} == {first.key_id, authority.active.key_id}
    assert crls.listing(authority.records, NOW + dt.timedelta(days=800)) == ()


def test_numbers_grow_across_processes(authority: Authority, tmp_path: Path) -> None:
    """A number is never given twice, whoever makes the list; one that comes late does not replace a later one."""
    other = Authority.open(tmp_path / "ca")
    assert [made(found).number for found in (authority, other, authority)] == [FIRST, FIRST + 1, FIRST + 2]
    late = crls._reserve(authority.ledger, authority.active, NOW)
    serial = revoked(authority)
    assert made(other).serials == {serial}
    plan = plan_crl(authority.intermediate, late.revoked, late.number, NOW, lifetime=HOUR, scheduled_before=None)
    crl = x509.load_der_x509_crl(sign_crl(plan, authority.key_of(authority.active)))
    crls._keep(authority.ledger, authority.active.key_id, late.number, crl, b"late", scheduled=False)
    kept = crls.current(authority.ledger, authority.active.key_id)
    assert kept is not None
    assert (kept.number, set(kept.serials)) == (FIRST + 4, {serial})


def test_numbers_grow_after_an_older_record_was_restored(authority: Authority, tmp_path: Path) -> None:
    """A list that is made after a restore has a higher number than all that were made since the backup."""
    authority.close()
    shutil.copytree(tmp_path / "ca", tmp_path / "backup")
    again = Authority.open(tmp_path / "ca")
    last = [made(again, NOW + step * MINUTE).number for step in range(50)][-1]
    again.close()
    restored = Authority.open(tmp_path / "backup")
    assert made(restored, NOW + HOUR).number > last


def test_expired_certificates_are_on_one_more_scheduled_list(authority: Authority) -> None:
    """A certificate that has ended is on the next scheduled list still, and on no later one (RFC 5280 §3.3)."""
    serial = revoked(authority)
    assert made(authority, NOW).serials == {serial}
    assert made(authority, NOW + 2 * HOUR).serials == {serial}, "the first after its end"
    assert made(authority, NOW + 4 * HOUR).serials == set()


def test_lists_between_do_not_count(authority: Authority) -> None:
    """A list that is made early, for another revocation, drops nothing that no scheduled list has had after its end."""
    serial = revoked(authority)
    made(authority, NOW)
    early = NOW + HOUR + MINUTE
    assert made(authority, early).serials == {serial}
    assert made(authority, early + MINUTE).serials == {serial}
    assert made(authority, NOW + 3 * HOUR).serials == {serial}
    assert made(authority, NOW + 3 * HOUR + MINUTE).serials == set()


def test_when_another_list_is_needed(authority: Authority) -> None:
    """At half its time, and as soon as something is revoked that it does not say."""
    record = authority.active
    assert crls.outdated(authority.ledger, record, NOW) == "there is none"
    crl = made(authority)
    assert crls.outdated(authority.ledger, record, NOW + MINUTE) == ""
    assert crls.outdated(authority.ledger, record, crl.due_at) == "it is due"
    revoked(authority)
    assert crls.outdated(authority.ledger, record, NOW + MINUTE) == "something is revoked"
    made(authority)
    assert crls.outdated(authority.ledger, record, NOW + MINUTE) == ""


def test_the_list_of_a_root(authority: Authority, tmp_path: Path) -> None:
    """A root's list is there from the beginning, says which intermediates are revoked and why, and lasts a year."""
    first = crls.current(authority.ledger, root_of(authority).key_id)
    assert first is not None
    assert (first.number, len(first.serials), first.next_update) == (FIRST, 0, NOW + ROOT_LIFETIME)
    tainted = authority.active
    rotation.taint(authority, tainted, NOW, NOW)
    rotation.revoke(authority, authority.find(tainted.key_id), NOW, tmp_path / "root")
    second = crls.current(authority.ledger, root_of(authority).key_id)
    assert second is not None
    assert second.serials == {f"{tainted.certificate.serial_number:x}"}
    (entry,) = x509.load_der_x509_crl(second.der)
    assert entry.extensions.get_extension_for_class(x509.CRLReason).value.reason is x509.ReasonFlags.ca_compromise
    rotation.prepare(authority, tmp_path / "root", NOW)
    retired = authority.active
    rotation.activate(authority, NOW)
    rotation.revoke(authority, authority.find(retired.key_id), NOW)
    again = rotation.list_of_root(authority, tmp_path / "root", NOW)
    reasons = {
        entry.extensions.get_extension_for_class(x509.CRLReason).value.reason
        for entry in x509.load_der_x509_crl(again.der)
    }
    assert reasons == {x509.ReasonFlags.ca_compromise, x509.ReasonFlags.cessation_of_operation}
    assert again.number == FIRST + 3, "rotate prepare made one as well"


def test_the_key_of_another_root(authority: Authority, tmp_path: Path) -> None:
    """The wrong root's key revokes nothing, rather than leave its root's list without the intermediate."""
    rotation.add_root(authority, tmp_path / "root2", NOW)
    standby = authority.standby
    assert standby is not None
    with pytest.raises(AuthorityError, match="not that of the root"):
        rotation.revoke(authority, standby, NOW, tmp_path / "root2")
    assert authority.standby == standby
    assert crls.current(authority.ledger, root_of(authority).key_id) is not None


@pytest.mark.parametrize(
    ("changed", "why"),
    [
        ({"lifetime": dt.timedelta(minutes=9)}, "10 minutes"),
        ({"lifetime": dt.timedelta(days=8)}, "10 minutes"),
        ({"number": 0}, "no number"),
        ({"number": 1 << 159}, "no number"),
        ({"now": NOW - HOUR}, "not valid now"),
        ({"now": NOW + dt.timedelta(days=366)}, "not valid now"),
        ({"revoked": [RevokedSerial(serial="1f", not_after=NOW, revoked_at=NOW, code=6)]}, "no reason"),
    ],
)
def test_what_the_profile_refuses(shared: Authority, changed: dict[str, object], why: str) -> None:
    """Lifetimes, numbers, times and reasons out of bounds are not signed; a hold is none for good."""
    values = {"revoked": [], "number": 1, "now": NOW, "lifetime": HOUR, "scheduled_before": None, **changed}
    with pytest.raises(ProfileRefused, match=why):
        plan_crl(shared.intermediate, **values)  # type: ignore[arg-type]  # chosen by the table above


def other_key(plan: CrlPlan) -> bytes:
    """Sign a plan with a key that is not its issuer's."""
    return sign_crl(plan, new_key())


Mutation = Callable[[CrlPlan], CrlPlan | bytes]
MUTATIONS: dict[str, Mutation] = {
    "leaves out": lambda plan: replace(plan, entries=plan.entries[1:]),
    "lists what is not revoked": lambda plan: replace(
        plan, entries=(*plan.entries, replace(plan.entries[0], serial=5))
    ),
    "other reasons": lambda plan: replace(
        plan, entries=(replace(plan.entries[0], reason=x509.ReasonFlags.superseded), *plan.entries[1:])
    ),
    "not for good": lambda plan: replace(
        plan, entries=(replace(plan.entries[0], reason=x509.ReasonFlags.certificate_hold), *plan.entries[1:])
    ),
    "twice": lambda plan: replace(plan, entries=(plan.entries[0], *plan.entries)),
    "not revoked yet": lambda plan: replace(
        plan, entries=(replace(plan.entries[0], revoked_at=NOW + HOUR), *plan.entries[1:])
    ),
    "number is wrong": lambda plan: replace(plan, number=plan.number + 1),
    "not valid now": lambda plan: replace(plan, this_update=NOW + MINUTE),
    "for too long": lambda plan: replace(plan, next_update=NOW + dt.timedelta(days=500)),
    "another issuer": lambda plan: replace(plan, issuer=x509.Name([])),
    "signature": other_key,
    "not readable": lambda plan: b"rubbish",
}


@pytest.mark.parametrize("why", MUTATIONS)
def test_what_the_checker_refuses(shared: Authority, why: str) -> None:
    """A list that differs from the record in one thing is not let out, whatever profile and signer did."""
    taken = crls._reserve(shared.ledger, shared.active, NOW)
    codes = {found.serial: found.code for found in taken.revoked}
    assert len(codes) == 2
    plan = plan_crl(shared.intermediate, taken.revoked, 7, NOW, lifetime=HOUR, scheduled_before=None)
    key = shared.key_of(shared.active)
    check_crl(sign_crl(plan, key), shared.intermediate, NOW, number=7, revoked=codes, current=set(codes))
    changed = MUTATIONS[why](plan)
    der = changed if isinstance(changed, bytes) else sign_crl(changed, key)
    with pytest.raises(CheckFailed, match=why):
        check_crl(der, shared.intermediate, NOW, number=7, revoked=codes, current=set(codes))


def test_a_list_of_ten_thousand(authority: Authority) -> None:
    """A long list is made in one go: nothing in it grows by the square."""
    many = [
        RevokedSerial(serial=f"{serial:x}", not_after=NOW + HOUR, revoked_at=NOW, code=1) for serial in range(1, 10_001)
    ]
    plan = plan_crl(authority.intermediate, many, 1, NOW, lifetime=HOUR, scheduled_before=None)
    assert len(x509.load_der_x509_crl(sign_crl(plan, authority.key_of(authority.active)))) == 10_000


def test_certificates_that_say_where_lists_are(authority: Authority, tmp_path: Path) -> None:
    """Once a place is set, leafs name their issuer's list and intermediates their root's; others carry nothing."""

    def places(certificate: x509.Certificate) -> list[str]:
        try:
            found = certificate.extensions.get_extension_for_class(x509.CRLDistributionPoints).value
        except x509.ExtensionNotFound:
            return []
        return [name.value for point in found for name in point.full_name or ()]

    request = LeafRequest(spiffe_id=SpiffeId(DOMAIN, "/billing"))
    assert places(authority.issue(request, NOW).chain[0]) == []
    authority.set_crl_place("http://crl.example.org/lists")
    assert places(authority.issue(request, NOW).chain[0]) == [
        f"http://crl.example.org/lists/{authority.active.key_id}.crl"
    ]
    rotation.activate(authority, NOW)
    made_now = rotation.prepare(authority, tmp_path / "root", NOW)
    assert places(made_now.certificate) == [f"http://crl.example.org/lists/{root_of(authority).key_id}.crl"]
    other = Authority.open(tmp_path / "ca")
    other.set_crl_place("")
    assert authority.refresh()
    assert places(authority.issue(request, NOW).chain[0]) == []
    for bad in ("https://crl.example.org/", "ftp://x/", "http://", "http://x/?a", "http://x/a b", "http://u@x/"):
        with pytest.raises(ProfileRefused):
            authority.set_crl_place(bad)
