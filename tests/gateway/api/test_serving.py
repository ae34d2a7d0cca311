"""Guards around handlers of every kind."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import Any

import grpc
import grpc.aio
import pytest

from gateway.api.draining import Draining
from gateway.api.interceptors import Call, Context, Guard, current_call
from gateway.api.serving import GuardedCalls, _write_all
from gateway.errors import NotFound, PermissionDenied, Unauthenticated
from gateway.limits.places import LeavingCalls
from smsgw.v1.message_service_pb2 import GetMessageRequest as Request
from tests.gateway.api.refusals import refusal, stream_refusal

TIMEOUT_S = 20.0


class Recorder:
    """A guard that writes down what passes it, and refuses when told to."""

    def __init__(self, name: str, log: list[str]) -> None:
        self.name, self.log = name, log
        self.refuse: Exception | None = None
        self.messages_left = 10**6

    def enter(self, call: Call) -> None:
        """Let the call in, or refuse it."""
        if self.refuse:
            raise self.refuse
        self.log.append(f"{self.name}+")

    def message(self, call: Call) -> None:
        """Let so many messages pass."""
        self.messages_left -= 1
        if self.messages_left < 0:
            raise Unauthenticated("expired", reason="EXPIRED")

    def leave(self, call: Call, error: BaseException | None) -> None:
        """Write down how the call ended."""
        self.log.append(f"{self.name}-{type(error).__name__ if error else ''}")


class Audit:
    """What calls wait for: fails as told, and writes down what it was told of."""

    def __init__(self) -> None:
        self.log: list[str] = []
        self.unrecorded: Exception | None = None

    async def admitted(self, call: Call) -> None:
        """Let the call in, or refuse it."""
        if self.unrecorded:
            raise self.unrecorded

    async def answered(self, call: Call) -> None:
        """Let the answer go."""
        self.log.append("answered")

    async def refused(self, call: Call, error: Exception) -> Exception:
        """Let the refusal go, or replace it."""
        self.log.append("refused")
        return self.unrecorded or error

    def abandoned(self, call: Call) -> None:
        """Write it down."""
        self.log.append("abandoned")


class Echo:
    """A service with a method of each kind; each echoes ids. "fail" fails, "stay" stays."""

    def __init__(self) -> None:
        self.seen: list[str] = []
        self.closed = asyncio.Event()
        self.staying = asyncio.Event()

    def _act(self, text: str) -> Request:
        assert current_call.get().name.startswith("/echo/")
        self.seen.append(text)
        if text == "fail":
            raise NotFound("no such thing", reason="THING_NOT_FOUND")
        return Request(message_id=text)

    async def one(self, request: Request, context: Context) -> Request:
        """Echo one."""
        return self._act(request.message_id)

    async def collect(self, requests: AsyncIterator[Request], context: Context) -> Request:
        """Echo many, joined."""
        return self._act("".join([request.message_id async for request in requests]))

    async def repeat(self, request: Request, context: Context) -> AsyncIterator[Request]:
        """Echo one, three times."""
        try:
            for _ in range(3):
                yield self._act(request.message_id)
            if request.message_id == "stay":
                self.staying.set()
                await asyncio.Event().wait()
        finally:
            self.closed.set()

    async def relay(self, requests: AsyncIterator[Request], context: Context) -> AsyncIterator[Request]:
        """Echo each."""
        async for request in requests:
            yield self._act(request.message_id)

    def handlers(self) -> dict[str, Any]:
        """Return gRPC's handlers of the methods."""
        codec: Any = (Request.FromString, Request.SerializeToString)
        return {
            "one": grpc.unary_unary_rpc_method_handler(self.one, *codec),
            "collect": grpc.stream_unary_rpc_method_handler(self.collect, *codec),
            "repeat": grpc.unary_stream_rpc_method_handler(self.repeat, *codec),
            "relay": grpc.stream_stream_rpc_method_handler(self.relay, *codec),
        }


class Rig:
    """A server with two recording guards, and a client."""

    def __init__(self, request_timeout_s: float = TIMEOUT_S) -> None:
        self.log: list[str] = []
        self.first, self.second = Recorder("a", self.log), Recorder("b", self.log)
        self.echo = Echo()
        self.audit = Audit()
        guards: tuple[Guard, ...] = (self.first, self.second)
        self.ended: list[str] = []
        self.leaving = LeavingCalls(1000, self.ended.append)
        calls = GuardedCalls(guards, self.audit, self.leaving, Draining(), request_timeout_s)
        calls.add({f"/echo/{name}": handler for name, handler in self.echo.handlers().items()})
        self.server = grpc.aio.server()
        self.server.add_generic_rpc_handlers((calls,))
        self.channel: grpc.aio.Channel

    def one(self, payload: bytes, name: str = "one") -> Any:
        """Call the unary method with these octets."""
        method: Any = self.channel.unary_unary(f"/echo/{name}", response_deserializer=Request.FromString)
        return method(payload, timeout=TIMEOUT_S)

    def repeat(self, payload: bytes) -> Any:
        """Call the method that answers three times."""
        method: Any = self.channel.unary_stream("/echo/repeat", response_deserializer=Request.FromString)
        return method(payload, timeout=TIMEOUT_S)

    def collect(self, payloads: Iterator[bytes]) -> Any:
        """Call the method that joins."""
        method: Any = self.channel.stream_unary("/echo/collect", response_deserializer=Request.FromString)
        return method(payloads, timeout=TIMEOUT_S)

    def relay(self, payloads: Iterator[bytes]) -> Any:
        """Call the method that echoes each."""
        method: Any = self.channel.stream_stream("/echo/relay", response_deserializer=Request.FromString)
        return method(payloads, timeout=TIMEOUT_S)


@asynccontextmanager
async def running(request_timeout_s: float = TIMEOUT_S) -> AsyncIterator[Rig]:
    """Run the echo server on loopback."""
    rig = Rig(request_timeout_s)
    port = rig.server.add_insecure_port("127.0.0.1:0")
    await rig.server.start()
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
        rig.channel = channel
        yield rig
    await rig.server.stop(None)


@pytest.fixture
async def rig() -> AsyncIterator[Rig]:
    """Run the echo server."""
    async with running() as rig:
        yield rig


def octets(*ids: str) -> Iterator[bytes]:
    """Return serialized requests."""
    return iter([Request(message_id=i).SerializeToString() for i in ids])


async def test_four_kinds(rig: Rig) -> None:
    """Handlers of all four kinds work behind the guards, which enter in order and leave in the other one."""
    assert (await rig.one(next(octets("x")))).message_id == "x"
    assert (await rig.collect(octets("x", "y"))).message_id == "xy"
    assert [r.message_id async for r in rig.repeat(next(octets("z")))] == ["z"] * 3
    assert [r.message_id async for r in rig.relay(octets("p", "q"))] == ["p", "q"]
    assert rig.log == ["a+", "b+", "b-", "a-"] * 4


async def test_refusal_comes_first(rig: Rig) -> None:
    """A guard that refuses stops the call before those behind it, and before the request is parsed."""
    rig.second.refuse = PermissionDenied("no", reason="NOPE")
    for call in (refusal(rig.one(b"\xff\xff")), refusal(rig.collect(iter([b"\xff\xff"])))):
        assert (await call)[:2] == (grpc.StatusCode.PERMISSION_DENIED, "NOPE")
    for responses in (rig.repeat(b"\xff\xff"), rig.relay(iter([b"\xff\xff"]))):
        assert (await stream_refusal(aiter(responses))).reason == "NOPE"
    assert rig.echo.seen == []
    assert rig.log == ["a+", "a-PermissionDenied"] * 4


async def test_malformed(rig: Rig) -> None:
    """Octets that are no request are INVALID_ARGUMENT, in all four kinds."""
    found = [
        await refusal(rig.one(b"\xff\xff")),
        await refusal(rig.collect(iter([b"\xff\xff"]))),
        await stream_refusal(aiter(rig.repeat(b"\xff\xff"))),
        await stream_refusal(aiter(rig.relay(iter([b"\xff\xff"])))),
    ]
    assert [(r.code, r.reason) for r in found] == [(grpc.StatusCode.INVALID_ARGUMENT, "REQUEST_MALFORMED")] * 4


async def test_errors_translated(rig: Rig) -> None:
    """An error of a handler becomes its status, in all four kinds."""
    found = [
        await refusal(rig.one(next(octets("fail")))),
        await refusal(rig.collect(octets("fail"))),
        await stream_refusal(aiter(rig.repeat(next(octets("fail"))))),
        await stream_refusal(aiter(rig.relay(octets("fail")))),
    ]
    assert [(r.code, r.reason) for r in found] == [(grpc.StatusCode.NOT_FOUND, "THING_NOT_FOUND")] * 4
    assert rig.log == ["a+", "b+", "b-NotFound", "a-NotFound"] * 4


async def test_stream_messages_guarded(rig: Rig) -> None:
    """Each message of a stream passes the guards, in and out: an expiry ends the stream where it stands."""
    rig.first.messages_left = 3  # in, out, in; then the second answer is refused
    seen: list[str] = []

    async def ids() -> AsyncIterator[str]:
        async for response in rig.relay(octets("p", "q", "r")):
            seen.append(response.message_id)
            yield response.message_id

    refused = await stream_refusal(ids())
    assert (refused.code, refused.reason) == (grpc.StatusCode.UNAUTHENTICATED, "EXPIRED")
    assert seen == ["p"]


async def test_cancelled(rig: Rig) -> None:
    """When the caller goes away the handler is closed, and the guards are told."""
    responses = rig.repeat(next(octets("stay")))
    for _ in range(3):
        await responses.read()
    await rig.echo.staying.wait()
    responses.cancel()
    async with asyncio.timeout(TIMEOUT_S):
        await rig.echo.closed.wait()
        while len(rig.log) < 4:
            await asyncio.sleep(0)
    assert rig.log == ["a+", "b+", "b-CancelledError", "a-CancelledError"]


async def test_unknown_method(rig: Rig) -> None:
    """A method that nobody offers passes the guards like any other, under a name that is not the caller's choice."""
    refused = await refusal(rig.one(b"", "nothing"))
    assert (refused.code, refused.reason) == (grpc.StatusCode.UNIMPLEMENTED, "METHOD_UNKNOWN")
    assert rig.log == ["a+", "b+", "b-Unsupported", "a-Unsupported"]
    rig.log.clear()
    rig.first.refuse = Unauthenticated("who?")
    assert (await refusal(rig.one(b"", "nothing"))).code is grpc.StatusCode.UNAUTHENTICATED
    assert rig.log == []


async def unsent(rig: Rig, name: str = "collect") -> Any:
    """Begin a call of a method, and send nothing."""
    method: Any = rig.channel.stream_unary(f"/echo/{name}")
    return method(timeout=TIMEOUT_S)


async def entered(rig: Rig, calls: int = 1) -> None:
    """Wait until so many calls have passed the guards."""
    async with asyncio.timeout(TIMEOUT_S):
        while rig.log.count("b+") < calls:
            await asyncio.sleep(0.005)


@pytest.mark.parametrize("name", ["one", "collect", "repeat", "relay"])
async def test_guards_are_asked_at_the_headers(rig: Rig, name: str) -> None:
    """Guards see a call of any kind when its headers are in, and can refuse it before it has sent anything."""
    call = await unsent(rig, name)
    await entered(rig)
    call.cancel()
    rig.second.refuse = PermissionDenied("no", reason="NOPE")
    assert (await refusal(await unsent(rig, name))).reason == "NOPE"


async def test_a_request_has_so_long() -> None:
    """A call whose request does not come is ended, and told why; its guards leave. One that has come is not touched."""
    async with running(request_timeout_s=0.2) as rig:
        staying = rig.repeat(next(octets("stay")))
        await staying.read()
        found = [await refusal(await unsent(rig, name)) for name in ("one", "one", "repeat")]
        assert [(r.code, r.reason) for r in found] == [(grpc.StatusCode.INVALID_ARGUMENT, "REQUEST_LATE")] * 3
        assert rig.log.count("a-InvalidRequest") == 3
        assert (await staying.read()).message_id == "stay"
        staying.cancel()
        stream = rig.relay(iter([]))
        assert await stream.read() is grpc.aio.EOF


async def test_a_call_without_request(rig: Rig) -> None:
    """A call that ends without the one request it needs is told so."""
    call = await unsent(rig, "one")
    await call.done_writing()
    refused = await refusal(call)
    assert (refused.code, refused.reason) == (grpc.StatusCode.INVALID_ARGUMENT, "REQUEST_MISSING")


class SlowContext:
    """As much of a call's context as a writer needs; what is written arrives when it is let in."""

    def __init__(self) -> None:
        self.written: list[object] = []
        self.begun, self.let_in = asyncio.Event(), asyncio.Event()

    def peer(self) -> str:
        """Return gRPC's name of the peer."""
        return "ipv4:127.0.0.1:1"

    async def write(self, response: object) -> None:
        """Wait until the peer lets it in."""
        self.begun.set()
        await self.let_in.wait()
        self.written.append(response)


async def test_a_cut_waits_for_what_is_being_written() -> None:
    """gRPC takes no status while it takes an answer: the answer is finished, then the call ends with its reason."""
    context: Any = SlowContext()
    closed = asyncio.Event()
    calls: list[Call] = []

    async def answers() -> AsyncIterator[str]:
        try:
            yield "one"
            yield "two"
        finally:
            closed.set()

    async def serve() -> None:
        calls.append(Call("/x/Y", context, ()))
        await _write_all(calls[0], answers())

    task = asyncio.create_task(serve())
    await context.begun.wait()
    calls[0].cut(Unauthenticated("revoked", reason="REVOKED"))
    calls[0].cut(Unauthenticated("again"))
    context.let_in.set()
    with pytest.raises(Unauthenticated, match="revoked"):
        await task
    assert context.written == ["one"]
    assert closed.is_set()


async def test_leaving_calls_are_counted(rig: Rig) -> None:
    """A call is leaving from its answer or refusal until gRPC is through with it, and then no more."""
    await rig.one(next(octets("x")))
    await refusal(rig.one(next(octets("fail"))))
    responses = rig.repeat(next(octets("stay")))
    await responses.read()
    responses.cancel()
    async with asyncio.timeout(TIMEOUT_S):
        while rig.leaving.count or len(rig.log) < 12:
            await asyncio.sleep(0.005)
    assert rig.ended == []
