"""Drives load generators: from one common start, with so many messages under way and no more, to their ends."""

from __future__ import annotations

import contextlib
import json
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict
from pathlib import Path

from bench.load import Orders, Tally
from tests.appliance import ProcessFailed, Running

_END_S = 120.0  # without progress for so long, a run has failed
_POLL_S = 0.02


def generate(
    orders: Sequence[Orders],
    folder: Path,
    backlog: int,
    settled: Callable[[], int],
    starting: Callable[[], None] = lambda: None,
    *,
    module: str = "bench.load",
) -> list[Tally]:
    """Run generators (`module`) from one common start to their ends; `starting` is called when all are connected.

    `settled` says how many messages have been through it all since then; at most `backlog` more may be under way.
    Raises ProcessFailed when one of them failed, or a message was not accepted.
    """
    with contextlib.ExitStack() as stack:
        running = [
            stack.enter_context(
                Running(
                    [sys.executable, "-m", module, json.dumps(asdict(order))],
                    log=folder / f"load-{number}.log",
                    stdin=True,
                )
            )
            for number, order in enumerate(orders)
        ]
        for generator in running:
            generator.line_with("^ready$", 60)
        starting()
        stack.enter_context(_credit(running, orders, backlog, settled))
        for generator in running:
            generator.line_with("^done$", 600)
    tallies = [Tally(**json.loads(Path(order.tally).read_text())) for order in orders]
    for tally in tallies:
        if tally.failed:
            raise ProcessFailed(f"{tally.failed} messages were not accepted: {tally.first_error}")
    return tallies


@contextlib.contextmanager
def _credit(
    running: Sequence[Running], orders: Sequence[Orders], backlog: int, settled: Callable[[], int]
) -> Iterator[None]:
    """Tell the generators how many messages they may have sent, in proportion to their orders."""
    total = sum(order.messages for order in orders)
    done = threading.Event()

    def tell() -> None:
        while True:
            allowed = settled() + backlog
            for generator, order in zip(running, orders, strict=True):
                with contextlib.suppress(BrokenPipeError):  # it has ended
                    generator.write(f"{allowed * order.messages // total}\n")
            if done.wait(_POLL_S):
                return

    teller = threading.Thread(target=tell)
    teller.start()
    try:
        yield
    finally:
        done.set()
        teller.join()


def awaited(settled: Callable[[], int], sent: int, told: Callable[[], object] = lambda: "") -> float:
    """Return the time at which all receipts were there. Raises ProcessFailed when they stop coming, with what is `told`
    of that."""
    last, progress_at = -1, time.monotonic()
    while True:
        now, done = time.monotonic(), settled()
        if done >= sent:
            return now
        if done != last:
            last, progress_at = done, now
        if now - progress_at > _END_S:
            raise ProcessFailed(f"{done} of {sent} receipts, and no further one within {_END_S:.0f} s; {told()}")
        time.sleep(_POLL_S)
