"""Telemetry as one part of the node: what it holds, starts, and ends.

Without a collector nothing is traced; without an address there is no page; the meters count either way. Its end waits a
few seconds for the last batch, and no longer.
"""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from opentelemetry.exporter.prometheus import PrometheusMetricReader
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import MetricReader, PeriodicExportingMetricReader
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import SpanLimits, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.sdk.trace.sampling import ALWAYS_ON
from prometheus_client import CollectorRegistry, generate_latest

from gateway.config.telemetry_settings import TelemetrySettings
from gateway.errors import GatewayError
from gateway.store.contract import Committed
from gateway.telemetry.export import Collector, OtlpMetrics, OtlpSpans
from gateway.telemetry.identities import register_identities
from gateway.telemetry.instruments import SCOPE, HistogramsMixin, HistogramSource, Rows, register
from gateway.telemetry.meters import Meters
from gateway.telemetry.tracing import Tracing
from gateway.telemetry.view import NodeSources, Watch
from visibility.alerts import Alerts
from visibility.catalogue import CERTIFICATES_UNREADABLE
from visibility.metrics_server import MetricsServer, Security

log = logging.getLogger(__name__)

_SPANS_WAITING = 8192  # what is more is dropped, the oldest first
_SPANS_A_BATCH = 512
_SPANS_WAIT_MS = 1000
_LOOK_EVERY_S = 15.0
_LAG_EVERY_S = 0.25
_FLUSH_S = 3.0
_CUT_S = 1.0


class _Page(HistogramsMixin, PrometheusMetricReader):
    """What Prometheus' page is made from."""

    def __init__(self, source: HistogramSource, registry: CollectorRegistry) -> None:
        self.source = source
        super().__init__(scope_info_enabled=False, registry=registry)


class _Pushed(HistogramsMixin, PeriodicExportingMetricReader):
    """What is sent to the collector now and then; it begins with its making."""

    def __init__(self, source: HistogramSource, exporter: OtlpMetrics, every_s: float) -> None:
        self.source = source
        super().__init__(exporter, export_interval_millis=every_s * 1000, export_timeout_millis=10_000)


@dataclass(frozen=True, slots=True, kw_only=True)
class TelemetryParts:
    """What the composition root hands over. `now`: microseconds since the Unix epoch."""

    settings: TelemetrySettings
    resource: Mapping[str, str]  # who this is: attributes of OpenTelemetry's `service.*`
    carriers: Iterable[str]
    methods: Iterable[str]
    now: Callable[[], int]
    alerts: Alerts
    security: Security | None  # of the metrics page; None for plain text


class Telemetry:
    """Traces and metrics of one node. `tracing` and `meters` are for those who have something to tell."""

    def __init__(self, parts: TelemetryParts) -> None:
        """Make everything; no thread runs and nothing is opened before `start`."""
        self._parts = parts
        settings = parts.settings
        self._resource = Resource(dict(parts.resource))
        self.meters = Meters(parts.carriers, parts.methods)
        self._collector = None if settings.otlp.endpoint is None else Collector(settings.otlp, alerts=parts.alerts)
        self._tracers: TracerProvider | None = None
        if self._collector is not None and settings.traces_per_s:
            self._tracers = TracerProvider(
                sampler=ALWAYS_ON,  # the decision has been made
                resource=self._resource,
                shutdown_on_exit=False,
                span_limits=SpanLimits(max_span_attributes=64, max_events=8, max_links=8),
            )
        tracer = None if self._tracers is None else self._tracers.get_tracer(SCOPE)
        self.tracing = Tracing(tracer, settings.traces_per_s, parts.now)
        self._metrics: MeterProvider | None = None
        self._registry = CollectorRegistry()
        self._closed = False
        self._watch: Watch | None = None
        self._server: MetricsServer | None = None
        if settings.metrics.listen is not None:
            self._server = MetricsServer(settings.metrics.listen, self.page, parts.security)

    async def start(self, sources: NodeSources) -> None:
        """Begin to export and to show. Raises OSError when the page's address cannot be had."""
        self._watch = Watch(sources)
        await self._look(self._watch)
        if self._tracers is not None and self._collector is not None:
            self._tracers.add_span_processor(
                BatchSpanProcessor(
                    OtlpSpans(self._collector),
                    max_queue_size=_SPANS_WAITING,
                    schedule_delay_millis=_SPANS_WAIT_MS,
                    max_export_batch_size=_SPANS_A_BATCH,
                )
            )
        readers = self._readers()
        if readers:
            self._metrics = MeterProvider(readers, self._resource, shutdown_on_exit=False)
            meter = self._metrics.get_meter(SCOPE)
            register(meter, self.meters, self._watch.view(self._exported, self._parts.alerts))
            register_identities(meter, self.meters, sources.identities)
        if self._server is not None:
            port = await self._server.start()
            log.info("metrics_page", extra={"port": port})

    def _readers(self) -> list[MetricReader]:
        settings = self._parts.settings
        source = HistogramSource(self.meters, self._resource, time.time_ns())
        readers: list[MetricReader] = []
        if self._server is not None:
            readers.append(_Page(source, self._registry))
        if self._collector is not None:
            readers.append(_Pushed(source, OtlpMetrics(self._collector), settings.otlp.metrics_every_s))
        return readers

    def committed(self, commit: Committed) -> None:
        """Take what the store tells of a commit."""
        self.meters.committed(commit)
        if commit.receipts:
            self.tracing.receipts(commit.receipts)

    def counts(self) -> Mapping[str, int]:
        """Return the database's own counts as they were when it was last asked, some seconds ago."""
        return {} if self._watch is None else self._watch.counts

    def page(self) -> bytes:
        """Return Prometheus' page as it is now. It takes some milliseconds: not for the event loop."""
        return generate_latest(self._registry)

    def _exported(self) -> Rows:
        items = {} if self._collector is None else dict(self._collector.exported)
        return [(count, {"signal": signal, "outcome": outcome}) for (signal, outcome), count in items.items()]

    async def run(self) -> None:
        """Look at what has to be looked for, until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._measure_lag())
            tasks.create_task(self._keep_looking())

    async def _measure_lag(self) -> None:
        """A timer that comes late tells how long something held the loop."""
        loop = asyncio.get_running_loop()
        while True:
            due = loop.time() + _LAG_EVERY_S
            await asyncio.sleep(_LAG_EVERY_S)
            self.meters.lag.observe(loop.time() - due)

    async def _keep_looking(self) -> None:
        while self._watch is not None:
            await asyncio.sleep(_LOOK_EVERY_S)
            await self._look(self._watch)

    @staticmethod
    async def _look(watch: Watch) -> None:
        try:
            await watch.look()
        except GatewayError as error:
            log.warning("metrics_not_counted", extra={"why": str(error)})

    async def certificates_renewed(self) -> None:
        """The node has a new SVID, or believes others: the page's next connections get it."""
        if self._server is None:
            return
        try:
            await self._server.reload()
        except OSError as error:  # ssl.SSLError is one
            log.error("metrics_certificates_not_renewed", extra={"why": str(error)})
            self._parts.alerts.raise_alert(CERTIFICATES_UNREADABLE, "metrics", why=str(error))
        else:
            self._parts.alerts.resolve(CERTIFICATES_UNREADABLE, "metrics")

    async def close(self) -> None:
        """Close the page, send what is left, for a few seconds at most. Idempotent."""
        if self._server is not None:
            await self._server.stop()
        if self._collector is None or self._closed:
            return
        self._closed = True
        self._collector.finish()
        done = asyncio.Event()
        # Not an executor's thread: the loop's own end waits for those, however long they take.
        threading.Thread(
            target=_finish, args=(self._tracers, self._metrics, asyncio.get_running_loop(), done), daemon=True
        ).start()
        for limit_s in (_FLUSH_S, _CUT_S):
            try:
                async with asyncio.timeout(limit_s):
                    await done.wait()
            except TimeoutError:
                self._collector.close()
        self._collector.close()


def _finish(
    tracers: TracerProvider | None, metrics: MeterProvider | None, loop: asyncio.AbstractEventLoop, done: asyncio.Event
) -> None:
    providers: tuple[Any, ...] = (tracers, metrics)
    for provider in providers:
        try:
            if provider is not None:
                provider.shutdown()
        except Exception:  # the top of a thread, at the end: the rest of the node has to end too
            log.exception("telemetry_not_closed")
    try:
        loop.call_soon_threadsafe(done.set)
    except RuntimeError:  # the loop did not wait for us
        log.debug("telemetry_closed_late")
