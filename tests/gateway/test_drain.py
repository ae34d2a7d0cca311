"""SIGTERM drains a whole node, as its own process: within a set time, without losing or repeating anything."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import grpc
import grpc.aio
import pytest

from carrier.simulator.simulator import Simulator
from smsgw.v1 import message_pb2
from smsgw.v1 import message_service_pb2 as pb
from smsgw.v1.message_service_pb2_grpc import MessageServiceStub
from tests.appliance import SERVER_NAME, Appliance
from tests.gateway.operation import TIMEOUT_S, configure, fresh, rewrite, simulators

if TYPE_CHECKING:
    from smsgw.v1.message_service_pb2_grpc import MessageServiceAsyncStub  # known to the stubs' types only

COUNT = 5
SLOW_S = 1.5
GRACE_S = 1


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Appliance:
    """Make keys and certificates once."""
    return Appliance.create(tmp_path_factory.mktemp("drain") / "site")


@pytest.fixture
def appliance(made: Appliance) -> Appliance:
    """Give them without what an earlier test stored."""
    fresh(made)
    return made


@asynccontextmanager
async def calling(appliance: Appliance, port: int) -> AsyncIterator[MessageServiceAsyncStub]:
    """Give what a caller sends by."""
    caller = appliance.callers[0]
    credentials = grpc.ssl_channel_credentials(
        caller.bundle.read_bytes(), caller.key.read_bytes(), caller.certificate.read_bytes()
    )
    options = [("grpc.ssl_target_name_override", SERVER_NAME)]
    async with grpc.aio.secure_channel(f"127.0.0.1:{port}", credentials, options) as channel:
        yield MessageServiceStub(channel)


async def send(stub: MessageServiceAsyncStub) -> list[str]:
    """Send some messages in a batch; their ids."""
    message = message_pb2.OutboundMessage(
        recipient="+4915112345678", sender="ACME", category=message_pb2.CATEGORY_TRANSACTIONAL,
        content=message_pb2.Content(text="hello"),
    )  # fmt: skip
    response = await stub.SendMessages(pb.SendMessagesRequest(messages=[message] * COUNT), timeout=TIMEOUT_S)
    return [result.accepted.message_id for result in response.results]


async def states(stub: MessageServiceAsyncStub, ids: list[str]) -> set[str]:
    """Return where messages stand."""
    found = [await stub.GetMessage(pb.GetMessageRequest(message_id=each), timeout=TIMEOUT_S) for each in ids]
    return {message_pb2.MessageState.Name(each.message.state).removeprefix("MESSAGE_STATE_") for each in found}


async def received(carrier: Simulator, count: int) -> None:
    """Wait until the carrier has taken so many."""
    async with asyncio.timeout(TIMEOUT_S):
        while len(carrier.received) < count:
            await asyncio.sleep(0.01)


async def begun_and_ended(appliance: Appliance, carrier: Simulator) -> tuple[list[str], float]:
    """Send, end the node by SIGTERM while the carrier has not answered yet; the ids, and how long the end took."""
    with appliance.node() as (node, port):
        async with calling(appliance, port) as stub:
            ids = await send(stub)
            await received(carrier, COUNT)
        began = time.monotonic()
        assert await asyncio.to_thread(node.end) == 0
    return ids, time.monotonic() - began


async def test_answers_are_waited_for(appliance: Appliance) -> None:
    """What a carrier has and did not answer is answered and settled before the node ends: nothing is in doubt, and the
    next start sends none of it again."""
    async with simulators(appliance, ("acme",), f"responses: {{delay_s: {SLOW_S}}}") as carriers:
        configure(appliance, carriers)
        ids, _ = await begun_and_ended(appliance, carriers["acme"])
        with appliance.node() as (_, port):
            async with calling(appliance, port) as stub:
                assert await states(stub, ids) <= {"SUBMITTED", "DELIVERED"}
        assert len(carriers["acme"].received) == COUNT


async def test_a_carrier_that_does_not_answer(appliance: Appliance) -> None:
    """The time is bounded by api.drain_timeout; what was in doubt then is UNKNOWN, and goes out at the next start."""
    async with simulators(appliance, ("acme",), "responses: {none_every: 1}") as silent:
        configure(appliance, silent, response_timeout="60s")
        rewrite(appliance, lambda document: document["api"].update(drain_timeout=f"{GRACE_S}s"))
        ids, took_s = await begun_and_ended(appliance, silent["acme"])
        assert GRACE_S * 0.9 <= took_s < GRACE_S + 15  # a busy machine; without the bound it is a minute
    async with simulators(appliance, ("acme",)) as answering:
        configure(appliance, answering)
        with appliance.node() as (_, port):
            async with calling(appliance, port) as stub:
                await received(answering["acme"], COUNT)
                assert "ACCEPTED" not in await states(stub, ids)
