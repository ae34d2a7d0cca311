"""Everything that can go wrong for a caller of the gateway.

The tree:

    SmsgwError                     the root
    ├── IdentityUnusable           our own SVID or bundle cannot be had or used; the text says what to do
    ├── ServerNotVerified          what answers is not the gateway that was named; nothing of the call was sent to it
    ├── ReceiptInvalid             a receipt of the audit log does not prove what it should: `reason` says why
    └── CallFailed                 the gateway, or the way to it, failed a call: `code`, a stable `reason`, `text`
        ├── Invalid                fields are wrong: `violations` names each; mend the message
        ├── NotRecognised          our certificate does not identify us there (expired, revoked, unknown)
        ├── Denied                 we are known, and may not do this
        ├── NotFound               no such object in our tenant
        ├── Conflict               the idempotency key was used with other content: a defect on our side
        ├── CannotSeal             the content cannot be sealed: nothing of the message was sent
        ├── WrongState             too late for it (cancelling what was delivered), or a cursor outside the log
        ├── RateLimited            a bound or a rate is reached: `retry_after_s` says when it may work
        ├── Unavailable            no node answered, or it is going down; also the store cannot write
        ├── TimedOut               no answer within the time given: whether it was done is unknown
        └── ServerFault            a defect at the node, with an incident number in the text

What the client may retry it has retried already when one of these is raised. No text here holds a number, a content or
a key: those stay in the message that the caller has.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import grpc

if TYPE_CHECKING:
    from smsgw.client.messages import Message


class Violation(NamedTuple):
    """One wrong field of a request."""

    field: str  # its path: message.recipient
    description: str


class SmsgwError(Exception):
    """The root of all that this package raises."""


class IdentityUnusable(SmsgwError):
    """Our own certificate, key or bundle cannot be had or used; the text says what to do. Nothing was sent."""


class ServerNotVerified(SmsgwError):
    """What answers at the address is not the gateway that was named. Nothing of the call was sent to it."""


class ReceiptInvalid(SmsgwError):
    """A receipt of the audit log does not prove what it should.

    Attributes:
        reason: MALFORMED (not in its form), SIGNATURE (of the log or of a witness), WITNESSES (too few),
            NOT_PROVEN (a record or a commit is not in the log that was signed), OTHER_MESSAGE (a record is about
            another one), OTHER_CONTENT (the message that was accepted is not the one given), NO_COMMITMENT (the
            receipt cannot show which message it was).
    """

    def __init__(self, text: str, *, reason: str) -> None:
        super().__init__(text)
        self.reason = reason


class CallFailed(SmsgwError):
    """A call failed.

    Attributes:
        code: the gRPC code.
        reason: stable and for machines; empty when no node answered.
        text: for people.
        violations: the wrong fields, where the node named any.
        retry_after_s: after how many seconds it may work, where the node said so.
        message: what `send` was to send, with its idempotency key: sending it again cannot make two of it.
    """

    def __init__(
        self,
        code: grpc.StatusCode,
        reason: str,
        text: str,
        *,
        violations: tuple[Violation, ...] = (),
        retry_after_s: float | None = None,
    ) -> None:
        super().__init__(text)
        self.code = code
        self.reason = reason
        self.text = text
        self.violations = violations
        self.retry_after_s = retry_after_s
        self.message: Message | None = None

    @property
    def transient(self) -> bool:
        """Whether the same call may work a little later."""
        return isinstance(self, Unavailable | TimedOut | RateLimited)


class Invalid(CallFailed):
    """Fields are wrong: `violations` names each of them."""


class NotRecognised(CallFailed):
    """Our certificate does not identify us at the node: expired, revoked, or of an unknown trust domain."""


class Denied(CallFailed):
    """We are known, and may not do this."""


class NotFound(CallFailed):
    """There is no such object in our tenant."""


class Conflict(CallFailed):
    """The idempotency key was used with other content."""


class CannotSeal(CallFailed):
    """The content cannot be sealed, by what the gateway publishes or by what it is. Nothing of the message was sent."""

    def __init__(self, reason: str, text: str) -> None:
        super().__init__(grpc.StatusCode.FAILED_PRECONDITION, reason, text)


class WrongState(CallFailed):
    """It is too late for that, or a cursor lies outside the log; see the reason."""


class RateLimited(CallFailed):
    """A bound or a rate is reached; `retry_after_s` says when it may work."""


class Unavailable(CallFailed):
    """No node answered, or the node is going down, or its store cannot write."""


class TimedOut(CallFailed):
    """No answer came within the time given: whether it was done is unknown. The same idempotency key finds out."""


class ServerFault(CallFailed):
    """A defect at the node; the text has an incident number for its operators."""


_KINDS: dict[grpc.StatusCode, type[CallFailed]] = {
    grpc.StatusCode.INVALID_ARGUMENT: Invalid,
    grpc.StatusCode.UNAUTHENTICATED: NotRecognised,
    grpc.StatusCode.PERMISSION_DENIED: Denied,
    grpc.StatusCode.NOT_FOUND: NotFound,
    grpc.StatusCode.ALREADY_EXISTS: Conflict,
    grpc.StatusCode.FAILED_PRECONDITION: WrongState,
    grpc.StatusCode.OUT_OF_RANGE: WrongState,
    grpc.StatusCode.RESOURCE_EXHAUSTED: RateLimited,
    grpc.StatusCode.UNAVAILABLE: Unavailable,
    grpc.StatusCode.CANCELLED: Unavailable,  # by the node or the transport: our own cancelling raises no error of these
    grpc.StatusCode.DEADLINE_EXCEEDED: TimedOut,
}


def kind_of(code: grpc.StatusCode) -> type[CallFailed]:
    """Return the class of the errors with this code."""
    return _KINDS.get(code, ServerFault)
