"""The pipeline while keys cannot be had, and after they were replaced."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from pathlib import Path

import pytest

from carrier.smpp.pdu import DeliverSm
from gateway.errors import GatewayError, StoreCorrupt, Unavailable
from gateway.payload import PayloadBox
from gateway.pipeline.settler import ESME_RX_T_APPN
from gateway.records import IndexKeys
from gateway.states import Category, State
from gateway.store.contract import ListFilter, Verdict
from tests.gateway.pipeline.rig import SECOND, receipt, running
from tests.gateway.sealing.boxes import memory_box

INBOUND = DeliverSm(source_addr_ton=1, source_addr=b"4915112345678", destination_addr=b"80800", short_message=b"hi")


class FailingBox:
    """A real box, until `put_fails_at` more fields are sealed, or while `take_fails` is set."""

    def __init__(self) -> None:
        self._box: PayloadBox = memory_box()
        self.put_fails_at = -1
        self.take_fails: GatewayError | None = None
        self.closing = False
        self.closed: set[bytes] = set()  # payloads whose keys are away
        self.back = asyncio.Event()
        self.ready_fails: GatewayError | None = None
        self.waiting = 0

    def put(self, tenant: str, object_id: bytes, field: str, payload: bytes) -> bytes:
        """Seal, or fail."""
        if self.put_fails_at == 0:
            raise Unavailable("no key")
        self.put_fails_at -= 1
        stored = self._box.put(tenant, object_id, field, payload)
        if self.closing:
            self.closed.add(stored)
        return stored

    def take(self, tenant: str, object_id: bytes, field: str, stored: bytes) -> bytes:
        """Open, or fail."""
        if self.take_fails is not None:
            raise self.take_fails
        return self._box.take(tenant, object_id, field, stored)

    opens = True

    def at_hand(self, stored: Iterable[bytes]) -> bool:
        """Whether none was put while `closing` was set."""
        return self.closed.isdisjoint(stored)

    async def ready(self, stored: Iterable[bytes]) -> None:
        """Wait until keys that are away come back, or fail."""
        self.waiting += 1
        await self.back.wait()
        if self.ready_fails is not None:
            raise self.ready_fails


async def test_a_message_that_cannot_be_opened_now_is_sent_later(tmp_path: Path) -> None:
    """While keys are away nothing is sent and nothing is lost; its slots are free, and it goes when they are back."""
    box = FailingBox()
    async with running(tmp_path, box=box) as rig:
        box.take_fails = Unavailable("away")
        (accepted,) = await rig.send()
        async with asyncio.timeout(10):
            while "retry.keys_unavailable" not in await rig.store.counts():
                await asyncio.sleep(0.001)
        assert await rig.state(accepted.id) is State.ACCEPTED
        assert rig.link.held == []
        await rig.until(lambda: rig.pipeline.status()[0].slots == 0)
        box.take_fails = None
        rig.now += 6 * SECOND
        await rig.until(lambda: len(rig.link.held) == 1)
        rig.link.finish(1)
        await rig.reach(accepted.id, State.SUBMITTED)


async def test_a_key_that_is_fetched_holds_up_nobody_else(tmp_path: Path) -> None:
    """Messages of a key at hand go while another one's is on its way from a key service, and the others go after it."""
    box = FailingBox()
    async with running(tmp_path, box=box) as rig:
        box.closing = True
        (slow,) = await rig.send()
        box.closing = False
        (fast,) = await rig.send()
        await rig.reach(fast.id, State.SENDING)
        assert (await rig.state(slow.id), box.waiting) == (State.ACCEPTED, 1)
        box.back.set()
        await rig.reach(slow.id, State.SENDING)
        rig.link.finish(2)


async def test_a_key_that_cannot_be_fetched(tmp_path: Path) -> None:
    """Messages whose key a service does not give wait again, unsent; their slots are free meanwhile."""
    box = FailingBox()
    box.back.set()
    async with running(tmp_path, box=box) as rig:
        box.closing, box.ready_fails = True, Unavailable("away")
        (accepted,) = await rig.send()
        async with asyncio.timeout(10):
            while "retry.keys_unavailable" not in await rig.store.counts():
                await asyncio.sleep(0.001)
        await rig.until(lambda: rig.pipeline.status()[0].slots == 0)
        assert (await rig.state(accepted.id), rig.link.held) == (State.ACCEPTED, [])
        box.closed.clear()
        rig.now += 6 * SECOND
        await rig.until(lambda: len(rig.link.held) == 1)
        rig.link.finish(1)
        await rig.reach(accepted.id, State.SUBMITTED)


async def test_a_message_that_can_never_be_opened_is_rejected(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Its state says so; why stands in the log, and not where callers read."""
    box = FailingBox()
    async with running(tmp_path, box=box) as rig:
        box.take_fails = StoreCorrupt("the data key 0102 is gone")
        (accepted,) = await rig.send()
        await rig.reach(accepted.id, State.REJECTED)
        row = await rig.store.get_message("demo", accepted.id)
    assert row is not None
    assert row.reason_code == "PAYLOAD_UNREADABLE"
    assert "0102" not in row.reason_text
    assert "the data key 0102 is gone" in {getattr(record, "why", "") for record in caplog.records}


async def test_a_batch_that_cannot_be_sealed_leaves_nothing_behind(tmp_path: Path) -> None:
    """Not one of its messages is stored, and the places that it had in memory are free again."""
    box = FailingBox()
    async with running(tmp_path, box=box, memory=10, window=20) as rig:
        for _ in range(5):
            box.put_fails_at = 9  # in the middle of the fifth message
            with pytest.raises(Unavailable):
                await rig.send(6)
        box.put_fails_at = -1
        assert await rig.store.list_messages("demo", ListFilter((), ()), None, 10) == []
        lane = rig.pipeline.lanes[Category.OTP]
        assert [lane.reserve() for _ in range(11)] == [True] * 10 + [False]
        lane.release(10)


async def test_a_large_batch_gives_way(tmp_path: Path) -> None:
    """While a thousand messages are sealed other calls have their turns; one that goes away then leaves nothing."""
    box, seen, turns = FailingBox(), set[int](), 0
    put = box.put

    def watched(tenant: str, object_id: bytes, field: str, payload: bytes) -> bytes:
        seen.add(turns)
        return put(tenant, object_id, field, payload)

    box.put = watched  # type: ignore[method-assign]  # it watches and does the same
    async with running(tmp_path, box=box, memory=2000) as rig:
        call = asyncio.create_task(rig.send(1000))
        while len(seen) < 9:
            turns += 1
            await asyncio.sleep(0)
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call
        assert len(seen) < 11
        assert await rig.store.list_messages("demo", ListFilter((), ()), None, 10) == []
        lane = rig.pipeline.lanes[Category.OTP]
        assert [lane.reserve() for _ in range(2001)].count(True) == 2000
        lane.release(2000)


async def test_a_delivery_that_cannot_be_sealed_is_asked_for_again(tmp_path: Path) -> None:
    """Without a key the carrier keeps the message; receipts, which need none, are taken meanwhile."""
    box = FailingBox()
    async with running(tmp_path, box=box) as rig:
        _, before = await rig.store.event_bounds("demo")
        box.put_fails_at = 0
        refused, taken = rig.link.deliver(INBOUND, receipt("1"))
        await rig.until(lambda: len(rig.link.answers) == 2)
        assert dict(rig.link.answers) == {refused: ESME_RX_T_APPN, taken: 0}
        box.put_fails_at = -1
        rig.link.deliver(INBOUND)
        await rig.until(lambda: len(rig.link.answers) == 3)
        assert [event.state for event in await rig.store.events("demo", before, 10)] == [0]


async def test_a_replaced_index_key_loses_nothing(tmp_path: Path) -> None:
    """With the older key kept: a retry is a replay, a receipt finds its message, and the number finds both messages."""
    old, new = b"o" * 32, b"n" * 32
    async with running(tmp_path, keys=IndexKeys(old)) as rig:
        (before,) = await rig.send(key="k")
        await rig.until(lambda: len(rig.link.held) == 1)
        (carrier_id,) = rig.link.finish(1)
        await rig.reach(before.id, State.SUBMITTED)
    async with running(tmp_path, keys=IndexKeys(new, [old])) as rig:
        (again,) = await rig.send(key="k")
        assert (again.verdict, again.id) == (Verdict.REPLAYED, before.id)
        (other,) = await rig.send(key="k", text="something else")
        assert other.verdict is Verdict.CONFLICT
        rig.link.deliver(receipt(carrier_id))
        await rig.reach(before.id, State.DELIVERED)
        (after,) = await rig.send()
        await rig.until(lambda: len(rig.link.held) == 1)
        rig.link.finish(1)
        where = ListFilter((), IndexKeys(new, [old]).recipient_hashes("+4915112345678"))
        found = await rig.store.list_messages("demo", where, None, 10)
        assert [row.id for row in found] == [after.id, before.id]


async def test_a_long_message_over_the_replacement_of_an_index_key(tmp_path: Path) -> None:
    """Its first part came before, its last one after: it is one message."""
    parts = [
        DeliverSm(
            source_addr_ton=1,
            source_addr=b"4915112345678",
            destination_addr=b"80800",
            esm_class=0x40,
            short_message=bytes((5, 0, 3, 7, 2, number)) + b"part",
        )
        for number in (1, 2)
    ]
    async with running(tmp_path, keys=IndexKeys(b"o" * 32)) as rig:
        rig.link.deliver(parts[0])
        await rig.until(lambda: len(rig.link.answers) == 1)
    async with running(tmp_path, keys=IndexKeys(b"n" * 32, [b"o" * 32])) as rig:
        rig.link.deliver(parts[0], parts[1])
        await rig.until(lambda: len(rig.link.answers) == 2)
        events = await rig.store.events("demo", 0, 10)
    assert [len(event.parts) for event in events] == [2]
