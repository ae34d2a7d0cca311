"""Identities change under load: no call fails, streams move on, and what is new is what the node sees."""

from __future__ import annotations

import asyncio
import datetime as dt
from collections.abc import AsyncIterator

import pytest

from smsgw.client import AsyncClient, IdentityUnusable, Message, Sent, StateChanged
from tests.certificates import utc_now
from tests.client.callers import Workload, otp
from tests.gateway.api.rig import Rig

ROTATIONS = 25
CALLERS = 16


async def until_rotated(sms: AsyncClient, count: int) -> None:
    """Wait until so many rotations were taken into use."""
    async with asyncio.timeout(20):
        while sms.rotations < count:
            await asyncio.sleep(0.005)


async def test_many_rotations_under_load(rig: Rig, workload: Workload) -> None:
    """Callers go on through every rotation; so do a stream of messages and a watch of events, each message once."""
    ended = asyncio.Event()
    calls = 0

    async def call(sms: AsyncClient) -> None:
        nonlocal calls
        while not ended.is_set():
            assert isinstance(await sms.send(otp(calls)), Sent)
            calls += 1

    async def flow() -> AsyncIterator[Message]:
        number = 0
        while not ended.is_set():
            yield otp(number)
            number += 1
            await asyncio.sleep(0.01)

    async def stream(sms: AsyncClient) -> list[str]:
        return [outcome.id async for _, outcome in sms.stream(flow()) if isinstance(outcome, Sent)]

    seen: list[str] = []

    async def follow(sms: AsyncClient, following: asyncio.Event) -> None:
        async with sms.events() as events:
            following.set()
            async for event in events:
                assert isinstance(event, StateChanged)
                seen.append(event.message_id)

    following = asyncio.Event()
    async with workload.async_client(rig.port) as sms:
        watch = asyncio.create_task(follow(sms, following))
        await following.wait()
        callers = [asyncio.create_task(call(sms)) for _ in range(CALLERS)]
        streaming = asyncio.create_task(stream(sms))
        for count in range(1, ROTATIONS + 1):
            workload.rotate()
            await until_rotated(sms, count)
        ended.set()
        await asyncio.gather(*callers)
        streamed = await streaming
        stored = [message.id async for message in sms.list(page_size=1000)]
        async with asyncio.timeout(20):
            while len(seen) < len(stored):
                await asyncio.sleep(0.01)
        watch.cancel()
        await asyncio.gather(watch, return_exceptions=True)
    assert calls > 2 * ROTATIONS
    assert streamed
    assert len(set(stored)) == len(stored) == calls + len(streamed)
    assert sorted(seen) == sorted(stored)


async def test_the_node_sees_the_new_identity(rig: Rig, workload: Workload) -> None:
    """When the old SVID has expired, calls, streams and watches go on: they had moved to the new one."""
    workload.rotate(not_after=utc_now() + dt.timedelta(minutes=5))
    queue: asyncio.Queue[Message | None] = asyncio.Queue()

    async def flow() -> AsyncIterator[Message]:
        while (message := await queue.get()) is not None:
            yield message

    async with workload.async_client(rig.port) as sms, sms.events() as events:
        results = sms.stream(flow())
        queue.put_nowait(otp(0))
        assert isinstance((await anext(results))[1], Sent)
        workload.rotate(not_after=utc_now() + dt.timedelta(hours=10))
        await until_rotated(sms, 1)
        rig.identity_clock.ahead = dt.timedelta(minutes=10)
        queue.put_nowait(otp(1))
        queue.put_nowait(None)
        assert [isinstance(outcome, Sent) async for _, outcome in results] == [True]
        await sms.send(otp(2))
        assert len([await anext(events) for _ in range(3)]) == 3


async def test_a_refused_identity_is_renewed_at_once(rig: Rig, workload: Workload) -> None:
    """A call that is refused for an expired SVID takes the new one into use, if it is there, and is made again."""
    workload.rotate(not_after=utc_now() + dt.timedelta(minutes=5))
    source = workload.files(look_every_s=3600)
    async with AsyncClient(f"127.0.0.1:{rig.port}", server_id="spiffe://example.org/gateway", identity=source) as sms:
        await sms.send(otp())
        workload.rotate(not_after=utc_now() + dt.timedelta(hours=10))
        rig.identity_clock.ahead = dt.timedelta(minutes=10)
        assert isinstance(await sms.send(otp()), Sent)
        assert sms.rotations == 1


async def test_unusable_files_change_nothing(rig: Rig, workload: Workload, caplog: pytest.LogCaptureFixture) -> None:
    """A new file that cannot be used leaves the identity as it was, and says why, once."""
    source = workload.files()
    async with AsyncClient(f"127.0.0.1:{rig.port}", server_id="spiffe://example.org/gateway", identity=source) as sms:
        await sms.send(otp())
        unusable = workload.folder / "unusable"
        unusable.write_bytes(b"nonsense")
        unusable.replace(workload.bundle_file)  # in one step: an empty file is another trouble
        async with asyncio.timeout(10):
            while source.trouble is None:
                await asyncio.sleep(0.01)
        assert "bundle" in str(source.trouble)
        await sms.send(otp())
        workload.rotate()
        await until_rotated(sms, 1)
    assert [record.message for record in caplog.records].count("identity_not_taken_over") == 1


async def test_no_identity(workload: Workload) -> None:
    """An identity that cannot be had says which file, and what to do."""
    (workload.folder / "svid.key").unlink()
    with pytest.raises(IdentityUnusable, match=r"svid\.key"):
        async with workload.async_client(1):
            pass
    workload.rotate(not_before=utc_now() - dt.timedelta(hours=2), not_after=utc_now() - dt.timedelta(hours=1))
    with pytest.raises(IdentityUnusable, match="expired"):
        async with workload.async_client(1):
            pass
