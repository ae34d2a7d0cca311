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
from gateway.store import soundness
from gateway.store.sqlite import inspecting
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


async def send(stub: MessageServiceAsyncStub) -> None:
    """Send some messages in a batch."""
    message = message_pb2.OutboundMessage(
        recipient="+4915112345678", sender="ACME", category=message_pb2.CATEGORY_TRANSACTIONAL,
        content=message_pb2.Content(text="hello"),
    )  # fmt: skip
    response = await stub.SendMessages(pb.SendMessagesRequest(messages=[message] * COUNT), timeout=TIMEOUT_S)
    assert [bool(result.accepted.message_id) for result in response.results] == [True] * COUNT


def stored(appliance: Appliance) -> dict[str, int]:
    """Return how many messages stand where in the database of a node that has ended."""
    with inspecting.looking(appliance.folder / "data" / "smsgw.db") as db:
        assert inspecting.problems(db, quick=True) == []
        counts = soundness.counts(inspecting.fetching(db))
    return {name: number for name, number in counts.items() if name.startswith(("messages.", "queues."))}


async def received(carrier: Simulator, count: int) -> None:
    """Wait until the carrier has taken so many."""
    async with asyncio.timeout(TIMEOUT_S):
        while len(carrier.received) < count:
            await asyncio.sleep(0.01)


async def begun_and_ended(appliance: Appliance, carrier: Simulator) -> float:
    """Send, and end the node by SIGTERM while the carrier has not answered yet; how long the end took."""
    with appliance.node() as (node, port):
        async with calling(appliance, port) as stub:
            await send(stub)
            await received(carrier, COUNT)
        began = time.monotonic()
        assert await asyncio.to_thread(node.end) == 0
    return time.monotonic() - began


async def test_answers_are_waited_for(appliance: Appliance) -> None:
    """What a carrier has and did not answer is answered and settled before the node ends: nothing is in doubt, and
    nothing waits to be sent again."""
    async with simulators(appliance, ("acme",), f"responses: {{delay_s: {SLOW_S}}}") as carriers:
        configure(appliance, carriers)
        await begun_and_ended(appliance, carriers["acme"])
        assert len(carriers["acme"].received) == COUNT
    found = stored(appliance)
    assert found.pop("messages.SUBMITTED", 0) + found.pop("messages.DELIVERED", 0) == COUNT
    assert found.keys() <= {"queues.AWAITING"}


async def test_a_carrier_that_does_not_answer(appliance: Appliance) -> None:
    """The time is bounded by api.drain_timeout; what has no answer by then is in doubt, and said to be."""
    async with simulators(appliance, ("acme",), "responses: {none_every: 1}") as silent:
        configure(appliance, silent, response_timeout="60s")
        rewrite(appliance, lambda document: document["api"].update(drain_timeout=f"{GRACE_S}s"))
        took_s = await begun_and_ended(appliance, silent["acme"])
    assert GRACE_S * 0.9 <= took_s < GRACE_S + 15  # a busy machine; without the bound it is a minute
    found = stored(appliance)
    assert found["messages.UNKNOWN"] == COUNT
    assert set(found) - {"messages.UNKNOWN"} <= {"queues.WAITING_TRANSACTIONAL", "queues.CLAIMED"}  # to be sent again
