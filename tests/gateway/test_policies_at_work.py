"""Policies on a whole node: the API over mutual TLS, its pipeline, and a simulated carrier, each a process."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.rpc import error_details_pb2, status_pb2  # type: ignore[import-untyped]  # it has no stubs

from smsgw.v1 import message_pb2
from smsgw.v1 import message_service_pb2 as pb
from smsgw.v1.message_service_pb2_grpc import MessageServiceStub
from tests.appliance import SERVER_NAME, SMSGW, Appliance, CarrierSpec, Running

TIMEOUT_S = 15.0
POLICIES = """
@id("no-promotions") @description("Nobody sends promotions.")
forbid (principal, action == Action::"SendPromotional", resource);

@id("no-blocked-by-carrier")
forbid (principal, action == Action::"UseRoute", resource == Route::"carrier") when { context.sender == "BLOCKED" };
"""
OTP, TRANSACTIONAL, PROMOTIONAL = (
    message_pb2.CATEGORY_OTP, message_pb2.CATEGORY_TRANSACTIONAL, message_pb2.CATEGORY_PROMOTIONAL,
)  # fmt: skip


def _write(appliance: Appliance, text: str) -> None:
    file = appliance.folder / "policy" / "50-ours.cedar"
    file.write_text(text)
    file.chmod(0o600)


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """A client of a node with these policies beside the default ones, bound to a simulated carrier."""
    appliance = Appliance.create(tmp_path_factory.mktemp("policies") / "site")
    _write(appliance, POLICIES)
    keys = ("--cert", str(appliance.carrier_certificate), "--key", str(appliance.carrier_key))
    command = [SMSGW, "simulator", *keys, "--listen", "127.0.0.1:0", "--quiet"]
    with Running(command, log=appliance.folder / "simulator.log") as simulator:
        port = int(simulator.line_with(r"127\.0\.0\.1:(\d+)").group(1))
        appliance.configure(CarrierSpec(port=port, ca_file=appliance.carrier_ca))
        caller = appliance.callers[0]
        credentials = grpc.ssl_channel_credentials(
            caller.bundle.read_bytes(), caller.key.read_bytes(), caller.certificate.read_bytes()
        )
        options = [("grpc.ssl_target_name_override", SERVER_NAME)]
        with (
            appliance.node() as (_, api_port),
            grpc.secure_channel(f"127.0.0.1:{api_port}", credentials, options) as channel,
        ):
            yield MessageServiceStub(channel)


def message(category: Any, sender: str = "ACME") -> message_pb2.OutboundMessage:
    """Return a message."""
    content = message_pb2.Content(text="hello")
    return message_pb2.OutboundMessage(recipient="+4915112345678", sender=sender, category=category, content=content)


def info_of(status: status_pb2.Status) -> Any:
    """Return the ErrorInfo of a status."""
    info = error_details_pb2.ErrorInfo()
    assert any(detail.Unpack(info) for detail in status.details)
    return info


def final_event(client: Any, message_id: str) -> message_pb2.Event:
    """Follow the tenant's events to the one that ends a message's way."""
    final = {message_pb2.MESSAGE_STATE_DELIVERED, message_pb2.MESSAGE_STATE_REJECTED}
    for response in client.WatchEvents(pb.WatchEventsRequest(start=pb.WATCH_START_OLDEST), timeout=TIMEOUT_S):
        for event in response.events:
            change = event.state_change
            if change.message_id == message_id and change.state in final:
                return message_pb2.Event.FromString(event.SerializeToString())
    raise AssertionError("the watch ended before the message's way")


def test_a_denied_category_does_not_stop_the_batch(client: Any) -> None:
    """The promotion of a batch is denied, with the policy's id in its ErrorInfo; the others are delivered."""
    batch = [message(OTP), message(PROMOTIONAL), message(TRANSACTIONAL)]
    first, denied, last = client.SendMessages(pb.SendMessagesRequest(messages=batch), timeout=TIMEOUT_S).results
    assert denied.error.code == grpc.StatusCode.PERMISSION_DENIED.value[0]
    info = info_of(denied.error)
    assert (info.reason, info.domain) == ("POLICY_DENIED", "smsgw")
    assert dict(info.metadata) == {"policy_id": "no-promotions", "reason": "FORBIDDEN", "action": "SendPromotional"}
    for result in (first, last):
        event = final_event(client, result.accepted.message_id)
        assert event.state_change.state == message_pb2.MESSAGE_STATE_DELIVERED


def test_a_denied_route_rejects_the_message(client: Any) -> None:
    """A message that no carrier may carry is accepted, and rejected at dispatch with the policy's id."""
    sent = client.SendMessage(pb.SendMessageRequest(message=message(OTP, "BLOCKED")), timeout=TIMEOUT_S).accepted
    change = final_event(client, sent.message_id).state_change
    assert change.state == message_pb2.MESSAGE_STATE_REJECTED
    assert change.reason.code == "POLICY_DENIED"
    assert "no-blocked-by-carrier" in change.reason.text


def test_a_broken_set_refuses_the_start(tmp_path: Path) -> None:
    """A node with a policy at fault does not start; it says which file and line."""
    appliance = Appliance.create(tmp_path / "site")
    _write(appliance, '\n@id("x")\npermit(principal, action == Action::"Nope", resource);\n')
    appliance.configure(None)
    done = subprocess.run(appliance.serve_command(), capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 2
    assert "50-ours.cedar:3: x: unrecognized action" in done.stderr
