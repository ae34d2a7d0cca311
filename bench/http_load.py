"""A load generator for a gateway with an HTTP API, in a process of its own: `python -m bench.http_load ORDERS`.

As `bench.load`, for Kannel's sendsms: one GET a message over connections that are kept, one call at a time on each.
`orders.target` is HOST:PORT; the requests are made before the start.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import sys
import time
from dataclasses import asdict
from pathlib import Path
from urllib.parse import urlencode

import uvloop

from bench import traffic
from bench.kannel import SENDSMS, USER
from bench.load import Credit, Orders, Tally, together

_CALL_S = 60.0
_RECEIPTS = 31  # dlr-mask: of every kind


def request(number: int) -> bytes:
    """Return the request for message `number` of the traffic."""
    query = urlencode(
        {
            **USER,
            "from": "ACME",
            "to": traffic.recipient(number),
            "text": traffic.text(number),
            "dlr-mask": _RECEIPTS,
        }
    )
    return f"GET {SENDSMS}?{query} HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: keep-alive\r\n\r\n".encode()


async def exchange(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, octets: bytes) -> int:
    """Make one call; its HTTP status. Raises ValueError for an answer without a length, and OSError."""
    writer.write(octets)
    head = await reader.readuntil(b"\r\n\r\n")
    for line in head.split(b"\r\n")[1:]:
        name, _, value = line.partition(b":")
        if name.lower() == b"content-length":
            await reader.readexactly(int(value))
            return int(head.split(b" ", 2)[1])
    raise ValueError("an answer without Content-Length")


async def _send(orders: Orders, requests: list[bytes], tally: Tally, credit: Credit) -> None:
    todo = zip(itertools.count(orders.first), requests, strict=False)
    host, _, port = orders.target.rpartition(":")

    async def work() -> None:
        reader, writer = await asyncio.open_connection(host, int(port))
        try:
            for number, octets in todo:
                await credit.take(1)
                began = time.monotonic_ns()
                tally.starts.append((number, began))
                async with asyncio.timeout(_CALL_S):
                    status = await exchange(reader, writer, octets)
                tally.calls_us.append((time.monotonic_ns() - began) // 1000)
                if status in {200, 202}:
                    tally.accepted += 1
                else:
                    tally.fault(f"HTTP status {status}")
        except (OSError, EOFError, ValueError) as error:
            tally.fault(str(error) or type(error).__name__)
        finally:
            writer.close()

    await together([work() for _ in range(orders.workers)])


async def _run(orders: Orders) -> Tally:
    numbers = range(orders.first, orders.first + orders.messages)
    requests, tally = [request(number) for number in numbers], Tally()
    credit = Credit()
    print("ready", flush=True)
    await credit.started()
    tally.began, cpu_s = time.monotonic(), time.process_time()
    await _send(orders, requests, tally, credit)
    tally.ended, tally.cpu_s = time.monotonic(), time.process_time() - cpu_s
    tally.failed += orders.messages - tally.accepted - tally.failed  # those of a connection that was lost
    return tally


def main() -> None:
    """Carry out the orders, write the tally."""
    orders = Orders(**json.loads(sys.argv[1]))
    Path(orders.tally).write_text(json.dumps(asdict(uvloop.run(_run(orders)))))
    print("done", flush=True)


if __name__ == "__main__":
    main()
