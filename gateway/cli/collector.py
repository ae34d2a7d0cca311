"""The collector of `smsgw dev`: receives the node's spans by OTLP over mutual TLS, and keeps a few traces to be drawn.

It is a real receiver, so that what `dev` shows has gone the way that it would go to any other: encoded, encrypted,
authenticated on both sides. It believes nobody but the node. Metrics are taken and dropped. Everything is bounded.
"""

from __future__ import annotations

import asyncio
import contextlib
import datetime as dt
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
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
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from certs.errors import CertsError
from certs.spiffe_id import SpiffeId, TrustDomain
from certs.tls import BundleFiles, SvidFiles, server_credentials
from gateway.config.kinds import Address
from gateway.errors import GatewayError
from gateway.identity import CallerResolver

_TRACES = 100
_SPANS_EACH = 200
_REFRESH_S = 5.0
_MAX_BYTES = 4 << 20


class Traces:
    """The newest traces, by id in hexadecimal."""

    def __init__(self) -> None:
        self._spans: OrderedDict[str, list[Span]] = OrderedDict()
        self._came = asyncio.Event()

    def add(self, span: Span) -> None:
        """Take a span; the trace that has been quiet for the longest makes room."""
        trace_id = span.trace_id.hex()
        spans = self._spans.setdefault(trace_id, [])
        self._spans.move_to_end(trace_id)
        if len(spans) < _SPANS_EACH:
            spans.append(span)
        if len(self._spans) > _TRACES:
            self._spans.popitem(last=False)
        self._came.set()

    async def when(self, trace_id: str, complete: Callable[[list[Span]], bool], deadline_s: float) -> list[Span]:
        """Return the spans of a trace when they are `complete`, or those that have come by the deadline."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(deadline_s):
                while not complete(self._spans.get(trace_id, [])):
                    self._came.clear()
                    await self._came.wait()
        return list(self._spans.get(trace_id, ()))


class DevCollector:
    """The server. `node_id` is the SPIFFE ID of the only one that may send."""

    def __init__(self, folder: Path, *, bundle: str, domain: str, node_id: str) -> None:
        """`folder` has pki/collector.pem and .key, and the bundle at that path. Raises CertsError."""
        self.traces = Traces()
        self._svid = SvidFiles(folder / "pki/collector.pem", folder / "pki/collector.key")
        self._bundles = BundleFiles({TrustDomain(domain): folder / bundle})

        def known(spiffe_id: SpiffeId) -> str | None:
            return "node" if str(spiffe_id) == node_id else None

        self._resolver = CallerResolver(self._bundles.bundles, known, lambda: dt.datetime.now(dt.UTC))
        self._server: grpc.aio.Server | None = None
        self._refresh: asyncio.Task[None] | None = None

    async def start(self, address: Address) -> int:
        """Listen; returns the port. Raises OSError."""
        server = grpc.aio.server(options=[("grpc.max_receive_message_length", _MAX_BYTES)])
        add_TraceServiceServicer_to_server(_TraceService(self), server)  # type: ignore[no-untyped-call]  # generated
        add_MetricsServiceServicer_to_server(_MetricsService(self), server)  # type: ignore[no-untyped-call]
        try:
            port = server.add_secure_port(str(address), server_credentials(self._svid, self._bundles.bundles))
        except RuntimeError as error:
            raise OSError(f"the collector cannot listen on {address}") from error
        await server.start()
        self._server, self._refresh = server, asyncio.create_task(self._keep_fresh())
        return int(port)

    async def _keep_fresh(self) -> None:
        while True:
            await asyncio.sleep(_REFRESH_S)
            with contextlib.suppress(CertsError, OSError):  # the CA is about to write them; the old ones stay
                self._svid.refresh()
                self._bundles.refresh()

    async def stop(self) -> None:
        """Stop listening. Idempotent."""
        if self._refresh is not None:
            self._refresh.cancel()
        if self._server is not None:
            await self._server.stop(0)

    async def require_node(self, context: grpc.aio.ServicerContext[Any, Any]) -> None:
        """End a call that the node has not made."""
        try:
            self._resolver.resolve(context.auth_context())
        except GatewayError as error:
            await context.abort(grpc.StatusCode.PERMISSION_DENIED, str(error))


class _TraceService(TraceServiceServicer):
    def __init__(self, collector: DevCollector) -> None:
        self._collector = collector

    async def Export(  # noqa: N802 -- the name of the RPC
        self, request: traces.ExportTraceServiceRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> traces.ExportTraceServiceResponse:
        await self._collector.require_node(context)
        for resource in request.resource_spans:
            for scope in resource.scope_spans:
                for span in scope.spans:
                    self._collector.traces.add(span)
        return traces.ExportTraceServiceResponse()


class _MetricsService(MetricsServiceServicer):
    def __init__(self, collector: DevCollector) -> None:
        self._collector = collector

    async def Export(  # noqa: N802
        self, request: metrics.ExportMetricsServiceRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> metrics.ExportMetricsServiceResponse:
        del request
        await self._collector.require_node(context)
        return metrics.ExportMetricsServiceResponse()
