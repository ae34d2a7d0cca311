"""Metrics in the form of Prometheus' own library, for processes whose numbers are looked up and not counted by it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric

from visibility.alerts import Alerts

Rows = Iterable[tuple[Sequence[str], float]]


def gauge(name: str, what: str, labels: Sequence[str], rows: Rows) -> Metric:
    """Return a gauge with a value for each set of labels."""
    found = GaugeMetricFamily(name, what, labels=labels)
    for values, value in rows:
        found.add_metric(values, value)
    return found


def counter(name: str, what: str, labels: Sequence[str], rows: Rows) -> Metric:
    """Return a counter; its name is without `_total`."""
    found = CounterMetricFamily(name, what, labels=labels)
    for values, value in rows:
        found.add_metric(values, value)
    return found


def of_alerts(alerts: Alerts) -> Iterator[Metric]:
    """Yield what is active, and how often each has been raised."""
    rows, raised = alerts.rows(), alerts.raised()
    yield gauge("smsgw_alert", "1 while an alert is active (docs/runbook.md).", *_table(rows))
    yield counter("smsgw_alerts_raised", "How often alerts have been raised.", *_table(raised))


def _table(rows: Sequence[tuple[float, Mapping[str, str]]]) -> tuple[Sequence[str], Rows]:
    labels = tuple(rows[0][1]) if rows else ()
    return labels, [([each[key] for key in labels], value) for value, each in rows]
