"""grpc.health.v1: SERVING only while the node says that it serves.

Own code, since the servicer of grpcio-health-checking has no List and writes around the guards.
"""

# ruff: noqa: ARG002, N802 -- the names and parameters are gRPC's

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

from grpc_health.v1 import health_pb2, health_pb2_grpc

from gateway.api.interceptors import Context
from gateway.errors import NotFound

SERVING = health_pb2.HealthCheckResponse.SERVING
NOT_SERVING = health_pb2.HealthCheckResponse.NOT_SERVING
NODE = "node"  # as a whole
SERVICE_UNKNOWN = health_pb2.HealthCheckResponse.SERVICE_UNKNOWN


class Health(health_pb2_grpc.HealthServicer):  # type: ignore[misc]  # the package has no types
    """The health of the node and of its services, which stand and fall together: it serves while no part of it has said
    that it cannot."""

    def __init__(self, services: tuple[str, ...]) -> None:
        self._known = frozenset(services) | {""}  # "" is the node as a whole
        self._in_the_way = {NODE}
        self._ending = self._closed = False
        self._changed = asyncio.Event()

    def set_serving(self, serving: bool, part: str = NODE) -> None:
        """Say whether a part of the node lets it serve. After `drain` it never does again."""
        if serving:
            self._in_the_way.discard(part)
        else:
            self._in_the_way.add(part)
        self._tell()

    @property
    def _serving(self) -> bool:
        return not (self._in_the_way or self._ending)

    def drain(self) -> None:
        """The node is going down: NOT_SERVING for good."""
        self._ending = True
        self._tell()

    def close(self) -> None:
        """The same, and the watchers' streams end."""
        self._closed = True
        self.drain()

    def _tell(self) -> None:
        changed, self._changed = self._changed, asyncio.Event()
        changed.set()

    def _status(self, service: str) -> int:
        if service not in self._known:
            return int(SERVICE_UNKNOWN)
        return int(SERVING if self._serving else NOT_SERVING)

    async def Check(self, request: health_pb2.HealthCheckRequest, context: Context) -> health_pb2.HealthCheckResponse:
        """Answer for one service. Raises NotFound for an unknown one, as the protocol wants."""
        status = self._status(request.service)
        if status == SERVICE_UNKNOWN:
            raise NotFound("no such service here", reason="SERVICE_UNKNOWN")
        return health_pb2.HealthCheckResponse(status=status)

    async def List(self, request: health_pb2.HealthListRequest, context: Context) -> health_pb2.HealthListResponse:
        """Answer for all services."""
        response = health_pb2.HealthListResponse()
        for service in sorted(self._known):
            response.statuses[service].status = self._status(service)
        return response

    async def Watch(
        self, request: health_pb2.HealthCheckRequest, context: Context
    ) -> AsyncIterator[health_pb2.HealthCheckResponse]:
        """Tell the status now and whenever it changes, until the node closes."""
        told: int | None = None
        while True:
            changed = self._changed
            status = self._status(request.service)
            if status != told:
                told = status
                yield health_pb2.HealthCheckResponse(status=status)
                continue  # it may have changed while that was written
            if self._closed:
                return
            await changed.wait()
