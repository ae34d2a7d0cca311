"""How calls are served: past the guards when their headers are in, then the request, the handler, errors as statuses.

gRPC begins the handler of a unary request only when the request is complete: whoever never sends one would hold a place
of which no guard knows. So every method is registered as one that takes a stream. A call passes the guards when its
headers have come; then its request is read, which may take so long and no longer. Methods that nobody offers go the
same way, and so does metadata that is too large: gRPC's own bound is for each of its frames (RFC 9113 §6.10).

Handlers are coroutine functions (one response) or asynchronous generators (many); nothing else is registered
(`gateway.api.server`), and there is no interceptor: no read or write goes around the guards.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import aclosing
from typing import Any, NoReturn, TypeVar

import grpc
from google.protobuf.message import DecodeError

from gateway.api.draining import Draining
from gateway.api.interceptors import Audit, Call, Context, Guard, Handler, current_call
from gateway.api.status import abort
from gateway.errors import FieldViolation, GatewayError, InvalidRequest, Overloaded, Unsupported
from gateway.limits.places import LeavingCalls

T = TypeVar("T")
Parser = Callable[[bytes], Any]

REQUEST_TIMEOUT_S = 30.0
MAX_METADATA_BYTES = 16 << 10
UNKNOWN_METHOD = "/unknown/Unknown"  # stands for every name that is no method's: callers choose those
_METADATA_RETRY_S = 3600.0  # not at all, that is, until the caller has been changed
_EOF: Any = grpc.aio.EOF


class AwaitedRequests:
    """Calls that have been let in, and whose request has not come: each has so long. Belongs to one event loop."""

    def __init__(self, timeout_s: float) -> None:
        self._timeout_s = timeout_s
        self._since: dict[Call, float] = {}  # the longest first; bounded by the places of calls
        self._timer: asyncio.TimerHandle | None = None

    async def read(self, call: Call) -> bytes:
        """Return the request of a call. Raises InvalidRequest (REQUEST_MISSING); cuts the call (REQUEST_LATE)."""
        loop = asyncio.get_running_loop()
        self._since[call] = loop.time()
        if self._timer is None:
            self._timer = loop.call_later(self._timeout_s, self._look)
        try:
            octets = await call.context.read()
        finally:
            self._since.pop(call, None)
        if octets is _EOF:
            raise InvalidRequest((FieldViolation("request", "the call ended without one", "REQUEST_MISSING"),))
        return bytes(octets)

    def _look(self) -> None:
        """Cut the calls that have waited too long; look again when the next one has."""
        self._timer = None
        loop = asyncio.get_running_loop()
        late = loop.time() - self._timeout_s
        for call, since in list(self._since.items()):
            if since > late:
                self._timer = loop.call_at(since + self._timeout_s, self._look)
                return
            del self._since[call]
            text = f"did not come within {self._timeout_s:g} s of its headers"
            call.cut(InvalidRequest((FieldViolation("request", text, "REQUEST_LATE"),)))


class GuardedCalls(grpc.GenericRpcHandler):
    """All that gRPC knows of the services: for each method a handler behind the guards."""

    def __init__(
        self,
        guards: tuple[Guard, ...],
        audit: Audit,
        leaving: LeavingCalls,
        draining: Draining,
        request_timeout_s: float = REQUEST_TIMEOUT_S,
        max_metadata_bytes: int = MAX_METADATA_BYTES,
    ) -> None:
        self._guards = guards
        self._audit = audit
        self._leaving = leaving
        self._draining = draining
        self._requests = AwaitedRequests(request_timeout_s)
        self._guarded: dict[str, Handler] = {}
        self._max_metadata_bytes = max_metadata_bytes
        unknown = Unsupported("this node does not offer that method", reason="METHOD_UNKNOWN")
        too_large = Overloaded(
            f"the metadata of a call has {max_metadata_bytes} octets at most: send less",
            retry_after_s=_METADATA_RETRY_S,
            reason="METADATA_TOO_LARGE",
        )
        self._unknown = self._refusing((*guards, _Refusal(unknown)))
        self._too_large = self._refusing((*guards[:1], _Refusal(too_large)))

    def add(self, handlers: Mapping[str, Handler]) -> None:
        """Take up handlers, by the full names of their methods."""
        self._guarded |= {name: self._guard(name, handler) for name, handler in handlers.items()}

    def service(self, handler_call_details: grpc.HandlerCallDetails) -> Handler:
        """Return the guarded handler of a method."""
        size = 0
        for name, value in handler_call_details.invocation_metadata:
            size += len(name) + len(value)
        if size > self._max_metadata_bytes:
            return self._too_large
        return self._guarded.get(handler_call_details.method, self._unknown)

    def _refusing(self, guards: tuple[Guard, ...]) -> Handler:
        """Return a handler that reads nothing: the last of its guards lets nobody in."""

        async def behaviour(_: object, context: Context) -> Any:
            return await self._serve(Call(UNKNOWN_METHOD, context, guards), _never)

        return _stream_unary(behaviour, None)

    def _guard(self, name: str, handler: Handler) -> Handler:
        """Return `handler` behind the guards. It takes octets: they are parsed when the guards have let the call in."""
        parse, serialize = _parser(handler), handler.response_serializer
        if handler.response_streaming:
            many = self._streamed_many if handler.request_streaming else self._single_many
            inner: Any = handler.stream_stream or handler.unary_stream
            return _stream_stream(many(name, inner, parse), serialize)
        one = self._streamed if handler.request_streaming else self._single
        inner = handler.stream_unary or handler.unary_unary
        return _stream_unary(one(name, inner, parse), serialize)

    def _single(self, name: str, inner: Any, parse: Parser) -> Any:
        """One request, one response."""

        async def handle(call: Call) -> Any:
            return await inner(parse(await self._requests.read(call)), call.context)

        async def behaviour(_: object, context: Context) -> Any:
            return await self._serve(Call(name, context, self._guards), handle)

        return behaviour

    def _streamed(self, name: str, inner: Any, parse: Parser) -> Any:
        """Many requests, one response."""

        async def behaviour(requests: AsyncIterator[bytes], context: Context) -> Any:
            return await self._serve(
                Call(name, context, self._guards), lambda call: inner(_received(call, requests, parse), context)
            )

        return behaviour

    def _single_many(self, name: str, inner: Any, parse: Parser) -> Any:
        """One request, many responses."""

        async def handle(call: Call) -> None:
            await _write_all(call, inner(parse(await self._requests.read(call)), call.context))

        async def behaviour(_: object, context: Context) -> None:
            await self._serve(Call(name, context, self._guards), handle)

        return behaviour

    def _streamed_many(self, name: str, inner: Any, parse: Parser) -> Any:
        """Many requests, many responses."""

        async def behaviour(requests: AsyncIterator[bytes], context: Context) -> None:
            await self._serve(
                Call(name, context, self._guards),
                lambda call: _write_all(call, inner(_received(call, requests, parse), context)),
            )

        return behaviour

    async def _serve(self, call: Call, handle: Callable[[Call], Awaitable[T]]) -> T:
        """Run one call: guards, handler, and its error as a status. The guards leave before the caller is told."""
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
            self._leave(call)
            told = await self._audit.refused(call, error)
            await self._draining.turn(told)
            await abort(call.context, told)
        except asyncio.CancelledError as error:
            call.leave(call.refusal or error)
            if call.refusal is None or call.task is None or call.writing:
                self._audit.abandoned(call)
                if call.writing and call.refusal is not None:  # and it cannot be told: it does not read what it is sent
                    self._leaving.end(call.peer)
                raise
            self._leave(call)
            call.task.uncancel()  # it was us: the caller is told why
            await abort(call.context, await self._audit.refused(call, call.refusal))
        except BaseException as error:
            call.leave(error)
            self._audit.abandoned(call)
            raise
        call.leave(None)
        self._leave(call)
        return result

    def _leave(self, call: Call) -> None:
        """The call is over for us, and for gRPC when what it is told now has been sent."""
        peer = call.peer
        self._leaving.add(peer)
        call.context.add_done_callback(
            lambda _: self._leaving.remove(peer)  # type: ignore[arg-type]  # the stubs ask for a class of their own
        )


class _Refusal:
    """The last guard of calls that are not served."""

    def __init__(self, error: GatewayError) -> None:
        self._error = error

    def enter(self, call: Call) -> None:
        """Refuse."""
        del call
        raise self._error

    def message(self, call: Call) -> None:
        """Nothing to do: nobody is let in."""

    def leave(self, call: Call, error: BaseException | None) -> None:
        """Nothing to do: nobody is let in."""


async def _never(call: Call) -> NoReturn:
    raise AssertionError(f"{call.name} was let in")


def _stream_unary(behaviour: Any, serialize: Any) -> Handler:
    handler: Handler = grpc.stream_unary_rpc_method_handler(behaviour, None, serialize)
    return handler


def _stream_stream(behaviour: Any, serialize: Any) -> Handler:
    handler: Handler = grpc.stream_stream_rpc_method_handler(behaviour, None, serialize)
    return handler


def _parser(handler: Handler) -> Parser:
    """Return what parses a request of `handler`, and raises InvalidRequest (REQUEST_MALFORMED) when it cannot."""
    deserialize = handler.request_deserializer

    def parse(octets: bytes) -> Any:
        try:
            return octets if deserialize is None else deserialize(octets)
        except DecodeError as error:
            text = "is not the message that this method takes: generate the stubs from this version's protos"
            raise InvalidRequest((FieldViolation("request", text, "REQUEST_MALFORMED"),)) from error

    return parse


async def _received(call: Call, requests: AsyncIterator[bytes], parse: Parser) -> AsyncIterator[Any]:
    async for octets in requests:
        call.message(receiving=True)
        yield parse(octets)


async def _write_all(call: Call, responses: Any) -> None:
    """Write what the handler yields; it is closed when the call ends, however it ends."""
    async with aclosing(responses):
        async for response in responses:
            call.message()
            call.writing = True
            await call.context.write(response)
            call.writing = False
            if call.refusal is not None:
                raise call.refusal
