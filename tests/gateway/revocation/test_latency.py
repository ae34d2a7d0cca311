"""How long a revocation takes, from the operator's call to the end of a stream, on the same node and on another one.

`pytest -m soak -s tests/gateway/revocation/test_latency.py` prints it; docs/performance.md has the figures of a quiet
machine. The ceilings here are the budget's lines, many times the usual.
"""

from __future__ import annotations

import asyncio
import statistics
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

import grpc
import grpc.aio
import pytest

from gateway.node import Node
from smsgw.v1 import message_service_pb2 as api
from smsgw.v1 import revocation_service_pb2 as pb
from tests.appliance import Running
from tests.gateway.revocation import site as sites
from tests.gateway.revocation.site import CALLER, TIMEOUT_S, Site

pytestmark = pytest.mark.soak

ROUNDS = 50


async def cut_at(watch: grpc.aio.UnaryStreamCall[api.WatchEventsRequest, api.WatchEventsResponse]) -> float:
    """Return when a watch was cut."""
    code = await watch.code()  # it is idle until then
    at = time.perf_counter()
    assert code is grpc.StatusCode.UNAUTHENTICATED
    return at


async def measured(
    site: Site, publisher: Node, watch: Callable[[], Awaitable[asyncio.Task[float]]]
) -> tuple[float, float]:
    """Revoke once, and take it back; seconds from the call to its answer, and to the end of the stream."""
    ends = await watch()
    operator = site.operator(publisher)
    target = pb.RevocationTarget(identity=pb.IdentityTarget(spiffe_id=CALLER))
    await operator.ListRevocations(pb.ListRevocationsRequest(), timeout=TIMEOUT_S)  # the connection stands
    began = time.perf_counter()
    done = await operator.Revoke(
        pb.RevokeRequest(targets=[target], reason="latency", queued=pb.QUEUED_MESSAGES_KEEP), timeout=TIMEOUT_S
    )
    answered = time.perf_counter()
    cut = await ends
    await operator.Restore(pb.RestoreRequest(id=done.revocations[0].id, reason="latency"), timeout=TIMEOUT_S)
    return answered - began, cut - began


async def test_on_the_same_node(tmp_path: Path) -> None:
    """The publisher in a process of its own would be no slower: here the client shares its loop."""
    site = sites.make(tmp_path / "site")
    async with sites.proxied(site), sites.publisher(site) as node:

        async def watch() -> asyncio.Task[float]:
            stream = site.caller(node).WatchEvents(api.WatchEventsRequest(), timeout=TIMEOUT_S)
            await stream.read()
            return asyncio.create_task(cut_at(stream))

        told("same node", [await measured(site, node, watch) for _ in range(ROUNDS)], line_s=0.05)


async def test_on_another_node(tmp_path: Path) -> None:
    """The follower is a process of its own."""
    site = sites.make(tmp_path / "site")
    async with sites.proxied(site), sites.publisher(site) as node:
        config = site.write_follower()
        command = [*site.appliance.serve_command()[:-1], str(config)]
        running = await asyncio.to_thread(Running, command, log=site.folder / "node-2.log")
        try:
            line = await asyncio.to_thread(running.line_with, r"127\.0\.0\.1:(\d+)")
            address = f"127.0.0.1:{line.group(1)}"

            async def watch() -> asyncio.Task[float]:
                async with asyncio.timeout(TIMEOUT_S):
                    while True:  # until the follower has taken up that the last round was taken back
                        stream = site.watching(address)
                        try:
                            await stream.read()
                        except grpc.aio.AioRpcError:
                            await asyncio.sleep(0.01)
                        else:
                            return asyncio.create_task(cut_at(stream))

            told("another node", [await measured(site, node, watch) for _ in range(ROUNDS)], line_s=1.0)
        finally:
            await asyncio.to_thread(running.end)


def told(where: str, rounds: list[tuple[float, float]], *, line_s: float) -> None:
    """Print the figures, and hold the median to the line."""
    for what, values in (("answered", [each[0] for each in rounds]), ("stream cut", [each[1] for each in rounds])):
        values.sort()
        p50, p95 = statistics.median(values), values[int(len(values) * 0.95)]
        print(f"{where}: {what} after p50 {p50 * 1e3:.1f} ms, p95 {p95 * 1e3:.1f} ms, max {values[-1] * 1e3:.1f} ms")
    assert statistics.median([each[1] for each in rounds]) < line_s
