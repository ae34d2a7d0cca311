"""A hundred watchers that do not read, at a whole node under load: they cost their own lag, and nobody else's."""

from __future__ import annotations

import asyncio
import contextlib
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
import pytest

from bench import usage
from smsgw.v1 import message_service_pb2 as pb
from smsgw.v1.message_service_pb2_grpc import MessageServiceStub
from tests.appliance import SERVER_NAME, Appliance, CarrierSpec, Running
from tests.gateway.test_kill import drained, lines, simulator

SLOW = 100
CHANNELS = 10
RATE = 400.0  # messages/s offered
BEFORE = 8_000  # messages that are there when the watchers come: more than fits between node and reader
MEASURED = 8_000  # messages that come while they do not read
EACH_MB = 1.0  # a watcher may take; without its page it is half of that
MOST_GROWTH_MB = 25.0  # while they stand still
LAG_S = 3.0  # of the one that reads, at the median: a loaded machine's
_WITHIN_S = 300.0
# What a client takes in before anybody reads it: an HTTP/2 window that stays, or a slow reader is none for megabytes.
_WINDOW = [("grpc.http2.bdp_probe", 0), ("grpc.http2.lookahead_bytes", 65_536)]


@dataclass(frozen=True, slots=True, kw_only=True)
class Site:
    """A node under load."""

    appliance: Appliance
    node: Running
    port: int
    acknowledged: Path

    @asynccontextmanager
    async def stubs(self) -> AsyncIterator[list[Any]]:
        """Give stubs of connections of their own."""
        caller = self.appliance.callers[0]
        files = (caller.bundle, caller.key, caller.certificate)
        credentials = grpc.ssl_channel_credentials(*[file.read_bytes() for file in files])
        options = [("grpc.ssl_target_name_override", SERVER_NAME), ("grpc.use_local_subchannel_pool", 1), *_WINDOW]
        channels = [grpc.aio.secure_channel(f"127.0.0.1:{self.port}", credentials, options) for _ in range(CHANNELS)]
        try:
            yield [MessageServiceStub(channel) for channel in channels]
        finally:
            for channel in channels:
                await channel.close()

    async def until(self, acknowledged: int) -> None:
        """Wait until so many messages have been acknowledged."""
        async with asyncio.timeout(_WITHIN_S):
            while lines(self.acknowledged) < acknowledged:
                await asyncio.sleep(0.1)

    def resident_mb(self) -> float:
        """Return the node's memory."""
        return usage.read(self.node.pid).resident_bytes / 1e6


class Quick:
    """The watcher that reads: how far behind it is."""

    def __init__(self, stub: Any) -> None:
        self.lags_s: list[float] = []
        self._call = stub.WatchEvents(pb.WatchEventsRequest())
        self._reading = asyncio.ensure_future(self._read())

    async def _read(self) -> None:
        async for response in self._call:
            now = time.time()
            self.lags_s += [now - event.time.ToNanoseconds() / 1e9 for event in response.events]

    async def end(self) -> None:
        """Read no more. Raises what reading raised."""
        self._call.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self._reading


async def _stand_still(stubs: list[Any]) -> list[Any]:
    """Open watches of all that happened, and read one response of each: where it stands."""
    request = pb.WatchEventsRequest(start=pb.WATCH_START_OLDEST)
    calls = [stubs[number % CHANNELS].WatchEvents(request) for number in range(SLOW)]
    for call in calls:
        await call.read()
    return calls


async def _all_of(call: Any, number: int) -> list[str]:
    """Read so many events to the end; their cursors, each once and in order, stand for them."""
    seen: list[str] = []
    async with asyncio.timeout(_WITHIN_S):
        while len(seen) < number:
            seen += [event.cursor for event in (await call.read()).events]
    return seen


async def _judge(site: Site, load: Running) -> None:
    await site.until(BEFORE)
    async with site.stubs() as stubs:
        before_mb = site.resident_mb()
        calls = await _stand_still(stubs)
        await site.until(lines(site.acknowledged) + 2_000)  # what fits in between has gone there
        attached_mb, began, first = site.resident_mb(), time.monotonic(), lines(site.acknowledged)
        quick = Quick(stubs[0])
        await site.until(first + MEASURED)
        rate = (lines(site.acknowledged) - first) / (time.monotonic() - began)
        later_mb = site.resident_mb()
        await quick.end()
        lag_s = sorted(quick.lags_s)[len(quick.lags_s) // 2]
        assert await asyncio.to_thread(load.end) == 0
        await asyncio.to_thread(drained, site.appliance)
        print(
            f"\n{SLOW} slow watchers: {before_mb:.0f} MB before, {attached_mb:.0f} MB with them, {later_mb:.0f} MB"
            f" after {MEASURED} messages at {rate:.0f}/s; the quick one lags {lag_s * 1e3:.0f} ms at the median"
        )
        assert attached_mb - before_mb <= SLOW * EACH_MB
        assert later_mb - attached_mb <= MOST_GROWTH_MB
        assert rate >= RATE * 0.7
        assert lag_s <= LAG_S
        events = 3 * len(site.acknowledged.read_text().split())  # accepted, submitted, delivered
        whole = await _all_of(calls[0], events)
        assert len(set(whole)) == len(whole)
        assert await _all_of(calls[-1], events) == whole
        for call in calls:
            call.cancel()


@pytest.mark.soak
@pytest.mark.timeout(900)
async def test_a_hundred_watchers_that_do_not_read(tmp_path: Path) -> None:
    """Messages go at their rate, the watcher that reads is told at once, the node does not grow, and who reads again
    reads all of it."""
    appliance = await asyncio.to_thread(Appliance.create, tmp_path / "appliance")
    acknowledged, pki = tmp_path / "acknowledged.log", str(appliance.folder / "pki")
    with simulator(appliance) as (_, smpp_port):
        appliance.configure(CarrierSpec(port=smpp_port, ca_file=appliance.carrier_ca, window=250, rate=5000.0))
        with appliance.node(wrapped=False) as (node, port):
            command = [sys.executable, "-m", "tests.gateway.kill_load", str(port), pki, str(acknowledged), str(RATE)]
            with Running(command, log=tmp_path / "load.log") as load:
                await _judge(Site(appliance=appliance, node=node, port=port, acknowledged=acknowledged), load)
