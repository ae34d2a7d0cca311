"""The end of a server: who is refused, with what, for how long, and in which order the connections are closed."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from typing import TYPE_CHECKING, Any

import grpc
import pytest
from grpc_health.v1 import health_pb2

from gateway.api.draining import Draining, retry_after_s
from gateway.errors import ShuttingDown
from smsgw.v1 import message_service_pb2 as pb
from tests.gateway.api.rig import TIMEOUT_S, Rig, message
from tests.gateway.raw_callers import wait_s

if TYPE_CHECKING:
    from smsgw.v1.message_service_pb2_grpc import MessageServiceAsyncStub  # known to the stubs' types only

LINGER_S = 0.8
STUBBORN = 8
SERVING, NOT_SERVING = 1, 2
SEND = "/smsgw.v1.MessageService/SendMessage"


async def failure(call: Awaitable[Any]) -> grpc.aio.AioRpcError:
    """Return the error of a call that fails."""
    with pytest.raises(grpc.aio.AioRpcError) as failed:
        await call
    return failed.value


async def insisted(client: MessageServiceAsyncStub) -> tuple[int, grpc.aio.AioRpcError]:
    """Call again at once as long as RetryInfo is told: how often that was, and what came then."""
    told = 0
    while wait_s(ended := await failure(client.SendMessage(pb.SendMessageRequest(message=message())))) is not None:
        told += 1
    return told, ended


@pytest.mark.parametrize(("rest_s", "told_s"), [(30, 15), (5, 2.5), (4, 4.5), (1, 1.5), (0.1, 1), (-3, 1)])
def test_when_to_come_back(rest_s: float, told_s: float) -> None:
    """Nobody is told to come back in the moment in which the connections are closed."""
    assert retry_after_s(rest_s) == pytest.approx(told_s)


def test_who_is_refused() -> None:
    """Before the end nobody, from then on all but those who ask for the health."""
    draining = Draining(lambda: 10.0)
    draining.require(SEND)
    draining.begin(3.0)
    draining.require("/grpc.health.v1.Health/Check")
    with pytest.raises(ShuttingDown) as refused:
        draining.require(SEND)
    assert refused.value.reason == "SHUTTING_DOWN"
    assert refused.value.retry_after_s == pytest.approx(3.5)


async def test_refusals_follow_the_goodbye() -> None:
    """What is refused at the very end is told when the connections are being closed; other errors wait for nothing."""
    draining = Draining()
    draining.begin(0.01)
    await draining.turn(ShuttingDown())
    await draining.linger(0.01)
    held = asyncio.create_task(draining.turn(ShuttingDown()))
    await draining.turn(ValueError())
    await asyncio.sleep(0)
    assert not held.done()
    await draining.release()
    await held


async def test_a_server_that_lingers(rig: Rig) -> None:
    """While it lingers, the health says NOT_SERVING to whoever asks and goes on to say so; new calls are refused over
    the connections that stand, and who asks again and again never meets a status without RetryInfo."""
    rig.server.set_serving(True)
    client, health = rig.client("/payments/api"), rig.health("/payments/api")
    check = health_pb2.HealthCheckRequest()
    watch = aiter(health.Watch(check, timeout=TIMEOUT_S))
    assert (await anext(watch)).status == SERVING
    stopping = asyncio.create_task(rig.server.stop(TIMEOUT_S, LINGER_S))
    assert (await anext(watch)).status == NOT_SERVING
    assert (await health.Check(check, timeout=TIMEOUT_S)).status == NOT_SERVING
    for told, ended in await asyncio.gather(*(insisted(client) for _ in range(STUBBORN))):
        assert told > 1
        assert "failed to connect" in str(ended.details()), ended  # nobody listens any more
    assert [response.status async for response in watch] == []
    await stopping
