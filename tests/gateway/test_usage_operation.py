"""`smsgw usage` on a running node, over TLS on every side."""

from __future__ import annotations

from collections.abc import AsyncIterator

import grpc
import pytest

from carrier.simulator.simulator import Simulator
from smsgw.v1 import usage_service_pb2 as pb
from smsgw.v1.usage_service_pb2_grpc import UsageReportServiceStub
from tests.appliance import TENANT, Appliance
from tests.gateway.operation import TIMEOUT_S, Operation, configure, fresh, operating, simulators


@pytest.fixture(scope="module")
def appliance(tmp_path_factory: pytest.TempPathFactory) -> Appliance:
    """Make keys and certificates once."""
    return Appliance.create(tmp_path_factory.mktemp("usage") / "site", operator=True)


@pytest.fixture
async def carriers(appliance: Appliance) -> AsyncIterator[dict[str, Simulator]]:
    """Run a carrier that sends receipts."""
    fresh(appliance)
    async with simulators(appliance, ("acme",), "receipts: {delay_s: 0.01}") as running:
        configure(appliance, running)
        yield running


@pytest.fixture
async def operation(appliance: Appliance, carriers: dict[str, Simulator]) -> AsyncIterator[Operation]:
    """Run the node."""
    async with operating(appliance, carriers) as running:
        yield running


async def test_what_was_used_is_shown(operation: Operation) -> None:
    """Operators see every tenant, in three forms; a caller sees its own, and may not see the others'."""
    for each in await operation.send(3, text="x" * 200):
        await operation.reach(each, "DELIVERED")
    rows = await operation.command("usage", "--by", "tenant", "--by", "carrier")
    assert [(row["tenant"], row["carrier"], row["accepted"], row["submitted_segments"]) for row in rows] == [
        (TENANT, "", 3, 0),
        (TENANT, "acme", 0, 6),
    ]
    shown = await operation.shown("usage", "--by", "category")
    assert [line.split() for line in shown.splitlines()[1:3]] == [
        ["CATEGORY", "ACCEPTED", "SUBMITTED", "DELIVERED", "FAILED", "BILLED"],
        ["TRANSACTIONAL", "3/6", "3/6", "3/6", "█" * 24],
    ]
    head, row = (await operation.shown("usage", "--csv", "--by", "country")).splitlines()
    assert head.startswith("country,accepted,accepted_segments,submitted,submitted_segments,delivered,")
    assert row == "DE,3,6,3,6,3,6,0,0,0.00,"
    (own,) = await operation.command("usage", "--own", "--by", "category")
    assert (own["category"], own["delivered"], own["tenant"]) == ("TRANSACTIONAL", 3, "")
    stub = UsageReportServiceStub(operation.channel("caller-0", operation.node.api_address))
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await stub.ReportUsage(pb.ReportUsageRequest(), timeout=TIMEOUT_S)
    assert refused.value.code() == grpc.StatusCode.UNIMPLEMENTED
