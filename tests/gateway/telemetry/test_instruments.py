"""What readers see: names, units, labels and values of every metric, as Prometheus parses them and as OTLP has them."""

from __future__ import annotations

import asyncio
import datetime as dt
import re
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import ClassVar

import pytest
from prometheus_client.parser import text_string_to_metric_families

from certs.bundle import Bundle
from certs.federation.federation import Standing
from certs.spiffe_id import TrustDomain
from gateway.config.kinds import Address
from gateway.config.telemetry_settings import MetricsSettings, OtlpSettings, TelemetrySettings
from gateway.errors import StoreUnavailable
from gateway.pipeline.pipeline import LinkStatus
from gateway.policy.engine import Reason
from gateway.sequencing.scrubbing import ScrubProgress
from gateway.sequencing.sequencer import Progress
from gateway.states import Category, State
from gateway.store.contract import Committed
from gateway.telemetry.identities import IdentitySources
from gateway.telemetry.meters import MOST_NAMES, OTHER
from gateway.telemetry.telemetry import Telemetry, TelemetryParts
from gateway.telemetry.view import NodeSources, Watch
from gateway.usage.caps import Cap, CapRules, Caps
from tests.certificates import TestAuthority
from tests.gateway.store.samples import NOW, SECOND
from tests.gateway.telemetry.receiver import collector_credentials, listening, otlp_settings, plain
from visibility.alerts import AlertKind, Alerts, Severity

DOCS = Path(__file__).parents[3] / "docs" / "telemetry.md"
AUTHORITY = TestAuthority("example.org")
METHOD = "/smsgw.v1.MessageService/SendMessage"
LINK = LinkStatus(name="acme/0", state="bound", why="", window=50, unanswered=7, staged=1, slots=9)
COUNTS = {
    "queue.CLAIMED": 12,
    "queue.AWAITING": 0,
    "oldest_due_at.CLAIMED": NOW - 5 * SECOND,
    "retry.throttled": 4,
    "resend.restart": 2,
}
NO_OTLP = OtlpSettings(
    endpoint=None, ca_file=None, server_name="", certificate_file=None, key_file=None, insecure=False,
    metrics_every_s=60.0,
)  # fmt: skip
PAGE = MetricsSettings(listen=Address("127.0.0.1", 0), readers=(), insecure=True)

CAPS = Caps(CapRules(caps=[Cap(tenant="acme", category=1, messages_per_day=8)]), 0)


class Policy:
    """The policies' own numbers."""

    def __init__(self) -> None:
        self.misses = 11
        self.denials = Counter({("MessageService.SendMessage", Reason.NOT_PERMITTED): 3})


class ShadowNumbers:
    """The numbers of a candidate beside the policies."""

    counts: ClassVar[dict[tuple[str, str, str], int]] = {("SendOtp", "allow", "deny"): 24}
    not_compared = 25


class RouterNumbers:
    """The router's own numbers, and those of its breakers."""

    passed_over: ClassVar[dict[tuple[str, str], int]] = {("acme", "away"): 21}

    @property
    def breakers(self) -> RouterNumbers:
        """The breakers."""
        return self

    def states(self) -> dict[str, str]:
        """Where they stand."""
        return {"acme": "open", "other": "closed"}

    def openings(self) -> dict[str, int]:
        """How often each has opened."""
        return {"acme": 22}


class FederationNumbers:
    """How it stands with other trust domains."""

    fetches: ClassVar[dict[tuple[str, str], int]] = {("partner.example", "same"): 31}

    def standings(self) -> list[Standing]:
        """One of which a bundle is held, and one of which none ever was."""
        one = Standing(
            trust_domain="partner.example",
            url="https://partner.example/",
            profile="https_web",
            trusted=True,
            authorities=1,
            sequence=7,
            age_s=32.0,
            origin="endpoint",
            failures=0,
            reason="",
            failure="",
        )
        return [one, replace(one, trust_domain="other.example", trusted=False, age_s=None)]


class Revoked:
    """The deny list's numbers."""

    entries = 23
    version = 24
    signed_at = NOW - 25 * SECOND
    refused: ClassVar[dict[str, int]] = {"OldDenyList": 26}
    calls_cut = 27


class Sources:
    """A node to look at."""

    def __init__(self) -> None:
        self.counts: dict[str, int] = dict(COUNTS)
        self.failure: Exception | None = None

    async def count(self) -> dict[str, int]:
        """Ask the database."""
        if self.failure is not None:
            raise self.failure
        return self.counts

    def parts(self) -> NodeSources:
        """Return what telemetry is given."""
        return NodeSources(
            counts=self.count,
            links=lambda: [LINK, replace(LINK, name="acme/1", state="backoff")],
            lanes=lambda: {"OTP": 3, "PROMOTIONAL": 0},
            policy=Policy(),
            refused_sets=lambda: 23,
            shadow=ShadowNumbers(),
            router=RouterNumbers(),
            federation=FederationNumbers(),
            svid_expires_at=lambda: dt.datetime.fromtimestamp(NOW / SECOND + 1800, dt.UTC),
            deny_list=Revoked(),
            retention_late=lambda: 90 * SECOND,
            caps=CAPS.meters,
            waiting=lambda: {"acme": (3, 0)},
            audit_log=lambda: LOG,
            now=lambda: NOW,
            identities=IDENTITIES,
        )


LOG = Progress(
    holds=True,
    size=41,
    behind=42,
    checkpoint_size=43,
    checkpoint_at=NOW - 44 * SECOND,
    failures=Counter(siem=45),
    scrub=ScrubProgress(walked=46, size=47, findings=48, done_at=NOW - 49 * SECOND),
)


class Connections:
    """The connections of one server."""

    handshakes, proven, ended, seen, spoken = 40, 30, 2, 9, 7


IDENTITIES = IdentitySources(
    connections={"api": Connections()},
    handshakes_failed=lambda: {"EXPIRED": 5},
    bundles=lambda: [Bundle.from_pem(TrustDomain("example.org"), AUTHORITY.bundle_pem)],
)
ALERT = AlertKind(name="carrier_down", severity=Severity.PAGE, summary="It is down.", labels=("carrier",))
QUIET = AlertKind(name="audit_failing", severity=Severity.TICKET, summary="It fails.")


def alerts() -> Alerts:
    """Return alerts of which one is active."""
    made = Alerts((ALERT, QUIET), lambda: NOW)
    made.raise_alert(ALERT, "acme")
    return made


def telemetry(otlp: OtlpSettings = NO_OTLP, metrics: MetricsSettings = PAGE) -> Telemetry:
    """Return a node's telemetry, which has counted something of everything."""
    made = Telemetry(
        TelemetryParts(
            settings=TelemetrySettings(traces_per_s=10, otlp=otlp, metrics=metrics),
            resource={"service.name": "smsgw", "service.instance.id": "node-1"},
            carriers=["acme"],
            methods=[METHOD],
            now=lambda: NOW,
            alerts=alerts(),
            security=None,
        )
    )
    meters = made.meters
    meters.accepted[Category.OTP] += 5
    meters.accept.observe(0.003, 5)
    meters.call(METHOD, "OK", 0.02)
    meters.call("/made/Up", "UNIMPLEMENTED", 0.001)
    meters.denied("POLICY_DENIED", 2)
    meters.renewals["svid"] += 4
    meters.refused("admin", "PERMISSION_DENIED", "POLICY_DENIED")
    meters.unread_ids["acme", "response"] = 8
    meters.lag.observe(0.004)
    meters.committed(Committed(9, 0.002, 0.001, [("acme", Category.OTP, State.DELIVERED, 2 * SECOND)], ()))
    ((_, flow),) = meters.flows()
    flow.submitted += 6
    flow.submit.observe(0.2, 6)
    return made


async def page_of(made: Telemetry, sources: Sources) -> str:
    """Start, look, and return the page."""
    await made.start(sources.parts())
    work = asyncio.create_task(made.run())
    await asyncio.sleep(0)  # it looks at the database first
    try:
        return (await asyncio.to_thread(made.page)).decode()
    finally:
        work.cancel()
        await asyncio.gather(work, return_exceptions=True)
        await made.close()


def samples(page: str) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    """Return what Prometheus reads from a page: the value of each name with its labels."""
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(page)
        for sample in family.samples
    }


def labels(**pairs: str) -> tuple[tuple[str, str], ...]:
    """Return labels as a sample has them."""
    return tuple(sorted(pairs.items()))


async def test_the_page() -> None:
    """Every metric, with its labels and its value."""
    found = samples(await page_of(telemetry(), Sources()))
    call = {"rpc_system_name": "grpc", "rpc_method": METHOD[1:], "rpc_response_status_code": "OK"}
    way = {"carrier": "acme", "category": "OTP"}
    expected = {
        ("smsgw_messages_accepted_total", labels(category="OTP")): 5,
        ("smsgw_messages_submitted_total", labels(**way)): 6,
        ("smsgw_messages_ended_total", labels(**way, state="DELIVERED")): 1,
        ("smsgw_denials_total", labels(reason="POLICY_DENIED")): 2,
        ("smsgw_policy_denials_total", labels(action="MessageService.SendMessage", reason=Reason.NOT_PERMITTED)): 3,
        ("smsgw_policy_evaluations_total", ()): 11,
        ("smsgw_policy_refused_sets_total", ()): 23,
        ("smsgw_deny_list_entries", ()): 23,
        ("smsgw_deny_list_version", ()): 24,
        ("smsgw_deny_list_age_seconds", ()): 25,
        ("smsgw_deny_list_refused_total", (("reason", "OldDenyList"),)): 26,
        ("smsgw_revocation_calls_cut_total", ()): 27,
        ("smsgw_retention_lag_seconds", ()): 90,
        ("smsgw_audit_log_size", (("of", "log"),)): 41,
        ("smsgw_audit_log_size", (("of", "checkpoint"),)): 43,
        ("smsgw_audit_log_behind", ()): 42,
        ("smsgw_audit_log_checkpoint_age_seconds", ()): 44,
        ("smsgw_audit_log_sequencer", ()): 1,
        ("smsgw_audit_scrub_commits", (("of", "walked"),)): 46,
        ("smsgw_audit_scrub_commits", (("of", "pass"),)): 47,
        ("smsgw_audit_scrub_findings", ()): 48,
        ("smsgw_audit_scrub_age_seconds", ()): 49,
        ("smsgw_audit_archive_failures_total", (("archive", "siem"),)): 45,
        ("smsgw_policy_shadow_total", labels(action="SendOtp", live="allow", shadow="deny")): 24,
        ("smsgw_policy_shadow_left_out_total", ()): 25,
        ("smsgw_carrier_unread_ids_total", labels(carrier="acme", side="response")): 8,
        ("smsgw_carrier_passed_over_total", labels(carrier="acme", reason="away")): 21,
        ("smsgw_carrier_breaker", labels(carrier="acme")): 2,
        ("smsgw_carrier_breaker", labels(carrier="other")): 0,
        ("smsgw_carrier_breaker_openings_total", labels(carrier="acme")): 22,
        ("smsgw_causes_total", labels(cause="retry.throttled")): 4,
        ("smsgw_causes_total", labels(cause="resend.restart")): 2,
        ("smsgw_federation_bundle_age_seconds", labels(trust_domain="partner.example")): 32,
        ("smsgw_federation_trusted", labels(trust_domain="partner.example")): 1,
        ("smsgw_federation_trusted", labels(trust_domain="other.example")): 0,
        ("smsgw_federation_fetches_total", labels(trust_domain="partner.example", outcome="same")): 31,
        ("smsgw_store_rows_total", ()): 9,
        ("smsgw_queue_messages", labels(queue="CLAIMED")): 12,
        ("smsgw_queue_age_seconds", labels(queue="CLAIMED")): 5,
        ("smsgw_queue_age_seconds", labels(queue="AWAITING")): 0,
        ("smsgw_handshakes_total", labels(server="api")): 40,
        ("smsgw_handshakes_failed_total", labels(reason="EXPIRED")): 5,
        ("smsgw_connections", labels(server="api", state="proven")): 7,
        ("smsgw_connections", labels(server="api", state="silent")): 2,
        ("smsgw_connections_proven_total", labels(server="api")): 30,
        ("smsgw_connections_ended_total", labels(server="api")): 2,
        ("smsgw_calls_refused_total", labels(server="admin", code="PERMISSION_DENIED", reason="POLICY_DENIED")): 1,
        ("smsgw_certificates_renewed_total", labels(certificate="svid")): 4,
        ("smsgw_bundle_authorities", labels(trust_domain="example.org")): 1,
        ("smsgw_alert", labels(name="carrier_down", severity="page", carrier="acme")): 1,
        ("smsgw_alert", labels(name="audit_failing", severity="ticket", carrier="")): 0,
        ("smsgw_alerts_raised_total", labels(name="carrier_down", severity="page")): 1,
        ("smsgw_alerts_raised_total", labels(name="audit_failing", severity="ticket")): 0,
        ("smsgw_lane_messages", labels(category="OTP")): 3,
        ("smsgw_link_window", labels(carrier="acme", bind="0")): 50,
        ("smsgw_link_unanswered", labels(carrier="acme", bind="0")): 7,
        ("smsgw_link_bound", labels(carrier="acme", bind="0")): 1,
        ("smsgw_link_bound", labels(carrier="acme", bind="1")): 0,
        ("smsgw_certificate_remaining_seconds", labels(certificate="svid")): 1800,
        ("rpc_server_call_duration_seconds_count", labels(**call)): 1,
        ("rpc_server_call_duration_seconds_sum", labels(**call)): 0.02,
        ("rpc_server_call_duration_seconds_bucket", labels(**call, le="0.01")): 0,
        ("rpc_server_call_duration_seconds_bucket", labels(**call, le="0.025")): 1,
        ("rpc_server_call_duration_seconds_bucket", labels(**call, le="+Inf")): 1,
        ("smsgw_message_accept_duration_seconds_count", ()): 5,
        ("smsgw_message_submit_duration_seconds_sum", labels(**way)): 1.2,
        ("smsgw_message_receipt_duration_seconds_bucket", labels(**way, le="2.5")): 1,
        ("smsgw_store_commit_duration_seconds_count", ()): 1,
        ("smsgw_store_fsync_duration_seconds_sum", ()): 0.001,
        ("smsgw_event_loop_lag_seconds_count", ()): 1,
    }
    for key, value in expected.items():
        assert found[key] == pytest.approx(value), key
    left_s = found["smsgw_bundle_remaining_seconds", labels(trust_domain="example.org")]
    end = Bundle.from_pem(TrustDomain("example.org"), AUTHORITY.bundle_pem).authorities[0].not_valid_after_utc
    assert left_s == pytest.approx((end - dt.datetime.now(dt.UTC)).total_seconds(), abs=120)
    others = {dict(pairs)["rpc_method"] for name, pairs in found if name == "rpc_server_call_duration_seconds_count"}
    assert others == {METHOD[1:], "_OTHER"}


async def test_every_metric_is_documented() -> None:
    """docs/telemetry.md names each metric of the page, and none that is not there."""
    page = await page_of(telemetry(), Sources())
    names = set(re.findall(r"^# TYPE (\S+) ", page, re.MULTILINE)) - {"target_info"}
    documented = set(re.findall(r"^\| `((?:smsgw|rpc)_\w+)` \|", DOCS.read_text(), re.MULTILINE))
    assert names - documented == set()
    nodes = {name for name in documented if not name.startswith(("smsgw_ca_", "smsgw_agent_"))}
    assert nodes - names == {"smsgw_telemetry_exported_total"}  # there is no collector here


async def test_a_database_that_does_not_answer() -> None:
    """The last sizes stay, and the page is there."""
    sources = Sources()
    watch = Watch(sources.parts())
    await watch.look()
    sources.failure = StoreUnavailable("down")
    with pytest.raises(StoreUnavailable):
        await watch.look()
    view = watch.view(list, alerts())
    assert {labels["queue"]: value for value, labels in view.queues()} == {"CLAIMED": 12, "AWAITING": 0}
    page = samples(await page_of(telemetry(), sources))
    assert ("smsgw_messages_accepted_total", labels_of("OTP")) in page


def labels_of(category: str) -> tuple[tuple[str, str], ...]:
    """Return the label of a category."""
    return labels(category=category)


async def test_causes_are_bounded() -> None:
    """A database with odd counters gives a bounded number of labels, and loses none of what was counted."""
    sources = Sources()
    sources.counts = {f"cause.{number}": 1 for number in range(500)} | {"+4915112345678": 3}
    watch = Watch(sources.parts())
    await watch.look()
    causes = {labels["cause"]: value for value, labels in watch.view(list, alerts()).causes()}
    assert len(causes) == MOST_NAMES + 1
    assert sum(causes.values()) == 503
    assert causes[OTHER] == 503 - MOST_NAMES


async def test_metrics_by_otlp(tmp_path: Path) -> None:
    """The collector gets the same at the end at the latest, and who sends it."""
    with listening(collector_credentials(AUTHORITY)) as (receiver, port):
        made = telemetry(
            otlp_settings(tmp_path, AUTHORITY, port), MetricsSettings(listen=None, readers=(), insecure=False)
        )
        await made.start(Sources().parts())
        await made.close()
        (request,) = receiver.metric_requests
        found = receiver.metrics
    assert plain(request.resource_metrics[0].resource.attributes)["service.instance.id"] == "node-1"
    (point,) = found["smsgw.messages.accepted"].sum.data_points
    assert (point.as_int, plain(point.attributes)) == (5, {"category": "OTP"})
    assert found["smsgw.messages.accepted"].sum.is_monotonic
    (histogram,) = found["smsgw.message.submit.duration"].histogram.data_points
    assert histogram.count == 6
    assert histogram.sum == pytest.approx(1.2)
    assert sum(histogram.bucket_counts) == 6
    assert found["smsgw.message.submit.duration"].unit == "s"
    assert not histogram.HasField("min")
