"""The meters as OpenTelemetry has them: instruments that are read when a reader asks, and not before.

Counters and gauges are observable instruments of the SDK. It has no observable histogram, so `HistogramsMixin` adds
ours to what a reader collected; Prometheus and OTLP then see them as any other. docs/telemetry.md has every metric.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple

from opentelemetry.metrics import CallbackOptions, Meter, Observation
from opentelemetry.sdk.metrics.export import (
    AggregationTemporality,
    HistogramDataPoint,
    Metric,
    MetricReader,
    MetricsData,
    ResourceMetrics,
    ScopeMetrics,
)
from opentelemetry.sdk.metrics.export import Histogram as HistogramData
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.util.instrumentation import InstrumentationScope

from gateway.telemetry.meters import Histogram, Meters, category_name, state_name

SCOPE = "smsgw"

Rows = Iterable[tuple[int | float, Mapping[str, str]]]


class HistogramRow(NamedTuple):
    """One histogram with its labels."""

    histogram: Histogram
    labels: Mapping[str, str]


class HistogramKind(NamedTuple):
    """A metric of histograms, in seconds."""

    name: str
    description: str
    rows: Callable[[Meters], list[HistogramRow]]


def _flow_rows(pick: Callable[[Any], Histogram]) -> Callable[[Meters], list[HistogramRow]]:
    def rows(meters: Meters) -> list[HistogramRow]:
        return [HistogramRow(pick(flow), labels._asdict()) for labels, flow in meters.flows()]

    return rows


def _alone(pick: Callable[[Meters], Histogram]) -> Callable[[Meters], list[HistogramRow]]:
    return lambda meters: [HistogramRow(pick(meters), {})]


def _calls(meters: Meters) -> list[HistogramRow]:
    rows = []
    for (method, code), histogram in list(meters.calls.items()):
        labels = {"rpc.system.name": "grpc", "rpc.method": method.removeprefix("/") or "_OTHER"}
        rows.append(HistogramRow(histogram, {**labels, "rpc.response.status_code": code}))
    return rows


HISTOGRAMS = (
    HistogramKind("rpc.server.call.duration", "How long calls took, streams from beginning to end.", _calls),
    HistogramKind(
        "smsgw.message.accept.duration",
        "From a message's call, validated and allowed, until it is on disk.",
        _alone(lambda meters: meters.accept),
    ),
    HistogramKind(
        "smsgw.message.submit.duration",
        "From when a message may be sent until the carrier has taken it.",
        _flow_rows(lambda flow: flow.submit),
    ),
    HistogramKind(
        "smsgw.message.receipt.duration",
        "From when the carrier took a message until its receipt came.",
        _flow_rows(lambda flow: flow.receipted),
    ),
    HistogramKind("smsgw.store.commit.duration", "One transaction.", _alone(lambda meters: meters.commit)),
    HistogramKind(
        "smsgw.store.fsync.duration", "The part of it that puts it on disk.", _alone(lambda meters: meters.fsync)
    ),
    HistogramKind(
        "smsgw.event_loop.lag", "How much later than wanted the event loop came.", _alone(lambda meters: meters.lag)
    ),
)


def histogram_metrics(meters: Meters, began_ns: int, now_ns: int) -> list[Metric]:
    """Return all histograms that have counted something."""
    metrics = []
    for kind in HISTOGRAMS:
        points = [_point(row, began_ns, now_ns) for row in kind.rows(meters)]
        points = [point for point in points if point.count]
        if points:
            data = HistogramData(points, AggregationTemporality.CUMULATIVE)
            metrics.append(Metric(kind.name, kind.description, "s", data))
    return metrics


def _point(row: HistogramRow, began_ns: int, now_ns: int) -> HistogramDataPoint:
    counts = tuple(row.histogram.counts)  # once: it may be counted up while this is read
    return HistogramDataPoint(
        attributes=dict(row.labels),
        start_time_unix_nano=began_ns,
        time_unix_nano=now_ns,
        count=sum(counts),
        sum=row.histogram.total,
        bucket_counts=counts,
        explicit_bounds=tuple(row.histogram.bounds),
        min=None,  # type: ignore[arg-type]  # optional in OTLP (metrics.proto), and not known here
        max=None,  # type: ignore[arg-type]
    )


class HistogramSource(NamedTuple):
    """Where a reader takes the histograms from."""

    meters: Meters
    resource: Resource
    began_ns: int

    def added_to(self, collected: MetricsData) -> MetricsData:
        """Return what was collected, and the histograms, under the one scope that all of it has: OTLP's encoder takes
        what comes under the same resource and scope a second time for the whole of it."""
        metrics = [
            metric
            for resource in collected.resource_metrics
            for scope in resource.scope_metrics
            for metric in scope.metrics
        ]
        metrics += histogram_metrics(self.meters, self.began_ns, time.time_ns())
        scope = ScopeMetrics(InstrumentationScope(SCOPE), metrics, "")
        return MetricsData([ResourceMetrics(self.resource, [scope], "")])


class HistogramsMixin(MetricReader):
    """Adds our histograms to what a reader has collected; stands before the reader's class.

    The reader may have a thread that collects at once, so `source` has to be there before that: it is given as an
    attribute of a subclass.
    """

    source: HistogramSource

    def _receive_metrics(self, metrics_data: MetricsData, timeout_millis: float = 10_000, **kwargs: Any) -> None:
        super()._receive_metrics(  # type: ignore[safe-super]  # the reader behind this one has it
            self.source.added_to(metrics_data), timeout_millis=timeout_millis, **kwargs
        )


class NodeView(NamedTuple):
    """What is looked at when metrics are read: each gives rows of (value, labels). Called on any thread."""

    queues: Callable[[], Rows]
    queue_ages: Callable[[], Rows]
    unmatched_receipts: Callable[[], Rows]
    lanes: Callable[[], Rows]
    windows: Callable[[], Rows]
    windows_used: Callable[[], Rows]
    links_bound: Callable[[], Rows]
    passed_over: Callable[[], Rows]
    breakers: Callable[[], Rows]
    breakers_opened: Callable[[], Rows]
    causes: Callable[[], Rows]
    policy_denials: Callable[[], Rows]
    policy_evaluations: Callable[[], Rows]
    policy_refused_sets: Callable[[], Rows]
    policy_shadow: Callable[[], Rows]
    policy_shadow_left_out: Callable[[], Rows]
    expiries: Callable[[], Rows]
    bundle_ages: Callable[[], Rows]
    trusted: Callable[[], Rows]
    fetches: Callable[[], Rows]
    exported: Callable[[], Rows]
    deny_list_entries: Callable[[], Rows]
    deny_list_versions: Callable[[], Rows]
    deny_list_ages: Callable[[], Rows]
    deny_lists_refused: Callable[[], Rows]
    calls_cut: Callable[[], Rows]
    retention_lags: Callable[[], Rows]
    caps_used: Callable[[], Rows]
    carriers_waiting: Callable[[], Rows]
    carriers_ages: Callable[[], Rows]
    log_sizes: Callable[[], Rows]
    log_behind: Callable[[], Rows]
    log_ages: Callable[[], Rows]
    scrub_commits: Callable[[], Rows]
    scrub_findings: Callable[[], Rows]
    scrub_ages: Callable[[], Rows]
    log_holders: Callable[[], Rows]
    log_failures: Callable[[], Rows]
    alerts: Callable[[], Rows]
    alerts_raised: Callable[[], Rows]


Maker = Callable[[str, str, str, Callable[[], Rows]], None]  # name, unit, description, rows


def instruments(meter: Meter) -> tuple[Maker, Maker]:
    """Return what makes a counter, and what makes a gauge."""

    def counter(name: str, unit: str, description: str, rows: Callable[[], Rows]) -> None:
        meter.create_observable_counter(name, [_observing(rows)], unit, description)

    def gauge(name: str, unit: str, description: str, rows: Callable[[], Rows]) -> None:
        meter.create_observable_gauge(name, [_observing(rows)], unit, description)

    return counter, gauge


def register(meter: Meter, meters: Meters, view: NodeView) -> None:
    """Make all counters and gauges of messages, carriers and store."""
    counter, gauge = instruments(meter)
    counter("smsgw.messages.accepted", "{message}", "Messages stored.", lambda: _accepted(meters))
    counter("smsgw.messages.submitted", "{message}", "Messages that a carrier took.", lambda: _submitted(meters))
    counter("smsgw.messages.ended", "{message}", "Messages by final state.", lambda: _ended(meters))
    counter("smsgw.denials", "{denial}", "Calls and messages refused, by reason.", lambda: _denials(meters))
    counter("smsgw.carrier.unread_ids", "{id}", "Ids not written as the profile says.", lambda: _unread_ids(meters))
    counter("smsgw.causes", "{message}", "Resends, retries and doubts since the database was made.", view.causes)
    counter("smsgw.carrier.passed_over", "{message}", "Messages that another carrier got instead.", view.passed_over)
    counter("smsgw.carrier.breaker.openings", "{opening}", "How often a breaker has opened.", view.breakers_opened)
    gauge("smsgw.carrier.breaker", "", "0: closed, 1: half-open, 2: open.", view.breakers)
    counter("smsgw.policy.denials", "{decision}", "What policies denied, routes included.", view.policy_denials)
    counter("smsgw.policy.evaluations", "{decision}", "Decisions that no recent one answered.", view.policy_evaluations)
    counter("smsgw.policy.shadow", "{decision}", "Decisions, by that of the candidate too.", view.policy_shadow)
    counter("smsgw.policy.shadow.left_out", "{decision}", "Decisions not compared.", view.policy_shadow_left_out)
    counter("smsgw.policy.refused_sets", "{set}", "Sets that a reload has refused.", view.policy_refused_sets)
    counter("smsgw.store.rows", "{row}", "Rows handed to the database.", lambda: [(meters.rows, {})])
    counter("smsgw.telemetry.exported", "{item}", "Spans and metrics, by what became of them.", view.exported)
    gauge("smsgw.alert", "", "1 while an alert is active (docs/runbook.md).", view.alerts)
    counter("smsgw.alerts.raised", "{alert}", "How often alerts have been raised.", view.alerts_raised)
    gauge("smsgw.queue.messages", "{message}", "Open messages.", view.queues)
    gauge("smsgw.queue.age", "s", "How long the oldest message of a queue has been due.", view.queue_ages)
    gauge("smsgw.receipts.unmatched", "{receipt}", "Kept receipts that match nothing.", view.unmatched_receipts)
    gauge("smsgw.lane.messages", "{message}", "Messages in memory, ready to be sent.", view.lanes)
    gauge("smsgw.carrier.waiting", "{message}", "In memory, for this carrier.", view.carriers_waiting)
    gauge("smsgw.carrier.age", "s", "How long the oldest of them has been due.", view.carriers_ages)
    gauge("smsgw.link.window", "{pdu}", "Unanswered PDUs that a bind may have.", view.windows)
    gauge("smsgw.link.unanswered", "{pdu}", "Unanswered PDUs that a bind has.", view.windows_used)
    gauge("smsgw.link.bound", "", "1 when a bind is up.", view.links_bound)
    gauge("smsgw.federation.bundle.age", "s", "Since a bundle was last seen at its endpoint.", view.bundle_ages)
    gauge("smsgw.federation.trusted", "", "1 when callers of another trust domain may be believed.", view.trusted)
    counter("smsgw.federation.fetches", "{fetch}", "Fetches of bundles, by what became of them.", view.fetches)
    gauge("smsgw.deny_list.entries", "{entry}", "What is revoked.", view.deny_list_entries)
    gauge("smsgw.deny_list.version", "", "The version of the list in force.", view.deny_list_versions)
    gauge("smsgw.deny_list.age", "s", "Since the list in force was signed last.", view.deny_list_ages)
    counter("smsgw.deny_list.refused", "{list}", "Lists that were not taken up, by reason.", view.deny_lists_refused)
    counter("smsgw.revocation.calls_cut", "{call}", "Calls that a revocation has cut.", view.calls_cut)
    gauge("smsgw.retention.lag", "s", "For how long what is to be let go of is kept.", view.retention_lags)
    gauge("smsgw.usage.cap.used", "1", "The part of a cap that is used.", view.caps_used)
    gauge("smsgw.audit.log.size", "{commit}", "Commits in the log, and under its newest signature.", view.log_sizes)
    gauge("smsgw.audit.log.behind", "{commit}", "Commits that are not in the log yet.", view.log_behind)
    gauge("smsgw.audit.log.checkpoint.age", "s", "Since a checkpoint was signed last.", view.log_ages)
    gauge("smsgw.audit.scrub.commits", "{commit}", "Of the walk through the whole log.", view.scrub_commits)
    gauge("smsgw.audit.scrub.findings", "", "What is not as it was signed.", view.scrub_findings)
    gauge("smsgw.audit.scrub.age", "s", "Since a walk through the whole log ended.", view.scrub_ages)
    gauge("smsgw.audit.log.sequencer", "", "1 on the node that appends to the log.", view.log_holders)
    counter("smsgw.audit.archive.failures", "{attempt}", "Checkpoints not brought to an archive.", view.log_failures)
    gauge("smsgw.certificate.remaining", "s", "Until a certificate of this node expires.", view.expiries)


def _observing(rows: Callable[[], Rows]) -> Callable[[CallbackOptions], list[Observation]]:
    return lambda _options: [Observation(value, dict(labels)) for value, labels in rows()]


def _accepted(meters: Meters) -> Rows:
    return [(count, {"category": category_name(category)}) for category, count in list(meters.accepted.items())]


def _submitted(meters: Meters) -> Rows:
    return [(flow.submitted, labels._asdict()) for labels, flow in meters.flows()]


def _ended(meters: Meters) -> Rows:
    return [
        (count, {**labels._asdict(), "state": state_name(state)})
        for labels, flow in meters.flows()
        for state, count in enumerate(flow.ended)
        if count
    ]


def _denials(meters: Meters) -> Rows:
    return [(count, {"reason": reason}) for reason, count in list(meters.denials.items())]


def _unread_ids(meters: Meters) -> Rows:
    return [(count, {"carrier": carrier, "side": side}) for (carrier, side), count in list(meters.unread_ids.items())]
