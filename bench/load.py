"""One load generator, in a process of its own: `python -m bench.load ORDERS`, ORDERS being JSON.

Requests are serialized before the start and replies are read after the end, so that the generator takes as little as it
can of the machine it shares with the node. It says "ready" and starts at the first line of its standard input. Each
line says how many messages it may have sent by now: so its driver bounds what is under way. At the end it writes its
tally as JSON and says "done". Times are of CLOCK_MONOTONIC, which is the same in all processes.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import os
import sys
import time
from collections.abc import AsyncIterator, Callable, Coroutine
from dataclasses import asdict, dataclass, field
from pathlib import Path

import grpc
import uvloop
from grpc import aio

from bench import traffic
from smsgw.v1 import message_pb2 as m
from smsgw.v1 import message_service_pb2 as s

_SERVICE = "/smsgw.v1.MessageService/"
_CALL_S = 60.0
_PAUSE_S = 0.02
_RAW: dict[str, Callable[[bytes], bytes]] = {"request_serializer": bytes, "response_deserializer": bytes}


@dataclass(frozen=True, slots=True, kw_only=True)
class Orders:
    """What one generator does: `messages` from number `first` on, by so many workers or streams over `channels`."""

    mode: str
    target: str
    server_name: str
    bundle: str
    callers: list[tuple[str, str]]  # certificate and key of each identity; each has one channel
    first: int
    messages: int
    workers: int
    batch: int  # messages a call; 1 except in batch mode
    depth: int  # frames unanswered on one stream
    tally: str  # the file for what came of it
    category: str = "CATEGORY_TRANSACTIONAL"
    rate: float = 0.0  # calls a second, whatever becomes of those before; in paced mode


@dataclass(slots=True, kw_only=True)
class Tally:
    """What came of it.

    Attributes:
        calls_us: the duration of each call or frame, in microseconds.
        starts: when each of them began: the number of its first message, CLOCK_MONOTONIC in nanoseconds.
        cpu_s: what the generator itself used meanwhile.
    """

    began: float = 0.0
    ended: float = 0.0
    accepted: int = 0
    refused: int = 0  # overloaded; sent again
    failed: int = 0
    first_error: str = ""
    calls_us: list[int] = field(default_factory=list)
    starts: list[tuple[int, int]] = field(default_factory=list)
    cpu_s: float = 0.0

    def fault(self, text: str) -> None:
        """Count one message that was not accepted."""
        self.failed += 1
        self.first_error = self.first_error or text


class Credit:
    """How many messages may be sent by now: the last number on standard input."""

    def __init__(self) -> None:
        self._sent = 0
        self._allowed = 0
        self._rest = b""
        self._more = asyncio.Event()
        asyncio.get_running_loop().add_reader(sys.stdin.fileno(), self._read)

    def _read(self) -> None:
        octets = os.read(sys.stdin.fileno(), 65536)
        *lines, self._rest = (self._rest + octets).split(b"\n")
        if lines:
            self._allowed = int(lines[-1])
            self._more.set()
        if not octets:  # the driver is gone
            asyncio.get_running_loop().remove_reader(sys.stdin.fileno())

    async def started(self) -> None:
        """Return when the first line has come."""
        await self._more.wait()

    async def take(self, messages: int) -> None:
        """Return when `messages` more may be sent."""
        self._sent += messages
        wanted = self._sent
        while wanted > self._allowed:
            self._more.clear()
            await self._more.wait()


def _channels(orders: Orders) -> list[aio.Channel]:
    bundle = Path(orders.bundle).read_bytes()
    options = [("grpc.ssl_target_name_override", orders.server_name), ("grpc.use_local_subchannel_pool", 1)]
    made = []
    for certificate, key in orders.callers:
        credentials = grpc.ssl_channel_credentials(bundle, Path(key).read_bytes(), Path(certificate).read_bytes())
        made.append(aio.secure_channel(orders.target, credentials, options))
    return made


async def _calls(
    orders: Orders, channels: list[aio.Channel], requests: list[bytes], tally: Tally, credit: Credit
) -> list[bytes]:
    """Send `requests` by calls, each worker one at a time and the callers by turns; the replies."""
    method = "SendMessage" if orders.mode == "unary" else "SendMessages"
    todo = zip(itertools.count(orders.first, orders.batch), requests, strict=False)
    replies: list[bytes] = []

    turns = itertools.cycle([channel.unary_unary(_SERVICE + method, **_RAW) for channel in channels])

    async def work() -> None:
        for number, request in todo:
            await credit.take(orders.batch)
            call = next(turns)
            tally.starts.append((number, time.monotonic_ns()))
            while True:
                began = time.monotonic_ns()
                try:
                    reply = await call(request, timeout=_CALL_S)
                except aio.AioRpcError as error:
                    if error.code() is grpc.StatusCode.RESOURCE_EXHAUSTED:
                        tally.refused += 1
                        await asyncio.sleep(_PAUSE_S)
                        continue
                    tally.fault(f"{error.code().name}: {error.details()}")
                    break
                tally.calls_us.append((time.monotonic_ns() - began) // 1000)
                replies.append(reply)
                break

    await together([work() for _ in range(orders.workers)])
    return replies


async def _streams(
    orders: Orders, channels: list[aio.Channel], frames: list[bytes], tally: Tally, credit: Credit
) -> list[bytes]:
    """Send `frames` on `orders.workers` streams, at most `depth` unanswered on each; the replies."""
    replies: list[bytes] = []

    async def stream(channel: aio.Channel, place: int) -> None:
        mine = frames[place :: orders.workers]
        places = asyncio.Semaphore(orders.depth)
        began: list[int] = []

        async def send() -> AsyncIterator[bytes]:
            for frame in mine:
                await credit.take(1)
                await places.acquire()
                tally.starts.append((orders.first + place + len(began) * orders.workers, time.monotonic_ns()))
                began.append(time.monotonic_ns())
                yield frame

        call = channel.stream_stream(_SERVICE + "StreamMessages", **_RAW)(send(), timeout=_CALL_S * 10)
        answered = 0
        try:
            async for reply in call:  # in the order of the frames
                tally.calls_us.append((time.monotonic_ns() - began[answered]) // 1000)
                answered += 1
                replies.append(reply)
                places.release()
        except aio.AioRpcError as error:
            tally.fault(f"{error.code().name}: {error.details()}")
        tally.failed += len(mine) - answered

    await together([stream(channels[n % len(channels)], n) for n in range(orders.workers)])
    return replies


async def together(work: list[Coroutine[None, None, None]]) -> None:
    """Run all of them to their ends."""
    async with asyncio.TaskGroup() as tasks:
        for one in work:
            tasks.create_task(one)


async def _paced(
    orders: Orders, channels: list[aio.Channel], requests: list[bytes], tally: Tally, credit: Credit
) -> list[bytes]:
    """Begin a call each `1 / rate` s, the callers by turns, however long others take; the replies."""
    del credit  # nothing waits: that is the point
    loop, replies = asyncio.get_running_loop(), []
    turns = itertools.cycle([channel.unary_unary(_SERVICE + "SendMessage", **_RAW) for channel in channels])

    async def call(number: int, request: bytes) -> None:
        began = time.monotonic_ns()
        tally.starts.append((number, began))
        try:
            replies.append(await next(turns)(request, timeout=_CALL_S))
            tally.calls_us.append((time.monotonic_ns() - began) // 1000)
        except aio.AioRpcError as error:
            tally.fault(f"{error.code().name}: {error.details()}")

    began = loop.time()
    async with asyncio.TaskGroup() as tasks:
        for place, request in enumerate(requests):
            await asyncio.sleep(max(0.0, began + place / orders.rate - loop.time()))
            tasks.create_task(call(orders.first + place, request))
    return replies


_MODES = {"unary": _calls, "batch": _calls, "stream": _streams, "paced": _paced}


def _requests(orders: Orders) -> list[bytes]:
    numbers, category = range(orders.first, orders.first + orders.messages), m.Category.Value(orders.category)
    if orders.mode in ("unary", "paced"):
        return [traffic.unary_request(number, category) for number in numbers]
    if orders.mode == "stream":
        return [traffic.frame(number, category) for number in numbers]
    end = orders.first + orders.messages
    return [traffic.batch_request(at, min(orders.batch, end - at), category) for at in numbers[:: orders.batch]]


def _count(orders: Orders, replies: list[bytes], tally: Tally) -> None:
    """Read what the node answered."""
    if orders.mode in ("unary", "paced"):
        tally.accepted += sum(s.SendMessageResponse.FromString(reply).HasField("accepted") for reply in replies)
        return
    read = s.StreamMessagesResponse.FromString if orders.mode == "stream" else s.SendMessagesResponse.FromString
    for reply in replies:
        for result in read(reply).results:
            if result.HasField("accepted"):
                tally.accepted += 1
            else:
                tally.fault(result.error.message)


async def _run(orders: Orders) -> Tally:
    requests, tally = _requests(orders), Tally()
    channels = _channels(orders)
    try:
        async with asyncio.timeout(30):
            for channel in channels:
                await channel.channel_ready()
        credit = Credit()
        print("ready", flush=True)
        await credit.started()
        tally.began, cpu_s = time.monotonic(), time.process_time()
        replies = await _MODES[orders.mode](orders, channels, requests, tally, credit)
        tally.ended, tally.cpu_s = time.monotonic(), time.process_time() - cpu_s
    finally:
        for channel in channels:
            await channel.close()
    _count(orders, replies, tally)
    return tally


def main() -> None:
    """Carry out the orders, write the tally."""
    orders = Orders(**json.loads(sys.argv[1]))
    Path(orders.tally).write_text(json.dumps(asdict(uvloop.run(_run(orders)))))
    print("done", flush=True)


if __name__ == "__main__":
    main()
