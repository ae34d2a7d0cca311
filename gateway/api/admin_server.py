"""The administrative server: its services, and its bounds, which are small: a few operators call it.

It has an address, guards and connections of its own, so that nobody who floods the API keeps an operator out.
"""

from __future__ import annotations

from dataclasses import dataclass

from gateway.api.carrier_service import CarrierService
from gateway.api.connections import ConnectionBounds, ConnectionKeeper
from gateway.api.draining import Draining
from gateway.api.interceptors import Audit, Guard
from gateway.api.key_service import KeyService
from gateway.api.node_service import NodeService
from gateway.api.policy_service import PolicyService
from gateway.api.privacy_service import PrivacyService
from gateway.api.queue_service import QueueService
from gateway.api.revocation_service import RevocationService
from gateway.api.server import GuardedServer, Registrar, ServerOptions
from gateway.api.usage_service import UsageReportService
from gateway.revocation.codec import MAX_BODY_BYTES
from smsgw.v1.carrier_service_pb2_grpc import add_CarrierServiceServicer_to_server
from smsgw.v1.key_service_pb2_grpc import add_KeyServiceServicer_to_server
from smsgw.v1.node_service_pb2_grpc import add_NodeServiceServicer_to_server
from smsgw.v1.policy_service_pb2_grpc import add_PolicyServiceServicer_to_server
from smsgw.v1.privacy_service_pb2_grpc import add_PrivacyServiceServicer_to_server
from smsgw.v1.queue_service_pb2_grpc import add_QueueServiceServicer_to_server
from smsgw.v1.revocation_service_pb2_grpc import add_RevocationServiceServicer_to_server
from smsgw.v1.usage_service_pb2_grpc import add_UsageReportServiceServicer_to_server

ADMIN_OPTIONS = ServerOptions(
    max_message_bytes=1 << 20,
    max_response_bytes=MAX_BODY_BYTES + 65_536,  # the deny list goes to other nodes whole
    max_concurrent_streams=20,
    max_connections=300,
)
ADMIN_CONNECTIONS = ConnectionBounds(per_address=50, silent_per_address=20)


@dataclass(frozen=True, slots=True, kw_only=True)
class AdminServices:
    """What operators can call."""

    carriers: CarrierService
    queues: QueueService
    node: NodeService
    keys: KeyService
    revocations: RevocationService
    policies: PolicyService
    usage: UsageReportService
    privacy: PrivacyService


class AdminServer(GuardedServer):
    """One node's administrative API."""

    def __init__(
        self,
        services: AdminServices,
        *,
        guards: tuple[Guard, ...],
        audit: Audit,
        connections: ConnectionKeeper,
        draining: Draining,
    ) -> None:
        """Build it. Raises like `GuardedServer`."""
        self._services = services
        super().__init__(
            self._register,
            guards=guards,
            audit=audit,
            options=ADMIN_OPTIONS,
            connections=connections,
            draining=draining,
        )

    def _register(self, registrar: Registrar) -> None:
        services = self._services
        add_CarrierServiceServicer_to_server(services.carriers, registrar)  # type: ignore[arg-type]  # it does what is asked
        add_KeyServiceServicer_to_server(services.keys, registrar)  # type: ignore[arg-type]  # the same
        add_NodeServiceServicer_to_server(services.node, registrar)  # type: ignore[arg-type]  # the same
        add_PolicyServiceServicer_to_server(services.policies, registrar)  # type: ignore[arg-type]  # the same
        add_QueueServiceServicer_to_server(services.queues, registrar)  # type: ignore[arg-type]  # the same
        add_RevocationServiceServicer_to_server(services.revocations, registrar)  # type: ignore[arg-type]  # the same
        add_PrivacyServiceServicer_to_server(services.privacy, registrar)  # type: ignore[arg-type]  # the same
        add_UsageReportServiceServicer_to_server(services.usage, registrar)  # type: ignore[arg-type]  # the same

    def _end_long_calls(self) -> None:
        self._services.revocations.close()  # the streams of other nodes
