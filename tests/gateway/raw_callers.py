"""Callers by bare gRPC, in a process of their own: they get over nothing as a client library would.

Each has a channel to each node, without gRPC's own retries. A call is made again in two cases only: its status carries
RetryInfo, which is waited for, or its connection was never established. Any other failure ends this process with an
error, which its log names. A token stands in the log of acknowledgements only after the reply that acknowledged it.

Stubborn ones do not wait, and ask the same node again and again until it is gone: the worst that callers may do.

    python -m tests.gateway.raw_callers TARGETS FOLDER LOG FIRST
"""

from __future__ import annotations

import asyncio
import itertools
import json
import os
import queue
import signal
import sys
import time
from collections import Counter, deque
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import grpc
import grpc.aio
from google.rpc import error_details_pb2, status_pb2  # type: ignore[import-untyped]  # it ships no types

from smsgw.v1 import message_pb2
from smsgw.v1 import message_service_pb2 as pb
from smsgw.v1.message_service_pb2_grpc import MessageServiceStub
from tests.appliance import SERVER_NAME
from tests.gateway.kill_load import message

if TYPE_CHECKING:
    from smsgw.v1.message_service_pb2_grpc import MessageServiceAsyncStub  # known to the stubs' types only

BATCH = 5
_PAUSE_S = 0.05  # between the calls of one caller
_UNCONNECTED_S = 0.1
_TIMEOUT_S = 20.0
_FRAMES = 4  # at a time on a stream
_OPTIONS = (
    ("grpc.ssl_target_name_override", SERVER_NAME),
    ("grpc.enable_retries", 0),
    ("grpc.use_local_subchannel_pool", 1),  # a connection of its own for each caller
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 500),
)
_NEVER_ESTABLISHED = "failed to connect to all addresses"

Messages = list[message_pb2.OutboundMessage]
Send = Callable[["Caller"], Awaitable[None]]


def wait_s(error: Any) -> float | None:
    """Return how long the status of `error`, of either of gRPC's clients, says that its caller is to wait; None without
    RetryInfo."""
    for key, value in error.trailing_metadata() or ():
        if key == "grpc-status-details-bin":
            for detail in status_pb2.Status.FromString(value).details:
                told = error_details_pb2.RetryInfo()
                if detail.Unpack(told):
                    return float(told.retry_delay.ToMicroseconds() / 1e6)
    return None


class Callers:
    """What they share: the numbers of tokens, the log, and the counts of what they met."""

    def __init__(self, log: int, first: int) -> None:
        self._log = log
        self._numbers = itertools.count(first)
        self.met: Counter[str] = Counter()
        self.stopping = asyncio.Event()

    def messages(self, count: int) -> Messages:
        """Return new ones, with a key each."""
        return [message(f"T{next(self._numbers):09d}") for _ in range(count)]

    def acknowledged(self, messages: Sequence[message_pb2.OutboundMessage]) -> None:
        """Note them."""
        os.write(self._log, "".join(f"{each.idempotency_key}\n" for each in messages).encode())


class Caller:
    """One of them, with a channel to each node."""

    def __init__(self, kind: str, targets: Sequence[str], files: Sequence[bytes], callers: Callers, at: int) -> None:
        self.kind, self.callers = kind, callers
        made = [(target, grpc.ssl_channel_credentials(*files), _OPTIONS) for target in targets]
        self._stubs = [MessageServiceStub(grpc.aio.secure_channel(*each)) for each in made]
        self._stream_stubs = [MessageServiceStub(grpc.secure_channel(*each)) for each in made]
        self._at = at
        self._stubborn = kind == "stubborn"

    @property
    def stub(self) -> MessageServiceAsyncStub:
        """The node that it asks now."""
        return self._stubs[self._at % len(self._stubs)]

    @property
    def stream_stub(self) -> MessageServiceStub:
        """The same, for streams."""
        return self._stream_stubs[self._at % len(self._stream_stubs)]

    async def again(self, error: Any) -> None:
        """Wait, and go on to the next node. Raises an error that says nothing of another try."""
        told_s = wait_s(error)
        if told_s is not None:
            away = error.code() is grpc.StatusCode.UNAVAILABLE
            self.callers.met[self.kind if away else "limited"] += 1
            if self._stubborn and away:
                return
            await asyncio.sleep(told_s)
        elif error.code() is grpc.StatusCode.UNAVAILABLE and (error.details() or "").startswith(_NEVER_ESTABLISHED):
            self.callers.met["unconnected"] += 1
            await asyncio.sleep(_UNCONNECTED_S)
        else:
            raise error
        self._at += 1

    async def work(self, send: Send) -> None:
        """Send at a steady rate until told to stop."""
        while not self.callers.stopping.is_set():
            await send(self)
            await asyncio.sleep(_PAUSE_S)


async def one(caller: Caller) -> None:
    """SendMessage, until it is acknowledged."""
    messages = caller.callers.messages(1)
    while True:
        try:
            await caller.stub.SendMessage(pb.SendMessageRequest(message=messages[0]), timeout=_TIMEOUT_S)
        except grpc.aio.AioRpcError as error:
            await caller.again(error)
        else:
            return caller.callers.acknowledged(messages)


async def batch(caller: Caller) -> None:
    """SendMessages, until it is acknowledged."""
    messages = caller.callers.messages(BATCH)
    while True:
        try:
            reply = await caller.stub.SendMessages(pb.SendMessagesRequest(messages=messages), timeout=_TIMEOUT_S)
        except grpc.aio.AioRpcError as error:
            await caller.again(error)
        else:
            assert all(result.HasField("accepted") for result in reply.results)
            return caller.callers.acknowledged(messages)


async def stream(caller: Caller) -> None:
    """One StreamMessages after the other, each until its node ends it; what had no answer goes first on the next."""
    waiting: deque[Messages] = deque()
    while waiting or not caller.callers.stopping.is_set():
        try:
            await asyncio.to_thread(_frames, caller, waiting)
        except grpc.RpcError as error:
            await caller.again(error)


def _frames(caller: Caller, waiting: deque[Messages]) -> None:
    """Keep some frames open on one stream. Raises RpcError when its node ends it.

    By gRPC's synchronous client: that of asyncio says INTERNAL where a frame is written to a stream that has ended.
    """
    callers, written = caller.callers, queue.SimpleQueue[pb.StreamMessagesRequest | None]()
    waiting.extend(callers.messages(BATCH) for _ in range(_FRAMES - len(waiting)))
    for messages in waiting:
        written.put(pb.StreamMessagesRequest(messages=messages))
    try:
        for reply in caller.stream_stub.StreamMessages(iter(written.get, None)):
            assert all(result.HasField("accepted") for result in reply.results)
            callers.acknowledged(waiting.popleft())
            time.sleep(_PAUSE_S)  # the rate of this caller
            if not callers.stopping.is_set():
                waiting.append(callers.messages(BATCH))
                written.put(pb.StreamMessagesRequest(messages=waiting[-1]))
            elif not waiting:
                written.put(None)
    finally:
        written.put(None)


_KINDS: tuple[tuple[str, Send, int], ...] = (
    ("one", one, 4),
    ("batch", batch, 4),
    ("stream", stream, 2),
    ("stubborn", one, 8),
)


async def main(targets: Sequence[str], folder: Path, log_path: Path, first: int) -> None:
    """Run until SIGTERM. `first`: the number of the first token."""
    files = [(folder / name).read_bytes() for name in ("bundle.pem", "caller-0.key", "caller-0.pem")]
    callers = Callers(os.open(log_path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600), first)
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, callers.stopping.set)
    async with asyncio.TaskGroup() as tasks:
        for kind, send, count in _KINDS:
            for number in range(count):
                tasks.create_task(Caller(kind, targets, files, callers, number).work(send))
    print(json.dumps(callers.met), flush=True)


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1].split(","), Path(sys.argv[2]), Path(sys.argv[3]), int(sys.argv[4])))
