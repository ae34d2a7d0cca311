"""The load of the kill test, in a process of its own: sends batches, and logs each acknowledgement before the next.

A batch whose call fails is sent again, with the same idempotency keys, until it is answered: as a careful caller does.
Each message's text begins with a token; a token stands in the log only after the reply that acknowledged it.

    python -m tests.gateway.kill_load PORT FOLDER LOG RATE [FIRST]
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import os
import signal
import sys
from pathlib import Path

import grpc

from smsgw.v1 import message_pb2, message_service_pb2, message_service_pb2_grpc
from tests.appliance import SERVER_NAME

BATCH = 10
WORKERS = 12
_RETRY_S = 0.05
_CALL_S = 5.0


def message(token: str) -> message_pb2.OutboundMessage:
    """Return a transactional message that can be told from all others."""
    return message_pb2.OutboundMessage(
        recipient=f"+49151{int(token[1:]) % 10**8:08d}",
        sender="ACME",
        category=message_pb2.CATEGORY_TRANSACTIONAL,
        content=message_pb2.Content(text=f"{token} your payment has been received"),
        idempotency_key=token,
    )


class Load:
    """Workers that share one channel, one counter and one log."""

    def __init__(self, channel: grpc.aio.Channel, log: int, rate: float, first: int) -> None:
        self._stub = message_service_pb2_grpc.MessageServiceStub(channel)
        self._log = log
        self._pause_s = BATCH * WORKERS / rate
        self._numbers = itertools.count(first)
        self.stopping = asyncio.Event()

    async def work(self) -> None:
        """Send batches at this worker's share of the rate, until told to stop."""
        loop = asyncio.get_running_loop()
        while not self.stopping.is_set():
            next_at = loop.time() + self._pause_s
            tokens = [f"T{next(self._numbers):09d}" for _ in range(BATCH)]
            await self._send(tokens)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self.stopping.wait(), max(0.0, next_at - loop.time()))

    async def _send(self, tokens: list[str]) -> None:
        request = message_service_pb2.SendMessagesRequest(messages=[message(token) for token in tokens])
        while not self.stopping.is_set():
            try:
                reply = await self._stub.SendMessages(request, timeout=_CALL_S)
            except grpc.aio.AioRpcError:
                await asyncio.sleep(_RETRY_S)
                continue
            done = [
                token
                for token, result in zip(tokens, reply.results, strict=True)
                if result.WhichOneof("result") == "accepted"
            ]
            os.write(self._log, "".join(f"{token}\n" for token in done).encode())
            return


async def main(port: int, folder: Path, log_path: Path, rate: float, first: int = 0) -> None:
    """Run until SIGTERM. `first`: the number of the first token."""
    credentials = grpc.ssl_channel_credentials(
        (folder / "bundle.pem").read_bytes(),
        (folder / "caller-0.key").read_bytes(),
        (folder / "caller-0.pem").read_bytes(),
    )
    options = [
        ("grpc.ssl_target_name_override", SERVER_NAME),
        ("grpc.initial_reconnect_backoff_ms", 50),
        ("grpc.min_reconnect_backoff_ms", 50),
        ("grpc.max_reconnect_backoff_ms", 200),
    ]
    log = os.open(log_path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    async with grpc.aio.secure_channel(f"127.0.0.1:{port}", credentials, options) as channel:
        load = Load(channel, log, rate, first)
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, load.stopping.set)
        async with asyncio.TaskGroup() as tasks:
            for _ in range(WORKERS):
                tasks.create_task(load.work())
    os.close(log)


if __name__ == "__main__":
    asyncio.run(
        main(int(sys.argv[1]), Path(sys.argv[2]), Path(sys.argv[3]), float(sys.argv[4]), *map(int, sys.argv[5:]))
    )
