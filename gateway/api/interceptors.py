"""What every call passes before its handler, in one visible order.

A call passes the guards in the order that `guards` shows, and they leave in the opposite one. A guard that refuses
raises a GatewayError; those behind it are not asked, and the request has not even been read. The handler finds the
call in `current_call`. Every message of a stream passes `Guard.message`, since a long stream outlives the certificate
it began with. `gateway.api.serving` takes calls through them.
"""

from __future__ import annotations

import asyncio
import datetime as dt
from collections.abc import Callable
from contextvars import ContextVar
from typing import Any, Protocol, TypeAlias

import grpc

from gateway.api.auditing import AuditGuard, CallDecision
from gateway.api.authorizing import AuthorizationGuard
from gateway.api.draining import DrainGuard, Draining
from gateway.api.limiting import CallLimits, IdentityLimitGuard
from gateway.api.methods import METHODS, Method
from gateway.api.telemetry import TelemetryGuard
from gateway.audit.recorder import Recorder
from gateway.errors import GatewayError, Unsupported
from gateway.identity import Caller, CallerResolver, require_valid
from gateway.policy.authorizer import Authorizer
from gateway.policy.engine import Decision
from gateway.revocation.calls import RevokedCalls
from gateway.telemetry.tracing import CallTrace

# gRPC's types are generic over messages that a guard does not know.
Handler: TypeAlias = "grpc.RpcMethodHandler[Any, Any]"  # generic in the stubs only
Context: TypeAlias = "grpc.aio.ServicerContext[Any, Any]"

_WRITE_S = 1.0


class Guard(Protocol):
    """One thing that every call passes. It decides from memory: nothing here waits."""

    def enter(self, call: Call) -> None:
        """Let the call in, or raise a GatewayError; what it found out goes into the call."""

    def message(self, call: Call) -> None:
        """Let one more message of a stream pass, in or out, or raise a GatewayError."""

    def leave(self, call: Call, error: BaseException | None) -> None:
        """The call that entered is over; `error` is how it failed. Raises nothing."""


class Call:
    """One call under way. `caller`, `trusted`, `method`, `address`, `decision`, `asked_at` and `audit` come from the
    guards that let it in, `began` and `trace` from the first of them, which lets all in."""

    __slots__ = (
        "_entered",
        "_guards",
        "address",
        "asked_at",
        "audit",
        "began",
        "caller",
        "context",
        "decision",
        "method",
        "name",
        "peer",
        "receiving",
        "refusal",
        "task",
        "trace",
        "trusted",
        "writing",
    )

    began: float  # of time.perf_counter
    trace: CallTrace | None  # of a call that is sampled
    caller: Caller
    trusted: int  # the version of the bundles by which the caller was verified
    method: Method
    address: str  # the client's IP address, "" when it is not known
    decision: Decision  # of the policies, about the call itself
    asked_at: int  # when they were asked: microseconds since the Unix epoch
    audit: CallDecision  # the same, on its way into the audit

    def __init__(self, name: str, context: Context, guards: tuple[Guard, ...]) -> None:
        self.name = name  # /package.Service/Method
        self.context = context
        self.peer = context.peer()  # gRPC's name of the connection
        self.task = asyncio.current_task()  # which runs it
        self.refusal: GatewayError | None = None  # why it was cut while it ran
        self.writing = False  # whether an answer is on its way into gRPC, which takes nothing else until it is there
        self.receiving = False  # whether the message that passes the guards is the caller's
        self._guards = guards
        self._entered = 0

    @property
    def let_in(self) -> bool:
        """Whether all guards have let it in."""
        return self._entered == len(self._guards)

    def enter(self) -> None:
        """Pass all guards. Raises the refusal of the first that refuses."""
        for guard in self._guards:
            guard.enter(self)
            self._entered += 1

    def message(self, *, receiving: bool = False) -> None:
        """Pass one message of a stream, or look again at one that has been idle. Raises a refusal."""
        self.receiving = receiving
        for guard in self._guards:
            guard.message(self)

    def leave(self, error: BaseException | None) -> None:
        """Tell the guards that let it in, the last one first."""
        for guard in reversed(self._guards[: self._entered]):
            guard.leave(self, error)

    def cut(self, refusal: GatewayError) -> None:
        """End it where it stands, and tell the caller why. An answer that is being written is finished first: beside
        it gRPC takes no status. One that the caller does not let in is given up after a second."""
        if self.task is None or self.refusal is not None:
            return
        self.refusal = refusal
        if self.writing:
            asyncio.get_running_loop().call_later(_WRITE_S, self._give_up)
        else:
            self.task.cancel()

    def _give_up(self) -> None:
        if self.task is not None and self.writing:
            self.task.cancel()


current_call: ContextVar[Call] = ContextVar("current_call")  # gRPC runs every call in a context of its own


class IdentityGuard:
    """Finds out who calls, and looks at every message whether that can still be said of it.

    A stream outlives certificates, and authorities too: when the bundles have changed, its caller is verified anew, and
    refused when its authority is trusted no more.
    """

    def __init__(self, resolver: CallerResolver, clock: Callable[[], dt.datetime], limits: CallLimits) -> None:
        self._resolver = resolver
        self._clock = clock
        self._limits = limits

    def enter(self, call: Call) -> None:
        """Set `call.caller`. Raises Unauthenticated, PermissionDenied, or RateLimited for too many new certificates."""
        call.trusted = self._resolver.version  # read first: bundles that change in between are seen by the next message
        call.caller = self._resolver.resolve(call.context.auth_context(), lambda: self._limits.certificate(call.peer))

    def message(self, call: Call) -> None:
        """Raise Unauthenticated when the caller's certificates have expired, or lead to no trusted authority now."""
        version = self._resolver.version
        if call.trusted != version:  # it was let in before, so it takes nothing from the bucket of new certificates
            call.caller = self._resolver.resolve(call.context.auth_context())
            call.trusted = version
        require_valid(call.caller, self._clock())

    def leave(self, call: Call, error: BaseException | None) -> None:
        """Nothing to do."""


class RevocationGuard:
    """Refuses revoked callers, at each call and each message, and lets a new revocation cut the calls under way."""

    def __init__(self, calls: RevokedCalls) -> None:
        self._calls = calls

    def enter(self, call: Call) -> None:
        """Raise Unauthenticated for a revoked caller, Unavailable when nobody can know who is revoked."""
        self._calls.require(call)
        self._calls.begin(call)

    def message(self, call: Call) -> None:
        """Raise Unauthenticated for a caller that has been revoked meanwhile, Unavailable like `enter`."""
        self._calls.require(call)

    def leave(self, call: Call, error: BaseException | None) -> None:
        """Forget the call."""
        del error
        self._calls.end(call)


class MethodTableGuard:
    """Finds the call's row in the method table; a call without one is refused."""

    def enter(self, call: Call) -> None:
        """Set `call.method`. Raises Unsupported."""
        method = METHODS.get(call.name)
        if method is None:
            raise Unsupported("this node does not offer that method", reason="METHOD_UNKNOWN")
        call.method = method

    def message(self, call: Call) -> None:
        """Nothing to do."""

    def leave(self, call: Call, error: BaseException | None) -> None:
        """Nothing to do."""


def guards(
    telemetry: TelemetryGuard,
    resolver: CallerResolver,
    clock: Callable[[], dt.datetime],
    revoked: RevokedCalls,
    authorizer: Authorizer,
    recorder: Recorder,
    limits: CallLimits,
    recognised: Callable[[str], None],
    draining: Draining,
) -> tuple[Guard, ...]:
    """Return what every call passes, in this order."""
    return (
        telemetry,
        IdentityGuard(resolver, clock, limits),
        RevocationGuard(revoked),
        IdentityLimitGuard(limits, recognised),
        DrainGuard(draining),
        MethodTableGuard(),
        AuthorizationGuard(authorizer, clock),
        AuditGuard(recorder, clock),
    )


class Audit(Protocol):
    """What a call waits for before somebody acts on a decision or is told of it (`gateway.api.auditing`)."""

    async def admitted(self, call: Call) -> None:
        """The guards have let the call in. Raises a GatewayError: it is not served."""

    async def answered(self, call: Call) -> None:
        """The handler is done. Raises a GatewayError: its answer is not given."""

    async def refused(self, call: Call, error: Exception) -> Exception:
        """The call failed; return what the caller is to be told."""

    def abandoned(self, call: Call) -> None:
        """Nobody is there to be told."""
