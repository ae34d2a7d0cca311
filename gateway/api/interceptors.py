"""What every call passes before its handler, and what its errors become: one interceptor, one visible order.

A call passes the guards in the order that `guards` shows, and they leave in the opposite one. A guard that refuses
raises a GatewayError; those behind it are not asked, and the request has not even been parsed. The handler finds the
call in `current_call`. Every message of a stream passes `Guard.message`, since a long stream outlives the certificate
it began with.

Handlers are coroutine functions (one response) or asynchronous generators (many); nothing else is registered
(`gateway.api.server`), so that no read or write goes around the guards.
"""

from __future__ import annotations

import asyncio
import datetime as dt
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import aclosing
from contextvars import ContextVar
from typing import Any, Protocol, TypeAlias, TypeVar

import grpc
from google.protobuf.message import DecodeError

from gateway.api.auditing import AuditGuard, CallDecision
from gateway.api.authorizing import AuthorizationGuard
from gateway.api.limiting import CallLimits, IdentityLimitGuard
from gateway.api.methods import METHODS, Method
from gateway.api.status import abort
from gateway.api.telemetry import TelemetryGuard
from gateway.audit.recorder import Recorder
from gateway.errors import FieldViolation, GatewayError, InvalidRequest, Unsupported
from gateway.identity import Caller, CallerResolver, require_valid
from gateway.policy.authorizer import Authorizer
from gateway.policy.engine import Decision
from gateway.revocation import RevokedCalls
from gateway.telemetry.tracing import CallTrace

T = TypeVar("T")
# gRPC's types are generic over messages that an interceptor does not know.
Handler: TypeAlias = "grpc.RpcMethodHandler[Any, Any]"  # generic in the stubs only
Context: TypeAlias = "grpc.aio.ServicerContext[Any, Any]"


class Guard(Protocol):
    """One thing that every call passes. It decides from memory: nothing here waits."""

    def enter(self, call: Call) -> None:
        """Let the call in, or raise a GatewayError; what it found out goes into the call."""

    def message(self, call: Call) -> None:
        """Let one more message of a stream pass, in or out, or raise a GatewayError."""

    def leave(self, call: Call, error: BaseException | None) -> None:
        """The call that entered is over; `error` is how it failed. Raises nothing."""


class Call:
    """One call under way. `caller`, `method`, `address`, `decision` and `audit` come from the guards that let it in,
    `began` and `trace` from the first of them, which lets all in."""

    __slots__ = (
        "_entered",
        "_guards",
        "address",
        "audit",
        "began",
        "caller",
        "context",
        "decision",
        "method",
        "name",
        "receiving",
        "refusal",
        "trace",
    )

    began: float  # of time.perf_counter
    trace: CallTrace | None  # of a call that is sampled
    caller: Caller
    method: Method
    address: str  # the client's IP address, "" when it is not known
    decision: Decision  # of the policies, about the call itself
    audit: CallDecision  # the same, on its way into the audit

    def __init__(self, name: str, context: Context, guards: tuple[Guard, ...]) -> None:
        self.name = name  # /package.Service/Method
        self.context = context
        self.refusal: GatewayError | None = None  # why it was cut while it ran
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


current_call: ContextVar[Call] = ContextVar("current_call")  # gRPC runs every call in a context of its own


class IdentityGuard:
    """Finds out who calls, and looks at every message whether the certificates are still valid."""

    def __init__(self, resolver: CallerResolver, clock: Callable[[], dt.datetime], limits: CallLimits) -> None:
        self._resolver = resolver
        self._clock = clock
        self._limits = limits

    def enter(self, call: Call) -> None:
        """Set `call.caller`. Raises Unauthenticated, PermissionDenied, or RateLimited for too many new certificates."""
        context = call.context
        call.caller = self._resolver.resolve(context.auth_context(), lambda: self._limits.certificate(context.peer()))

    def message(self, call: Call) -> None:
        """Raise Unauthenticated when the caller's certificates have expired."""
        require_valid(call.caller, self._clock())

    def leave(self, call: Call, error: BaseException | None) -> None:
        """Nothing to do."""


class RevocationGuard:
    """Refuses revoked callers, at each call and each message, and lets a new revocation cut the calls under way."""

    def __init__(self, calls: RevokedCalls) -> None:
        self._calls = calls

    def enter(self, call: Call) -> None:
        """Raise Unauthenticated for a revoked caller."""
        self._calls.require(call.caller)
        task = asyncio.current_task()
        if task is not None:
            self._calls.begin(call, task)

    def message(self, call: Call) -> None:
        """Raise Unauthenticated for a caller that has been revoked meanwhile."""
        self._calls.require(call.caller)

    def leave(self, call: Call, error: BaseException | None) -> None:
        """Forget the call."""
        del call, error
        task = asyncio.current_task()
        if task is not None:
            self._calls.end(task)


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
) -> tuple[Guard, ...]:
    """Return what every call passes, in this order."""
    return (
        telemetry,
        IdentityGuard(resolver, clock, limits),
        RevocationGuard(revoked),
        IdentityLimitGuard(limits, recognised),
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


class GuardedCalls(grpc.aio.ServerInterceptor):
    """The one interceptor of the server: guards, the audit of what they say, and the translation of errors."""

    def __init__(self, guards: tuple[Guard, ...], audit: Audit) -> None:
        self._guards = guards
        self._audit = audit
        self._guarded: dict[str, Handler] = {}  # only registered methods come in: bounded

    async def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Awaitable[Handler | None]],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> Handler | None:
        """Return the guarded handler of a method; None, which gRPC answers with UNIMPLEMENTED, when there is none."""
        name = handler_call_details.method
        guarded = self._guarded.get(name)
        if guarded is None:
            handler = await continuation(handler_call_details)
            if handler is None:
                return None
            guarded = self._guarded[name] = self._guard(name, handler)
        return guarded

    def _guard(self, name: str, handler: Handler) -> Handler:
        """Return `handler` behind the guards. It takes octets: they are parsed when the guards have let the call in."""
        serialize = handler.response_serializer
        if handler.request_streaming:
            if handler.response_streaming:
                return grpc.stream_stream_rpc_method_handler(self._stream_stream(name, handler), None, serialize)
            return grpc.stream_unary_rpc_method_handler(self._stream_unary(name, handler), None, serialize)
        if handler.response_streaming:
            return grpc.unary_stream_rpc_method_handler(self._unary_stream(name, handler), None, serialize)
        return grpc.unary_unary_rpc_method_handler(self._unary_unary(name, handler), None, serialize)

    def _unary_unary(self, name: str, handler: Handler) -> Any:
        inner: Any = handler.unary_unary
        parse = _parser(handler)

        async def behaviour(request: bytes, context: Context) -> Any:
            return await self._serve(name, context, lambda _: inner(parse(request), context))

        return behaviour

    def _stream_unary(self, name: str, handler: Handler) -> Any:
        inner: Any = handler.stream_unary
        parse = _parser(handler)

        async def behaviour(requests: AsyncIterator[bytes], context: Context) -> Any:
            return await self._serve(name, context, lambda call: inner(_received(call, requests, parse), context))

        return behaviour

    def _unary_stream(self, name: str, handler: Handler) -> Any:
        inner: Any = handler.unary_stream
        parse = _parser(handler)

        async def behaviour(request: bytes, context: Context) -> None:
            await self._serve(name, context, lambda call: _write_all(call, inner(parse(request), context)))

        return behaviour

    def _stream_stream(self, name: str, handler: Handler) -> Any:
        inner: Any = handler.stream_stream
        parse = _parser(handler)

        async def behaviour(requests: AsyncIterator[bytes], context: Context) -> None:
            await self._serve(
                name, context, lambda call: _write_all(call, inner(_received(call, requests, parse), context))
            )

        return behaviour

    async def _serve(self, name: str, context: Context, handle: Callable[[Call], Awaitable[T]]) -> T:
        """Run one call: guards, handler, and its error as a status. The guards leave before the caller is told."""
        call = Call(name, context, self._guards)
        current_call.set(call)
        try:
            call.enter()
            await self._audit.admitted(call)
            result = await handle(call)
            await self._audit.answered(call)
        except Exception as error:  # the top of this call's task
            call.leave(error)
            if isinstance(error, grpc.aio.BaseError):  # the peer is gone, or the server stops: nobody is to be told
                self._audit.abandoned(call)
                raise
            await abort(context, await self._audit.refused(call, error))
        except asyncio.CancelledError as error:
            call.leave(call.refusal or error)
            task = asyncio.current_task()
            if call.refusal is None or task is None:
                self._audit.abandoned(call)
                raise
            task.uncancel()  # it was us: the caller is told why
            await abort(context, await self._audit.refused(call, call.refusal))
        except BaseException as error:
            call.leave(error)
            self._audit.abandoned(call)
            raise
        call.leave(None)
        return result


def _parser(handler: Handler) -> Callable[[bytes], Any]:
    """Return what parses a request of `handler`, and raises InvalidRequest (REQUEST_MALFORMED) when it cannot."""
    deserialize = handler.request_deserializer

    def parse(octets: bytes) -> Any:
        try:
            return octets if deserialize is None else deserialize(octets)
        except DecodeError as error:
            text = "is not the message that this method takes: generate the stubs from this version's protos"
            raise InvalidRequest((FieldViolation("request", text, "REQUEST_MALFORMED"),)) from error

    return parse


async def _received(call: Call, requests: AsyncIterator[bytes], parse: Callable[[bytes], Any]) -> AsyncIterator[Any]:
    async for octets in requests:
        call.message(receiving=True)
        yield parse(octets)


async def _write_all(call: Call, responses: Any) -> None:
    """Write what the handler yields; it is closed when the call ends, however it ends."""
    async with aclosing(responses):
        async for response in responses:
            call.message()
            await call.context.write(response)
