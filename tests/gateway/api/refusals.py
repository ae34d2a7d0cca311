"""Reads refusals as a client does: grpc-status's own decoder for the call's status."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable
from typing import Any, NamedTuple

import grpc
import grpc.aio
from google.rpc import error_details_pb2, status_pb2  # type: ignore[import-untyped]  # it ships no types
from grpc_status import rpc_status

from gateway.errors import FieldViolation


class Refusal(NamedTuple):
    """A status with its details, unpacked."""

    code: grpc.StatusCode
    reason: str
    text: str
    violations: tuple[FieldViolation, ...]
    retry_after_s: float | None
    metadata: dict[str, str]
    limit: str = ""  # that was reached


async def refusal(call: Awaitable[Any]) -> Refusal:
    """Return how a unary call was refused; fails when it was not."""
    try:
        await call
    except grpc.aio.AioRpcError as error:
        return from_error(error)
    raise AssertionError("the call was not refused")


async def stream_refusal(responses: AsyncIterator[Any]) -> Refusal:
    """Return how a stream ended; fails when it ended well."""
    try:
        async for _ in responses:
            pass
    except grpc.aio.AioRpcError as error:
        return from_error(error)
    raise AssertionError("the stream was not refused")


def from_error(error: grpc.aio.AioRpcError) -> Refusal:
    """Return the refusal that a client's error holds."""
    status = rpc_status.from_call(error)
    assert status is not None, f"no details: {error.code()} {error.details()}"
    return from_status(status)


def from_status(status: status_pb2.Status) -> Refusal:
    """Return the refusal that a google.rpc.Status is."""
    info, bad, retry = error_details_pb2.ErrorInfo(), error_details_pb2.BadRequest(), error_details_pb2.RetryInfo()
    quota = error_details_pb2.QuotaFailure()
    retry_after_s = None
    for detail in status.details:
        detail.Unpack(info)
        detail.Unpack(bad)
        detail.Unpack(quota)
        if detail.Unpack(retry):
            retry_after_s = retry.retry_delay.ToMilliseconds() / 1000
    assert info.domain == "smsgw"
    violations = tuple(FieldViolation(v.field, v.description, v.reason) for v in bad.field_violations)
    code = next(code for code in grpc.StatusCode if code.value[0] == status.code)
    limit = "".join(violation.subject for violation in quota.violations)
    return Refusal(code, info.reason, status.message, violations, retry_after_s, dict(info.metadata), limit)
