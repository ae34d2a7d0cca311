"""What happened at the authority is on record, whole, in order, and cannot be changed unseen."""

from __future__ import annotations

import contextlib
import datetime as dt
import hashlib
import json
from pathlib import Path

import apsw
import pytest

from certs.ca import event_schema
from certs.ca.authority import Asked, Authority
from certs.ca.events import MOST_DETAIL, Event, What, chained, counts, events_after, newest, note, verify
from certs.ca.ledger import Ledger
from certs.ca.profile import LeafRequest
from certs.ca.revocations import Code, Order, revoke_serial
from certs.ca.rotation import activate, revoke, taint
from certs.ca.schema import STEPS
from certs.ca.tokens import new_token, redeem
from certs.errors import AuthorityError
from certs.spiffe_id import SpiffeId, TrustDomain

NOW = dt.datetime(2026, 11, 27, 12, tzinfo=dt.UTC)
DOMAIN = TrustDomain("example.org")
BILLING = SpiffeId(DOMAIN, "/billing")


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    """Return a new authority."""
    return Authority.create(tmp_path / "ca", DOMAIN, tmp_path / "root", NOW)


def told(authority: Authority, after: int = 0) -> list[tuple[str, str]]:
    """Return what is on record, and the reasons."""
    return [(event.what, event.reason) for event in events_after(authority.ledger, after, limit=1000)]


def test_making_an_authority(authority: Authority) -> None:
    """The root and both intermediates are on record from the first moment."""
    assert [event for event in told(authority) if event[0] == "AUTHORITY_MADE"] == [
        ("AUTHORITY_MADE", "root active"),
        ("AUTHORITY_MADE", "intermediate active"),
        ("AUTHORITY_MADE", "intermediate standby"),
    ]


def test_certificates(authority: Authority) -> None:
    """Issued, renewed and revoked: each with whose it is, who asked, and on what that was believed."""
    begin = newest(authority.ledger)
    asked = Asked(by="spiffe://example.org/node/a", attested="svid 1a")
    first = authority.issue(LeafRequest(spiffe_id=BILLING), NOW, asked)
    authority.issue(LeafRequest(spiffe_id=BILLING), NOW, Asked(by=str(BILLING), attested=f"svid {first.serial}"))
    revoke_serial(authority.ledger, first.serial, Order(code=Code.KEY_COMPROMISE, reason="lost", asked_by="uid 7"), NOW)
    found = events_after(authority.ledger, begin, limit=100)
    assert [(event.what, event.reason, event.asked_by) for event in found] == [
        ("CERTIFICATE_ISSUED", "svid", "spiffe://example.org/node/a"),
        ("CERTIFICATE_RENEWED", "svid", str(BILLING)),
        ("CERTIFICATE_REVOKED", "1", "uid 7"),
        ("CERTIFICATE_REVOKED", "1", "uid 7"),
    ]
    assert {event.subject for event in found} == {str(BILLING)}
    assert (found[0].serial, found[0].at, found[2].detail) == (first.serial, NOW, "lost")


def test_authorities(authority: Authority) -> None:
    """Each state that an authority goes to is on record."""
    begin, active = newest(authority.ledger), authority.active
    activate(authority, NOW)
    taint(authority, authority.find(active.key_id), NOW, NOW)
    revoke(authority, authority.find(active.key_id), NOW)
    assert [event for event in told(authority, begin) if event[0] == "AUTHORITY_CHANGED"] == [
        ("AUTHORITY_CHANGED", "intermediate retired"),
        ("AUTHORITY_CHANGED", "intermediate active"),
        ("AUTHORITY_CHANGED", "intermediate tainted"),
        ("AUTHORITY_CHANGED", "intermediate revoked"),
    ]


def test_tokens_and_jwt_keys(authority: Authority) -> None:
    """A token is on record when it is made and when it is used, and not the token itself; so are JWT keys."""
    begin = newest(authority.ledger)
    token = new_token(authority.ledger, BILLING, 600, NOW)
    redeem(authority.ledger, token, NOW)
    authority.keep_jwt_keys(NOW)
    authority.taint_jwt_key(authority.jwt_keys[0].key_id, NOW)
    assert [what for what, _ in told(authority, begin)] == [
        "TOKEN_MADE", "TOKEN_USED", "JWT_KEY_MADE", "JWT_KEY_REMOVED", "JWT_KEY_MADE",
    ]  # fmt: skip
    assert token not in repr(events_after(authority.ledger, 0, limit=1000))


def test_what_is_not_committed_is_no_event(authority: Authority) -> None:
    """The event goes with its change: where that is undone, there is none."""
    begin = newest(authority.ledger)
    with contextlib.suppress(KeyboardInterrupt), authority.ledger.changing() as db:
        db.execute("INSERT INTO settings (name, value) VALUES ('a', 'b')")
        raise KeyboardInterrupt
    assert newest(authority.ledger) == begin


def test_the_hash_is_what_is_said(authority: Authority) -> None:
    """The chain can be computed by anybody from what is shown."""
    note(authority.ledger, What.CALL_REFUSED, NOW, reason="JOIN_TOKEN", asked_by="192.0.2.7", detail="join: unknöwn")
    before = b""
    for event in events_after(authority.ledger, 0, limit=100):
        fields = [
            event.seq, int(event.at.timestamp()), event.what, event.reason, event.subject, event.serial,
            event.asked_by, event.detail,
        ]  # fmt: skip
        before = hashlib.sha256(before + json.dumps(fields, separators=(",", ":")).encode()).digest()
        assert event.digest == before.hex()
    assert verify(authority.ledger) == (newest(authority.ledger), before.hex())
    assert chained(b"", 1, "a") == hashlib.sha256(b'[1,"a"]').digest()


def tamper(authority: Authority, sql: str) -> None:
    """Change the record as somebody does who can write the file, and knows of the guards."""
    db = apsw.Connection(str(authority.directory / "ca.db"))
    for trigger in ("events_stay", "events_go_last"):
        db.execute(f"DROP TRIGGER {trigger}")
    db.execute(sql)
    db.close()


@pytest.mark.parametrize(
    "sql",
    [
        "UPDATE events SET asked_by = 'somebody else' WHERE seq = 2",
        "UPDATE events SET at = at + 1 WHERE seq = 4",
        "DELETE FROM events WHERE seq = 3",
        "UPDATE events SET seq = seq + 100 WHERE what = 'CERTIFICATE_ISSUED'",
        "UPDATE events SET hash = zeroblob(32) WHERE seq = 1",
    ],
)
def test_tampering_shows(authority: Authority, sql: str) -> None:
    """An event that is changed, taken out or moved is found."""
    authority.issue(LeafRequest(spiffe_id=BILLING), NOW)
    tamper(authority, sql)
    with pytest.raises(AuthorityError, match="not whole"):
        verify(authority.ledger)


def test_a_record_that_was_put_back(authority: Authority) -> None:
    """The newest events are missing: only a hash that was kept elsewhere tells."""
    authority.issue(LeafRequest(spiffe_id=BILLING), NOW)
    seq, digest = verify(authority.ledger)
    assert verify(authority.ledger, digest.upper()) == (seq, digest)
    tamper(authority, "DELETE FROM events WHERE seq = (SELECT max(seq) FROM events)")
    assert verify(authority.ledger)[0] == seq - 1
    with pytest.raises(AuthorityError, match="no event has the hash"):
        verify(authority.ledger, digest)


@pytest.mark.parametrize("sql", ["UPDATE events SET reason = ''", "DELETE FROM events WHERE seq = 1"])
def test_mistakes_of_ours(authority: Authority, sql: str) -> None:
    """The record refuses to change an event, or to lose one."""
    with pytest.raises(AuthorityError), authority.ledger.changing() as db:
        db.execute(sql)


def test_they_are_bounded(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The oldest go when there are too many; what is left is whole, and the counts know of all."""
    step = event_schema.EVENTS.replace(str(event_schema.MOST_KEPT), "5")
    steps = tuple(step if one == event_schema.EVENTS else one for one in STEPS)
    monkeypatch.setattr("certs.ca.ledger.STEPS", steps)
    ledger = Ledger.create(tmp_path / "ca.db")
    for _ in range(12):
        note(ledger, What.CALL_REFUSED, NOW, reason="CSR", asked_by="x")
    assert [event.seq for event in events_after(ledger, 0, limit=100)] == [8, 9, 10, 11, 12]
    assert verify(ledger)[0] == 12
    assert counts(ledger) == {("CALL_REFUSED", "CSR"): 12}
    ledger.close()


def test_one_event_for_many(authority: Authority) -> None:
    """An event may stand for many equal ones, which are all counted."""
    note(authority.ledger, What.CALL_REFUSED, NOW, reason="CSR", asked_by="x", times=40)
    note(authority.ledger, What.CALL_REFUSED, NOW, reason="CSR", asked_by="x")
    assert counts(authority.ledger)["CALL_REFUSED", "CSR"] == 41


def test_words_of_others(authority: Authority) -> None:
    """What a caller chose is bounded, and acts on no terminal."""
    note(authority.ledger, What.CALL_REFUSED, NOW, subject="a\x1b[2J\n" * 400, asked_by="x", detail="é" * 9999)
    (event,) = events_after(authority.ledger, newest(authority.ledger) - 1, limit=1)
    assert event.subject.startswith("a\\x1b[2J\\n")
    assert event.detail == "é" * MOST_DETAIL


def test_a_record_of_before(tmp_path: Path) -> None:
    """A record without events gets them when it is opened; what was issued before is not made up."""
    path = tmp_path / "ca.db"
    older = STEPS[: STEPS.index(event_schema.EVENTS)]
    db = apsw.Connection(str(path))
    for step in older:
        db.execute(step)
    db.pragma("user_version", len(older))
    db.close()
    ledger = Ledger(path)
    assert newest(ledger) == 0
    note(ledger, What.CALL_REFUSED, NOW, reason="CSR", asked_by="x")
    assert isinstance(events_after(ledger, 0, limit=1)[0], Event)
    ledger.close()


def test_the_page() -> None:
    """docs/ca.md names every event, and none that is not there."""
    page = (Path(__file__).parents[3] / "docs" / "ca.md").read_text().partition("## What happened")[2]
    rows = [line.split("|")[1] for line in page.partition("\n## ")[0].splitlines() if line.startswith("| ")][1:]
    assert {name.strip() for row in rows for name in row.split(",")} == {what.value for what in What}
