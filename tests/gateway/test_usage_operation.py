"""`smsgw usage` on a running node, over TLS on every side."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator
from typing import Any

import grpc
import pytest
from google.rpc import error_details_pb2, status_pb2  # type: ignore[import-untyped]  # it ships no types

from carrier.simulator.simulator import Simulator
from smsgw.v1 import message_pb2, message_service_pb2
from smsgw.v1 import usage_service_pb2 as pb
from smsgw.v1.usage_service_pb2_grpc import UsageReportServiceStub
from tests.appliance import TENANT, Appliance
from tests.gateway.api.refusals import refusal
from tests.gateway.operation import TIMEOUT_S, Operation, configure, fresh, operating, rewrite, simulators
from tests.postgres.server import PostgresServer


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
        rewrite(appliance, priced)
        yield running


def priced(document: dict[str, Any]) -> None:
    """Give a configuration a price, and caps of which the first allows five messages a day."""
    prices = [{"carrier": "acme", "price": "0.0075"}, {"carrier": "acme", "price": "0.02", "country": "FR"}]
    caps = [{"tenant": TENANT, "messages_per_day": 5, "spend_per_month": 1}]
    document["usage"] = {"currency": "EUR", "prices": prices, "caps": caps}


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
        ["TRANSACTIONAL", "3/6", "3/6", "3/6", "0.045", "EUR", "█" * 24],
    ]
    head, row = (await operation.shown("usage", "--csv", "--by", "country")).splitlines()
    assert head.startswith("country,accepted,accepted_segments,submitted,submitted_segments,delivered,")
    assert row == "DE,3,6,3,6,3,6,0,0,0.045,EUR"
    (own,) = await operation.command("usage", "--own", "--by", "category")
    assert (own["category"], own["delivered"], own["tenant"]) == ("TRANSACTIONAL", 3, "")
    caps = [(cap["bound"], cap["used"], cap["limit"]) for cap in await operation.command("usage", "--own", "--caps")]
    assert caps == [("messages_per_day", 3, 5), ("spend_per_month", "0.045", "1.00")]
    assert [TENANT, "messages_per_day", "3", "5", "60", "%"] in [line.split()[:6] for line in shown.splitlines()]
    stub = UsageReportServiceStub(operation.channel("caller-0", operation.node.api_address))
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await stub.ReportUsage(pb.ReportUsageRequest(), timeout=TIMEOUT_S)
    assert refused.value.code() == grpc.StatusCode.UNIMPLEMENTED


async def sent(operation: Operation, count: int, **fields: Any) -> list[str]:
    """Send a batch; the reason of each refusal, "" for none."""
    message = message_pb2.OutboundMessage(
        recipient="+33612345678", sender="ACME", category=message_pb2.CATEGORY_OTP,
        content=message_pb2.Content(text="hello"), **fields,
    )  # fmt: skip
    request = message_service_pb2.SendMessagesRequest(messages=[message] * count)
    response = await operation.caller.SendMessages(request, timeout=TIMEOUT_S)
    return [reason_of(result.error) for result in response.results]


def reason_of(status: status_pb2.Status) -> str:
    """Return the reason of a status, "" for none."""
    info = error_details_pb2.ErrorInfo()
    return info.reason if any(detail.Unpack(info) for detail in status.details) else ""


async def test_a_cap_holds_over_a_restart(appliance: Appliance, carriers: dict[str, Simulator]) -> None:
    """Five messages a day are five, however they are asked for and whatever the node lives through; a replay takes
    nothing, and a raised cap lets the next one through at once."""
    async with operating(appliance, carriers) as operation:
        assert await sent(operation, 3, idempotency_key="k") == [""] * 3  # one message, and its replays
        calls = await asyncio.gather(*[sent(operation, 2) for _ in range(4)])
        assert sorted(itertools.chain.from_iterable(calls)) == [""] * 4 + ["MESSAGE_CAP"] * 4
        assert await sent(operation, 2, idempotency_key="k") == [""] * 2
    async with operating(appliance, carriers) as operation:
        refused = await refusal(operation.caller.SendMessage(single("+33612345678"), timeout=TIMEOUT_S))
        assert (refused.code, refused.reason, refused.limit) == (
            grpc.StatusCode.RESOURCE_EXHAUSTED,
            "MESSAGE_CAP",
            "messages_per_day",
        )
        assert refused.retry_after_s is not None
        assert 0 < refused.retry_after_s <= 86_400
        rewrite(appliance, lambda document: document["usage"]["caps"][0].update(messages_per_day=6))
        await operation.command("reload")
        assert await sent(operation, 2) == ["", "MESSAGE_CAP"]


async def test_spending_is_reserved_and_corrected(appliance: Appliance, carriers: dict[str, Simulator]) -> None:
    """What waits cannot overrun a cap of spending, though it has cost nothing yet; what is withdrawn makes room."""
    rewrite(
        appliance, lambda document: document["usage"]["caps"][0].update(messages_per_day=99, spend_per_month="0.06")
    )
    async with operating(appliance, carriers) as operation:
        await operation.command("pause", "--tenant", TENANT, "--reason", "a test of what waits")
        assert await sent(operation, 4) == ["", "", "", "SPEND_CAP"]
        (row,) = await operation.command("usage")
        assert (row["accepted"], row["spent"]) == (3, "0.00")
        held = {"tenant": TENANT, "queue": "HELD_OTP", "messages": 3}
        async with asyncio.timeout(TIMEOUT_S):
            while held not in _sizes((status := await operation.node.snapshot())["tenants"]):
                await asyncio.sleep(0.02)
        assert {"lane": "OTP", "held": 3, "waiting": 0, "in_memory": 0} in _sizes(status["lanes"])
        assert {"carrier": "acme", "in_memory": 0, "on_links": 0} in _sizes(status["carriers"])
        await operation.command("purge", "--tenant", TENANT, "--reason", "a test", "--yes")
        assert await sent(operation, 4) == ["", "", "", "SPEND_CAP"]


def _sizes(rows: Any) -> list[dict[str, object]]:
    return [{name: value for name, value in row.items() if name != "oldest_due_s"} for row in rows]


def single(recipient: str) -> message_service_pb2.SendMessageRequest:
    """Return one message to send."""
    content = message_pb2.Content(text="hello")
    category = message_pb2.CATEGORY_TRANSACTIONAL
    message = message_pb2.OutboundMessage(recipient=recipient, sender="ACME", category=category, content=content)
    return message_service_pb2.SendMessageRequest(message=message)


async def test_amounts_have_their_currency_on_postgresql(
    appliance: Appliance, carriers: dict[str, Simulator], postgres: PostgresServer
) -> None:
    """On PostgreSQL, too, what was billed is told in the currency of the prices."""
    with postgres.database() as name:
        section = postgres.section(name)
        rewrite(appliance, lambda document: document.update(store={**document.get("store", {}), **section}))
        async with operating(appliance, carriers) as operation:
            (sent,) = await operation.send(1)
            await operation.reach(sent, "DELIVERED")
            rows = await operation.command("usage", "--by", "carrier")
    assert [(row["carrier"], row["spent"], row["currency"]) for row in rows if row["carrier"]] == [
        ("acme", "0.0075", "EUR")
    ]
