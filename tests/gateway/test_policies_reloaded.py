"""Policies that change while a node runs: the API over mutual TLS, its pipeline, and a simulated carrier."""

from __future__ import annotations

import asyncio
import shutil
import signal
from collections.abc import AsyncIterator
from pathlib import Path

import grpc
import pytest

from carrier.simulator.simulator import Simulator
from gateway.audit.records import PoliciesReplaced
from gateway.policy.loader import digest_of
from smsgw.v1 import message_pb2
from smsgw.v1 import message_service_pb2 as api
from tests.appliance import SMSGW, Appliance, Running
from tests.gateway.operation import TIMEOUT_S, Operation, configure, fresh, operating, simulators

NO_OTP = '@id("no-otp") forbid(principal, action == Action::"SendOtp", resource);\n'
NO_CALLS = '@id("no-calls") forbid(principal is Caller, action in Action::"event:watch", resource);\n'
NO_STREAM = '@id("no-stream") forbid(principal, action == Action::"MessageService.StreamMessages", resource);\n'
BROKEN = '\n@id("x")\nforbid(principal, action == Action::"Nope", resource);\n'


@pytest.fixture(scope="module")
def appliance(tmp_path_factory: pytest.TempPathFactory) -> Appliance:
    """Make keys and certificates once."""
    return Appliance.create(tmp_path_factory.mktemp("policies") / "site", operator=True)


@pytest.fixture
async def carriers(appliance: Appliance) -> AsyncIterator[dict[str, Simulator]]:
    """Run a carrier; the node is configured for it, with the default policies."""
    fresh(appliance)
    (appliance.folder / "policy" / "50-ours.cedar").unlink(missing_ok=True)
    async with simulators(appliance, ("acme",)) as running:
        configure(appliance, running)
        yield running


@pytest.fixture
async def operation(appliance: Appliance, carriers: dict[str, Simulator]) -> AsyncIterator[Operation]:
    """Run the node."""
    async with operating(appliance, carriers) as running:
        yield running


def ours(appliance: Appliance, text: str) -> Path:
    """Write policies beside the default ones."""
    file = appliance.folder / "policy" / "50-ours.cedar"
    file.touch(mode=0o600)
    file.write_text(text)
    return file


def message(category: int) -> message_pb2.OutboundMessage:
    """Return a message."""
    return message_pb2.OutboundMessage(
        recipient="+4915112345678", sender="ACME", category=category,  # type: ignore[arg-type]  # a number will do
        content=message_pb2.Content(text="hello"),
    )  # fmt: skip


async def alerts_of(operation: Operation) -> set[str]:
    """Return the names of the active alerts."""
    alerts = (await operation.node.snapshot())["alerts"]
    assert isinstance(alerts, list)
    return {alert["alert"] for alert in alerts}


async def policies_of(operation: Operation, *categories: int) -> list[str]:
    """Send a message of each category in one batch; what the answers say: "" for accepted."""
    request = api.SendMessagesRequest(messages=[message(category) for category in categories])
    response = await operation.caller.SendMessages(request, timeout=TIMEOUT_S)
    return [result.error.message for result in response.results]


async def test_another_set_decides_at_once(operation: Operation) -> None:
    """What the new set forbids is denied with its policy's id from then on, and on record; removed, it is permitted."""
    folder = operation.appliance.folder / "policy"
    before = digest_of(folder)
    assert await policies_of(operation, 1, 2) == ["", ""]
    file = ours(operation.appliance, NO_OTP)
    (told,) = await operation.command("reload", "--reason", "no codes tonight")
    after = digest_of(folder)
    assert [change.split(":")[0] for change in told["changes"]] == [f"policies {before[:12]} → {after[:12]}"]
    assert await policies_of(operation, 1, 2) == ["SendOtp is forbidden by the policy no-otp", ""]
    file.unlink()
    await operation.command("reload")
    assert await policies_of(operation, 1, 2) == ["", ""]
    replaced = [record for record in await operation.records() if isinstance(record, PoliciesReplaced)]
    assert [(record.replaced, record.digest) for record in replaced] == [(before, after), (after, before)]
    assert {record.by for record in replaced} == {act.by for act in await operation.acts()}
    assert [act.reason for act in await operation.acts()] == ["no codes tonight", ""]


async def test_a_broken_set_is_refused_whole(operation: Operation) -> None:
    """The operator is told file and line and policy, and the set in force goes on deciding, its forbids too."""
    ours(operation.appliance, NO_OTP)
    await operation.command("reload")
    ours(operation.appliance, BROKEN)
    (failed,) = await operation.command("reload", code=2)
    assert failed["error"]["reason"] == "CONFIGURATION_REFUSED"
    assert "50-ours.cedar:3: x: unrecognized action" in failed["error"]["message"]
    assert await policies_of(operation, 1, 2) == ["SendOtp is forbidden by the policy no-otp", ""]
    shutil.move(operation.appliance.folder / "policy", operation.appliance.folder / "away")
    try:
        assert "there is no such folder" in await operation.shown("reload", code=2)
        assert await alerts_of(operation) >= {"policies_refused", "configuration_refused"}
    finally:
        shutil.move(operation.appliance.folder / "away", operation.appliance.folder / "policy")
    assert await policies_of(operation, 1, 2) == ["SendOtp is forbidden by the policy no-otp", ""]
    assert len([record for record in await operation.records() if isinstance(record, PoliciesReplaced)]) == 1
    ours(operation.appliance, NO_OTP)
    await operation.command("reload")
    assert not await alerts_of(operation) & {"policies_refused", "configuration_refused"}


async def test_streams_are_judged_by_the_new_set(operation: Operation) -> None:
    """A stream that was opened before is asked with its next message: what a frame holds, and whether it may go on."""
    stream = operation.caller.StreamMessages(timeout=TIMEOUT_S)
    watch = operation.caller.WatchEvents(api.WatchEventsRequest(start=api.WATCH_START_NOW), timeout=TIMEOUT_S)
    await watch.read()  # the first response says from where on

    async def frame() -> list[str]:
        await stream.write(api.StreamMessagesRequest(messages=[message(1), message(2)]))
        answer = await stream.read()
        assert isinstance(answer, api.StreamMessagesResponse)
        return [result.error.message for result in answer.results]

    assert await frame() == ["", ""]
    ours(operation.appliance, NO_OTP + NO_CALLS)
    await operation.command("reload")
    assert await frame() == ["SendOtp is forbidden by the policy no-otp", ""]

    async def follow() -> None:
        while await watch.read() is not grpc.aio.EOF:
            pass

    with pytest.raises(grpc.aio.AioRpcError, match="forbidden by the policy no-calls") as cut:
        await follow()
    assert cut.value.code() is grpc.StatusCode.PERMISSION_DENIED
    ours(operation.appliance, NO_STREAM)
    await operation.command("reload")
    with pytest.raises(grpc.aio.AioRpcError, match="forbidden by the policy no-stream") as ended:
        await frame()
    assert ended.value.code() is grpc.StatusCode.PERMISSION_DENIED


async def test_what_waits_is_judged_by_the_new_set(operation: Operation) -> None:
    """A message that was accepted before is asked about with its attempt: the new set rejects it."""
    await operation.command("carrier", "pause", "acme", "--reason", "wait")
    (sent,) = await operation.send()
    ours(operation.appliance, '@id("no-way") forbid(principal, action == Action::"UseRoute", resource);\n')
    await operation.command("reload")
    await operation.command("carrier", "resume", "acme")
    await operation.reach(sent, "REJECTED")
    assert not operation.carriers["acme"].received


async def test_sighup(appliance: Appliance, carriers: dict[str, Simulator]) -> None:
    """SIGHUP takes over a good set, and refuses a broken one with a line in the log; the node goes on."""
    log = appliance.folder / "sighup.log"

    async def logged(text: str) -> None:
        async with asyncio.timeout(TIMEOUT_S):
            while text not in log.read_text():
                await asyncio.sleep(0.02)

    with Running([SMSGW, "serve", "--config", str(appliance.folder / "smsgw.yaml")], log=log) as node:
        await asyncio.to_thread(node.line_with, "ready")
        ours(appliance, NO_OTP)
        node.process.send_signal(signal.SIGHUP)
        await logged("reloaded_by_signal")
        ours(appliance, BROKEN)
        node.process.send_signal(signal.SIGHUP)
        await logged("policies_refused")
        await logged("configuration_not_reloaded")
        assert "50-ours.cedar:3: x: unrecognized action" in log.read_text()
        assert node.process.poll() is None
