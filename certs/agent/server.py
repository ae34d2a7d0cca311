"""The agent as a whole: the front, gRPC behind it, and the keeper's rounds."""

from __future__ import annotations

import asyncio
import contextlib
import datetime as dt
import logging
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from functools import partial
from pathlib import Path
from typing import Final, NoReturn, TypeVar

import grpc
from google.protobuf.message import Message

from certs.agent.front import Front
from certs.agent.keeper import Keeper, Round
from certs.agent.processes import Attestor
from certs.agent.workload_api import HEADER, Call, Refused, WorkloadApi
from smsgw.spiffe import workload_pb2 as pb

SERVICE: Final = pb.DESCRIPTOR.services_by_name["SpiffeWorkloadAPI"].full_name
_LOG = logging.getLogger(__name__)
_OPTIONS: Final = (
    ("grpc.max_receive_message_length", 64 * 1024),
    ("grpc.max_metadata_size", 8 * 1024),
    ("grpc.max_concurrent_streams", 32),
)
_Request = TypeVar("_Request", bound=Message)
_Reply = TypeVar("_Reply", bound=Message)


class Agent:
    """Serves the Workload API at a socket, and keeps what it serves fresh."""

    def __init__(self, keeper: Keeper, socket_path: Path, clock: Callable[[], dt.datetime]) -> None:
        self._keeper = keeper
        self.tally = Tally()
        self._front = Front(socket_path, Attestor(), lambda: keeper.holder.now.wants_digest)
        self._api = WorkloadApi(keeper.holder, self._front.facts_of, keeper, clock)

    async def run(self, stop: asyncio.Event, told: Callable[[Round], None]) -> None:
        """Serve until `stop`; `told` hears of each round. Raises SvidFileError when the socket cannot be used."""
        server = grpc.aio.server(options=_OPTIONS)
        server.add_generic_rpc_handlers([handler(self._api, self.tally)])
        try:
            server.add_insecure_port(self._front.inner)
            await server.start()
            first = await self._keeper.round()
            told(first)
            await self._front.start()
            await self._rounds(stop, told, first.next_in_s)
        finally:
            await server.stop(0)
            await self._front.stop()
            await self._keeper.close()

    async def _rounds(self, stop: asyncio.Event, told: Callable[[Round], None], wait: float) -> None:
        while not stop.is_set():
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(wait):
                    await stop.wait()
                return
            done = await self._keeper.round()
            told(done)
            wait = done.next_in_s


def handler(api: WorkloadApi, tally: Tally) -> grpc.GenericRpcHandler:
    """Return the Workload API as gRPC serves it."""
    stream, unary = partial(_stream, tally), partial(_unary, tally)
    return grpc.method_handlers_generic_handler(
        SERVICE,
        {
            "FetchX509SVID": stream("FetchX509SVID", api.x509_svids, pb.X509SVIDRequest.FromString),
            "FetchX509Bundles": stream("FetchX509Bundles", api.x509_bundles, pb.X509BundlesRequest.FromString),
            "FetchJWTBundles": stream("FetchJWTBundles", api.jwt_bundles, pb.JWTBundlesRequest.FromString),
            "FetchJWTSVID": unary("FetchJWTSVID", api.jwt_svids, pb.JWTSVIDRequest.FromString),
            "ValidateJWTSVID": unary("ValidateJWTSVID", api.validate_jwt, pb.ValidateJWTSVIDRequest.FromString),
        },
    )


class Tally:
    """What was answered, and what was refused. Counted on the event loop, read on any thread."""

    def __init__(self) -> None:
        self.served: Counter[str] = Counter()  # messages, by method
        self.refused: Counter[tuple[str, str]] = Counter()  # calls, by method and code

    def ended(self, method: str, refused: Exception) -> None:
        """Count a call that was refused, or failed."""
        code = refused.code if isinstance(refused, Refused) else grpc.StatusCode.INTERNAL
        self.refused[method, code.name] += 1


def _call(context: grpc.aio.ServicerContext[_Request, _Reply]) -> Call:
    metadata = context.invocation_metadata() or ()
    return Call(peer=context.peer(), has_header=any(name == HEADER and value == "true" for name, value in metadata))


def _octets(reply: Message) -> bytes:
    return reply.SerializeToString()


async def _end(context: grpc.aio.ServicerContext[_Request, _Reply], refused: Exception) -> NoReturn:
    """End a call; an error that nobody foresaw says nothing of the inside."""
    if isinstance(refused, Refused):
        await context.abort(refused.code, str(refused))
    _LOG.error("a call failed", exc_info=refused)
    await context.abort(grpc.StatusCode.INTERNAL, "internal error")
    raise AssertionError("abort raises")


def _unary(
    tally: Tally,
    method: str,
    call: Callable[[_Request, Call], Awaitable[_Reply]],
    parse: Callable[[bytes], _Request],
) -> grpc.RpcMethodHandler[_Request, _Reply]:
    async def answer(request: _Request, context: grpc.aio.ServicerContext[_Request, _Reply]) -> _Reply:
        try:
            reply = await call(request, _call(context))
            tally.served[method] += 1
            return reply
        except Exception as refused:  # the top of the call: `_end` says what becomes of it
            tally.ended(method, refused)
            await _end(context, refused)

    return grpc.unary_unary_rpc_method_handler(answer, request_deserializer=parse, response_serializer=_octets)


def _stream(
    tally: Tally,
    method: str,
    call: Callable[[_Request, Call], AsyncIterator[_Reply]],
    parse: Callable[[bytes], _Request],
) -> grpc.RpcMethodHandler[_Request, _Reply]:
    async def answer(request: _Request, context: grpc.aio.ServicerContext[_Request, _Reply]) -> AsyncIterator[_Reply]:
        last: _Reply | None = None
        try:
            async for message in call(request, _call(context)):
                if message != last:  # what changed may have been another workload's
                    last = message
                    tally.served[method] += 1
                    yield message
        except Exception as refused:  # the top of the call: `_end` says what becomes of it
            tally.ended(method, refused)
            await _end(context, refused)

    return grpc.unary_stream_rpc_method_handler(answer, request_deserializer=parse, response_serializer=_octets)
