"""A relationship: sequences, hints, ages and retries (SPIFFE Federation §4, §6; Bundle §4.1)."""

from __future__ import annotations

import datetime as dt
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from certs.bundle import Bundle
from certs.errors import BundleError, Reason, SequenceRefused
from certs.federation.keeping import Shelf
from certs.federation.relationship import Held, Note, Origin, Relationship, Terms, keys_digest
from certs.jwt_svid import JwtAuthority
from certs.spiffe_id import TrustDomain
from tests.certificates import TestAuthority, new_key

DOMAIN = TrustDomain("partner.example")
ONE, TWO = TestAuthority("partner.example"), TestAuthority("partner.example")
NOW = dt.datetime(2026, 11, 27, 12, tzinfo=dt.UTC)
TERMS = Terms(refresh_min_s=60, refresh_max_s=3600, max_age_s=86_400)


def bundle(sequence: int | None, *authorities: TestAuthority, hint: int | None = None) -> Bundle:
    """Return a bundle of partner.example."""
    roots = tuple(authority.root for authority in authorities)
    return Bundle(trust_domain=DOMAIN, authorities=roots, sequence=sequence, refresh_hint_s=hint)


def later(seconds: float) -> dt.datetime:
    """Return a time after NOW."""
    return NOW + dt.timedelta(seconds=seconds)


def test_first() -> None:
    """Nobody is trusted before the first bundle, and then it is the one that counts."""
    partner = Relationship(TERMS)
    assert partner.trusted(NOW) is None
    assert partner.age_s(NOW) is None
    taken = partner.received(bundle(7, ONE), NOW)
    assert (taken.changed, taken.notes) == (True, ())
    assert partner.trusted(NOW) == bundle(7, ONE)


def test_rollback() -> None:
    """A lower sequence is refused, whatever it holds, and what is held stays."""
    partner = Relationship(TERMS)
    partner.received(bundle(7, TWO), NOW)
    with pytest.raises(SequenceRefused, match=r"sequence 6, and 7 was taken") as caught:
        partner.received(bundle(6, ONE), later(60))
    assert caught.value.reason is Reason.SEQUENCE
    assert partner.trusted(later(60)) == bundle(7, TWO)
    assert partner.age_s(later(60)) == 60


def test_rollback_behind_a_bundle_without_sequence() -> None:
    """A missing sequence is allowed and told, and opens no way back below what was taken before it."""
    partner = Relationship(TERMS)
    partner.received(bundle(7, TWO), NOW)
    assert partner.received(bundle(None, TWO), later(60)).notes == (Note.NO_SEQUENCE,)
    assert partner.received(bundle(None, ONE), later(120)).notes == ()
    with pytest.raises(SequenceRefused):
        partner.received(bundle(6, ONE), later(180))
    assert partner.received(bundle(7, TWO), later(240)).changed


def test_same_sequence() -> None:
    """Other keys under the same sequence are taken, as the newest, and told; a new order of them is no change."""
    partner = Relationship(TERMS)
    partner.received(bundle(7, ONE, TWO), NOW)
    again = partner.received(bundle(7, TWO, ONE), later(60))
    assert (again.changed, again.notes) == (False, ())
    other = partner.received(bundle(7, TWO), later(120))
    assert (other.changed, other.notes) == (True, (Note.SAME_SEQUENCE,))


def test_emptied() -> None:
    """A bundle without keys is taken: from then on it trusts nobody, which is not the same as no bundle."""
    partner = Relationship(TERMS)
    partner.received(bundle(7, ONE), NOW)
    assert partner.received(bundle(8), later(60)).notes == (Note.EMPTY,)
    found = partner.trusted(later(60))
    assert found is not None
    assert found.authorities == ()


def test_too_old() -> None:
    """What was not confirmed for longer than the maximum age is trusted no more; a fetch of the same brings it back."""
    partner = Relationship(TERMS)
    partner.received(bundle(7, ONE), NOW)
    assert partner.stale_in_s(later(400)) == 86_000
    assert partner.trusted(later(86_400)) is not None
    assert partner.trusted(later(86_401)) is None
    assert partner.stale_in_s(later(86_401)) is None
    assert not partner.received(bundle(7, ONE), later(90_000)).changed
    assert partner.trusted(later(90_000)) is not None


def test_from_the_future() -> None:
    """A bundle that was confirmed later than now is not trusted: the clock of then or of now is wrong."""
    partner = Relationship(TERMS, Held(bundle=bundle(1, ONE), confirmed_at=later(301), origin=Origin.ENDPOINT))
    assert partner.trusted(NOW) is None
    assert partner.trusted(later(2)) is not None


@pytest.mark.parametrize(
    ("hint", "interval"), [(None, 300), (0, 60), (59, 60), (61, 61), (3601, 3600), ((1 << 63) - 1, 3600)]
)
def test_hint(hint: int | None, interval: float) -> None:
    """The refresh hint counts within bounds; without one it is five minutes."""
    partner = Relationship(TERMS)
    partner.received(bundle(1, ONE, hint=hint), NOW)
    assert partner.next_in_s(0) == interval
    assert interval * 0.9 <= partner.next_in_s(1) < interval


def test_retries() -> None:
    """Failures are followed by longer and longer waits, up to the refresh interval, and a success ends them."""
    partner = Relationship(TERMS)
    waits = []
    for _ in range(8):
        partner.failed(Reason.UNREACHABLE, "no route")
        waits.append(partner.next_in_s(1))
    assert waits == [5, 10, 20, 40, 80, 160, 300, 300]
    assert partner.next_in_s(0) == 150
    partner.received(bundle(1, ONE, hint=600), NOW)
    assert partner.next_in_s(0) == 600
    partner.failed(Reason.UNREACHABLE, "no route")
    assert partner.next_in_s(1) == 60  # held: no need to hurry
    for _ in range(100_000):
        partner.failed(Reason.UNREACHABLE, "no route")
    assert partner.next_in_s(1) == 600


def test_failures_are_told_once() -> None:
    """A failure is news when it is another than the last."""
    partner = Relationship(TERMS)
    assert partner.failed(Reason.UNREACHABLE, "no route")
    assert not partner.failed(Reason.UNREACHABLE, "no route")
    assert partner.failed(Reason.ENDPOINT_TLS, "expired")
    partner.received(bundle(1, ONE), NOW)
    assert partner.failure is None
    assert partner.failed(Reason.ENDPOINT_TLS, "expired")


@given(
    st.lists(
        st.tuples(
            st.one_of(st.none(), st.integers(0, 5)), st.lists(st.sampled_from([ONE, TWO]), max_size=2, unique=True)
        )
    )
)
def test_sequences_never_go_back(served: list[tuple[int | None, list[TestAuthority]]]) -> None:
    """Whatever is served in whatever order, the sequences that are taken never go down."""
    partner = Relationship(TERMS)
    taken: list[int] = []
    for sequence, authorities in served:
        try:
            partner.received(bundle(sequence, *authorities), NOW)
        except SequenceRefused:
            continue
        if sequence is not None:
            taken.append(sequence)
    assert taken == sorted(taken)


def test_bootstrap() -> None:
    """The operator's file begins a relationship, does not come back by itself, and begins it anew when it changes."""
    partner = Relationship(TERMS)
    assert partner.bootstrapped(bundle(9, ONE), "d1", NOW)
    partner.received(bundle(10, TWO), later(60))
    assert not partner.bootstrapped(bundle(9, ONE), "d1", later(120))
    assert partner.trusted(later(120)) == bundle(10, TWO)
    assert partner.bootstrapped(bundle(3, ONE), "d2", later(180))
    assert partner.trusted(later(180)) == bundle(3, ONE)
    partner.received(bundle(4, ONE), later(240))  # below 10: the operator's word


def test_digest_is_of_the_keys() -> None:
    """The digest of a bundle changes with any of its keys, and with nothing else."""
    key = JwtAuthority(key_id="k", key=new_key().public_key())
    jwt = Bundle(trust_domain=DOMAIN, authorities=(ONE.root,), jwt_authorities=(key,))
    digests = [keys_digest(found) for found in (bundle(1, ONE), bundle(1, TWO), bundle(1, ONE, TWO), bundle(1), jwt)]
    assert len(set(digests)) == 5
    assert keys_digest(bundle(2, ONE, hint=9)) == digests[0]


def test_kept(tmp_path: Path) -> None:
    """What is kept comes back whole: a restart rolls nothing back, not even the sequence before the last."""
    shelf = Shelf(tmp_path / "federation")
    assert shelf.load(DOMAIN) is None
    partner = Relationship(TERMS)
    partner.received(bundle(7, ONE, hint=60), NOW)
    partner.received(bundle(None, ONE, TWO), later(60))
    assert partner.held is not None
    shelf.save(partner.held)
    restarted = Relationship(TERMS, shelf.load(DOMAIN))
    assert restarted.held == partner.held
    with pytest.raises(SequenceRefused):
        restarted.received(bundle(6, ONE), later(120))
    assert shelf.path_of(DOMAIN).stat().st_mode & 0o777 == 0o600
    assert (tmp_path / "federation").stat().st_mode & 0o777 == 0o700


def test_kept_apart(tmp_path: Path) -> None:
    """Each trust domain has a file of its own, however long its name, and none is read as another's."""
    shelf, long = Shelf(tmp_path), TrustDomain("a" * 255)
    shelf.save(Held(bundle=bundle(1, ONE), confirmed_at=NOW, origin=Origin.FILE))
    own = Bundle(trust_domain=long, authorities=(ONE.root,))
    shelf.save(Held(bundle=own, confirmed_at=NOW, origin=Origin.FILE))
    assert shelf.load(long) == Held(bundle=own, confirmed_at=NOW, origin=Origin.FILE)
    shelf.path_of(DOMAIN).replace(shelf.path_of(TrustDomain("other.example")))
    with pytest.raises(BundleError, match=r"not the bundle of other\.example"):
        shelf.load(TrustDomain("other.example"))


@pytest.mark.parametrize(
    "change",
    [
        ('"format": 1', '"format": 2'),
        ('"floor": null', '"floor": "7"'),
        ('"origin": "file"', '"origin": "elsewhere"'),
        ("+00:00", ""),
        ('"bootstrap"', '"bootstraps"'),
        ("{", "["),
    ],
)
def test_damaged(tmp_path: Path, change: tuple[str, str]) -> None:
    """A damaged file is refused, and never half believed."""
    shelf = Shelf(tmp_path)
    shelf.save(Held(bundle=bundle(1, ONE), confirmed_at=NOW, origin=Origin.FILE))
    path = shelf.path_of(DOMAIN)
    text = path.read_text()
    assert change[0] in text
    path.write_text(text.replace(change[0], change[1], 1))
    with pytest.raises(BundleError):
        shelf.load(DOMAIN)
