"""Errors into statuses."""

from __future__ import annotations

import ast
import inspect
from typing import Any

import grpc
import pytest

from gateway import errors
from gateway.api.status import to_status
from gateway.errors import (
    CallerFault,
    FieldViolation,
    GatewayError,
    IdempotencyConflict,
    InvalidRequest,
    KeyDestroyed,
    NotFound,
    Overloaded,
    PermissionDenied,
    RateLimited,
    ServerFault,
    StoreCorrupt,
    StoreUnavailable,
    Unauthenticated,
    Unavailable,
    Unsupported,
    WrongState,
)
from tests.gateway.api.refusals import from_status

VIOLATION = FieldViolation("messages[3].recipient", "must be E.164", "RECIPIENT_INVALID")


@pytest.mark.parametrize(
    ("error", "code", "reason", "retry_after_s"),
    [(InvalidRequest((VIOLATION,)), "INVALID_ARGUMENT", "RECIPIENT_INVALID", None),
     (Unauthenticated("who?", reason="EXPIRED"), "UNAUTHENTICATED", "EXPIRED", None),
     (PermissionDenied("no"), "PERMISSION_DENIED", "PERMISSION_DENIED", None),
     (NotFound("no"), "NOT_FOUND", "NOT_FOUND", None),
     (IdempotencyConflict("no"), "ALREADY_EXISTS", "IDEMPOTENCY_KEY_REUSED", None),
     (WrongState("late", reason="ALREADY_SENT"), "FAILED_PRECONDITION", "ALREADY_SENT", None),
     (Overloaded("full", retry_after_s=0.5), "RESOURCE_EXHAUSTED", "OVERLOADED", 0.5),
     (Overloaded("full", retry_after_s=0), "RESOURCE_EXHAUSTED", "OVERLOADED", 0.001),
     (Overloaded("full", retry_after_s=0.5001), "RESOURCE_EXHAUSTED", "OVERLOADED", 0.501),
     (Unavailable("down"), "UNAVAILABLE", "UNAVAILABLE", 1.0),
     (StoreUnavailable("disk"), "UNAVAILABLE", "STORE_UNAVAILABLE", 1.0),
     (Unsupported("no"), "UNIMPLEMENTED", "UNSUPPORTED", None),
     (StoreCorrupt("bad"), "DATA_LOSS", "STORE_CORRUPT", None),
     (KeyDestroyed("gone"), "DATA_LOSS", "KEY_DESTROYED", None)],
)  # fmt: skip
def test_known(error: GatewayError, code: str, reason: str, retry_after_s: float | None) -> None:
    """Each error has its code, its reason, and says when to retry where that helps."""
    found = from_status(to_status(error))
    assert (found.code, found.reason, found.retry_after_s) == (grpc.StatusCode[code], reason, retry_after_s)


def test_every_error_is_translated() -> None:
    """No type of the tree falls through to INTERNAL, the three abstract ones aside."""
    names = [node.name for node in ast.parse(inspect.getsource(errors)).body if isinstance(node, ast.ClassDef)]
    kinds = {getattr(errors, name) for name in names} - {FieldViolation, GatewayError, CallerFault, ServerFault}
    for kind in kinds:
        arguments: dict[str, Any] = {"retry_after_s": 1} if issubclass(kind, Overloaded) else {}
        arguments |= {"limit": "calls"} if kind is RateLimited else {}
        error = kind((VIOLATION,) if issubclass(kind, InvalidRequest) else "x", **arguments)
        assert from_status(to_status(error)).code is not grpc.StatusCode.INTERNAL


def test_violations() -> None:
    """Each wrong field is there with its path, text and reason."""
    assert from_status(to_status(InvalidRequest((VIOLATION,) * 3))).violations == (VIOLATION,) * 3


def test_which_limit() -> None:
    """A rate that is reached is named, beside when to retry."""
    error = RateLimited(
        "60 an hour are allowed", retry_after_s=2, limit="messages_per_recipient", reason="RECIPIENT_RATE"
    )
    found = from_status(to_status(error))
    assert (found.limit, found.reason, found.retry_after_s) == ("messages_per_recipient", "RECIPIENT_RATE", 2)


def test_bounded() -> None:
    """However much is wrong, the status fits into trailing metadata."""
    many = InvalidRequest(tuple(FieldViolation("f" * 30, "d" * 10_000, "REASON") for _ in range(500)))
    status = to_status(many)
    assert status.ByteSize() * 4 / 3 < 8192
    assert len(from_status(status).violations) == 16


def test_corrupt_data(caplog: pytest.LogCaptureFixture) -> None:
    """Which file or key is damaged stands in the log, under the number that the caller gets."""
    found = from_status(to_status(StoreCorrupt("the data key 0102 of secret.keys is gone")))
    (record,) = caplog.records
    assert record.incident in found.text  # type: ignore[attr-defined]  # an extra
    assert "0102" in record.why  # type: ignore[attr-defined]  # an extra
    assert "0102" not in found.text
    assert "secret" not in found.text


@pytest.mark.parametrize("error", [ValueError("secret"), GatewayError("secret"), ServerFault("secret"), KeyError(1)])
def test_unknown(error: Exception, caplog: pytest.LogCaptureFixture) -> None:
    """Anything else is INTERNAL: its text stays in the log, under the number the caller gets."""
    found = from_status(to_status(error))
    assert (found.code, found.reason) == (grpc.StatusCode.INTERNAL, "INTERNAL")
    assert "secret" not in found.text
    (record,) = caplog.records
    assert record.incident in found.text  # type: ignore[attr-defined]  # an extra
    assert record.exc_info is not None
    assert record.exc_info[1] is error
