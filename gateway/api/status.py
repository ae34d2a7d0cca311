"""The one place where errors become gRPC statuses, with google.rpc details.

Every status carries an ErrorInfo (domain `smsgw`, a stable reason); wrong fields come as BadRequest, RetryInfo says
when a retry helps, and QuotaFailure which limit was reached. Stored data that cannot be read, and what is not a
GatewayError (INTERNAL), is logged under an incident number, and the caller gets that number and nothing of the inside.
"""

from __future__ import annotations

import asyncio
import logging
import math
import secrets
from typing import NoReturn

import grpc
from google.protobuf import any_pb2, duration_pb2, message
from google.rpc import code_pb2, error_details_pb2, status_pb2  # type: ignore[import-untyped]  # it ships no types

from gateway.errors import (
    GatewayError,
    IdempotencyConflict,
    InvalidRequest,
    KeyDestroyed,
    NotFound,
    Overloaded,
    PermissionDenied,
    RateLimited,
    ShuttingDown,
    StoreCorrupt,
    Unauthenticated,
    Unavailable,
    Unsupported,
    WrongState,
)

log = logging.getLogger(__name__)

DOMAIN = "smsgw"
DETAILS_KEY = "grpc-status-details-bin"

_UNAVAILABLE_RETRY_S = 1.0
# Trailing metadata is bounded, by 8 KiB at most clients, and octets in it take a third more.
_MAX_VIOLATIONS = 16
_MAX_TEXT = 400
_MAX_VIOLATION_TEXT = 200

# The first match counts; a subclass stands before its base.
_CODES: tuple[tuple[type[GatewayError], int], ...] = (
    (InvalidRequest, code_pb2.INVALID_ARGUMENT),
    (Unauthenticated, code_pb2.UNAUTHENTICATED),
    (PermissionDenied, code_pb2.PERMISSION_DENIED),
    (NotFound, code_pb2.NOT_FOUND),
    (IdempotencyConflict, code_pb2.ALREADY_EXISTS),
    (WrongState, code_pb2.FAILED_PRECONDITION),
    (Overloaded, code_pb2.RESOURCE_EXHAUSTED),
    (Unavailable, code_pb2.UNAVAILABLE),
    (Unsupported, code_pb2.UNIMPLEMENTED),
)
_GRPC_CODES = {code.value[0]: code for code in grpc.StatusCode}


def to_status(error: Exception) -> status_pb2.Status:
    """Return what a caller is told of `error`; logs it when it is none that callers are told about."""
    incident = secrets.token_hex(4)
    if isinstance(error, KeyDestroyed):
        return _status(code_pb2.DATA_LOSS, KeyDestroyed("what this message held was destroyed on purpose"))
    if isinstance(error, StoreCorrupt):  # which key, which file: that is for the operators
        log.error("stored_data_corrupt", extra={"incident": incident, "why": str(error)})
        text = f"stored data cannot be read; the operators find it as incident {incident}"
        return _status(code_pb2.DATA_LOSS, StoreCorrupt(text, reason=error.reason))
    if isinstance(error, GatewayError):
        for kind, code in _CODES:
            if isinstance(error, kind):
                return _status(code, error)
    log.error("unexpected_error", extra={"incident": incident}, exc_info=error)
    return status_pb2.Status(
        code=code_pb2.INTERNAL,
        message=f"internal error; the operators find it as incident {incident}",
        details=[
            _packed(error_details_pb2.ErrorInfo(reason="INTERNAL", domain=DOMAIN, metadata={"incident": incident}))
        ],
    )


def code_name(error: BaseException) -> str:
    """Return the name of the code that a call ends with by `error`: what `to_status` would say, without saying it."""
    if isinstance(error, StoreCorrupt):
        return grpc.StatusCode.DATA_LOSS.name
    if isinstance(error, asyncio.CancelledError | grpc.aio.BaseError):  # the peer is gone, or the server stops
        return grpc.StatusCode.CANCELLED.name
    code = next((code for kind, code in _CODES if isinstance(error, kind)), code_pb2.INTERNAL)
    return _GRPC_CODES[code].name


async def abort(context: grpc.aio.ServicerContext[object, object], error: Exception) -> NoReturn:
    """End the call with the status of `error`. Raises grpc's AbortError, always."""
    status = to_status(error)
    details = ((DETAILS_KEY, status.SerializeToString()),)
    await context.abort(_GRPC_CODES[status.code], status.message, details)


def _status(code: int, error: GatewayError) -> status_pb2.Status:
    metadata = error.metadata if isinstance(error, PermissionDenied) else None
    info = error_details_pb2.ErrorInfo(reason=error.reason, domain=DOMAIN, metadata=metadata)
    details: list[message.Message] = [info]
    if isinstance(error, InvalidRequest):
        details.append(_bad_request(error))
    retry_after_s = _retry_after_s(error)
    if retry_after_s is not None:
        delay = duration_pb2.Duration()
        delay.FromMilliseconds(max(1, math.ceil(retry_after_s * 1000)))  # never too early
        details.append(error_details_pb2.RetryInfo(retry_delay=delay))
    if isinstance(error, RateLimited):
        violation = error_details_pb2.QuotaFailure.Violation(subject=error.limit, description=str(error))
        details.append(error_details_pb2.QuotaFailure(violations=[violation]))
    return status_pb2.Status(
        code=code, message=_short(str(error), _MAX_TEXT), details=[_packed(detail) for detail in details]
    )


def _retry_after_s(error: GatewayError) -> float | None:
    if isinstance(error, Overloaded | ShuttingDown):
        return error.retry_after_s
    return _UNAVAILABLE_RETRY_S if isinstance(error, Unavailable) else None


def _bad_request(error: InvalidRequest) -> error_details_pb2.BadRequest:
    return error_details_pb2.BadRequest(
        field_violations=[
            error_details_pb2.BadRequest.FieldViolation(
                field=violation.field,
                description=_short(violation.description, _MAX_VIOLATION_TEXT),
                reason=violation.reason,
            )
            for violation in error.violations[:_MAX_VIOLATIONS]
        ]
    )


def _packed(detail: message.Message) -> any_pb2.Any:
    packed = any_pb2.Any()
    packed.Pack(detail)
    return packed


def _short(text: str, limit: int) -> str:
    return text if len(text) <= limit else text[: limit - 3] + "..."
