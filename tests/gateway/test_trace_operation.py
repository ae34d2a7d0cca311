"""`smsgw carrier trace` on a running node, over TLS on every side."""

from __future__ import annotations

import asyncio
import signal
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import grpc
import pytest

from carrier.simulator.simulator import Simulator
from carrier.trace import file_header
from gateway.audit.records import OperatorActed
from smsgw.v1 import carrier_service_pb2 as pb
from smsgw.v1.carrier_service_pb2_grpc import CarrierServiceStub
from tests.appliance import OPERATOR, PASSWORD, SMSGW, Appliance
from tests.gateway.api.refusals import stream_refusal
from tests.gateway.operation import Operation, configure, fresh, operating, simulators

NUMBER = "+4915112345678"


@pytest.fixture(scope="module")
def appliance(tmp_path_factory: pytest.TempPathFactory) -> Appliance:
    """Make keys and certificates once."""
    return Appliance.create(tmp_path_factory.mktemp("trace") / "site", operator=True)


@pytest.fixture
async def carriers(appliance: Appliance) -> AsyncIterator[dict[str, Simulator]]:
    """Run a carrier that sends receipts, for two binds."""
    fresh(appliance)
    async with simulators(appliance, ("acme",), "receipts: {delay_s: 0.05}") as running:
        configure(appliance, running, binds=2)
        yield running


@pytest.fixture
async def operation(appliance: Appliance, carriers: dict[str, Simulator]) -> AsyncIterator[Operation]:
    """Run the node."""
    async with operating(appliance, carriers) as running:
        await running.until(lambda: carriers["acme"].stats()["bound"] == 2)
        yield running


def request(seconds: float, **fields: object) -> pb.TraceCarrierRequest:
    """Return a request for so many seconds."""
    asked = pb.TraceCarrierRequest(carrier="acme", reason="ticket 4711")
    for name, value in fields.items():
        setattr(asked, name, value)
    asked.duration.FromMicroseconds(round(seconds * 1e6))
    return asked


async def begun(operation: Operation) -> None:
    """Wait until a trace is on record."""
    async with asyncio.timeout(30):
        while not [act for act in await operation.acts() if act.what == "carrier trace begun"]:
            await asyncio.sleep(0.02)


async def ended(operation: Operation) -> OperatorActed:
    """Return the record of a trace's end, which comes a moment after it."""
    async with asyncio.timeout(30):
        while not (acts := [act for act in await operation.acts() if act.what == "carrier traced"]):
            await asyncio.sleep(0.02)
    return acts[-1]


def packets(capture: Path) -> int:
    """Return how many whole packets a capture file has so far."""
    octets, at, number = capture.read_bytes(), len(file_header()), 0
    while at + 16 <= len(octets):
        at += 16 + int.from_bytes(octets[at + 8 : at + 12], "little")
        number += at <= len(octets)
    return number


async def test_trace(operation: Operation, tmp_path: Path) -> None:
    """The file has what goes by as it goes by, and nothing personal; it is private; interrupted, it keeps what it has;
    who did it, why, and how much is on record."""
    out = tmp_path / "acme.pcap"
    process = await asyncio.create_subprocess_exec(
        sys.executable, SMSGW, "carrier", "trace", "acme", "--for", "10m", "--out", str(out),
        "--reason", "ticket 4711", "--dir", str(operation.appliance.folder), stderr=asyncio.subprocess.DEVNULL,
    )  # fmt: skip
    try:
        await begun(operation)
        for message_id in await operation.send(5):
            await operation.reach(message_id, "DELIVERED")
        await operation.until(lambda: packets(out) >= 20)  # each: submit_sm, deliver_sm, and their responses
    finally:
        process.send_signal(signal.SIGINT)
        await asyncio.wait_for(process.wait(), 30)
    octets = out.read_bytes()
    assert octets.startswith(file_header())
    assert out.stat().st_mode & 0o777 == 0o600
    for planted in (NUMBER[1:].encode(), b"hello", PASSWORD.encode()):
        assert planted not in octets
    end = await ended(operation)
    assert (end.carrier, end.by, end.reason) == ("acme", OPERATOR, "ticket 4711")
    assert end.number >= 20


async def test_summary(operation: Operation, tmp_path: Path) -> None:
    """A trace that comes to its end says what it has; a file that exists is not overwritten."""
    out = tmp_path / "acme.pcap"
    arguments = ("carrier", "trace", "acme", "--for", "1s", "--out", str(out), "--reason", "ticket 4711")
    (summary,) = await operation.command(*arguments)
    assert summary == {
        "file": str(out), "pdus": packets(out), "octets": out.stat().st_size, "left_out": 0, "full": False,
    }  # fmt: skip
    (failed,) = await operation.command(*arguments, code=2)
    assert failed["error"]["reason"] == "IN_THE_WAY"


async def test_one_at_a_time_and_none_is_left(operation: Operation) -> None:
    """A second trace of a carrier is refused; a caller that goes away ends its own, which is on record."""
    stub = operation.operator
    first = stub.TraceCarrier(request(600))
    assert (await anext(aiter(first))).octets.startswith(file_header())
    refused = await stream_refusal(aiter(stub.TraceCarrier(request(5))))
    assert refused.reason == "TRACE_RUNNING"
    first.cancel()
    await ended(operation)
    parts = [part async for part in stub.TraceCarrier(request(1))]
    assert parts[-1].summary.octets == sum(len(part.octets) for part in parts)


async def test_a_full_capture_ends(operation: Operation) -> None:
    """The size is bounded: it ends before its time, and says so."""
    trace = operation.operator.TraceCarrier(request(600, max_bytes=4096))
    first = await anext(aiter(trace))
    await operation.send(100)
    parts = [first, *[part async for part in trace]]
    summary = parts[-1].summary
    assert summary.full
    assert 2000 < summary.octets <= 4096
    assert sum(len(part.octets) for part in parts) == summary.octets


@pytest.mark.parametrize(
    ("asked", "reason"),
    [
        (request(0.5), "DURATION_INVALID"),
        (request(601), "DURATION_INVALID"),
        (request(5, max_bytes=100), "SIZE_INVALID"),
        (request(5, max_bytes=65 << 20), "SIZE_INVALID"),
        (request(5, reason=""), "REASON_REQUIRED"),
        (request(5, carrier="nobody"), "CARRIER_UNKNOWN"),
        (request(5, bind=2), "BIND_UNKNOWN"),
    ],
)
async def test_wrong_requests(operation: Operation, asked: pb.TraceCarrierRequest, reason: str) -> None:
    """Bounds are told before anything is copied; nothing of it is on record as done."""
    assert (await stream_refusal(aiter(operation.operator.TraceCarrier(asked)))).reason == reason
    assert await operation.acts() == []


async def test_callers_are_refused(operation: Operation) -> None:
    """A caller of a tenant sees nothing of the wire."""
    stranger = CarrierServiceStub(operation.channel("caller-0", operation.node.admin_address))
    refused = await stream_refusal(aiter(stranger.TraceCarrier(request(5))))
    assert (refused.code, refused.reason) == (grpc.StatusCode.PERMISSION_DENIED, "NOT_AN_OPERATOR")
