"""The authority in numbers and alerts, from its record, under a clock that the test moves."""

from __future__ import annotations

import datetime as dt
import logging
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from certs.ca.authority import Asked, Authority
from certs.ca.crls import make
from certs.ca.events import What, note
from certs.ca.profile import LeafRequest
from certs.ca.revocations import Code, Order, revoke_serial
from certs.ca.rotation import taint
from certs.ca.tokens import new_token, redeem
from certs.service.watching import Watching
from certs.spiffe_id import SpiffeId, TrustDomain
from visibility.alerts import Alerts
from visibility.catalogue import AUTHORITY

DOCS = Path(__file__).parents[3] / "docs" / "telemetry.md"
NOW = dt.datetime(2026, 11, 27, 12, tzinfo=dt.UTC)
DOMAIN = TrustDomain("example.org")
BILLING = SpiffeId(DOMAIN, "/billing")


class Rig:
    """An authority, and who watches it by a second view of the same record."""

    def __init__(self, folder: Path) -> None:
        self.now = NOW
        self.authority = Authority.create(folder / "ca", DOMAIN, folder / "root", NOW)
        self.alerts = Alerts(AUTHORITY, lambda: int(self.now.timestamp() * 1_000_000))
        self.watching = Watching(Authority.open(folder / "ca"), self.alerts, lambda: self.now)

    def after(self, **passed: float) -> list[str]:
        """Look, let time pass, look again; the names of active alerts, with labels."""
        self.watching.refresh()
        self.now += dt.timedelta(**passed)
        self.watching.refresh()
        return sorted(" ".join((alert.kind.name, *alert.values)) for alert in self.alerts.active())

    def page(self) -> dict[tuple[str, frozenset[tuple[str, str]]], float]:
        """Return the page as Prometheus reads it."""
        text = self.watching.page.render().decode()
        return {
            (sample.name, frozenset(sample.labels.items())): sample.value
            for family in text_string_to_metric_families(text)
            for sample in family.samples
        }

    def value(self, name: str, **labels: str) -> float:
        """Return one value of the page."""
        return self.page()[name, frozenset(labels.items())]


@pytest.fixture
def rig(tmp_path: Path) -> Iterator[Rig]:
    """Return a new authority."""
    made = Rig(tmp_path)
    yield made
    made.authority.close()
    made.watching._authority.close()


def test_an_authority_that_is_well(rig: Rig) -> None:
    """Nothing is raised, and the page has its authorities and how long they last."""
    assert rig.after(seconds=6) == []
    active = rig.authority.active
    left_s = (active.certificate.not_valid_after_utc - rig.now).total_seconds()
    found = rig.value(
        "smsgw_ca_authority_remaining_seconds", kind="intermediate", state="active", authority=active.key_id
    )
    assert found == left_s
    assert rig.value("smsgw_ca_certificates") == 0
    assert {value for (name, _), value in rig.page().items() if name == "smsgw_alert"} == {0.0}


def test_what_happened_is_counted(rig: Rig) -> None:
    """Issued, renewed, revoked, refused, tokens made and used: by whichever process, as the record counts it."""
    first = rig.authority.issue(LeafRequest(spiffe_id=BILLING), NOW)
    rig.authority.issue(LeafRequest(spiffe_id=BILLING), NOW, Asked(by=str(BILLING), attested=f"svid {first.serial}"))
    redeem(rig.authority.ledger, new_token(rig.authority.ledger, BILLING, 600, NOW), NOW)
    new_token(rig.authority.ledger, BILLING, 600, NOW)
    note(rig.authority.ledger, What.CALL_REFUSED, NOW, reason="JOIN_TOKEN", asked_by="192.0.2.7", times=3)
    revoke_serial(rig.authority.ledger, first.serial, Order(code=Code.SUPERSEDED, reason="x", asked_by="me"), NOW)
    rig.after(seconds=1)
    for event, reason, count in (
        ("CERTIFICATE_ISSUED", "local", 1), ("CERTIFICATE_RENEWED", "svid", 1), ("CERTIFICATE_REVOKED", "4", 2),
        ("TOKEN_MADE", "", 2), ("TOKEN_USED", "", 1), ("CALL_REFUSED", "JOIN_TOKEN", 3),
    ):  # fmt: skip
        assert rig.value("smsgw_ca_events_total", event=event, reason=reason) == count, event
    assert (rig.value("smsgw_ca_certificates"), rig.value("smsgw_ca_certificates_revoked")) == (2, 2)
    assert rig.value("smsgw_ca_tokens_open") == 1


def test_every_metric_is_documented(rig: Rig) -> None:
    """docs/telemetry.md has each metric of the page, and none of the authority's that is not there."""
    rig.authority.keep_jwt_keys(NOW)
    rig.after(seconds=6)
    names = set(re.findall(r"^# TYPE (\S+) ", rig.watching.page.render().decode(), re.MULTILINE))
    documented = set(re.findall(r"^\| `(smsgw_\w+)` \|", DOCS.read_text(), re.MULTILINE))
    assert names <= documented
    assert {name for name in documented if name.startswith("smsgw_ca_")} <= names


def test_a_renewal_that_does_not_come(rig: Rig) -> None:
    """In the last quarter of an identity's newest certificate it is late, which is an alert when it lasts."""
    rig.authority.issue(LeafRequest(spiffe_id=BILLING, ttl_s=3600), NOW)
    rig.authority.issue(LeafRequest(spiffe_id=SpiffeId(DOMAIN, "/orders"), ttl_s=36_000), NOW)
    assert rig.after(minutes=44) == []
    rig.after(minutes=2)
    assert rig.after(minutes=2) == ["renewals_late"]
    assert rig.value("smsgw_ca_identities", renewal="late") == 1
    assert rig.value("smsgw_ca_identities", renewal="in_time") == 1
    rig.authority.issue(LeafRequest(spiffe_id=BILLING, ttl_s=3600), rig.now)
    assert rig.after(seconds=1) == ["renewals_late"]  # identities are judged four times a minute
    assert rig.after(seconds=15) == []


def test_a_compromise_without_a_standby(rig: Rig) -> None:
    """No standby is a ticket after a while; no active intermediate is a page at once; both end."""
    standby = rig.authority.standby
    assert standby is not None
    taint(rig.authority, standby, NOW, NOW)
    assert rig.after(minutes=9) == []
    assert rig.after(minutes=1) == ["no_standby"]
    taint(rig.authority, rig.authority.active, rig.now, rig.now)
    assert rig.after(seconds=1) == ["no_authority_issues"]


def test_an_authority_that_ends(rig: Rig) -> None:
    """The active intermediate's last month is a ticket."""
    left = rig.authority.active.certificate.not_valid_after_utc - NOW
    rig.now += left - dt.timedelta(days=30)
    assert rig.after(seconds=0) == []
    assert rig.after(days=1) == ["authority_expiring intermediate"]


def test_a_list_that_is_out_of_date(rig: Rig) -> None:
    """A revocation list that nobody made in time is a page, and names its authority."""
    active = rig.authority.active
    make(rig.authority.ledger, active, rig.authority.key_of(active), NOW, lifetime=dt.timedelta(hours=4))
    assert rig.after(hours=3) == []
    assert rig.value("smsgw_ca_crl_remaining_seconds", authority=active.key_id) == pytest.approx(3600, abs=2)
    assert rig.after(hours=2) == [f"crl_stale {active.key_id}"]


def test_many_refusals(rig: Rig) -> None:
    """Ten of one reason within a minute are a ticket."""
    rig.after(seconds=5)
    note(rig.authority.ledger, What.CALL_REFUSED, rig.now, reason="JOIN_TOKEN", asked_by="192.0.2.7", times=10)
    note(rig.authority.ledger, What.CALL_REFUSED, rig.now, reason="CSR", asked_by="192.0.2.7", times=9)
    assert rig.after(seconds=1) == ["calls_refused JOIN_TOKEN"]


def test_a_record_that_cannot_be_read(rig: Rig) -> None:
    """It is a page, and the rest goes on; it is over when the record is back."""
    with rig.authority.ledger.writing() as db:
        db.execute("ALTER TABLE events RENAME TO elsewhere")
    assert rig.after(seconds=6) == ["ledger_failing"]
    with rig.authority.ledger.writing() as db:
        db.execute("ALTER TABLE elsewhere RENAME TO events")
    assert rig.after(seconds=6) == []


def test_events_are_logged(rig: Rig, caplog: pytest.LogCaptureFixture) -> None:
    """Each event is a line, once, whichever process it came from."""
    caplog.set_level(logging.INFO)
    svid = rig.authority.issue(LeafRequest(spiffe_id=BILLING), NOW)
    rig.after(seconds=1)
    rig.after(seconds=1)
    (line,) = [vars(record) for record in caplog.records if record.message == "ca_event"]
    assert (line["what"], line["subject"], line["serial"]) == ("CERTIFICATE_ISSUED", str(BILLING), svid.serial)
    assert len(line["hash"]) == 64
