"""A collector for tests: a real OTLP service over mutual TLS that keeps what it is sent."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import grpc
from opentelemetry.proto.collector.metrics.v1 import metrics_service_pb2 as metrics
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2_grpc import (
    MetricsServiceServicer,
    add_MetricsServiceServicer_to_server,
)
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2 as traces
from opentelemetry.proto.collector.trace.v1.trace_service_pb2_grpc import (
    TraceServiceServicer,
    add_TraceServiceServicer_to_server,
)
from opentelemetry.proto.common.v1.common_pb2 import KeyValue
from opentelemetry.proto.metrics.v1.metrics_pb2 import Metric
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from gateway.config.kinds import Address
from gateway.config.telemetry_settings import OtlpSettings
from tests.certificates import TestAuthority

NAME = "collector.example.org"


class Receiver(TraceServiceServicer, MetricsServiceServicer):
    """Keeps requests; answers with `failure` instead when it is set. Not both services of one class in production."""

    def __init__(self) -> None:
        self.requests: list[traces.ExportTraceServiceRequest] = []
        self.metric_requests: list[metrics.ExportMetricsServiceRequest] = []
        self.peers: list[str] = []
        self.failure: grpc.StatusCode | None = None
        self.calls = 0

    def Export(self, request: Any, context: grpc.ServicerContext) -> Any:  # noqa: N802 -- the name of the RPC
        """Keep the request of either service."""
        self.calls += 1
        if self.failure is not None:
            context.abort(self.failure, "as the test wants")
        identity: Any = context.auth_context().get("peer_spiffe_id", [b""])
        self.peers.append(next(iter(identity)).decode())
        if isinstance(request, traces.ExportTraceServiceRequest):
            self.requests.append(request)
            return traces.ExportTraceServiceResponse()
        self.metric_requests.append(request)
        return metrics.ExportMetricsServiceResponse()

    @property
    def spans(self) -> list[Span]:
        """All spans that came."""
        return [
            span
            for request in self.requests
            for resource in request.resource_spans
            for scope in resource.scope_spans
            for span in scope.spans
        ]

    @property
    def metrics(self) -> dict[str, Metric]:
        """The metrics that came last, by name."""
        return {
            metric.name: metric
            for request in self.metric_requests
            for resource in request.resource_metrics
            for scope in resource.scope_metrics
            for metric in scope.metrics
        }

    @property
    def octets(self) -> bytes:
        """Everything that came, as it came."""
        return b"".join(request.SerializeToString() for request in [*self.requests, *self.metric_requests])


def plain(pairs: Any) -> dict[str, str | int]:
    """Return attributes as a dictionary."""
    return {pair.key: _value(pair) for pair in pairs}


def _value(pair: KeyValue) -> str | int:
    kind = pair.value.WhichOneof("value")
    assert kind in ("string_value", "int_value")
    value: str | int = getattr(pair.value, kind)
    return value


@contextmanager
def listening(credentials: grpc.ServerCredentials | None) -> Iterator[tuple[Receiver, int]]:
    """Run a receiver on a free port of loopback: with these credentials, or in plain text."""
    server = grpc.server(ThreadPoolExecutor(max_workers=4), options=[("grpc.so_reuseport", 0)])
    receiver = Receiver()
    add_TraceServiceServicer_to_server(receiver, server)  # type: ignore[no-untyped-call]  # generated code
    add_MetricsServiceServicer_to_server(receiver, server)  # type: ignore[no-untyped-call]
    address = "127.0.0.1:0"
    port = server.add_insecure_port(address) if credentials is None else server.add_secure_port(address, credentials)
    server.start()
    try:
        yield receiver, port
    finally:
        server.stop(0).wait(10)


def collector_credentials(authority: TestAuthority, *, clients: TestAuthority | None = None) -> grpc.ServerCredentials:
    """Return a collector's: a certificate of `authority`, and a demand for one of `clients`."""
    own = authority.svid("/collector", dns=(NAME,))
    roots = (clients or authority).bundle_pem
    return grpc.ssl_server_credentials(
        [(own.key_pem, own.presented_pem)], root_certificates=roots, require_client_auth=True
    )


def otlp_settings(folder: Path, authority: TestAuthority, port: int, **changes: Any) -> OtlpSettings:
    """Return how a node reaches the receiver: its files are written to `folder`."""
    certificate, key = authority.svid("/gateway").write(folder, "node")
    roots = folder / "roots.pem"
    roots.write_bytes(authority.bundle_pem)
    values: dict[str, Any] = {
        "endpoint": Address("127.0.0.1", port),
        "ca_file": roots,
        "server_name": NAME,
        "certificate_file": certificate,
        "key_file": key,
        "insecure": False,
        "metrics_every_s": 3600.0,
    }
    return OtlpSettings(**{**values, **changes})
