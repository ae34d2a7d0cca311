"""The method table."""

from __future__ import annotations

import pytest
from grpc_health.v1 import health_pb2

from gateway.api.methods import METHODS, MethodShape, check_complete
from smsgw.v1 import (
    audit_service_pb2,
    carrier_service_pb2,
    key_service_pb2,
    message_service_pb2,
    node_service_pb2,
    policy_service_pb2,
    privacy_service_pb2,
    queue_service_pb2,
    revocation_service_pb2,
    usage_service_pb2,
)

SERVICES = (
    carrier_service_pb2.DESCRIPTOR.services_by_name["CarrierService"],
    queue_service_pb2.DESCRIPTOR.services_by_name["QueueService"],
    policy_service_pb2.DESCRIPTOR.services_by_name["PolicyService"],
    node_service_pb2.DESCRIPTOR.services_by_name["NodeService"],
    key_service_pb2.DESCRIPTOR.services_by_name["KeyService"],
    revocation_service_pb2.DESCRIPTOR.services_by_name["RevocationService"],
    audit_service_pb2.DESCRIPTOR.services_by_name["AuditService"],
    message_service_pb2.DESCRIPTOR.services_by_name["MessageService"],
    usage_service_pb2.DESCRIPTOR.services_by_name["UsageService"],
    usage_service_pb2.DESCRIPTOR.services_by_name["UsageReportService"],
    privacy_service_pb2.DESCRIPTOR.services_by_name["PrivacyService"],
    health_pb2.DESCRIPTOR.services_by_name["Health"],
)
SHAPES = {
    f"/{service.full_name}/{method.name}": MethodShape(method.client_streaming, method.server_streaming)
    for service in SERVICES
    for method in service.methods
}


def test_table_is_the_services() -> None:
    """The table has a row for every method there is, of its shape, and none for another."""
    check_complete(SHAPES)
    assert set(METHODS) == set(SHAPES)
    assert all(row.name == name and row.cost > 0 for name, row in METHODS.items())


@pytest.mark.parametrize("missing", sorted(SHAPES))
def test_missing_row(missing: str) -> None:
    """A method without its row stops the start, by name."""
    table = {name: row for name, row in METHODS.items() if name != missing}
    with pytest.raises(ValueError, match=f"{missing} has no row"):
        check_complete(SHAPES, table)


def test_wrong_shape() -> None:
    """A row that streams otherwise than the handler stops the start."""
    name = "/smsgw.v1.MessageService/SendMessage"
    with pytest.raises(ValueError, match="streams otherwise"):
        check_complete({name: MethodShape(False, True)})
