"""From a gRPC error to one of ours: the one place that reads google.rpc details. Sans-IO.

An error with details was made by the node, and its text is for people. One without was made on the way there: then the
tunnel knows better than gRPC why, since gRPC sees only that a socket of ours was closed.
"""

from __future__ import annotations

import re
import ssl
from collections.abc import Iterable
from contextlib import suppress
from typing import Any, Protocol, TypeVar

import grpc
from google.protobuf.message import DecodeError, Message
from google.rpc import (  # type: ignore[import-untyped]  # googleapis-common-protos ships no types
    error_details_pb2,
    status_pb2,
)

from smsgw.client.errors import CallFailed, SmsgwError, TimedOut, Unavailable, Violation, kind_of

_MessageT = TypeVar("_MessageT", bound=Message)

_DETAILS = "grpc-status-details-bin"
_LAST_ERROR = re.compile(r"^failed to connect to all addresses; last error: \w+: (?:(?:ipv[46]|unix):\S+: )?")
# What gRPC says, as INTERNAL or UNKNOWN, when a connection breaks while something is written to it.
_BROKEN = ("Internal error from Core", "Stream removed", "Received RST_STREAM")
_CODES: dict[int, grpc.StatusCode] = {code.value[0]: code for code in grpc.StatusCode}


class Status(Protocol):
    """What an error of grpc, or of grpc.aio, tells."""

    def code(self) -> grpc.StatusCode:
        """Return the gRPC code."""

    def details(self) -> str | None:
        """Return its text."""

    def trailing_metadata(self) -> Iterable[tuple[str, str | bytes]] | None:
        """Return the metadata that came with it."""


def explain(error: Status, target: str, trouble: Exception | None = None) -> SmsgwError:
    """Return what `error` says; `trouble`: why the last connection to `target` failed, None since one stands."""
    sent = _sent(error)
    if sent is not None:
        return from_status(sent)
    code = error.code()
    if (error.details() or "").startswith(_BROKEN):
        code = grpc.StatusCode.UNAVAILABLE
    if code is grpc.StatusCode.UNAVAILABLE and isinstance(trouble, SmsgwError):
        return type(trouble)(*trouble.args)  # a fresh one: it is raised in many places
    return kind_of(code)(code, "", _own_text(error, code, target, trouble))


def from_status(status: status_pb2.Status) -> CallFailed:
    """Return the error that a node's google.rpc.Status says: that of a call, or of one message in a batch."""
    reason, violations, retry_after_s = "", [], None
    for detail in status.details:
        info: Any = _unpacked(detail, error_details_pb2.ErrorInfo())
        reason = info.reason or reason
        wrong: Any = _unpacked(detail, error_details_pb2.BadRequest())
        violations += [Violation(item.field, item.description) for item in wrong.field_violations]
        retry: Any = _unpacked(detail, error_details_pb2.RetryInfo())
        if retry.HasField("retry_delay"):
            retry_after_s = retry.retry_delay.ToMicroseconds() / 1e6
    text = status.message
    if violations:
        text = "\n".join(f"{field}: {description}" for field, description in violations)
    elif retry_after_s is not None:
        text += f" (try again in {retry_after_s:g} s)"
    code = _CODES.get(status.code, grpc.StatusCode.UNKNOWN)
    return kind_of(code)(code, reason or code.name, text, violations=tuple(violations), retry_after_s=retry_after_s)


def lost(target: str) -> Unavailable:
    """Return the error of a stream that the node ended without an error."""
    return Unavailable(grpc.StatusCode.UNAVAILABLE, "", f"the node at {target} ended the stream")


def silent(target: str) -> TimedOut:
    """Return the error of a node that owes an answer for too long."""
    return TimedOut(grpc.StatusCode.DEADLINE_EXCEEDED, "", f"the node at {target} did not answer in time")


def _unpacked(detail: object, target: _MessageT) -> _MessageT:
    with suppress(DecodeError):
        detail.Unpack(target)  # type: ignore[attr-defined]  # google.protobuf.any_pb2.Any, well-known mixin
    return target


def _sent(error: Status) -> status_pb2.Status | None:
    """Return the google.rpc.Status that the node sent, None when the error was made on this side."""
    for key, value in error.trailing_metadata() or ():
        if key == _DETAILS and isinstance(value, bytes):
            with suppress(DecodeError):
                status = status_pb2.Status.FromString(value)
                return status if status.code else None
    return None


def _own_text(error: Status, code: grpc.StatusCode, target: str, trouble: Exception | None) -> str:
    if trouble is not None and code in {grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED}:
        return _trouble_text(trouble, target)
    if code is grpc.StatusCode.DEADLINE_EXCEEDED:
        return f"the node at {target} did not answer in time"
    details = _LAST_ERROR.sub("", error.details() or "")
    if code is grpc.StatusCode.UNAVAILABLE:
        return f"the connection to the node at {target} was lost: {details}"
    return f"{code.name}: {details}"


def _trouble_text(trouble: Exception, target: str) -> str:
    if isinstance(trouble, ssl.SSLError) and "WRONG_VERSION" in str(trouble):
        return f"what answers at {target} does not speak TLS"
    if isinstance(trouble, ssl.SSLError | ConnectionResetError | BrokenPipeError):
        return (
            f"the node at {target} closed the connection: it does not trust the authority of this certificate, or it "
            "is just stopping"
        )
    if isinstance(trouble, ConnectionRefusedError):
        return f"no node listens at {target}"
    if isinstance(trouble, TimeoutError):
        return f"no node could be reached at {target}: no answer in time"
    return f"no node could be reached at {target}: {getattr(trouble, 'strerror', None) or type(trouble).__name__}"
