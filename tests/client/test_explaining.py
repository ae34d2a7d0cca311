"""What an error of gRPC says becomes a type, a reason and a text; whatever the node sends."""

from __future__ import annotations

import ssl

import grpc
import pytest
from grpc.aio import AioRpcError, Metadata

from gateway.api.status import to_status
from gateway.errors import FieldViolation, InvalidRequest, Overloaded
from gateway.errors import RateLimited as NodeRateLimited
from gateway.errors import Unavailable as Away
from smsgw.client import CallFailed, IdentityUnusable, Invalid, RateLimited, ServerNotVerified, TimedOut, Unavailable
from smsgw.client.explaining import explain, from_status


def rpc_error(code: grpc.StatusCode, details: str, *metadata: tuple[str, bytes]) -> AioRpcError:
    """Return an error as gRPC raises it."""
    return AioRpcError(code, Metadata(), Metadata(*metadata), details)


def test_details_of_the_node() -> None:
    """Field paths and the stable reason of a google.rpc.Status are taken over."""
    violations = (
        FieldViolation("message.sender", "is too long", "SENDER"),
        FieldViolation("message.to", "is no", "TO"),
    )
    status = to_status(InvalidRequest(violations)).SerializeToString()
    failed = explain(rpc_error(grpc.StatusCode.INVALID_ARGUMENT, "x", ("grpc-status-details-bin", status)), "h:1")
    assert isinstance(failed, Invalid)
    assert failed.reason == "SENDER"
    assert failed.violations == (("message.sender", "is too long"), ("message.to", "is no"))
    assert str(failed) == "message.sender: is too long\nmessage.to: is no"
    assert not failed.transient


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (Overloaded("full", reason="FULL", retry_after_s=1.5), RateLimited),
        (NodeRateLimited("too many", reason="CALLER_RATE", retry_after_s=1.5, limit="caller"), RateLimited),
        (Away("going down", reason="SHUTTING_DOWN"), Unavailable),
    ],
)
def test_when_to_come_back(error: Exception, kind: type[CallFailed]) -> None:
    """RetryInfo is read, and told."""
    failed = from_status(to_status(error))
    assert type(failed) is kind
    assert failed.retry_after_s in {1.0, 1.5}
    assert "try again in 1" in failed.text


@pytest.mark.parametrize("octets", [b"\xff\xff", b""])
def test_details_that_are_no_status(octets: bytes) -> None:
    """Octets that are no status do not hide the error."""
    failed = explain(rpc_error(grpc.StatusCode.INTERNAL, "broken", ("grpc-status-details-bin", octets)), "h:1")
    assert isinstance(failed, CallFailed)
    assert failed.code is grpc.StatusCode.INTERNAL


@pytest.mark.parametrize(
    ("code", "details", "trouble", "kind", "text"),
    [
        (grpc.StatusCode.UNAVAILABLE, "x", ConnectionRefusedError(), Unavailable, "no node listens at h:1"),
        (grpc.StatusCode.UNAVAILABLE, "x", OSError(113, "No route to host"), Unavailable, "at h:1: No route to host"),
        (grpc.StatusCode.UNAVAILABLE, "x", ssl.SSLError(1, "WRONG_VERSION_NUMBER"), Unavailable, "does not speak TLS"),
        (grpc.StatusCode.UNAVAILABLE, "x", ConnectionResetError(), Unavailable, "does not trust the authority"),
        (grpc.StatusCode.UNAVAILABLE, "x", TimeoutError(), Unavailable, "no answer in time"),
        (grpc.StatusCode.UNAVAILABLE, "gone", None, Unavailable, "at h:1 was lost: gone"),
        (grpc.StatusCode.INTERNAL, "Internal error from Core", None, Unavailable, "was lost"),
        (grpc.StatusCode.DEADLINE_EXCEEDED, "", None, TimedOut, "did not answer in time"),
        (grpc.StatusCode.UNIMPLEMENTED, "Method not found!", None, CallFailed, "UNIMPLEMENTED: Method not found!"),
        (grpc.StatusCode.UNAVAILABLE, "x", ServerNotVerified("who?"), ServerNotVerified, "who?"),
        (grpc.StatusCode.UNAVAILABLE, "x", IdentityUnusable("what?"), IdentityUnusable, "what?"),
    ],
)
def test_errors_of_the_way(
    code: grpc.StatusCode, details: str, trouble: Exception | None, kind: type[Exception], text: str
) -> None:
    """An error without a status was made on this side, and says what to do; it has no reason."""
    failed = explain(rpc_error(code, details), "h:1", trouble)
    assert isinstance(failed, kind)
    assert text in str(failed)
    assert failed is not trouble
    assert getattr(failed, "reason", "") == ""
