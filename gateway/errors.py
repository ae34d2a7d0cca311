"""Everything that can go wrong in the gateway and that a caller or an operator is told about.

The tree:

    GatewayError                 has a stable `reason` (UPPER_SNAKE_CASE, part of the API) and says whether to retry
    ├── CallerFault              the request is at fault; the same request will fail again
    │   ├── InvalidRequest       one or more fields are wrong (carries `violations`)     → INVALID_ARGUMENT
    │   │   └── SealedTooLate    sealed content that cannot be sent any more; a retry of it may still be known
    │   ├── Unauthenticated      the peer's certificate does not identify a caller       → UNAUTHENTICATED
    │   ├── PermissionDenied     the caller is known and may not do this                 → PERMISSION_DENIED
    │   ├── NotFound             no such object in the caller's tenant                   → NOT_FOUND
    │   ├── IdempotencyConflict  the key was used with other content                     → ALREADY_EXISTS
    │   └── WrongState           the object is past the point where this can be done     → FAILED_PRECONDITION
    └── ServerFault              the request may be fine
        ├── Overloaded           a bound is reached; retry after `retry_after_s`         → RESOURCE_EXHAUSTED
        │   └── RateLimited      the bound is a rate, named by `limit`
        ├── Unavailable          a part is down or going down; retry after a while       → UNAVAILABLE
        │   ├── StoreUnavailable the database refuses writes (disk full, read-only, ...)
        │   └── ShuttingDown     the node ends; retry after `retry_after_s`, or at another one
        ├── Unsupported          known, and not offered by this node                     → UNIMPLEMENTED
        └── StoreCorrupt         stored data fails its own checks; a person has to look  → DATA_LOSS
            └── KeyDestroyed     the key that opens it was destroyed, on purpose

`gateway.api.status` is the one place that turns these into gRPC statuses. Anything else that escapes is INTERNAL, and
says nothing of the inside. Texts never hold a full number, a body, a code or a key.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple


class GatewayError(Exception):
    """The root: `reason` is stable and for machines, the message is for people."""

    default_reason = "INTERNAL"

    def __init__(self, message: str, *, reason: str = "") -> None:
        super().__init__(message)
        self.reason = reason or self.default_reason


class CallerFault(GatewayError):
    """The request is at fault: sending it again unchanged fails again."""


class FieldViolation(NamedTuple):
    """One wrong field: its path in the request (`messages[3].recipient`), what is wrong and what to do, a reason."""

    field: str
    description: str
    reason: str


class InvalidRequest(CallerFault):
    """One or more fields are wrong; `violations` names each."""

    default_reason = "INVALID_FIELD"

    def __init__(self, violations: tuple[FieldViolation, ...]) -> None:
        super().__init__("; ".join(f"{v.field}: {v.description}" for v in violations), reason=violations[0].reason)
        self.violations = violations


class SealedTooLate(InvalidRequest):
    """Sealed content that cannot be sent now, and may have been accepted before: its key is retired, its time is over.
    The same message under the same idempotency key has its answer all the same."""


class Unauthenticated(CallerFault):
    """The peer's certificate does not identify a caller."""

    default_reason = "IDENTITY_REFUSED"


class PermissionDenied(CallerFault):
    """The caller is known and may not do this; `metadata` tells machines why: the policy's id, and its reason."""

    default_reason = "PERMISSION_DENIED"

    def __init__(self, message: str, *, reason: str = "", metadata: Mapping[str, str] | None = None) -> None:
        super().__init__(message, reason=reason)
        self.metadata = dict(metadata or {})


class NotFound(CallerFault):
    """There is no such object in the caller's tenant."""

    default_reason = "NOT_FOUND"


class IdempotencyConflict(CallerFault):
    """The idempotency key was used before with other content."""

    default_reason = "IDEMPOTENCY_KEY_REUSED"


class WrongState(CallerFault):
    """The object is past the point where this can be done."""

    default_reason = "WRONG_STATE"


class ServerFault(GatewayError):
    """The request may be fine: this node could not serve it."""


class Overloaded(ServerFault):
    """A bound is reached: retry after `retry_after_s` seconds."""

    default_reason = "OVERLOADED"

    def __init__(self, message: str, *, retry_after_s: float, reason: str = "") -> None:
        super().__init__(message, reason=reason)
        self.retry_after_s = retry_after_s


class RateLimited(Overloaded):
    """A rate is reached: the limit `limit`, of which the text says how much it allows."""

    default_reason = "RATE_LIMITED"

    def __init__(self, message: str, *, retry_after_s: float, limit: str, reason: str = "") -> None:
        super().__init__(message, retry_after_s=retry_after_s, reason=reason)
        self.limit = limit


class Unavailable(ServerFault):
    """A part of the node is down or going down: retry after a while."""

    default_reason = "UNAVAILABLE"


class StoreUnavailable(Unavailable):
    """The database refuses to write or to read."""

    default_reason = "STORE_UNAVAILABLE"


_GOING_DOWN = "this node is going down: go on at another one, or retry"


class ShuttingDown(Unavailable):
    """The node ends: go on at another one, or retry here after `retry_after_s` seconds."""

    default_reason = "SHUTTING_DOWN"

    def __init__(self, message: str = _GOING_DOWN, *, retry_after_s: float = 1.0) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


class Unsupported(ServerFault):
    """Known, and not offered by this node."""

    default_reason = "UNSUPPORTED"


class StoreCorrupt(ServerFault):
    """Stored data fails its own checks: a person has to look."""

    default_reason = "STORE_CORRUPT"


class KeyDestroyed(StoreCorrupt):
    """The key that opens it was destroyed, on purpose: what it sealed is gone for good."""

    default_reason = "KEY_DESTROYED"
