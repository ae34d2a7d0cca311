"""The first guard: what calls mean for traces, and how their ends are named and counted."""

from __future__ import annotations

import asyncio

import grpc
import pytest

from gateway import errors
from gateway.api.methods import METHODS
from gateway.api.status import code_name, to_status
from gateway.api.telemetry import call_kind
from gateway.errors import FieldViolation, GatewayError
from gateway.telemetry.tracing import CallKind
from smsgw.v1 import message_service_pb2 as pb
from tests.gateway.api.rig import TIMEOUT_S, Rig, message


def test_what_each_method_means_for_traces() -> None:
    """Sends are told apart by how many messages they bring; health checks are never traced."""
    kinds = {name.rpartition("/")[2]: call_kind(method) for name, method in METHODS.items() if ".Message" in name}
    assert kinds["SendMessage"] is CallKind.SINGLE
    assert kinds["SendMessages"] is CallKind.BATCH
    assert kinds["StreamMessages"] is CallKind.STREAM
    assert {kind for name, kind in kinds.items() if "end" not in name and "Stream" not in name} == {CallKind.OTHER}
    health = {call_kind(method) for name, method in METHODS.items() if name.startswith("/grpc.health")}
    assert health == {None}


def _instances() -> list[GatewayError]:
    """Return one error of each class."""
    found: list[GatewayError] = []
    for kind in vars(errors).values():
        if isinstance(kind, type) and issubclass(kind, GatewayError):
            if issubclass(kind, errors.InvalidRequest):
                found.append(kind((FieldViolation("f", "is wrong", "R"),)))
            elif kind is errors.Overloaded:
                found.append(errors.Overloaded("later", retry_after_s=1.0))
            elif kind is errors.RateLimited:
                found.append(errors.RateLimited("later", retry_after_s=1.0, limit="calls"))
            else:
                found.append(kind("text"))
    return found


@pytest.mark.parametrize("error", [*_instances(), ValueError("x")], ids=lambda error: type(error).__name__)
def test_codes_are_those_that_callers_get(error: Exception) -> None:
    """What is counted is what the caller is told."""
    codes = {code.value[0]: code.name for code in grpc.StatusCode}
    assert code_name(error) == codes[to_status(error).code]


def test_calls_that_nobody_waits_for() -> None:
    """A cancelled call, and one whose peer is gone, are CANCELLED."""
    assert code_name(asyncio.CancelledError()) == code_name(grpc.aio.UsageError()) == "CANCELLED"


async def test_calls_and_denials_are_counted(rig: Rig) -> None:
    """Each call counts with its method and code, whatever refused it; denials count by reason."""
    client = rig.client("/payments")
    await client.SendMessage(pb.SendMessageRequest(message=message()), timeout=TIMEOUT_S)
    for caller, request in ((client, pb.SendMessageRequest()), (rig.client("/nobody"), pb.SendMessageRequest())):
        with pytest.raises(grpc.aio.AioRpcError):
            await caller.SendMessage(request, timeout=TIMEOUT_S)
    name = "/smsgw.v1.MessageService/SendMessage"
    counted = {code: sum(histogram.counts) for (method, code), histogram in rig.meters.calls.items() if method == name}
    assert counted == {"OK": 1, "INVALID_ARGUMENT": 1, "PERMISSION_DENIED": 1}
    assert dict(rig.meters.denials) == {"NO_TENANT": 1}
