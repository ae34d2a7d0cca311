"""docs/scenario.md, played against a running node: a second tenant, a stolen SVID, a flooding caller.

Each step is a section of that document. Everything goes through the command line and the API, from outside.
"""

from __future__ import annotations

import socket
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import grpc
import pytest
import yaml
from google.rpc import error_details_pb2  # type: ignore[import-untyped]  # it has no stubs
from grpc_status import rpc_status

from smsgw.v1 import message_pb2
from smsgw.v1 import message_service_pb2 as pb
from smsgw.v1.message_service_pb2_grpc import MessageServiceStub
from tests.appliance import SERVER_NAME, SMSGW, TRUST_DOMAIN, Appliance, Caller, CarrierSpec, Running, run
from tests.gateway.operation import write_client

OTHER = "other"
TIMEOUT_S = 10.0
FLOOD = 900  # calls at once: far more than the allowance of one identity in this site


@dataclass(frozen=True, slots=True)
class Site:
    """A running node with its carrier."""

    appliance: Appliance
    port: int

    def identity(self, path: str, name: str) -> Caller:
        """Issue an SVID for `spiffe://<trust domain>/<path>`."""
        pki = self.appliance.folder / "pki"
        spiffe_id = f"spiffe://{TRUST_DOMAIN}/{path}"
        run(
            "ca",
            "issue",
            "--dir",
            str(self.appliance.folder / "ca"),
            "--spiffe-id",
            spiffe_id,
            "--out",
            str(pki / name),
        )
        return Caller(bundle=pki / "bundle.pem", certificate=pki / f"{name}.pem", key=pki / f"{name}.key")

    def client(self, who: Caller) -> Any:
        """Return a client on a connection of its own."""
        credentials = grpc.ssl_channel_credentials(
            who.bundle.read_bytes(), who.key.read_bytes(), who.certificate.read_bytes()
        )
        options = [("grpc.ssl_target_name_override", SERVER_NAME), ("grpc.use_local_subchannel_pool", 1)]
        return MessageServiceStub(grpc.secure_channel(f"127.0.0.1:{self.port}", credentials, options))


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """A node of two tenants, bound to a simulated carrier."""
    appliance = Appliance.create(tmp_path_factory.mktemp("scenario") / "site", operator=True)
    keys = ("--cert", str(appliance.carrier_certificate), "--key", str(appliance.carrier_key))
    command = [SMSGW, "simulator", *keys, "--listen", "127.0.0.1:0", "--quiet"]
    with Running(command, log=appliance.folder / "simulator.log") as simulator:
        port = int(simulator.line_with(r"127\.0\.0\.1:(\d+)").group(1))
        config = appliance.configure(CarrierSpec(port=port, ca_file=appliance.carrier_ca))
        document = yaml.safe_load(config.read_text())
        document["tenants"].append({"name": OTHER, "spiffe_ids": [f"spiffe://{TRUST_DOMAIN}/{OTHER}"]})
        document["limits"] = {"calls": "50/s", "calls_burst": 200}
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            admin = f"127.0.0.1:{free.getsockname()[1]}"
        document["admin"] = {"listen": admin}
        config.write_text(yaml.safe_dump(document, sort_keys=False))
        with appliance.node() as (_, api_port):
            write_client(appliance, f"127.0.0.1:{api_port}", admin)
            yield Site(appliance, api_port)


def message(text: str = "the word is plugh", number: int = 5678) -> message_pb2.OutboundMessage:
    """Return an OTP."""
    return message_pb2.OutboundMessage(
        recipient=f"+49151{number:08d}",
        sender="ACME",
        category=message_pb2.CATEGORY_OTP,
        content=message_pb2.Content(text=text),
    )


def refusal(error: Any) -> tuple[grpc.StatusCode, str]:
    """Return the code and the stable reason of a refusal; the error of a call is a call, which the stubs do not say."""
    status = rpc_status.from_call(error)
    for detail in status.details if status else ():
        info = error_details_pb2.ErrorInfo()
        if detail.Unpack(info):
            return error.code(), str(info.reason)
    return error.code(), ""


def refused(call: Any, *arguments: Any) -> tuple[grpc.StatusCode, str]:
    """Make a call that has to be refused."""
    with pytest.raises(grpc.RpcError) as error:
        call(*arguments, timeout=TIMEOUT_S)
    return refusal(error.value)


def test_a_second_tenant_sees_nothing(site: Site) -> None:
    """Another tenant's ids, cursors and lists tell it nothing: not even that there is something."""
    mine, other = site.client(site.appliance.callers[0]), site.client(site.identity(f"{OTHER}/service", "other"))
    sent = mine.SendMessage(pb.SendMessageRequest(message=message()), timeout=TIMEOUT_S).accepted.message_id
    cursor = next(iter(mine.WatchEvents(pb.WatchEventsRequest(), timeout=TIMEOUT_S))).cursor

    not_found = (grpc.StatusCode.NOT_FOUND, "MESSAGE_NOT_FOUND")
    assert refused(other.GetMessage, pb.GetMessageRequest(message_id=sent)) == not_found
    assert refused(other.CancelMessage, pb.CancelMessageRequest(message_id=sent)) == not_found
    assert not other.ListMessages(pb.ListMessagesRequest(), timeout=TIMEOUT_S).messages
    with pytest.raises(grpc.RpcError) as error:
        next(iter(other.WatchEvents(pb.WatchEventsRequest(cursor=cursor), timeout=TIMEOUT_S)))
    assert refusal(error.value)[0] is grpc.StatusCode.INVALID_ARGUMENT
    assert mine.GetMessage(pb.GetMessageRequest(message_id=sent), timeout=TIMEOUT_S).message.message_id == sent


def test_a_stolen_svid_is_revoked_and_cut_off(site: Site) -> None:
    """The thief is cut off by `smsgw revoke`; the workload goes on with a new certificate, and nothing that the thief
    has sent is let go before somebody has looked at it."""
    robbed = site.identity("demo/robbed", "robbed")
    thief = site.client(robbed)
    watch = iter(thief.WatchEvents(pb.WatchEventsRequest(), timeout=TIMEOUT_S))
    next(watch)

    folder = str(site.appliance.folder)
    run("revoke", "--dir", folder, "--certificate", str(robbed.certificate), "--reason", "key in a public image")

    with pytest.raises(grpc.RpcError) as error:
        next(watch)
    revoked = (grpc.StatusCode.UNAUTHENTICATED, "REVOKED")
    assert refusal(error.value) == revoked
    assert refused(thief.SendMessage, pb.SendMessageRequest(message=message())) == revoked
    assert f"{TRUST_DOMAIN}/demo/robbed" in run("revocations", "--dir", folder)
    assert f"sent by spiffe://{TRUST_DOMAIN}/demo/robbed" in run("queues", "--dir", folder)
    fresh = site.client(site.identity("demo/robbed", "robbed-again"))
    assert fresh.SendMessage(pb.SendMessageRequest(message=message()), timeout=TIMEOUT_S).accepted.message_id


def test_a_flooding_caller_is_refused_and_nobody_else_notices(site: Site) -> None:
    """Beyond its allowance it is told which limit it met and when to come back; its neighbour is served throughout."""
    flood, neighbour = site.client(site.identity("demo/flood", "flood")), site.client(site.appliance.callers[0])
    calls = [
        flood.SendMessage.future(pb.SendMessageRequest(message=message(number=n)), timeout=30) for n in range(FLOOD)
    ]
    beside = [
        neighbour.SendMessage(pb.SendMessageRequest(message=message(number=90_000 + n)), timeout=TIMEOUT_S)
        for n in range(20)
    ]
    assert all(reply.accepted.message_id for reply in beside)

    errors = [error for error in (call.exception() for call in calls) if error is not None]
    assert 0 < len(calls) - len(errors) < FLOOD
    assert {refusal(error)[0] for error in errors} == {grpc.StatusCode.RESOURCE_EXHAUSTED}
    assert all(retry_after_s(error) > 0 for error in errors)


def retry_after_s(error: Any) -> float:
    """Return when a refused caller is told to come back."""
    status = rpc_status.from_call(error)
    for detail in status.details if status else ():
        info = error_details_pb2.RetryInfo()
        if detail.Unpack(info):
            return float(info.retry_delay.ToTimedelta().total_seconds())
    return 0.0


def test_the_audit_tells_of_all_three(site: Site) -> None:
    """The stranger, the revoked and the refused are in the audit, with identity and reason, and without a number or a
    text."""
    told = run("audit", "tail", "-n", "100000", "--json", "--dir", str(site.appliance.folder))
    assert f"spiffe://{TRUST_DOMAIN}/{OTHER}/service" in told
    assert f"spiffe://{TRUST_DOMAIN}/demo/robbed" in told
    assert "REVOKED" in told
    assert "REVOCATION_CHANGED" in told
    assert f"spiffe://{TRUST_DOMAIN}/demo/flood" in told
    assert "plugh" not in told
    assert "+49" not in told
