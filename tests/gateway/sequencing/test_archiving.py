"""A checkpoint gets to its archive, late if need be, and who keeps it from there is told of."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from gateway.sequencing.archiving import Archived, Delivery
from gateway.sequencing.errors import NotArchived
from gateway.tlog.checkpoints import Checkpoint
from gateway.tlog.notes import sign
from tests.gateway.sequencing.commits import NOW, ORIGIN, SIGNER
from visibility.alerts import Alerts
from visibility.catalogue import NODE


def archived(size: int) -> Archived:
    """A checkpoint on its way."""
    checkpoint = Checkpoint(origin=ORIGIN, size=size, root=bytes(32))
    return Archived(NOW, checkpoint, sign(checkpoint.text(), [SIGNER]).encode())


class Shelf:
    """An archive that takes what it is given, unless it is closed."""

    def __init__(self) -> None:
        self.open = asyncio.Event()
        self.sizes: list[int] = []
        self.tried = asyncio.Event()
        self.ended = False

    async def put(self, one: Archived) -> None:
        """Keep it."""
        self.tried.set()
        if not self.open.is_set():
            raise NotArchived("the shelf is closed")
        self.sizes.append(one.checkpoint.size)

    async def close(self) -> None:
        """End."""
        self.ended = True


@asynccontextmanager
async def running(delivery: Delivery) -> AsyncIterator[None]:
    """Run a delivery."""
    task = asyncio.create_task(delivery.run())
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def until_empty(delivery: Delivery) -> None:
    """Wait until nothing waits."""
    async with asyncio.timeout(30):
        while delivery.waiting:
            await asyncio.sleep(0.002)


async def test_in_order() -> None:
    """What is offered gets there in order."""
    shelf = Shelf()
    shelf.open.set()
    delivery = Delivery("shelf", shelf, Counter())
    async with running(delivery):
        for size in (1, 2, 3):
            delivery.offer(archived(size))
        await until_empty(delivery)
    assert shelf.sizes == [1, 2, 3]
    await delivery.finish()
    assert shelf.ended


async def test_a_failure_is_told_and_caught_up() -> None:
    """While it is refused the alert holds and attempts are counted; then all gets there, in order."""
    clock = [0.0]
    alerts = Alerts(NODE, lambda: int(clock[0] * 1_000_000))
    shelf, failures = Shelf(), Counter[str]()
    delivery = Delivery("shelf", shelf, failures, alerts=alerts, backoff_s=(0.001, 0.002))
    async with running(delivery):
        delivery.offer(archived(1))
        delivery.offer(archived(2))
        async with asyncio.timeout(30):
            while failures["shelf"] < 3:
                await asyncio.sleep(0.002)
        clock[0] = 60.0
        shelf.tried.clear()
        async with asyncio.timeout(30):
            await shelf.tried.wait()
            while not alerts.active():
                await asyncio.sleep(0.002)
                alerts.look()
        (alert,) = alerts.active()
        assert (alert.kind.name, alert.labels) == ("audit_not_archived", {"archive": "shelf"})
        assert alert.why == "the shelf is closed"
        shelf.open.set()
        await until_empty(delivery)
    assert shelf.sizes == [1, 2]
    assert alerts.active() == []


async def test_what_waits_is_bounded() -> None:
    """Of too many the oldest are dropped: the newest proves them too."""
    shelf = Shelf()
    delivery = Delivery("shelf", shelf, Counter())
    for size in range(1, 1501):
        delivery.offer(archived(size))
    assert delivery.waiting == 1000
    shelf.open.set()
    await delivery.finish()
    assert shelf.sizes == list(range(501, 1501))


async def test_an_end_does_not_wait_for_ever() -> None:
    """A node that ends tries once, and leaves it at that."""
    shelf = Shelf()
    delivery = Delivery("shelf", shelf, Counter())
    delivery.offer(archived(1))
    await delivery.finish()
    assert (shelf.sizes, shelf.ended) == ([], True)
