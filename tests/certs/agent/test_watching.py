"""What an agent tells of itself: alerts under a clock that the test moves, and numbers of real calls."""

from __future__ import annotations

import datetime as dt
import re
from pathlib import Path

import grpc
import pytest
from prometheus_client.parser import text_string_to_metric_families

from certs.agent.holdings import Holder, Holdings
from certs.agent.keeper import Round
from certs.agent.server import Tally
from certs.agent.watching import AgentWatch
from certs.agent.workload_api import Refused
from certs.bundle import Bundle
from certs.spiffe_id import TrustDomain
from certs.svid import X509Svid
from smsgw.v1.certificate_service_pb2 import RegistrationEntry
from tests.certificates import TestAuthority
from visibility.alerts import Alerts
from visibility.catalogue import AGENT

DOCS = Path(__file__).parents[3] / "docs" / "telemetry.md"
NOW = dt.datetime(2026, 11, 27, 12, tzinfo=dt.UTC)
AUTHORITY = TestAuthority("example.org", now=NOW)
BILLING = "spiffe://example.org/billing"


def svid(path: str, lives_s: float) -> X509Svid:
    """Return an SVID that begins now."""
    issued = AUTHORITY.svid(path, not_before=NOW, not_after=NOW + dt.timedelta(seconds=lives_s))
    return X509Svid.from_pem(issued.presented_pem, issued.key_pem)


class Rig:
    """An agent's parts, and who watches them."""

    def __init__(self) -> None:
        self.now = NOW
        self.tally = Tally()
        self.own: X509Svid | None = None
        bundle = Bundle.from_pem(TrustDomain("example.org"), AUTHORITY.bundle_pem)
        entries = (RegistrationEntry(spiffe_id=BILLING), RegistrationEntry(spiffe_id="spiffe://example.org/other"))
        self.holder = Holder(Holdings(bundle=bundle, entries=entries, svids={BILLING: svid("/billing", 3600)}))
        self.alerts = Alerts(AGENT, lambda: int(self.now.timestamp() * 1_000_000))
        self.watch = AgentWatch(self.holder, self.tally, self.alerts, lambda: self.now, lambda: self.own)

    def round(self, error: str = "", **passed: float) -> list[str]:
        """Let time pass, then have a round; the names of what is active."""
        self.now += dt.timedelta(**passed)
        lasts = self.holder.now.lasts_until(self.now)
        self.watch.told(Round(next_in_s=5, error=error, lasts_until=lasts if error else None))
        return sorted(alert.kind.name for alert in self.alerts.active())

    def page(self) -> dict[str, float]:
        """Return the page: name and label values, each with its value."""
        return {
            " ".join((sample.name, *sample.labels.values())): sample.value
            for family in text_string_to_metric_families(self.watch.render().decode())
            for sample in family.samples
        }


def test_all_is_well() -> None:
    """Nothing is raised; the page has what is held, and for how long."""
    rig = Rig()
    rig.own = svid("/node/web1", 1800)
    assert rig.round(minutes=20) == []
    page = rig.page()
    assert (page["smsgw_agent_identities registered"], page["smsgw_agent_identities served"]) == (2, 1)
    assert page["smsgw_agent_svid_remaining_seconds first"] == 2400
    assert page["smsgw_agent_svid_remaining_seconds node"] == 600
    assert page["smsgw_agent_authority_away_seconds"] == 0


def test_an_authority_that_is_away() -> None:
    """After a minute it is a page, which says how long what is held lasts; it ends when the authority is back."""
    rig = Rig()
    assert rig.round("UNAVAILABLE: connection refused") == []
    assert rig.round("UNAVAILABLE: connection refused", seconds=59) == []
    assert rig.round("UNAVAILABLE: connection refused", seconds=1) == ["authority_away"]
    (alert,) = rig.alerts.active()
    assert alert.why == "UNAVAILABLE: connection refused; what is held lasts until 2026-11-27 13:00:00+00:00"
    assert rig.page()["smsgw_agent_authority_away_seconds"] == 60
    assert rig.round(seconds=5) == []
    assert rig.page()["smsgw_agent_authority_away_seconds"] == 0


def test_svids_that_end() -> None:
    """The last third of an SVID's life is a page, with whose it is."""
    rig = Rig()
    assert rig.round(minutes=40) == []
    assert rig.round(seconds=1) == ["identities_ending"]
    assert rig.alerts.active()[0].why == f"1: {BILLING}"
    assert rig.round(minutes=30) == ["identities_ending"]
    assert rig.page()["smsgw_agent_identities served"] == 0
    rig.holder.replace(Holdings(bundle=rig.holder.now.bundle))
    assert rig.round(seconds=1) == []


@pytest.mark.parametrize(
    ("error", "code"),
    [(Refused(grpc.StatusCode.PERMISSION_DENIED, "no"), "PERMISSION_DENIED"), (ValueError("a defect"), "INTERNAL")],
)
def test_refusals_are_counted(error: Exception, code: str) -> None:
    """By method and code, nothing of who it was."""
    rig = Rig()
    rig.tally.ended("FetchX509SVID", error)
    assert rig.page()[f"smsgw_agent_refused_total {code} FetchX509SVID"] == 1


def test_every_metric_is_documented() -> None:
    """docs/telemetry.md has each metric of the page, and none of the agent's that is not there."""
    rig = Rig()
    names = set(re.findall(r"^# TYPE (\S+) ", rig.watch.render().decode(), re.MULTILINE))
    documented = set(re.findall(r"^\| `(smsgw_\w+)` \|", DOCS.read_text(), re.MULTILINE))
    assert names <= documented
    assert {name for name in documented if name.startswith("smsgw_agent_")} <= names
