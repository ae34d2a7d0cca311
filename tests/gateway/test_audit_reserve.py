"""A whole node whose audit runs out of room: it stops accepting before it cannot record, says so, and comes back."""

from __future__ import annotations

import time
from pathlib import Path

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_status import rpc_status

from gateway.status_socket import read_status
from smsgw.v1 import message_pb2
from smsgw.v1 import message_service_pb2 as pb
from smsgw.v1.message_service_pb2_grpc import MessageServiceStub
from tests.appliance import SERVER_NAME, Appliance
from tests.small_disk import small_disk

MIB = 1 << 20
WITHIN_S = 60.0


def _alerts(appliance: Appliance) -> set[tuple[str, str]]:
    found = read_status(appliance.folder / "data" / "status.sock")["alerts"]
    assert isinstance(found, list)
    return {(alert["alert"], alert["labels"].get("what", "")) for alert in found}


def _until(appliance: Appliance, *whats: str) -> None:
    """Wait until the alerts about the audit's disk are just these."""
    wanted = {("audit_disk_low", what) for what in whats}
    deadline = time.monotonic() + WITHIN_S
    while {one for one in _alerts(appliance) if one[0] == "audit_disk_low"} != wanted:
        assert time.monotonic() < deadline, f"it is not as wanted: {_alerts(appliance)}"
        time.sleep(0.1)


def _until_scrubbed(appliance: Appliance) -> None:
    """Wait until the node has gone through its log, and has found nothing."""
    deadline = time.monotonic() + WITHIN_S
    while True:
        found = read_status(appliance.folder / "data" / "status.sock")["audit_log"]
        assert isinstance(found, dict)
        if found["scrub_done_at"]:
            break
        assert time.monotonic() < deadline, found
        time.sleep(0.1)
    assert found["holds"]
    assert found["scrub_walked"] == found["scrub_size"] > 0
    assert found["scrub_findings"] == 0


def _connected(appliance: Appliance, port: int) -> grpc.Channel:
    caller = appliance.callers[0]
    credentials = grpc.ssl_channel_credentials(
        caller.bundle.read_bytes(), caller.key.read_bytes(), caller.certificate.read_bytes()
    )
    return grpc.secure_channel(f"127.0.0.1:{port}", credentials, [("grpc.ssl_target_name_override", SERVER_NAME)])


def _send(stub: MessageServiceStub) -> str:
    """Send one message; "" when it was accepted, else code and reasons."""
    message = message_pb2.OutboundMessage(
        recipient="+4915112345678",
        sender="ACME",
        category=message_pb2.CATEGORY_TRANSACTIONAL,
        content=message_pb2.Content(text="hello"),
    )
    try:
        stub.SendMessage(pb.SendMessageRequest(message=message), timeout=30)
    except grpc.RpcError as error:
        status = rpc_status.from_call(error)
        reasons = [detail.value.decode(errors="replace") for detail in status.details]
        return f"{error.code().name}: {reasons}"
    return ""


@pytest.mark.timeout(180)
def test_a_node_without_room_for_its_audit(tmp_path: Path) -> None:
    """Below the reserve it accepts; below the least it refuses, and is not ready; with room again it goes on."""
    appliance = Appliance.create(tmp_path / "appliance")
    with small_disk(appliance.folder / "data", 160 * MIB) as disk:
        appliance.configure(None)
        with appliance.node() as (node, port), _connected(appliance, port) as channel:
            messages, health = MessageServiceStub(channel), health_pb2_grpc.HealthStub(channel)

            def serving() -> bool:
                answer = health.Check(health_pb2.HealthCheckRequest(), timeout=30)
                return bool(answer.status == health_pb2.HealthCheckResponse.SERVING)

            _until(appliance)
            assert (_send(messages), serving()) == ("", True)
            _until_scrubbed(appliance)
            disk.take(120 * MIB)
            _until(appliance, "denials")
            assert (_send(messages), serving()) == ("", True)
            disk.take(150 * MIB)
            _until(appliance, "denials", "accepting")
            refused = _send(messages)
            assert refused.startswith("UNAVAILABLE: ")
            assert "AUDIT_UNAVAILABLE" in refused
            assert not serving()
            disk.free()
            _until(appliance)
            assert (_send(messages), serving()) == ("", True)
            assert node.process.poll() is None
