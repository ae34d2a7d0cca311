"""smsgw.v1.CarrierService: carriers as they stand, and the switches of an operator. The work is the fleet's."""

# ruff: noqa: ARG002, N802 -- the names and parameters are gRPC's

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from gateway.api.interceptors import Context, current_call
from gateway.api.operating import Acts, reason_of
from gateway.audit.records import Record
from gateway.pipeline.fleet import CarrierStatus
from gateway.pipeline.pipeline import LinkStatus
from gateway.store.operating import CarrierHold
from smsgw.v1 import carrier_service_pb2 as pb
from smsgw.v1.carrier_service_pb2_grpc import CarrierServiceServicer


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


class CarrierService(CarrierServiceServicer):
    """The servicer. Its methods run behind `gateway.api.interceptors` only."""

    def __init__(self, carriers: CarrierControl, acts: Acts) -> None:
        self._carriers = carriers
        self._acts = acts

    async def GetCarriers(self, request: pb.GetCarriersRequest, context: Context) -> pb.GetCarriersResponse:
        """Return all carriers."""
        return pb.GetCarriersResponse(carriers=[_carrier(status) for status in self._carriers.status()])

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

    async def _hold(self, name: str, reason: str, *, drained: bool) -> None:
        call, work = current_call.get(), self._carriers.drain if drained else self._carriers.pause
        what = "carrier drained" if drained else "carrier paused"
        record = self._acts.record(call, what, carrier=name, reason=reason)
        hold = CarrierHold(name, drained, record.at, record.by, reason)
        await self._acts.do(record, lambda audit: work(hold, audit))

    def _one(self, name: str) -> pb.Carrier:
        return next(_carrier(status) for status in self._carriers.status() if status.profile.name == name)


def _carrier(status: CarrierStatus) -> pb.Carrier:
    profile, hold, links = status
    mode = pb.CARRIER_MODE_OPEN
    if hold is not None:
        mode = pb.CARRIER_MODE_DRAINED if hold.drained else pb.CARRIER_MODE_PAUSED
    carrier = pb.Carrier(
        name=profile.name,
        mode=mode,
        insecure=profile.tls is None,
        address=f"{profile.host}:{profile.port}",
        binds=[_bind(link) for link in links],
    )
    if hold is not None:
        carrier.held_by, carrier.held_because = hold.by, hold.reason
        carrier.held_at.FromMicroseconds(hold.at)
    return carrier


def _bind(link: LinkStatus) -> pb.CarrierBind:
    return pb.CarrierBind(
        name=link.name,
        state=link.state,
        why=link.why,
        window=link.window,
        unanswered=link.unanswered,
        staged=link.staged,
        in_doubt=link.slots,
    )
