"""The gRPC server: its bounds, its services, its start and its end.

Credentials come from outside and are required: there is no plain-text port. A service whose handlers could go around
the guards, or lack their row in the method table, stops the start.
"""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import grpc
from grpc_health.v1 import health_pb2_grpc

from gateway.api.audit_service import AuditService
from gateway.api.connections import ConnectionKeeper
from gateway.api.draining import Draining
from gateway.api.health import NODE, Health
from gateway.api.interceptors import Audit, Guard, Handler
from gateway.api.message_service import MessageService
from gateway.api.methods import MethodShape, check_complete
from gateway.api.serving import REQUEST_TIMEOUT_S, GuardedCalls
from gateway.api.usage_service import UsageService
from gateway.limits.places import LeavingCalls
from smsgw.v1.audit_service_pb2_grpc import add_AuditServiceServicer_to_server
from smsgw.v1.message_service_pb2_grpc import add_MessageServiceServicer_to_server
from smsgw.v1.usage_service_pb2_grpc import add_UsageServiceServicer_to_server

SERVICE = "smsgw.v1.MessageService"


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerOptions:
    """The bounds of the server. Times in seconds, sizes in octets; counts are for one connection or say otherwise."""

    max_message_bytes: int = 4 << 20
    max_response_bytes: int = 0  # 0: the same
    max_metadata_bytes: int = 16 << 10
    max_concurrent_streams: int = 1000
    max_leaving_calls: int = 5000  # of the whole server: answered, and their answers not fetched
    max_connections: int = 10_000  # of the whole server
    request_timeout_s: float = REQUEST_TIMEOUT_S  # from the headers of a call to the end of its one request
    handshake_timeout_s: float = 10.0
    keepalive_s: float = 60.0  # idle time before the server pings
    keepalive_timeout_s: float = 20.0  # no answer by then: the connection is closed
    min_ping_interval_s: float = 10.0  # a client that pings more often is cut off
    max_ping_strikes: int = 2
    connection_idle_s: float = 900.0
    connection_age_s: float = 3600.0
    connection_age_grace_s: float = 60.0  # without it a long stream would never end


def channel_arguments(options: ServerOptions) -> list[tuple[str, Any]]:
    """Return gRPC's own names and units for `options` (grpc/impl/channel_arg_names.h)."""
    return [
        ("grpc.max_receive_message_length", options.max_message_bytes),
        ("grpc.max_send_message_length", options.max_response_bytes or options.max_message_bytes),
        ("grpc.max_metadata_size", options.max_metadata_bytes // 2),  # from here on some are refused, ...
        ("grpc.absolute_max_metadata_size", options.max_metadata_bytes),  # ... and from here on all
        ("grpc.max_concurrent_streams", options.max_concurrent_streams),
        ("grpc.max_allowed_incoming_connections", options.max_connections),
        ("grpc.server_handshake_timeout_ms", _ms(options.handshake_timeout_s)),
        ("grpc.keepalive_time_ms", _ms(options.keepalive_s)),
        ("grpc.keepalive_timeout_ms", _ms(options.keepalive_timeout_s)),
        ("grpc.keepalive_permit_without_calls", 1),
        ("grpc.http2.max_pings_without_data", 0),  # our own pings go on while a watch is idle
        ("grpc.http2.min_ping_interval_without_data_ms", _ms(options.min_ping_interval_s)),
        ("grpc.http2.max_ping_strikes", options.max_ping_strikes),
        ("grpc.max_connection_idle_ms", _ms(options.connection_idle_s)),
        ("grpc.max_connection_age_ms", _ms(options.connection_age_s)),
        ("grpc.max_connection_age_grace_ms", _ms(options.connection_age_grace_s)),
        ("grpc.so_reuseport", 0),  # a second node on this port is a mistake, and has to fail
    ]


def _ms(seconds: float) -> int:
    return max(1, round(seconds * 1000))


class GuardedServer:
    """A gRPC server whose every call passes the guards. Belongs to the event loop that starts it."""

    def __init__(
        self,
        register: Callable[[Registrar], None],
        *,
        guards: tuple[Guard, ...],
        audit: Audit,
        options: ServerOptions,
        connections: ConnectionKeeper,
        draining: Draining,
    ) -> None:
        """Build it; `register` adds the services. Raises ValueError when a handler cannot be guarded or has no row in
        the method table."""
        self.connections = connections
        self._draining = draining
        self._port = 0
        # No bound on calls here: gRPC's counts calls before anybody is asked who makes them. The guards have bounds.
        self._server = grpc.aio.server(options=channel_arguments(options))
        self.leaving = LeavingCalls(options.max_leaving_calls, connections.end)
        calls = GuardedCalls(
            guards, audit, self.leaving, draining, options.request_timeout_s, options.max_metadata_bytes
        )
        registrar = Registrar()
        register(registrar)
        check_complete(registrar.shapes)
        calls.add(registrar.handlers)
        self._server.add_generic_rpc_handlers((calls,))

    async def start(self, address: str, credentials: grpc.ServerCredentials) -> int:
        """Listen on `address` (`host:port`, port 0 for a free one); return the port.

        Raises OSError when the address cannot be had.
        """
        try:
            port = self._server.add_secure_port(address, credentials)
        except RuntimeError as error:
            raise OSError(f"cannot listen on {address}: is it in use, or not an address of this machine?") from error
        await self._server.start()
        self._port = port
        return port

    async def keep_connections(self) -> None:
        """Hold the connections of each address to their bounds, until cancelled: from `start` to after `stop`."""
        await self.connections.keep(self._port)

    async def stop(self, grace_s: float, linger_s: float = 0.0) -> None:
        """End, within `grace_s`: refuse new calls, for `linger_s` of it on the connections that stand; then close these
        (GOAWAY), let the calls under way finish, and cut the rest. Idempotent."""
        linger_s = min(linger_s, grace_s) if self._port else 0.0
        self._draining.begin(linger_s)
        self._end_long_calls()
        if linger_s:
            await self._draining.linger(linger_s)
        stopping = asyncio.create_task(self._server.stop(grace_s - linger_s))
        await self._draining.release()
        self._closing()
        await stopping

    def _end_long_calls(self) -> None:
        """End what would go on for ever: no new calls are taken."""

    def _closing(self) -> None:
        """The connections are being closed: end what has gone on until now."""


class ApiServer(GuardedServer):
    """One node's API, not SERVING until it is told so."""

    def __init__(
        self,
        *,
        service: MessageService,
        audit_service: AuditService,
        usage: UsageService,
        guards: tuple[Guard, ...],
        audit: Audit,
        options: ServerOptions,
        connections: ConnectionKeeper,
        draining: Draining,
    ) -> None:
        """Build it. Raises like `GuardedServer`."""
        self._service = service
        self._audit_service = audit_service
        self._usage = usage
        self._health = Health((SERVICE,))
        super().__init__(
            self._register, guards=guards, audit=audit, options=options, connections=connections, draining=draining
        )

    def _register(self, registrar: Registrar) -> None:
        add_MessageServiceServicer_to_server(self._service, registrar)  # type: ignore[arg-type]  # it does what is asked
        add_AuditServiceServicer_to_server(self._audit_service, registrar)  # type: ignore[arg-type]  # as above
        add_UsageServiceServicer_to_server(self._usage, registrar)  # type: ignore[arg-type]  # as above
        health_pb2_grpc.add_HealthServicer_to_server(self._health, registrar)

    def set_serving(self, serving: bool, part: str = NODE) -> None:
        """Say whether a part of the node lets it do its work: what health checks are told."""
        self._health.set_serving(serving, part)

    def _end_long_calls(self) -> None:
        self._health.drain()
        self._service.close(self._draining.refusal)

    def _closing(self) -> None:
        self._health.close()


class Registrar:
    """Stands in for the server while services register: keeps their handlers, and the shapes of those."""

    def __init__(self) -> None:
        self.handlers: dict[str, Handler] = {}
        self.shapes: dict[str, MethodShape] = {}

    def add_generic_rpc_handlers(self, generic_rpc_handlers: Iterable[grpc.GenericRpcHandler]) -> None:
        """Ignore these: generated code registers each method a second time, by name, below."""

    def add_registered_method_handlers(self, service_name: str, method_handlers: Mapping[str, Handler]) -> None:
        """Take up the methods of a service. Raises ValueError for a handler that is not asynchronous."""
        for method, handler in method_handlers.items():
            name = f"/{service_name}/{method}"
            check_handler(name, handler)
            self.handlers[name] = handler
            self.shapes[name] = MethodShape(handler.request_streaming, handler.response_streaming)


def check_handler(name: str, handler: Handler) -> None:
    """Raise ValueError unless `handler` is a coroutine function (one response) or an async generator (many)."""
    behaviour = handler.unary_unary or handler.unary_stream or handler.stream_unary or handler.stream_stream
    fits = inspect.isasyncgenfunction if handler.response_streaming else inspect.iscoroutinefunction
    if not fits(behaviour):
        raise ValueError(f"the handler of {name} cannot be guarded: write it as {fits.__name__.removeprefix('is')}")
