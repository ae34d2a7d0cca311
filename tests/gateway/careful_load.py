"""A load by the client that is shipped, in a process of its own: what it does not get over is a failed call.

The client sends again, with the same idempotency keys, what a node refuses for now and what got no answer. The judge
beside it is stricter than the client: a node that refuses has to say when to come back (RetryInfo), and a call without
an answer has to have lost its connection, or to have found none. Anything else ends this process with an error, which
its log names. Each token stands in the log of acknowledgements only after the reply that acknowledged it.

    python -m tests.gateway.careful_load PORT FOLDER LOG RATE FIRST
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import os
import signal
import sys
from collections import Counter
from pathlib import Path

import grpc

from smsgw.client import AsyncClient, IdentityFiles, Message, RetryPolicy, Sent
from smsgw.client.errors import CallFailed
from smsgw.client.retrying import Attempts
from tests.appliance import TRUST_DOMAIN

BATCH = 10
WORKERS = 6
_PATIENCE_S = 60.0  # for one batch, restarts of its node included
_POLICY = RetryPolicy(backoff_max_s=0.5)


class Unexplained(Exception):
    """A call failed in a way that no caller has to bear."""


_again: Counter[str] = Counter()  # calls that were made again, by why


class _Judged(Attempts):
    """Attempts that are looked at before they are made again."""

    def pause_s(self, failed: CallFailed, now: float, chance: float) -> float:
        """As the client's. Raises Unexplained."""
        told = failed.retry_after_s is not None
        cut = not failed.reason and failed.code is grpc.StatusCode.UNAVAILABLE
        if not told and not cut:
            raise Unexplained(f"{failed.code.name} {failed.reason or 'without a reason'}: {failed}")
        _again[failed.reason or "NO_CONNECTION"] += 1
        return super().pause_s(failed, now, chance)


class _Client(AsyncClient):
    def _attempts(self, deadline: float) -> Attempts:
        return _Judged(self._retry, self._budget, deadline=deadline, repeatable=True)


def message(token: str) -> Message:
    """Return a transactional message that can be told from all others."""
    return Message(
        to=f"+49151{int(token[1:]) % 10**8:08d}",
        sender="ACME",
        category="TRANSACTIONAL",
        text=f"{token} your payment has been received",
        idempotency_key=token,
        client_reference=token,
    )


class Load:
    """Workers that share one client, one counter and one log."""

    def __init__(self, client: AsyncClient, log: int, rate: float, first: int) -> None:
        self._client = client
        self._log = log
        self._pause_s = BATCH * WORKERS / rate
        self._numbers = itertools.count(first)
        self.stopping = asyncio.Event()

    async def work(self) -> None:
        """Send batches at this worker's share of the rate, until told to stop; what has begun is finished."""
        while not self.stopping.is_set():
            tokens = [f"T{next(self._numbers):09d}" for _ in range(BATCH)]
            for token, outcome in zip(tokens, await self._send(tokens), strict=True):
                if not isinstance(outcome, Sent):
                    raise Unexplained(f"{outcome.code.name} {outcome.reason}: {outcome}")
                os.write(self._log, f"{token}\n".encode())
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._pause_s):
                    await self.stopping.wait()

    async def _send(self, tokens: list[str]) -> list[Sent | CallFailed]:
        return await self._client.send_many([message(token) for token in tokens], timeout_s=_PATIENCE_S)


async def main(port: int, folder: Path, log_path: Path, rate: float, first: int) -> None:
    """Run until SIGTERM. `first`: the number of the first token."""
    identity = IdentityFiles(folder / "caller-0.pem", folder / "caller-0.key", folder / "bundle.pem")
    log = os.open(log_path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    server_id = f"spiffe://{TRUST_DOMAIN}/gateway"
    async with _Client(f"127.0.0.1:{port}", server_id=server_id, identity=identity, retry=_POLICY) as client:
        load = Load(client, log, rate, first)
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, load.stopping.set)
        async with asyncio.TaskGroup() as tasks:
            for _ in range(WORKERS):
                tasks.create_task(load.work())
    os.close(log)
    print(f"again: {dict(_again)}", flush=True)


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1]), Path(sys.argv[2]), Path(sys.argv[3]), float(sys.argv[4]), int(sys.argv[5])))
