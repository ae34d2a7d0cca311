"""What a network and a node do to a client: nothing is lost, and nothing is sent twice."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from gateway.api.server import ServerOptions
from gateway.errors import Overloaded
from smsgw.client import AsyncClient, Message, RateLimited, RetryPolicy, Sent, StateChanged
from tests.client.callers import Workload, otp, otps
from tests.client.proxy import proxy
from tests.gateway.api.rig import Bounds, Rig, running_rig
from tests.gateway.sealing.boxes import memory_box


async def stored(sms: AsyncClient) -> list[str]:
    """Return the ids of all messages that the node has."""
    return [message.id async for message in sms.list(page_size=1000)]


async def test_a_lost_answer_is_no_second_message(rig: Rig, workload: Workload) -> None:
    """The node stored the message and its answer was lost: the retry finds the same message, and says so."""
    async with proxy(rig.port) as between, workload.async_client(between.port) as sms:
        await sms.send(otp(0))
        between.swallowing = True
        sending = asyncio.create_task(sms.send(otp(1)))
        async with asyncio.timeout(20):
            while len(rig.intake.calls) < 2:
                await asyncio.sleep(0.01)
            await between.swallowed.wait()
        between.swallowing = False
        between.cut()
        sent = await sending
        assert sent.replayed
        assert len(await stored(sms)) == 2


async def test_connections_that_are_cut_under_load(rig: Rig, workload: Workload) -> None:
    """Connections end again and again under callers, a stream and a watch: each message and event is there once."""
    ended, following = asyncio.Event(), asyncio.Event()
    sent: list[str] = []
    seen: list[str] = []

    async def call(sms: AsyncClient) -> None:
        while not ended.is_set():
            sent.append((await sms.send(otp(len(sent)))).id)

    async def flow() -> AsyncIterator[Message]:
        while not ended.is_set():
            yield otp(0)
            await asyncio.sleep(0.005)

    async def stream(sms: AsyncClient) -> None:
        async for _, outcome in sms.stream(flow()):
            assert isinstance(outcome, Sent)
            sent.append(outcome.id)

    async def follow(sms: AsyncClient) -> None:
        async with sms.events() as events:
            following.set()
            async for event in events:
                assert isinstance(event, StateChanged)
                seen.append(event.message_id)

    async with proxy(rig.port) as between, workload.async_client(between.port) as sms:
        watch = asyncio.create_task(follow(sms))
        await following.wait()
        callers = [asyncio.create_task(work(sms)) for work in [call] * 8 + [stream]]
        for _ in range(8):
            before = between.connections, len(sent)
            between.cut()
            async with asyncio.timeout(20):
                while between.connections == before[0] or len(sent) < before[1] + 20:
                    await asyncio.sleep(0.005)
        ended.set()
        await asyncio.gather(*callers)
        there = await stored(sms)
        async with asyncio.timeout(20):
            while len(seen) < len(there):
                await asyncio.sleep(0.01)
        watch.cancel()
        await asyncio.gather(watch, return_exceptions=True)
    assert between.connections > 8
    assert sorted(there) == sorted(sent) == sorted(set(sent))
    assert sorted(seen) == sorted(there)


async def test_a_node_that_restarts(tmp_path: Path, workload: Workload, monkeypatch: pytest.MonkeyPatch) -> None:
    """Calls wait for a node that is away, the watch goes on after its cursor, the stream sends what had no answer."""
    folder = tmp_path / "node"
    go_on = asyncio.Event()

    async def flow() -> AsyncIterator[Message]:
        yield otp(0)
        await go_on.wait()
        for number in range(1, 5):
            yield otp(number)

    box = memory_box()
    monkeypatch.setattr("tests.gateway.api.rig.memory_box", lambda: box)  # both have the same keys, as a node would
    async with running_rig(folder) as first, proxy(first.port) as between:
        sms = workload.async_client(between.port)
        async with sms, sms.events() as events:
            results = sms.stream(flow())
            assert isinstance((await anext(results))[1], Sent)
            between.upstream = None
            await first.server.stop(0)
            await first.store.close()
            go_on.set()
            sending = asyncio.create_task(sms.send(otp(9)))
            rest = asyncio.create_task(_outcomes(results))
            async with asyncio.timeout(20):
                count = between.connections
                while between.connections < count + 2:  # it tries
                    await asyncio.sleep(0.01)
            async with running_rig(folder) as second:
                between.upstream = second.port
                assert isinstance(await sending, Sent)
                assert all(isinstance(outcome, Sent) for outcome in await rest)
                assert len([await anext(events) for _ in range(6)]) == 6
                assert len(await stored(sms)) == 6


async def _outcomes(results: AsyncIterator[tuple[Message, object]]) -> list[object]:
    return [outcome async for _, outcome in results]


async def test_connections_that_the_node_ends(tmp_path: Path, workload: Workload) -> None:
    """A node that gives each connection a tenth of a second (GOAWAY) fails no call, and no stream loses anything."""
    options = ServerOptions(connection_age_s=0.1, connection_age_grace_s=0.1)
    ended = asyncio.Event()

    async def flow() -> AsyncIterator[Message]:
        while not ended.is_set():
            yield otp(0)
            await asyncio.sleep(0.005)

    async def stream(sms: AsyncClient) -> int:
        return len([outcome async for _, outcome in sms.stream(flow()) if isinstance(outcome, Sent)])

    async def call(sms: AsyncClient) -> int:
        count = 0
        while not ended.is_set():
            await sms.send(otp(count))
            count += 1
        return count

    async with running_rig(tmp_path / "node", bounds=Bounds(server=options)) as rig, proxy(rig.port) as between:
        async with workload.async_client(between.port) as sms:
            callers = [asyncio.create_task(work(sms)) for work in (call, call, call, stream)]
            async with asyncio.timeout(30):
                while between.connections < 6:
                    await asyncio.sleep(0.02)
            ended.set()
            counts = await asyncio.gather(*callers)
            assert len(await stored(sms)) == sum(counts)
        assert counts[3] > 0


async def test_what_is_refused_too_often_is_told(rig: Rig, workload: Workload) -> None:
    """Refusals with RetryInfo are retried as often as the policy says, then told; in a batch, for each message."""
    rig.intake.failure = Overloaded("full", reason="FULL", retry_after_s=0.01)
    async with workload.async_client(rig.port, retry=RetryPolicy(attempts=3)) as sms:
        with pytest.raises(RateLimited) as limited:
            await sms.send(otp())
        assert (limited.value.reason, len(rig.intake.calls)) == ("FULL", 3)
        outcomes = await sms.send_many(otps(5))
        assert [getattr(outcome, "reason", "") for outcome in outcomes] == ["FULL"] * 5
        assert len(rig.intake.calls) == 6


async def test_too_long_a_pause_is_told_at_once(rig: Rig, workload: Workload) -> None:
    """A RetryInfo beyond the time given, or beyond the policy, is the caller's business."""
    rig.intake.failure = Overloaded("full", reason="FULL", retry_after_s=600)
    async with workload.async_client(rig.port) as sms:
        with pytest.raises(RateLimited) as limited:
            await sms.send(otp())
    assert limited.value.retry_after_s == 600
    assert len(rig.intake.calls) == 1
