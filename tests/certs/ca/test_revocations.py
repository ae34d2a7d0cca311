"""Revocations: what one reaches, what is refused afterwards, and how long it is remembered."""

from __future__ import annotations

import datetime as dt
from pathlib import Path

import apsw
import pytest

from certs.ca import revocations
from certs.ca.authority import Asked, Authority, new_key
from certs.ca.ledger import ATTESTED_BY_SVID, KEEP_EXPIRED, Ledger
from certs.ca.profile import LeafRequest, PublicKey
from certs.ca.renewal import renew
from certs.ca.revocations import (
    Code,
    Order,
    Revocation,
    revocation,
    revoke_identity,
    revoke_serial,
    revoked_of_asker,
    revoked_since,
)
from certs.ca.schema import STEPS
from certs.ca.tokens import new_token, redeem
from certs.errors import CertificateRevoked, NotRecorded, ProfileRefused, Reason, TokenRefused
from certs.leaf import read_leaf
from certs.spiffe_id import SpiffeId, TrustDomain
from tests.certificates import utc_now

NOW = utc_now()
HOUR = dt.timedelta(hours=1)
DOMAIN = TrustDomain("example.org")
NODE, BILLING, OTHER = (SpiffeId(DOMAIN, path) for path in ("/node/web1", "/billing", "/other"))
ORDER = Order(code=Code.KEY_COMPROMISE, reason="laptop stolen", asked_by="uid 0")


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    """Make an authority in tmp_path/ca."""
    return Authority.create(tmp_path / "ca", DOMAIN, tmp_path / "ca", NOW)


def issued(
    authority: Authority,
    spiffe_id: SpiffeId,
    *,
    at: dt.datetime = NOW,
    by: SpiffeId | None = None,
    word: str = "",
    key: PublicKey | None = None,
) -> str:
    """Issue a certificate of an hour, on the word of the one with the serial number `word`; return its own."""
    asked = Asked(by=str(by or spiffe_id), attested=ATTESTED_BY_SVID + word if word else "token")
    chain = authority.sign_leaf(LeafRequest(spiffe_id=spiffe_id), key or new_key().public_key(), at, asked)
    return read_leaf(chain[0]).serial


def serials(found: tuple[Revocation, ...]) -> set[str]:
    """Return what was revoked."""
    return {one.serial for one in found}


def test_what_is_kept_of_a_revocation(authority: Authority, tmp_path: Path) -> None:
    """Another process finds serial number, authority, end, moment, code, reason and who asked."""
    serial = issued(authority, BILLING)
    (made,) = revoke_serial(authority.ledger, serial, ORDER, NOW)
    with_colons = ":".join(serial.zfill(40)[at : at + 2] for at in range(0, 40, 2)).upper()
    assert serials(revoke_serial(authority.ledger, with_colons, ORDER, NOW + HOUR / 2)) == {serial}
    kept = revocation(Ledger(tmp_path / "ca" / "ca.db"), serial)
    assert kept == made
    assert (made.authority_key_id, made.spiffe_id) == (authority.active.key_id, str(BILLING))
    assert (made.not_after, made.revoked_at) == (NOW + HOUR, NOW)
    assert (made.code, made.reason, made.asked_by) == (1, "laptop stolen", "uid 0")
    assert revoked_since(authority.ledger, NOW, limit=10) == (made,)
    assert revocation(authority.ledger, "1f") is None


def test_a_certificate_takes_its_line_with_it(authority: Authority) -> None:
    """Renewals of a certificate go with it, through those that have expired, and nothing of its neighbours does."""
    later = NOW + 3 * HOUR
    first = issued(authority, BILLING)
    second = issued(authority, BILLING, at=NOW + HOUR, word=first)
    third = issued(authority, BILLING, at=later, word=second)
    replica = issued(authority, BILLING, at=later)
    assert serials(revoke_serial(authority.ledger, first, ORDER, later)) == {third}
    assert revocation(authority.ledger, replica) is None
    assert revocation(authority.ledger, first) is None, "it has expired: there is nothing to list"


def test_a_node_takes_what_it_asked_for(authority: Authority) -> None:
    """With a node go the workloads' certificates whose keys it made, and no others."""
    node = issued(authority, NODE)
    held = {issued(authority, BILLING, by=NODE, word=node), issued(authority, OTHER, by=NODE, word=node)}
    elsewhere = issued(authority, BILLING)
    assert serials(revoke_serial(authority.ledger, node, ORDER, NOW)) == {node, *held}
    again = issued(authority, NODE)
    more = issued(authority, BILLING, by=NODE, word=again)
    assert serials(revoke_identity(authority.ledger, NODE, ORDER, NOW)) == {node, *held, again, more}
    assert set(revoked_of_asker(authority.ledger, str(NODE), NOW, limit=10)) == {node, *held, again, more}
    assert revocation(authority.ledger, elsewhere) is None


def test_an_identity_loses_all_it_holds(authority: Authority) -> None:
    """Every certificate of an identity goes, whoever asked for it; those of an identity with a longer path stay."""
    mine = {issued(authority, BILLING), issued(authority, BILLING, by=NODE)}
    longer = issued(authority, SpiffeId(DOMAIN, "/billing/two"))
    assert serials(revoke_identity(authority.ledger, BILLING, ORDER, NOW)) == mine
    assert revocation(authority.ledger, longer) is None
    assert revoke_identity(authority.ledger, OTHER, ORDER, NOW) == ()
    assert revoke_identity(authority.ledger, BILLING, ORDER, NOW + 2 * HOUR) == ()


def test_a_revoked_key_never_comes_back(authority: Authority) -> None:
    """All certificates for a key go together, and none is issued for it again, for anybody, even years later."""
    key = new_key().public_key()
    pair = {issued(authority, BILLING, key=key), issued(authority, OTHER, key=key)}
    assert serials(revoke_serial(authority.ledger, min(pair), ORDER, NOW)) == pair
    later = NOW + dt.timedelta(days=300)
    for spiffe_id, at in ((OTHER, NOW), (NODE, later)):
        with pytest.raises(CertificateRevoked) as refused:
            issued(authority, spiffe_id, key=key, at=at)
        assert refused.value.reason is Reason.REVOKED
    assert revoke_identity(authority.ledger, OTHER, ORDER, later) == ()
    with pytest.raises(CertificateRevoked):
        issued(authority, OTHER, key=key, at=later)


def test_a_revoked_certificate_renews_nothing(authority: Authority) -> None:
    """What is revoked is not renewed, also when its authority is asked past the check, as a race would have it."""
    svid = authority.issue(LeafRequest(spiffe_id=BILLING), NOW)
    revoke_serial(authority.ledger, svid.serial, ORDER, NOW)
    with pytest.raises(CertificateRevoked) as refused:
        renew(authority, svid.chain[0], new_key().public_key(), NOW)
    assert refused.value.reason is Reason.REVOKED
    with pytest.raises(CertificateRevoked):
        issued(authority, BILLING, word=svid.serial)


def test_open_tokens_of_an_identity_go_too(authority: Authority) -> None:
    """A join token that was made before the revocation lets nobody in; one of another node still does."""
    mine, other = (new_token(authority.ledger, spiffe_id, 600, NOW) for spiffe_id in (NODE, OTHER))
    revoke_identity(authority.ledger, NODE, ORDER, NOW)
    with pytest.raises(TokenRefused):
        redeem(authority.ledger, mine, NOW)
    assert redeem(authority.ledger, other, NOW) == OTHER


def test_unknown_serial_numbers(authority: Authority) -> None:
    """A number that is not on record is an error, so that a slip of the pen is not taken for a revocation."""
    before = authority.ledger.epoch
    for serial in ("abcdef", "", "0", "x'; DROP TABLE issued; --"):
        with pytest.raises(NotRecorded):
            revoke_serial(authority.ledger, serial, ORDER, NOW)
    assert authority.ledger.epoch == before


@pytest.mark.parametrize("reason", ["", "  ", "x" * 501, "two\nlines", "bell\a"])
def test_a_reason_is_a_line_of_text(reason: str) -> None:
    """Nothing is revoked without a reason that a person can read."""
    with pytest.raises(ProfileRefused, match="reason"):
        Order(code=Code.UNSPECIFIED, reason=reason, asked_by="me")


def test_long_expired_revocations_go(authority: Authority) -> None:
    """Revocations are dropped 90 days after their certificate's end, when another one is made."""
    old = issued(authority, BILLING)
    revoke_serial(authority.ledger, old, ORDER, NOW)
    later = NOW + KEEP_EXPIRED + 2 * HOUR
    revoke_serial(authority.ledger, issued(authority, OTHER, at=later), ORDER, later)
    assert revocation(authority.ledger, old) is None


def test_other_processes_are_told(authority: Authority, tmp_path: Path) -> None:
    """A revocation counts as a change that running processes look for."""
    other = Authority.open(tmp_path / "ca")
    revoke_serial(authority.ledger, issued(authority, BILLING), ORDER, NOW)
    assert other.refresh()


def test_a_record_of_the_version_before(tmp_path: Path) -> None:
    """A record without revocations is brought to this format when it is opened, and keeps what it holds."""
    path = tmp_path / "ca.db"
    db = apsw.Connection(str(path))
    for step in STEPS[:3]:
        db.execute(step)
    db.pragma("user_version", 3)
    db.execute(
        "INSERT INTO issued VALUES ('1f', 'spiffe://example.org/a', 'k', 'aa', 'me', 'token', 1, 1, 99999999999)"
    )
    db.close()
    assert serials(revoke_serial(Ledger(path), "1f", ORDER, NOW)) == {"1f"}


def test_every_step_of_reaching_uses_an_index(authority: Authority) -> None:
    """However many certificates are on record, a revocation looks at those that it reaches only."""
    values = {"target": "1f", "word": ATTESTED_BY_SVID, "now": 0}
    for sql in (revocations._BY_SERIAL, revocations._BY_IDENTITY):
        with authority.ledger.reading() as db:
            plan = [str(row[3]) for row in db.execute("EXPLAIN QUERY PLAN " + sql, values)]
        assert not [step for step in plan if step.startswith("SCAN") and "reached" not in step], plan
