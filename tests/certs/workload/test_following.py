"""What is held while a Workload API is followed, turn by turn and without a clock."""

from __future__ import annotations

import datetime as dt

import pytest

from certs.bundle import Bundle
from certs.errors import NoIdentity
from certs.spiffe_id import SpiffeId, TrustDomain
from certs.workload.following import ANSWER_S, DENIED_FOR_S, RETRY_MAX_S, Change, Following, Standing
from certs.workload.state import Pick
from tests.certificates import TestAuthority
from tests.certs.workload.spire import der, identity, response

A = TestAuthority("example.org")
B = TestAuthority("other.org", now=A.now)
C = TestAuthority("third.org", now=A.now)
FIRST, SECOND = (response(identity(A, A.svid())) for _ in range(2))
EXPIRED = A.svid(not_before=A.now - dt.timedelta(hours=1), not_after=A.now - dt.timedelta(minutes=1))
OTHER = TrustDomain("other.org")


class Rig:
    """A following that is driven by hand."""

    def __init__(self, pick: Pick | None = None, federated: frozenset[TrustDomain] | None = None) -> None:
        self.it = Following(pick, federated)
        self.changes: list[Change] = []
        self.it.subscribe(self.changes.append)
        self.at = 1000.0

    def say(self, octets: bytes) -> None:
        """Send a message."""
        self.it.received(octets, A.now, self.at)

    def end(self, code: str, after_s: float = 0.0) -> None:
        """End the stream, and begin the next."""
        self.at += after_s
        self.it.ended(code, "text", self.at)
        self.it.opened()

    def held_nothing(self) -> bool:
        """Say whether there is neither an SVID nor a bundle."""
        return not self.it.has_identity and not self.it.bundles.all()

    def held(self) -> tuple[int, str, int]:
        """Return what is held: version, serial, version of the bundles."""
        return self.it.version, self.it.svid.serial, self.it.bundles.version


def test_before_anything() -> None:
    """Without a message there is no identity, and asking for it says why."""
    rig = Rig()
    assert (rig.it.version, rig.it.has_identity, rig.it.standing) == (0, False, Standing.STARTING)
    for ask in (lambda: rig.it.svid, lambda: rig.it.expires_at, lambda: rig.it.hint):
        with pytest.raises(NoIdentity, match="not answered"):
            ask()
    rig.end("UNAVAILABLE")
    with pytest.raises(NoIdentity, match="UNAVAILABLE: text"):
        _ = rig.it.svid


def test_changes_are_told_once() -> None:
    """A new SVID grows the version, a new bundle that of the bundles, and the same message again nothing."""
    rig = Rig()
    rig.say(FIRST)
    first = rig.held()
    assert rig.changes == [Change(svid=True, bundles=True)]
    assert rig.it.expires_at == rig.it.svid.expires_at
    rig.say(FIRST)
    assert (rig.held(), len(rig.changes)) == (first, 1)
    rig.say(SECOND)
    assert rig.changes[1:] == [Change(svid=True, bundles=False)]
    assert (rig.it.version, rig.it.bundles.version) == (first[0] + 1, first[2])
    more = identity(A, A.svid())
    more.bundle += der(B.root)
    rig.say(response(more))
    assert rig.changes[2:] == [Change(svid=True, bundles=True)]
    assert rig.it.bundles.get(TrustDomain("example.org")) == Bundle(
        trust_domain=TrustDomain("example.org"), authorities=(A.root, B.root)
    )


def test_a_listener_that_fails_or_leaves() -> None:
    """A listener's fault is nobody else's, and one that left is told nothing more."""
    rig = Rig()
    told: list[Change] = []

    def fail(_change: Change) -> None:
        raise RuntimeError("listener")

    rig.it.subscribe(fail)
    end = rig.it.subscribe(told.append)
    rig.say(FIRST)
    end()
    end()
    rig.say(SECOND)
    assert (len(told), len(rig.changes)) == (1, 2)


@pytest.mark.parametrize("bad", [b"\xff\xff", response(), response(identity(A, EXPIRED))])
def test_a_bad_message_changes_nothing(bad: bytes) -> None:
    """What cannot be used leaves what is held, says so, and is asked for again in a while."""
    rig = Rig()
    rig.say(FIRST)
    before = rig.held()
    rig.say(bad)
    assert (rig.held(), rig.it.standing) == (before, Standing.REFUSED)
    assert "cannot be used" in rig.it.trouble
    assert rig.it.patience_s(A.now) <= RETRY_MAX_S
    rig.say(SECOND)
    assert (rig.it.standing, rig.it.trouble) == (Standing.FOLLOWING, "")


@pytest.mark.parametrize("code", ["UNAVAILABLE", "INTERNAL", "RESOURCE_EXHAUSTED", "CANCELLED", "OK"])
def test_away(code: str) -> None:
    """While the Workload API is away what is held stays, for as long as it takes."""
    rig = Rig()
    rig.say(FIRST)
    before = rig.held()
    rig.it.opened()
    for _ in range(50):
        rig.end(code, after_s=60)
    assert (rig.held(), rig.it.standing) == (before, Standing.AWAY)


def test_an_orderly_end() -> None:
    """A stream that told its state may end at any time, and the next one comes soon."""
    rig = Rig()
    rig.it.opened()
    rig.say(FIRST)
    rig.it.ended("OK", "", rig.at)
    assert (rig.it.standing, rig.it.trouble) == (Standing.FOLLOWING, "")
    assert rig.it.pause_s(0.999) < 1


@pytest.mark.parametrize("code", ["INVALID_ARGUMENT", "UNIMPLEMENTED"])
def test_no_retry(code: str) -> None:
    """Codes that no retry helps stop it, and what is held stays."""
    rig = Rig()
    rig.say(FIRST)
    rig.end(code)
    assert rig.it.standing is Standing.STOPPED
    assert rig.it.has_identity


def test_denied_for_long() -> None:
    """An identity is given up when it is denied for ten seconds, with its bundles; a new one begins anew."""
    rig = Rig()
    rig.say(FIRST)
    rig.end("PERMISSION_DENIED")
    rig.end("PERMISSION_DENIED", after_s=DENIED_FOR_S - 0.1)
    assert rig.it.has_identity
    assert rig.it.standing is Standing.DENIED
    rig.end("PERMISSION_DENIED", after_s=0.1)
    assert rig.held_nothing()
    assert rig.changes[1:] == [Change(svid=True, bundles=True)]
    with pytest.raises(NoIdentity, match="PERMISSION_DENIED"):
        _ = rig.it.svid
    rig.end("PERMISSION_DENIED", after_s=60)
    assert len(rig.changes) == 2
    rig.say(FIRST)
    assert (rig.it.version, rig.it.has_identity, len(rig.changes)) == (3, True, 3)


@pytest.mark.parametrize("between", ["UNAVAILABLE", "good", "bad"])
def test_denied_now_and_then(between: str) -> None:
    """Anything else in between begins the ten seconds anew."""
    rig = Rig()
    rig.say(FIRST)
    for _ in range(5):
        rig.end("PERMISSION_DENIED", after_s=DENIED_FOR_S)
        if between == "UNAVAILABLE":
            rig.end("UNAVAILABLE")
        else:
            rig.say(SECOND if between == "good" else b"\xff")
    assert rig.it.has_identity


def test_the_identity_is_redacted() -> None:
    """Messages with other identities alone take ours away as a denial does (Workload API §5.2.1)."""
    rig = Rig(Pick(spiffe_id=SpiffeId.parse("spiffe://example.org/service")))
    rig.say(FIRST)
    others = response(identity(A, A.svid("/other"), "/other"))
    rig.say(others)
    assert (rig.it.standing, rig.it.has_identity) == (Standing.DENIED, True)
    rig.at += DENIED_FOR_S
    rig.say(others)
    assert not rig.it.has_identity


def test_other_trust_domains() -> None:
    """Of the other domains' bundles those are trusted that are wanted; all of them when nothing is said."""
    message = response(
        identity(A, A.svid()), federated={"spiffe://other.org": der(B.root), "spiffe://third.org": der(C.root)}
    )
    for wanted, names in (
        (None, ["example.org", "other.org", "third.org"]),
        (frozenset({OTHER}), ["example.org", "other.org"]),
        (frozenset(), ["example.org"]),
    ):
        rig = Rig(federated=wanted)
        rig.say(message)
        assert [bundle.trust_domain.name for bundle in rig.it.bundles.all()] == names


def test_what_is_not_wanted_is_not_read() -> None:
    """Of a trust domain that is not wanted neither noise nor a great number is in the way."""
    rig = Rig(federated=frozenset({OTHER}))
    noise = {f"spiffe://d{at}.org": b"noise" for at in range(300)}
    rig.say(response(identity(A, A.svid()), federated={**noise, "spiffe://other.org": der(B.root)}))
    assert (rig.it.standing, rig.it.trouble) == (Standing.FOLLOWING, "")
    assert [bundle.trust_domain.name for bundle in rig.it.bundles.all()] == ["example.org", "other.org"]


def test_a_complaint_is_kept() -> None:
    """A bundle that could not be taken over is told, and the SVID is followed nevertheless."""
    rig = Rig()
    rig.say(response(identity(A, A.svid()), federated={"spiffe://other.org": b"noise"}))
    assert rig.it.standing is Standing.FOLLOWING
    assert "other.org" in rig.it.trouble


def test_pauses() -> None:
    """Pauses double from a quarter of a second to half a minute, with half of each left to chance."""
    rig = Rig()
    seen = []
    for _ in range(40):
        seen.append((rig.it.pause_s(0.0), rig.it.pause_s(0.9999)))
        rig.end("UNAVAILABLE")
    assert seen[0][0] == 0.125
    assert all(0.5 * longest <= shortest * 1.01 <= longest for shortest, longest in seen)
    assert seen[-1][0] == RETRY_MAX_S / 2
    assert max(longest for _, longest in seen) <= RETRY_MAX_S
    rig.say(FIRST)
    for _ in range(29):
        rig.end("PERMISSION_DENIED")
        assert rig.it.pause_s(0.9999) <= 3
    for _ in range(3):
        rig.end("PERMISSION_DENIED")
    assert rig.it.pause_s(0.0) == RETRY_MAX_S / 2
    rig.say(FIRST)
    assert rig.it.pause_s(0.0) == 0.125


def test_patience() -> None:
    """The first message is to come in ten seconds; the next when a quarter of the validity is left, or in an hour."""
    rig = Rig()
    assert rig.it.patience_s(A.now) == ANSWER_S
    rig.it.overdue()
    assert (rig.it.standing, "within 10 s" in rig.it.trouble) == (Standing.AWAY, True)
    rig.say(FIRST)  # from half a minute ago to in an hour
    assert rig.it.patience_s(A.now) == pytest.approx(0.75 * 3630 - 30, abs=1)
    assert rig.it.patience_s(A.now + dt.timedelta(minutes=55)) == RETRY_MAX_S
    rig.it.overdue()
    assert rig.it.standing is Standing.FOLLOWING  # nothing is wrong: the stream is only opened anew
    rig.it.opened()
    assert rig.it.patience_s(A.now) == ANSWER_S
    rig.say(response(identity(A, A.svid(not_after=A.now + dt.timedelta(days=30)))))
    assert rig.it.patience_s(A.now) == 3600
