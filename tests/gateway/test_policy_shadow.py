"""A candidate set beside the policies of a whole node: `smsgw policy shadow`, the metric, and what it cannot do."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from carrier.simulator.simulator import Simulator
from gateway.policy.default_set import default_files
from smsgw.v1 import message_pb2
from smsgw.v1 import message_service_pb2 as api
from tests.appliance import Appliance
from tests.gateway.operation import TIMEOUT_S, Operation, configure, fresh, operating, rewrite, simulators

STRICTER = """
@id("no-otp") forbid(principal, action == Action::"SendOtp", resource);
@id("no-reads") forbid(principal is Caller, action in Action::"message:read", resource);
@id("no-way") forbid(principal, action == Action::"UseRoute", resource) when { context.category == "TRANSACTIONAL" };
"""


@pytest.fixture(scope="module")
def appliance(tmp_path_factory: pytest.TempPathFactory) -> Appliance:
    """Make keys and certificates once."""
    return Appliance.create(tmp_path_factory.mktemp("shadow") / "site", operator=True)


def candidate(appliance: Appliance, text: str) -> Path:
    """Write a candidate: the default set, and this."""
    folder = appliance.folder / "candidate"
    folder.mkdir(mode=0o700, exist_ok=True)
    for name, octets in {**default_files(), "50-next.cedar": text.encode()}.items():
        (folder / name).touch(mode=0o600)
        (folder / name).write_bytes(octets)
    return folder


@pytest.fixture
async def operation(appliance: Appliance) -> AsyncIterator[Operation]:
    """Run the node with a stricter candidate, and a carrier."""
    fresh(appliance)
    candidate(appliance, STRICTER)
    async with simulators(appliance, ("acme",)) as carriers:
        configure(appliance, carriers)
        rewrite(appliance, lambda document: document.update(policy={"shadow": "candidate"}))
        async with operating(appliance, carriers) as running:
            yield running


async def shown(operation: Operation, differ: int) -> dict[str, Any]:
    """Wait until so many decisions differ; what `smsgw policy shadow --json` says then."""
    async with asyncio.timeout(TIMEOUT_S):
        while True:
            (answer,) = await operation.command("policy", "shadow")
            rows = answer.get("shadow", {}).get("differences", [])
            if sum(int(row["count"]) for row in rows) >= differ:
                return dict(answer)
            await asyncio.sleep(0.05)


def delivered(carriers: dict[str, Simulator], count: int) -> bool:
    """Say whether the carrier has got so many messages."""
    return len(carriers["acme"].received) == count


async def test_what_differs_is_listed(operation: Operation) -> None:
    """Messages go as the set in force says; the command lists what the candidate would have denied, and by what."""
    sent = [*await operation.send(2, category=1), *await operation.send(category=2)]
    await operation.until(lambda: delivered(operation.carriers, 3))
    assert await operation.state(sent[0]) in {"SUBMITTED", "DELIVERED"}
    answer = await shown(operation, 2 + 1 + 1)
    rows = {row["action"]: row for row in answer["shadow"]["differences"]}
    assert set(rows) == {"SendOtp", "MessageService.GetMessage", "UseRoute"}
    otp = rows["SendOtp"]
    assert (otp["live"], otp["live_policies"], otp["shadow"], otp["shadow_policies"], otp["count"]) == (
        "POLICY_OUTCOME_ALLOW", ["send-otp"], "POLICY_OUTCOME_DENY", ["no-otp"], "2",
    )  # fmt: skip
    assert (otp["country"], rows["UseRoute"]["carrier"]) == ("DE", "acme")
    assert answer["in_force"]["policies"] < answer["shadow"]["candidate"]["policies"]
    text = await operation.shown("policy", "shadow")
    assert "allow by send-otp" in text
    assert "deny by no-otp" in text
    assert not any(secret in text + str(answer) for secret in ("15112345678", "ACME", "127.0.0.1"))


async def test_a_candidate_comes_changes_breaks_and_goes(operation: Operation) -> None:
    """Each reload begins the comparison anew; a broken candidate is told and left out, and the node goes on."""
    await operation.send(category=1)
    await shown(operation, 1)
    folder = candidate(operation.appliance, "")
    (told,) = await operation.command("reload")
    assert [change.split()[0] for change in told["changes"]] == ["shadow"]
    assert "differences" not in (await operation.command("policy", "shadow"))[0]["shadow"]
    (folder / "50-next.cedar").write_text("permit(")
    (told,) = await operation.command("reload")
    assert "50-next.cedar:1: " in told["changes"][0]
    assert "not used: " in await operation.shown("policy", "shadow")
    await operation.send(category=1)
    rewrite(operation.appliance, lambda document: document["policy"].pop("shadow"))
    await operation.command("reload")
    assert "there is no candidate" in await operation.shown("policy", "shadow")


async def test_a_broken_candidate_does_not_keep_a_node_from_starting(appliance: Appliance) -> None:
    """The node starts without it, and says so."""
    fresh(appliance)
    candidate(appliance, "permit(")
    async with simulators(appliance, ("acme",)) as carriers:
        configure(appliance, carriers)
        rewrite(appliance, lambda document: document.update(policy={"shadow": "candidate"}))
        async with operating(appliance, carriers) as operation:
            assert "not used: " in await operation.shown("policy", "shadow")
            message = message_pb2.OutboundMessage(
                recipient="+4915112345678", sender="ACME", category=message_pb2.CATEGORY_OTP,
                content=message_pb2.Content(text="hello"),
            )  # fmt: skip
            await operation.caller.SendMessage(api.SendMessageRequest(message=message), timeout=TIMEOUT_S)


async def test_promoting_it(operation: Operation) -> None:
    """Naming its folder in policy.dir puts it in force; what it was said to deny is denied."""

    def promote(document: dict[str, Any]) -> None:
        document["policy"]["dir"] = document["policy"].pop("shadow")

    rewrite(operation.appliance, promote)
    (told,) = await operation.command("reload")
    assert [change.split()[0] for change in told["changes"]] == ["policy.dir", "policy.shadow", "policies"]
    request = api.SendMessagesRequest(
        messages=[
            message_pb2.OutboundMessage(
                recipient="+4915112345678", sender="ACME", category=message_pb2.CATEGORY_OTP,
                content=message_pb2.Content(text="hello"),
            )
        ]
    )  # fmt: skip
    response = await operation.caller.SendMessages(request, timeout=TIMEOUT_S)
    assert [result.error.message for result in response.results] == ["SendOtp is forbidden by the policy no-otp"]
