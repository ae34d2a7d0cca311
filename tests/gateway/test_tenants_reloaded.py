"""Tenants and limits that change while a whole node runs, over mutual TLS."""

from __future__ import annotations

from collections.abc import AsyncIterator

import grpc
import pytest

from smsgw.v1 import message_service_pb2 as api
from tests.appliance import TENANT, Appliance
from tests.gateway.operation import TIMEOUT_S, Operation, configure, fresh, operating, rewrite, simulators


@pytest.fixture(scope="module")
def appliance(tmp_path_factory: pytest.TempPathFactory) -> Appliance:
    """Make keys and certificates once."""
    return Appliance.create(tmp_path_factory.mktemp("tenants") / "site", operator=True)


@pytest.fixture
async def operation(appliance: Appliance) -> AsyncIterator[Operation]:
    """Run the node, bound to a carrier."""
    fresh(appliance)
    async with simulators(appliance, ("acme",)) as carriers:
        configure(appliance, carriers)
        async with operating(appliance, carriers) as running:
            yield running


async def refused(operation: Operation) -> tuple[grpc.StatusCode, str]:
    """Read the tenant's messages, and fail."""
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await operation.caller.ListMessages(api.ListMessagesRequest(), timeout=TIMEOUT_S)
    return caught.value.code(), caught.value.details() or ""


async def test_a_caller_moves_to_another_tenant(operation: Operation) -> None:
    """Its stream is cut, its next call is of the other tenant, and what it sent belongs to the old one; back again, it
    sees that."""
    (sent,) = await operation.send()
    await operation.reach(sent, "DELIVERED")
    watch = operation.caller.WatchEvents(api.WatchEventsRequest(start=api.WATCH_START_NOW), timeout=TIMEOUT_S)
    await watch.read()
    rewrite(operation.appliance, lambda document: document["tenants"][0].update(name="other"))
    assert await operation.command("reload") == [{"changes": ["tenants"]}]

    async def follow() -> None:
        while await watch.read() is not grpc.aio.EOF:
            pass

    with pytest.raises(grpc.aio.AioRpcError, match="which tenant this identity belongs to") as cut:
        await follow()
    assert cut.value.code() is grpc.StatusCode.PERMISSION_DENIED
    listed = await operation.caller.ListMessages(api.ListMessagesRequest(), timeout=TIMEOUT_S)
    assert list(listed.messages) == []
    assert len(await operation.send(2)) == 2  # there is a data key for it
    rewrite(operation.appliance, lambda document: document["tenants"][0].update(name=TENANT))
    await operation.command("reload")
    listed = await operation.caller.ListMessages(api.ListMessagesRequest(), timeout=TIMEOUT_S)
    assert [message.message_id for message in listed.messages] == [sent]


async def test_a_tenant_goes(operation: Operation) -> None:
    """Without its tenant a caller is refused at its next call, on the connection that it has."""
    await operation.send()
    caller = operation.caller
    await caller.ListMessages(api.ListMessagesRequest(), timeout=TIMEOUT_S)
    rewrite(operation.appliance, lambda document: document.update(tenants=[]))
    await operation.command("reload")
    with pytest.raises(grpc.aio.AioRpcError, match="belongs to no tenant"):
        await caller.ListMessages(api.ListMessagesRequest(), timeout=TIMEOUT_S)


async def test_limits(operation: Operation) -> None:
    """A lower limit holds from the next batch on, a raised one as well."""
    rewrite(
        operation.appliance,
        lambda document: document.update(limits={"messages_per_tenant": "1/h", "messages_per_tenant_burst": 3}),
    )
    await operation.command("reload")
    assert [bool(sent) for sent in await operation.send(5)] == [True] * 3 + [False] * 2
    rewrite(operation.appliance, lambda document: document.pop("limits"))
    await operation.command("reload")
    assert all(await operation.send(3))
    rewrite(operation.appliance, lambda document: document.update(limits={"calls": "1/h", "calls_burst": 100}))
    await operation.command("reload")
    for _ in range(9):
        await operation.caller.ListMessages(api.ListMessagesRequest(), timeout=TIMEOUT_S)  # ten tokens, and once five
    assert (await refused(operation))[0] is grpc.StatusCode.RESOURCE_EXHAUSTED
