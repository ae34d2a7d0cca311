"""A node is backed up under traffic, its host is lost, and another host goes on from the backup and the keys."""

from __future__ import annotations

import asyncio
import json
import shutil
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from carrier.simulator.simulator import Simulator
from gateway.backup.restoring import restore
from gateway.backup.taking import take
from gateway.cli.db_backup import now_us
from smsgw.v1 import message_pb2
from smsgw.v1 import message_service_pb2 as api
from smsgw.v1 import queue_service_pb2 as pb
from smsgw.v1.queue_service_pb2_grpc import QueueServiceStub
from tests.appliance import TENANT, Appliance, run
from tests.gateway.operation import TIMEOUT_S, Operation, configure, operating, rewrite, simulators

PERSON = "+4915187654321"
SHORT_CODE = "80800"
SECRET = "what was erased afterwards"
DESTROYED = message_pb2.UNREADABLE_KEY_DESTROYED


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
        shown = await operation.caller.GetMessage(api.GetMessageRequest(message_id=waited), timeout=TIMEOUT_S)
        assert (shown.message.unreadable, shown.message.recipient_removed) == (message_pb2.UNREADABLE_DAMAGED, True)
        await operation.command("resume", "--category", "transactional")
        await operation.command("carrier", "resume", "acme")
        (new,) = await operation.send(text="after")
        await operation.reach(new, "DELIVERED")
        assert [received.text for received in carriers["acme"].received] == ["after"]


class Sent(NamedTuple):
    """Ids of messages, by what becomes of them."""

    erased: str
    waiting: str  # to the person, too: erased before it could be sent
    shared: str  # another person's, under the key of the erased ones
    apart: str  # under another key


async def _erase_after_a_backup(appliance: Appliance, carriers: dict[str, Simulator]) -> Sent:
    """Send, take a backup of the database, and erase a person then; the new host has the keys as they are now."""
    folder, person = appliance.folder, ("--recipient", PERSON, "--reason", "ticket 4711")
    async with operating(appliance, carriers) as operation:
        operation.node._privacy.retirement._pause_s = 0.0  # nobody else reads
        (erased,), (shared,) = await operation.send(recipient=PERSON, text=SECRET), await operation.send(text="shared")
        carriers["acme"].inject_inbound(PERSON[1:], SHORT_CODE, SECRET)
        for each in (erased, shared):
            await operation.reach(each, "DELIVERED")
        await operation.command("carrier", "pause", "acme", "--reason", "so that a message waits")
        (waiting,) = await operation.send(recipient=PERSON, text=SECRET)
        await operation.command("keys", "rotate", "--reason", "ticket 1")
        (apart,) = await operation.send(text="apart")
        async with asyncio.timeout(TIMEOUT_S):
            while not await operation.node.store.parts(None, 1):
                await asyncio.sleep(0.02)
        paths = (folder / "data" / "smsgw.db", folder / "data", folder / "backup")
        await asyncio.to_thread(take, *paths, node="node-1", rate=1 << 30, now=now_us)
        (done,) = await operation.command("privacy", "erase", *person, "--cancel-unfinished", "--yes")
        assert (done["messages"], done["inbound_parts"], done["backups_unreadable"]) == (2, 1, True)
    await asyncio.to_thread(restore, folder / "backup", None, folder / "new", "smsgw.db", now=now_us())
    await asyncio.to_thread(shutil.copytree, folder / "data" / "keys-wrapped", folder / "new" / "keys-wrapped")
    _go_on_elsewhere(appliance)
    return Sent(erased, waiting, shared, apart)


async def _told(operation: Operation) -> list[message_pb2.Event]:
    """Return the events that a watch gets, from the oldest kept to the newest."""
    watch = operation.caller.WatchEvents(api.WatchEventsRequest(start=api.WATCH_START_OLDEST), timeout=TIMEOUT_S)
    stored = await operation.node.store.events(TENANT, 0, 1_000)
    found: list[message_pb2.Event] = []
    async for response in watch:
        found += response.events
        if len(found) >= len(stored):
            break
    watch.cancel()
    return found


async def test_what_was_erased_stays_closed_and_keeps_nobody_from_the_rest(
    appliance: Appliance, carriers: dict[str, Simulator]
) -> None:
    """After a restore of a backup from before an erasure every call works: lists, events, `get`, `find` and `privacy
    export` show such messages without what was sealed, and say why; erasing again needs no key."""
    rewrite(appliance, lambda document: document["tenants"][0].update(inbound_numbers=[SHORT_CODE]))
    sent = await _erase_after_a_backup(appliance, carriers)
    gone, out = {sent.erased, sent.waiting, sent.shared}, appliance.folder / "person.json"
    async with operating(appliance, carriers) as operation:
        operation.node._privacy.retirement._pause_s = 0.0
        listed = await operation.caller.ListMessages(api.ListMessagesRequest(), timeout=TIMEOUT_S)
        shown = {message.message_id: message for message in listed.messages}
        assert {each for each, message in shown.items() if message.unreadable == DESTROYED} == gone
        assert {shown[each].masked_recipient for each in gone} == {"+49XXXXXXX4321", "+49XXXXXXX5678"}
        assert not shown[sent.apart].recipient_removed
        events = await _told(operation)
        closed = {event.state_change.message_id for event in events if event.state_change.unreadable == DESTROYED}
        assert closed == gone
        assert [event.inbound.unreadable for event in events if event.HasField("inbound")] == [DESTROYED]
        (got,) = await operation.command("get", sent.erased)
        assert (got["state"], got["unreadable"]) == ("DELIVERED", "KEY_DESTROYED")
        assert "destroyed" in await operation.shown("get", sent.erased)
        found = await operation.command("find", "--recipient", PERSON)
        assert {each["message_id"] for each in found} == {sent.erased, sent.waiting}
        await _export_and_erase_again(operation, out)
        await operation.command("resume", "--category", "transactional")
        await operation.command("carrier", "resume", "acme")
        await operation.reach(sent.apart, "DELIVERED")
        assert await operation.state(sent.waiting) == "CANCELLED"
    assert [received.text for received in carriers["acme"].received] == [SECRET, "shared", "apart"]


async def _export_and_erase_again(operation: Operation, out: Path) -> None:
    person = ("--recipient", PERSON, "--reason", "ticket 4712")
    (told,) = await operation.command("privacy", "export", *person, "--out", str(out))
    assert told["messages"] == 2
    items = json.loads(await asyncio.to_thread(out.read_text))["items"]
    assert [(item["unreadable"], item.get("content")) for item in items] == [("KEY_DESTROYED", None)] * 2
    (again,) = await operation.command("privacy", "erase", *person, "--cancel-unfinished", "--yes")
    assert (again["messages"], again["backups_unreadable"]) == (2, True)
    assert await operation.command("find", "--recipient", PERSON) == []
