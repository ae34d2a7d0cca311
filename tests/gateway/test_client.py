"""What an RpcError says becomes text, reason and code; whatever the node sends."""

from __future__ import annotations

import datetime as dt
from pathlib import Path

import grpc
import pytest
from grpc.aio import AioRpcError, Metadata

from gateway.api.status import to_status
from gateway.client import IdentityUnusable, explain, load_credentials
from gateway.config.client_file import ClientSettings
from gateway.config.kinds import Address
from gateway.errors import FieldViolation, InvalidRequest

UNREACHED = "failed to connect to all addresses; last error: UNKNOWN: ipv4:127.0.0.1:1: "


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
    failed = explain(
        rpc_error(grpc.StatusCode.INVALID_ARGUMENT, "x", ("grpc-status-details-bin", status)), "127.0.0.1:1"
    )
    assert failed.reason == "SENDER"
    assert failed.violations == (("message.sender", "is too long"), ("message.to", "is no"))
    assert str(failed) == "message.sender: is too long\nmessage.to: is no"
    assert not failed.transient


@pytest.mark.parametrize("octets", [b"\xff\xff", b""])
def test_details_that_are_no_status(octets: bytes) -> None:
    """Octets that are no status do not hide the error."""
    failed = explain(rpc_error(grpc.StatusCode.INTERNAL, "broken", ("grpc-status-details-bin", octets)), "h:1")
    assert failed.code is grpc.StatusCode.INTERNAL


@pytest.mark.parametrize(
    ("code", "details", "text", "transient"),
    [
        (grpc.StatusCode.UNAVAILABLE, UNREACHED + "Connection refused", "no node listens at h:1", True),
        (
            grpc.StatusCode.UNAVAILABLE,
            UNREACHED + "No route to host",
            "could be reached at h:1: No route to host",
            True,
        ),
        (grpc.StatusCode.UNAVAILABLE, "x CERTIFICATE_VERIFY_FAILED y", "could not prove who it is", True),
        (grpc.StatusCode.UNAVAILABLE, "Hostname Verification Check failed.", "another DNS name", True),
        (grpc.StatusCode.UNAVAILABLE, "Socket closed", "does not trust", True),
        (grpc.StatusCode.DEADLINE_EXCEEDED, "", "did not answer in time", True),
        (grpc.StatusCode.UNIMPLEMENTED, "Method not found!", "UNIMPLEMENTED: Method not found!", False),
    ],
)
def test_errors_of_the_transport(code: grpc.StatusCode, details: str, text: str, transient: bool) -> None:
    """An error without a status was made on this side, and says what to do."""
    failed = explain(rpc_error(code, details), "h:1")
    assert text in failed.text
    assert (failed.reason, failed.transient) == ("", transient)


def test_missing_files_are_named(tmp_path: Path) -> None:
    """An identity that is not there is told before any connection."""
    settings = ClientSettings(
        target=Address("127.0.0.1", 1),
        server_name="x",
        svid_file=tmp_path / "a.pem",
        svid_key_file=tmp_path / "a.key",
        bundle_file=tmp_path / "b.pem",
        admin=None,
    )
    with pytest.raises(IdentityUnusable, match=r"a\.(pem|key)"):
        load_credentials(settings, dt.datetime.now(dt.UTC))
