"""smsgw.v1.CarrierService: carriers as they stand, and the switches of an operator. The work is the fleet's."""

# ruff: noqa: ARG002, N802 -- the names and parameters are gRPC's

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import AbstractContextManager, aclosing
from typing import Protocol

from gateway.api.carrier_status import to_carrier
from gateway.api.interceptors import Context, current_call
from gateway.api.operating import Acts, reason_of
from gateway.audit.records import Record
from gateway.errors import FieldViolation, InvalidRequest
from gateway.pipeline.capture import MAX_BYTES, Capture
from gateway.pipeline.fleet import CarrierStatus
from gateway.store.operating import CarrierHold
from smsgw.v1 import carrier_service_pb2 as pb
from smsgw.v1.carrier_service_pb2_grpc import CarrierServiceServicer

MAX_TRACE_S = 600
_PIECE = 64 << 10
_LEAST_BYTES = 4 << 10
_USUAL_BYTES = 16 << 20


class CarrierControl(Protocol):
    """What is needed of `gateway.pipeline.fleet.Fleet`."""

    def status(self) -> list[CarrierStatus]:
        """Return the carriers, in the order of the configuration."""

    async def pause(self, hold: CarrierHold, audit: Sequence[Record]) -> None:
        """Give a carrier nothing new."""

    async def drain(self, hold: CarrierHold, audit: Sequence[Record]) -> None:
        """Give a carrier nothing new, and end its links."""

    async def resume(self, name: str, audit: Sequence[Record]) -> None:
        """End a pause or a drain."""

    async def rebind(self, name: str, index: int | None, audit: Sequence[Record]) -> None:
        """End links, and bind anew."""

    def tapped(self, name: str, index: int | None, capture: Capture) -> AbstractContextManager[None]:
        """Copy PDUs into `capture` for as long as this lasts."""


class CarrierService(CarrierServiceServicer):
    """The servicer. Its methods run behind `gateway.api.interceptors` only."""

    def __init__(self, carriers: CarrierControl, acts: Acts) -> None:
        self._carriers = carriers
        self._acts = acts

    async def GetCarriers(self, request: pb.GetCarriersRequest, context: Context) -> pb.GetCarriersResponse:
        """Return all carriers."""
        return pb.GetCarriersResponse(carriers=[to_carrier(status) for status in self._carriers.status()])

    async def PauseCarrier(self, request: pb.PauseCarrierRequest, context: Context) -> pb.PauseCarrierResponse:
        """Give a carrier nothing new."""
        await self._hold(request.carrier, reason_of(request.reason), drained=False)
        return pb.PauseCarrierResponse(carrier=self._one(request.carrier))

    async def DrainCarrier(self, request: pb.DrainCarrierRequest, context: Context) -> pb.DrainCarrierResponse:
        """Give a carrier nothing new, and unbind."""
        await self._hold(request.carrier, reason_of(request.reason), drained=True)
        return pb.DrainCarrierResponse(carrier=self._one(request.carrier))

    async def ResumeCarrier(self, request: pb.ResumeCarrierRequest, context: Context) -> pb.ResumeCarrierResponse:
        """End a pause or a drain."""
        name, reason = request.carrier, reason_of(request.reason, required=False)
        record = self._acts.record(current_call.get(), "carrier resumed", carrier=name, reason=reason)
        await self._acts.do(record, lambda audit: self._carriers.resume(name, audit))
        return pb.ResumeCarrierResponse(carrier=self._one(name))

    async def RebindCarrier(self, request: pb.RebindCarrierRequest, context: Context) -> pb.RebindCarrierResponse:
        """End one bind or all, and bind anew."""
        name, reason = request.carrier, reason_of(request.reason)
        index = request.bind if request.HasField("bind") else None
        what = "carrier rebound" if index is None else f"bind {index} rebound"
        record = self._acts.record(current_call.get(), what, carrier=name, reason=reason)
        await self._acts.do(record, lambda audit: self._carriers.rebind(name, index, audit))
        return pb.RebindCarrierResponse(carrier=self._one(name))

    async def TraceCarrier(
        self, request: pb.TraceCarrierRequest, context: Context
    ) -> AsyncIterator[pb.TraceCarrierResponse]:
        """Copy the PDUs of a carrier for a while. Its begin is recorded before anything is sent, its end after."""
        name, reason = request.carrier, reason_of(request.reason)
        duration_s, capture = _duration_s(request), Capture(_max_bytes(request))
        index = request.bind if request.HasField("bind") else None
        with self._carriers.tapped(name, index, capture):
            record = self._acts.record(current_call.get(), "carrier trace begun", carrier=name, reason=reason)
            await self._acts.tell(record)
            try:
                async with aclosing(_pieces(capture, duration_s)) as pieces:
                    async for piece in pieces:
                        yield pb.TraceCarrierResponse(octets=piece)
                yield pb.TraceCarrierResponse(
                    summary=pb.TraceSummary(
                        pdus=capture.pdus, octets=capture.octets, left_out=capture.left_out, full=capture.full
                    )
                )
            finally:
                self._acts.ended(record._replace(what="carrier traced", number=capture.pdus))

    async def _hold(self, name: str, reason: str, *, drained: bool) -> None:
        call, work = current_call.get(), self._carriers.drain if drained else self._carriers.pause
        what = "carrier drained" if drained else "carrier paused"
        record = self._acts.record(call, what, carrier=name, reason=reason)
        hold = CarrierHold(name, drained, record.at, record.by, reason)
        await self._acts.do(record, lambda audit: work(hold, audit))

    def _one(self, name: str) -> pb.Carrier:
        return next(to_carrier(status) for status in self._carriers.status() if status.profile.name == name)


async def _pieces(capture: Capture, duration_s: float) -> AsyncGenerator[bytes, None]:
    """Yield a capture's octets until its time is over, or it is full."""
    loop = asyncio.get_running_loop()
    deadline = loop.time() + duration_s
    while True:
        while piece := capture.read(_PIECE):
            yield piece
        if capture.full or loop.time() >= deadline:
            return
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout_at(deadline):
                await capture.ready.wait()


def _duration_s(request: pb.TraceCarrierRequest) -> float:
    duration_s = request.duration.ToMicroseconds() / 1e6
    if not 1 <= duration_s <= MAX_TRACE_S:
        raise _wrong("duration", f"must be 1 s to {MAX_TRACE_S // 60} min", "DURATION_INVALID")
    return duration_s


def _max_bytes(request: pb.TraceCarrierRequest) -> int:
    if request.max_bytes and not _LEAST_BYTES <= request.max_bytes <= MAX_BYTES:
        raise _wrong("max_bytes", f"must be {_LEAST_BYTES} to {MAX_BYTES}, or 0 for {_USUAL_BYTES}", "SIZE_INVALID")
    return request.max_bytes or _USUAL_BYTES


def _wrong(field: str, text: str, reason: str) -> InvalidRequest:
    return InvalidRequest((FieldViolation(field, text, reason),))
