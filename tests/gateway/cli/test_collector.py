"""The collector of `dev`: believes its node only, and keeps no more than it can."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import grpc
import pytest
from opentelemetry.proto.collector.metrics.v1 import metrics_service_pb2 as metrics
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2_grpc import MetricsServiceStub
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2 as traces
from opentelemetry.proto.collector.trace.v1.trace_service_pb2_grpc import TraceServiceStub
from opentelemetry.proto.trace.v1.trace_pb2 import ResourceSpans, ScopeSpans, Span

from gateway.cli.collector import DevCollector, Traces
from gateway.config.kinds import Address
from tests.certificates import TestAuthority

AUTHORITY = TestAuthority("smsgw.test")
NODE = "spiffe://smsgw.test/gateway"


def span(trace: int, name: str = "x") -> Span:
    """Return a span of a trace."""
    return Span(trace_id=trace.to_bytes(16, "big"), span_id=b"\x01" * 8, name=name)


@asynccontextmanager
async def collecting(folder: Path) -> AsyncIterator[tuple[DevCollector, int]]:
    """Run a collector whose certificate is there."""
    (folder / "pki").mkdir()
    AUTHORITY.svid("/collector", dns=("collector.smsgw.test",)).write(folder / "pki", "collector")
    (folder / "root.pem").write_bytes(AUTHORITY.bundle_pem)
    collector = DevCollector(folder, bundle="root.pem", domain="smsgw.test", node_id=NODE)
    port = await collector.start(Address("127.0.0.1", 0))
    try:
        yield collector, port
    finally:
        await collector.stop()


def channel(port: int, path: str) -> grpc.aio.Channel:
    """Return a connection of somebody with this path."""
    svid = AUTHORITY.svid(path)
    credentials = grpc.ssl_channel_credentials(AUTHORITY.bundle_pem, svid.key_pem, svid.presented_pem)
    options = [("grpc.ssl_target_name_override", "collector.smsgw.test"), ("grpc.use_local_subchannel_pool", 1)]
    return grpc.aio.secure_channel(f"127.0.0.1:{port}", credentials, options)


def trace_service(connection: grpc.aio.Channel) -> Any:
    """Return a client of the traces' service."""
    return TraceServiceStub(connection)  # type: ignore[no-untyped-call]  # generated code


def metrics_service(connection: grpc.aio.Channel) -> Any:
    """Return a client of the metrics' service."""
    return MetricsServiceStub(connection)  # type: ignore[no-untyped-call]  # generated code


async def test_the_node_is_believed(tmp_path: Path) -> None:
    """Its spans are kept by trace; its metrics are taken."""
    request = traces.ExportTraceServiceRequest(
        resource_spans=[ResourceSpans(scope_spans=[ScopeSpans(spans=[span(1, "a"), span(2), span(1, "b")])])]
    )
    async with collecting(tmp_path) as (collector, port), channel(port, "/gateway") as node:
        await trace_service(node).Export(request, timeout=20)
        await metrics_service(node).Export(metrics.ExportMetricsServiceRequest(), timeout=20)
        found = await collector.traces.when(f"{1:032x}", lambda spans: len(spans) == 2, 20)
    assert [one.name for one in found] == ["a", "b"]


async def test_nobody_else_is(tmp_path: Path) -> None:
    """Another identity of the same trust domain is refused."""
    async with collecting(tmp_path) as (collector, port), channel(port, "/demo") as other:
        for call in (
            trace_service(other).Export(traces.ExportTraceServiceRequest(), timeout=20),
            metrics_service(other).Export(metrics.ExportMetricsServiceRequest(), timeout=20),
        ):
            with pytest.raises(grpc.aio.AioRpcError) as error:
                await call
            assert error.value.code() is grpc.StatusCode.PERMISSION_DENIED
        assert await collector.traces.when("0" * 32, bool, 0) == []


async def test_traces_are_bounded() -> None:
    """The oldest trace makes room, and a trace has so many spans at most."""
    kept = Traces()
    for number in range(1, 151):
        kept.add(span(number))
    for _ in range(500):
        kept.add(span(150))
    assert await kept.when(f"{1:032x}", bool, 0) == []
    assert len(await kept.when(f"{150:032x}", bool, 0)) == 200
    assert len(await kept.when(f"{51:032x}", bool, 0)) == 1


async def test_waiting_for_a_trace() -> None:
    """What comes while somebody waits is seen at once."""
    kept = Traces()
    waiting = asyncio.create_task(kept.when(f"{7:032x}", lambda spans: len(spans) == 2, 20))
    await asyncio.sleep(0)
    kept.add(span(7))
    await asyncio.sleep(0)
    kept.add(span(7))
    assert len(await asyncio.wait_for(waiting, 20)) == 2
