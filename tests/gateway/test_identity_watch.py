"""How it stands with the node's own identity: its alerts, and whether the node may serve."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping

import pytest

from certs.bundle import Bundle, Trust, TrustBundles
from certs.spiffe_id import TrustDomain
from certs.svid import X509Svid
from gateway.identity_watch import IdentityWatch, Validity, validity
from gateway.own_identity import Told
from tests.certificates import TestAuthority
from visibility.alerts import Alerts
from visibility.catalogue import NODE

SECOND = 1_000_000
BORN = dt.datetime(2026, 11, 27, 12, tzinfo=dt.UTC)
AUTHORITY = TestAuthority("example.org", now=BORN)


def svid(*, lives_s: float) -> X509Svid:
    """Return an SVID that begins at `BORN`."""
    issued = AUTHORITY.svid(not_before=BORN, not_after=BORN + dt.timedelta(seconds=lives_s))
    return X509Svid.from_pem(issued.presented_pem, issued.key_pem)


class Own:
    """An identity that the test sets."""

    version = 1
    source = "the test"

    def __init__(self, own: X509Svid) -> None:
        self.svid = own
        self.taken_at: dt.datetime | None = None
        self.bundles: Trust = TrustBundles([Bundle.from_pem(TrustDomain("example.org"), AUTHORITY.bundle_pem)])
        self.faults: Mapping[str, str] = {}

    @property
    def expires_at(self) -> dt.datetime:
        """The end of the SVID, or when it was taken away."""
        return self.taken_at or self.svid.expires_at

    async def ready(self) -> None:
        """It is."""

    async def run(self, told: Told) -> None:
        """Nothing changes by itself."""


class Rig:
    """An identity, its watch, and what comes of it."""

    def __init__(self) -> None:
        self.now = BORN
        self.own = Own(svid(lives_s=3600))
        self.served: list[bool] = []
        self.alerts = Alerts(NODE, lambda: round(self.now.timestamp() * SECOND))
        self.watch = IdentityWatch(self.own, self.served.append, self.alerts, lambda: self.now)

    def seconds(self, seconds: float) -> list[str]:
        """Let so many seconds pass; the active alerts."""
        self.watch.look()
        self.now += dt.timedelta(seconds=seconds)
        self.watch.look()
        self.alerts.look()
        return sorted(" ".join((alert.kind.name, *alert.values)) for alert in self.alerts.active())

    def why(self) -> str:
        """Return why the one alert was raised."""
        (alert,) = self.alerts.active()
        return alert.why


def test_an_svid_that_nobody_renews() -> None:
    """Its last third is an alert, its end another one and the end of serving; a new SVID ends all of it."""
    rig = Rig()
    assert rig.seconds(2400) == []
    assert rig.seconds(1) == ["svid_expiring"]
    assert rig.why() == "it expires at 2026-11-27T13:00:00Z"
    assert (rig.seconds(1198), rig.served) == (["svid_expiring"], [])
    assert (rig.seconds(1), rig.served) == (["svid_expired"], [False])
    assert (rig.seconds(60), rig.served) == (["svid_expired"], [False])
    rig.own.svid = svid(lives_s=7200)
    assert (rig.seconds(0), rig.served) == ([], [False, True])


def test_an_identity_that_is_taken_away() -> None:
    """It ends when it is taken away, however long its SVID would have lasted."""
    rig = Rig()
    rig.own.taken_at = rig.now
    assert (rig.seconds(0), rig.served) == (["svid_expired"], [False])
    assert rig.why() == "it could be presented until 2026-11-27T12:00:00Z"
    assert rig.watch.snapshot(rig.own.bundles)["validity"] == "ended"


@pytest.mark.parametrize(
    ("fault", "after_s", "alert"),
    [
        ("source", 60, "identity_source_failing"),
        ("svid", 0, "certificates_unreadable svid"),
        ("bundles", 0, "certificates_unreadable bundles"),
    ],
)
def test_a_source_that_fails(fault: str, after_s: int, alert: str) -> None:
    """Files that cannot be used are told at once, a Workload API that is away after a minute, with what is wrong."""
    rig = Rig()
    rig.own.faults = {fault: "what is wrong"}
    if after_s:
        assert rig.seconds(after_s - 1) == []
    assert rig.seconds(after_s) == [alert]
    assert rig.why() == "what is wrong"
    assert rig.served == []
    assert rig.watch.snapshot(rig.own.bundles)["trouble"] == "what is wrong"
    rig.own.faults = {}
    assert rig.seconds(0) == []


def test_what_operators_see() -> None:
    """Who the node is, from where, for how long, and whom it believes."""
    rig = Rig()
    assert rig.watch.snapshot(rig.own.bundles) == {
        "spiffe_id": "spiffe://example.org/service",
        "source": "the test",
        "serial": rig.own.svid.serial,
        "validity": "good",
        "expires_at": "2026-11-27T13:00:00+00:00",
        "believes": "example.org",
        "trouble": "",
    }


@pytest.mark.parametrize(
    ("left_s", "found"), [(3600, "good"), (1200, "good"), (1199, "expiring"), (1, "expiring"), (0, "ended")]
)
def test_validity(left_s: float, found: str) -> None:
    """With less than a third of its life left an SVID should have been renewed; its last second is its end."""
    own = Own(svid(lives_s=3600))
    assert validity(own, own.expires_at - dt.timedelta(seconds=left_s)) is Validity(found)
