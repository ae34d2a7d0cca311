"""Federation as alerts: what lasts is raised and resolved, what was odd is raised once."""

from __future__ import annotations

from dataclasses import replace

from certs.federation import alerting
from certs.federation.federation import Event, Happening, Standing
from certs.spiffe_id import TrustDomain
from visibility.alerts import Alerts
from visibility.catalogue import AUTHORITY, NODE

PARTNER = TrustDomain("partner.example")
GOOD = Standing(
    trust_domain="partner.example",
    url="https://partner.example/",
    profile="https_web",
    trusted=True,
    authorities=1,
    sequence=7,
    age_s=10.0,
    origin="endpoint",
    failures=0,
    reason="",
    failure="",
)
NEVER = replace(GOOD, trusted=False, age_s=None, failures=1, failure="no route")
OLD = replace(GOOD, trusted=False, age_s=7200.0, failures=9, failure="expired")


class Rig:
    """Alerts with a clock."""

    def __init__(self) -> None:
        self.now = 0
        self.alerts = Alerts(NODE, lambda: self.now)

    def after(self, seconds: float, *standings: Standing) -> dict[str, str]:
        """Let time pass while it stands so; return what is active, with why."""
        alerting.observe(standings, self.alerts)
        self.now += round(seconds * 1_000_000)
        alerting.observe(standings, self.alerts)
        self.alerts.look()
        return {alert.kind.name: alert.why for alert in self.alerts.active()}


def test_what_lasts() -> None:
    """Nobody trusted is an alert after half a minute, failing fetches after ten; both say why, and end."""
    rig = Rig()
    assert rig.after(29, NEVER) == {}
    assert rig.after(2, NEVER) == {"federation_untrusted": "no route"}
    untrusted = "its bundle was seen 120 minutes ago: expired"
    assert rig.after(600, OLD) == {"federation_untrusted": untrusted, "federation_failing": "expired"}
    assert rig.after(1, replace(GOOD, failures=1, failure="expired")) == {"federation_failing": "expired"}
    assert rig.after(1, GOOD) == {}


def test_taken_out() -> None:
    """A trust domain that is not federated with any more is no alert."""
    rig = Rig()
    assert rig.after(31, NEVER) != {}
    assert rig.after(1) == {}


def test_what_was_odd() -> None:
    """An older bundle, and whatever is odd about one that was taken, is an alert for a day; failures are not."""
    for kind, reason, raised in (
        (Happening.FAILED, "SEQUENCE", True),
        (Happening.ODD, "EMPTY", True),
        (Happening.FAILED, "UNREACHABLE", False),
        (Happening.TAKEN, "", False),
    ):
        rig = Rig()
        alerting.tell(Event(kind=kind, trust_domain=PARTNER, text="why", reason=reason), rig.alerts)
        assert ("federation_odd" in rig.after(1, GOOD)) is raised
        assert "federation_odd" not in rig.after(86_401, GOOD)


def test_authorities_have_them_too() -> None:
    """An authority that federates for its workloads can raise the same."""
    alerts = Alerts(AUTHORITY, lambda: 0)
    alerting.observe([NEVER], alerts)
    alerting.tell(Event(kind=Happening.ODD, trust_domain=PARTNER, text="why"), alerts)
    assert [alert.kind.name for alert in alerts.active()] == ["federation_odd"]
