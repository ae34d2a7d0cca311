"""Refusals as gRPC statuses, in one place: the code, a text for people, and an ErrorInfo with the stable reason.

An error that nobody foresaw is INTERNAL and says nothing of the inside.
"""

from __future__ import annotations

import logging
import math
from typing import NoReturn

import grpc
from google.protobuf.any_pb2 import Any as AnyMessage
from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import Message
from google.rpc import code_pb2, error_details_pb2, status_pb2  # type: ignore[import-untyped]  # it ships no types
from grpc_status import rpc_status

from certs.errors import (
    CertificateRevoked,
    CertsError,
    IdentityRefused,
    NotAdmin,
    NotRecorded,
    NotRegistered,
    ProfileRefused,
    RateExceeded,
    RenewalRefused,
    TokenRefused,
)

DOMAIN = "smsgw"
_LOG = logging.getLogger(__name__)
_CODES: tuple[tuple[type[CertsError], int], ...] = (
    (IdentityRefused, code_pb2.UNAUTHENTICATED),
    (TokenRefused, code_pb2.UNAUTHENTICATED),
    (RenewalRefused, code_pb2.PERMISSION_DENIED),
    (NotRegistered, code_pb2.PERMISSION_DENIED),
    (CertificateRevoked, code_pb2.PERMISSION_DENIED),
    (NotAdmin, code_pb2.PERMISSION_DENIED),
    (NotRecorded, code_pb2.NOT_FOUND),
    (RateExceeded, code_pb2.RESOURCE_EXHAUSTED),
    (ProfileRefused, code_pb2.INVALID_ARGUMENT),
    (CertsError, code_pb2.UNAVAILABLE),  # the authority itself cannot issue now
)


def abort(context: grpc.ServicerContext, refused: Exception) -> NoReturn:
    """End the call with the status of `refused`."""
    if isinstance(refused, CertsError):
        code = next(code for kind, code in _CODES if isinstance(refused, kind))
        reason, text = refused.reason.value, str(refused)
        if code == code_pb2.UNAVAILABLE:
            _LOG.error("the authority cannot serve", extra={"reason": reason, "error": text})
            text = "the authority cannot issue now: its operator is told why"  # paths are none of the caller's business
    else:
        _LOG.error("a call failed", exc_info=refused)
        code, reason, text = code_pb2.INTERNAL, "INTERNAL", "internal error"
    details = [_packed(error_details_pb2.ErrorInfo(reason=reason, domain=DOMAIN))]
    if isinstance(refused, RateExceeded):
        delay = Duration()
        delay.FromMilliseconds(math.ceil(refused.retry_after_s * 1000))
        details.append(_packed(error_details_pb2.RetryInfo(retry_delay=delay)))
    context.abort_with_status(rpc_status.to_status(status_pb2.Status(code=code, message=text, details=details)))
    raise AssertionError("abort_with_status raises")


def _packed(detail: Message) -> AnyMessage:
    packed = AnyMessage()
    packed.Pack(detail)
    return packed


def reason_of(error: grpc.RpcError) -> str:
    """Return the reason in a call's error, empty when it has none."""
    info = error_details_pb2.ErrorInfo()
    return str(info.reason) if _unpacked(error, info) else ""


def retry_after_s(error: grpc.RpcError) -> float:
    """Return for how many seconds a call's error asks to wait, 0 when it does not."""
    info = error_details_pb2.RetryInfo()
    return float(info.retry_delay.ToTimedelta().total_seconds()) if _unpacked(error, info) else 0.0


def _unpacked(error: grpc.RpcError, into: Message) -> bool:
    """Fill `into` with the first detail of its kind; says whether there is one."""
    try:
        status = rpc_status.from_call(error)
    except (ValueError, AttributeError):
        return False
    return any(detail.Unpack(into) for detail in (() if status is None else status.details))
