"""OTLP over gRPC: out of the event loop's way, bounded, and told of once a minute when it fails.

Batches leave on the SDK's own threads, from queues that drop what is too much; nothing here is waited for by a message.
It uses the protocol's stubs and the SDK's encoders, and not the SDK's exporters: those take endpoint, certificates and
headers from the environment too, and whoever can set a variable could then send our traces elsewhere.

Certificates are read again when their files change: an SVID lives for an hour.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import grpc
from opentelemetry.exporter.otlp.proto.common.metrics_encoder import encode_metrics
from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2_grpc import MetricsServiceStub
from opentelemetry.proto.collector.trace.v1.trace_service_pb2_grpc import TraceServiceStub
from opentelemetry.sdk.metrics.export import MetricExporter, MetricExportResult, MetricsData
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult

from gateway.config.telemetry_settings import OtlpSettings
from visibility.alerts import NOBODY, AlertSink
from visibility.catalogue import TELEMETRY_NOT_EXPORTED

log = logging.getLogger(__name__)

_DEADLINE_S = 5.0  # for one batch, attempts together
_ATTEMPTS = 3
_PAUSE_S = 1.0
_SAY_EVERY_S = 60.0
_MAX_WHY = 200  # characters of what a collector or the TLS stack says
# What a collector may answer that is worth another attempt (OTLP specification, "Failures").
_TRANSIENT = frozenset(
    {
        grpc.StatusCode.UNAVAILABLE,
        grpc.StatusCode.RESOURCE_EXHAUSTED,
        grpc.StatusCode.ABORTED,
        grpc.StatusCode.DEADLINE_EXCEEDED,
    }
)

_Stamp = tuple[tuple[int, int, int], ...]


def _stamp(files: Sequence[Path]) -> _Stamp:
    found = [file.stat() for file in files]
    return tuple((status.st_ino, status.st_mtime_ns, status.st_size) for status in found)


def _said(error: grpc.RpcError) -> tuple[grpc.StatusCode, str]:
    """Return code and details of a failed call, which grpc's own errors have and its types do not tell of."""
    call: Any = error
    return call.code(), call.details() or ""


def _read(file: Path | None) -> bytes | None:
    return None if file is None else file.read_bytes()


class Collector:
    """The channel to one collector, and what came of what was sent there. Used by the SDK's threads."""

    def __init__(
        self, settings: OtlpSettings, *, clock: Callable[[], float] = time.monotonic, alerts: AlertSink = NOBODY
    ) -> None:
        """`clock` tells seconds, for how often a failure is logged. Opens nothing yet."""
        self._settings = settings
        self._clock = clock
        self._alerts = alerts
        self._files = [file for file in (settings.ca_file, settings.certificate_file, settings.key_file) if file]
        self._lock = threading.Lock()
        self._channel: grpc.Channel | None = None
        self._stamp: _Stamp = ()
        self._finishing = threading.Event()
        self._closed = False
        self._said_at = -_SAY_EVERY_S
        self._lost = 0
        self.exported: Counter[tuple[str, str]] = Counter()  # items by signal and outcome

    def send(self, signal: str, items: int, stub: Callable[[grpc.Channel], Any], request: object) -> bool:
        """Send one request with so many items; whether the collector took it. Raises nothing."""
        why = ""
        deadline = time.monotonic() + _DEADLINE_S
        for attempt in range(_ATTEMPTS):
            left_s = deadline - time.monotonic()
            if left_s <= 0 or (attempt and self._finishing.wait(min(_PAUSE_S, left_s))):
                break
            try:
                stub(self._connected()).Export(request, timeout=max(0.1, deadline - time.monotonic()))
            except grpc.RpcError as error:
                code, details = _said(error)
                why = f"{code.name}: {details}"
                if code not in _TRANSIENT:
                    break
            except (OSError, ValueError) as error:  # a file that cannot be read; a channel that was closed meanwhile
                why = str(error)
                break
            else:
                self._told(signal, "exported", items)
                self._alerts.resolve(TELEMETRY_NOT_EXPORTED, signal)
                return True
        self._failed(signal, items, why)
        return False

    def _connected(self) -> grpc.Channel:
        """Return the channel, a new one when the files have changed. Raises OSError, ValueError after `close`."""
        with self._lock:
            if self._closed:
                raise ValueError("the exporter is closed")
            stamp = _stamp(self._files)
            if self._channel is None or stamp != self._stamp:
                if self._channel is not None:
                    self._channel.close()
                self._channel, self._stamp = self._open(), stamp
            return self._channel

    def _open(self) -> grpc.Channel:
        settings = self._settings
        # A pool of its own: subchannels of the same target are shared in a process, credentials or not the same.
        options: list[tuple[str, Any]] = [("grpc.use_local_subchannel_pool", 1)]
        if settings.insecure:
            return grpc.insecure_channel(str(settings.endpoint), options)
        if settings.server_name:
            options.append(("grpc.ssl_target_name_override", settings.server_name))
        credentials = grpc.ssl_channel_credentials(
            _read(settings.ca_file), _read(settings.key_file), _read(settings.certificate_file)
        )
        return grpc.secure_channel(str(settings.endpoint), credentials, options)

    def _told(self, signal: str, outcome: str, items: int) -> None:
        with self._lock:
            self.exported[signal, outcome] += items

    def _failed(self, signal: str, items: int, why: str) -> None:
        self._told(signal, "failed", items)
        self._alerts.raise_alert(TELEMETRY_NOT_EXPORTED, signal, why=why)
        with self._lock:
            self._lost += items
            now = self._clock()
            if now - self._said_at < _SAY_EVERY_S:
                return
            self._said_at, lost, self._lost = now, self._lost, 0
        extra = {"signal": signal, "items": lost, "endpoint": str(self._settings.endpoint), "why": why[:_MAX_WHY]}
        log.warning("telemetry_not_exported", extra=extra)

    def finish(self) -> None:
        """From now on nothing is tried a second time: the node ends."""
        self._finishing.set()

    def close(self) -> None:
        """Cut what is under way, and refuse what comes later. Idempotent."""
        self._finishing.set()
        with self._lock:
            self._closed = True
            channel, self._channel = self._channel, None
        if channel is not None:
            channel.close()


class OtlpSpans(SpanExporter):
    """The SDK's view of a collector that takes spans."""

    def __init__(self, collector: Collector) -> None:
        self._collector = collector

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        """Send spans."""
        sent = self._collector.send("spans", len(spans), TraceServiceStub, encode_spans(spans))
        return SpanExportResult.SUCCESS if sent else SpanExportResult.FAILURE

    def shutdown(self) -> None:
        """Nothing to do: the collector's owner closes it."""


class OtlpMetrics(MetricExporter):
    """The SDK's view of a collector that takes metrics."""

    def __init__(self, collector: Collector) -> None:
        super().__init__()
        self._collector = collector

    def export(self, metrics_data: MetricsData, timeout_millis: float = 10_000, **kwargs: Any) -> MetricExportResult:
        """Send metrics."""
        del timeout_millis, kwargs
        points = sum(
            len(metric.data.data_points)
            for resource in metrics_data.resource_metrics
            for scope in resource.scope_metrics
            for metric in scope.metrics
        )
        sent = self._collector.send("metrics", points, MetricsServiceStub, encode_metrics(metrics_data))
        return MetricExportResult.SUCCESS if sent else MetricExportResult.FAILURE

    def force_flush(self, timeout_millis: float = 10_000) -> bool:
        """Nothing is held back here."""
        del timeout_millis
        return True

    def shutdown(self, timeout_millis: float = 30_000, **kwargs: Any) -> None:
        """Nothing to do: the collector's owner closes it."""
        del timeout_millis, kwargs
