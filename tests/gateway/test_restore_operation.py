"""A node is backed up under traffic, its host is lost, and another host goes on from the backup and the keys."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import grpc
import pytest

from carrier.simulator.simulator import Simulator
from gateway.backup.restoring import restore
from gateway.backup.taking import take
from gateway.cli.db_backup import now_us
from smsgw.v1 import message_service_pb2 as api
from smsgw.v1 import queue_service_pb2 as pb
from smsgw.v1.queue_service_pb2_grpc import QueueServiceStub
from tests.appliance import Appliance, run
from tests.gateway.operation import TIMEOUT_S, Operation, configure, operating, rewrite, simulators


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Appliance:
    """Make keys and certificates once."""
    return Appliance.create(tmp_path_factory.mktemp("restore") / "site", operator=True)


@pytest.fixture
def appliance(made: Appliance, tmp_path: Path) -> Appliance:
    """Give a copy. The data folder is the host that gets lost; everything else is kept apart from it."""
    return Appliance(folder=Path(shutil.copytree(made.folder, tmp_path / "site")), callers=made.callers)


@pytest.fixture
async def carriers(appliance: Appliance) -> AsyncIterator[dict[str, Simulator]]:
    """Run a carrier that sends receipts."""
    async with simulators(appliance, ("acme",), "receipts: {delay_s: 0.05}") as running:
        configure(appliance, running)
        yield running


def _go_on_elsewhere(appliance: Appliance) -> None:
    """Use the restored folder; the log of the audit has ended with the lost one, and another begins."""

    def change(document: dict[str, Any]) -> None:
        document["node"]["data_dir"] = "new"
        document["audit"]["log"]["origin"] += "-2"

    rewrite(appliance, change)


async def _lose_the_host(appliance: Appliance, carriers: dict[str, Simulator]) -> tuple[list[str], str]:
    """Send, hold some back, take a backup while messages are accepted, go on sending, and lose the data folder.

    Returns the messages that waited at the backup, and one that was delivered before.
    """
    config, folder = str(appliance.folder / "smsgw.yaml"), appliance.folder
    async with operating(appliance, carriers) as operation:
        (delivered,) = await operation.send(text="before")
        await operation.reach(delivered, "DELIVERED")
        await operation.command("carrier", "pause", "acme", "--reason", "so that messages wait")
        waiting = await operation.send(10, text="waited")
        done = asyncio.Event()

        async def traffic() -> int:
            sent = 0
            while not done.is_set():
                sent += len(await operation.send(20, text="meanwhile"))
            return sent

        async with asyncio.TaskGroup() as tasks:
            sending = tasks.create_task(traffic())
            await asyncio.to_thread(
                run, "db", "backup", "--config", config, "--out", f"{folder}/backup", "--keys", f"{folder}/keys-copy"
            )
            done.set()
        assert sending.result() > 0
        await operation.command("carrier", "resume", "acme")
        for each in waiting:
            await operation.reach(each, "DELIVERED")
    await asyncio.to_thread(shutil.rmtree, folder / "data")
    copies = ("--from", f"{folder}/backup", "--keys", f"{folder}/keys-copy")
    await asyncio.to_thread(run, "db", "restore", *copies, "--data-dir", f"{folder}/new")
    _go_on_elsewhere(appliance)
    return waiting, delivered


async def _held(operation: Operation) -> int:
    stub = QueueServiceStub(operation.channel("operator", operation.node.admin_address))
    return sum(size.held for size in (await stub.GetQueues(pb.GetQueuesRequest(), timeout=TIMEOUT_S)).sizes)


async def test_another_host_goes_on(appliance: Appliance, carriers: dict[str, Simulator]) -> None:
    """Nothing acknowledged before the backup is lost; all of it opens. What waited is held until it is resumed; new
    messages are not."""
    waiting, delivered = await _lose_the_host(appliance, carriers)
    arrived = len(carriers["acme"].received)
    async with operating(appliance, carriers) as operation:
        assert await operation.state(delivered) == "DELIVERED"
        assert {await operation.state(each) for each in waiting} == {"ACCEPTED"}
        await operation.command("carrier", "resume", "acme")  # its pause was in the backup
        (new,) = await operation.send(text="after")
        await operation.reach(new, "DELIVERED")
        async with asyncio.timeout(TIMEOUT_S):
            while await _held(operation) < len(waiting):
                await asyncio.sleep(0.02)
        assert len(carriers["acme"].received) == arrived + 1
        assert "restored from the backup of" in await operation.shown("queues")
        await operation.command("resume", "--category", "transactional")
        for each in waiting:
            await operation.reach(each, "DELIVERED")
    assert "sound" in await asyncio.to_thread(run, "db", "check", "--config", str(appliance.folder / "smsgw.yaml"))


async def test_without_the_keys_it_stays_closed(appliance: Appliance, carriers: dict[str, Simulator]) -> None:
    """The same backup without the wrapped keys tells nothing of what was stored, and sends nothing of it."""
    folder = appliance.folder
    async with operating(appliance, carriers) as operation:
        await operation.command("carrier", "pause", "acme", "--reason", "so that messages wait")
        (waited,) = await operation.send()
        paths = (folder / "data" / "smsgw.db", folder / "data", folder / "backup")
        await asyncio.to_thread(take, *paths, node="node-1", rate=1 << 30, now=now_us)
    await asyncio.to_thread(restore, folder / "backup", None, folder / "new", "smsgw.db", now=now_us())
    _go_on_elsewhere(appliance)
    async with operating(appliance, carriers) as operation:
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await operation.caller.GetMessage(api.GetMessageRequest(message_id=waited), timeout=TIMEOUT_S)
        assert refused.value.code() is grpc.StatusCode.DATA_LOSS
        await operation.command("resume", "--category", "transactional")
        await operation.command("carrier", "resume", "acme")
        (new,) = await operation.send(text="after")
        await operation.reach(new, "DELIVERED")
        assert [received.text for received in carriers["acme"].received] == ["after"]
