"""A node's PostgreSQL is dumped as docs/postgresql.md says, its host is lost, and another goes on from the dump.

The commands and the statements are those of the page, read from it.
"""

from __future__ import annotations

import asyncio
import json
import re
import shlex
import shutil
import subprocess
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from gateway.sequencing.errors import LogBroken
from gateway.sequencing.keys import read_signer
from smsgw.v1 import carrier_service_pb2, key_service_pb2, message_pb2, queue_service_pb2
from smsgw.v1 import message_service_pb2 as api
from smsgw.v1.key_service_pb2_grpc import KeyServiceStub
from smsgw.v1.queue_service_pb2_grpc import QueueServiceStub
from tests.appliance import LOG_ORIGIN, Appliance, run
from tests.gateway.operation import TIMEOUT_S, Operation, configure, operating, rewrite, simulators
from tests.postgres import keeper
from tests.postgres.server import PostgresServer, expendable, programs, shared

PAGE = Path(__file__).parents[2] / "docs" / "postgresql.md"
PERSON = "+4915187654321"
PROMOTIONAL = 3
OTHER = "+4915112345678"
_NEXT = f"{LOG_ORIGIN}-2"
_RECEIPTS = "receipts: {delay_s: 0.05}"
_HALF_ANSWERED = "{receipts: {delay_s: 0.05}, responses: {none_every: 2}}"


def _command(name: str) -> list[str]:
    """Return a command of the page."""
    found = re.search(rf"^{name} .*$", PAGE.read_text(), re.MULTILINE)
    assert found is not None
    return shlex.split(found[0])


def _statements() -> str:
    """Return what the page runs before the node starts."""
    found = re.search(r"```sql\n(UPDATE smsgw\.sequencer.*?)```", PAGE.read_text(), re.DOTALL)
    assert found is not None
    return found[1]


class Host(NamedTuple):
    """A server with a database, which is the name of the node's data folder too."""

    server: PostgresServer
    database: str

    def run(self, command: list[str], **replaced: str) -> None:
        """Run a command of the page, with other names for its file and database."""
        words = [str(programs() / command[0]), *(replaced.get(word, word) for word in command[1:])]
        reached = {"PGHOST": str(self.server.folder), "PGUSER": keeper.USER}
        done = subprocess.run(words, env=reached, capture_output=True, text=True, check=False, timeout=60)
        assert (done.returncode, done.stderr) == (0, "")


@pytest.fixture
def lost() -> Iterator[Host]:
    """Give the host that is lost."""
    with shared().database() as database:
        yield Host(shared(), database)


@pytest.fixture
def new() -> Iterator[Host]:
    """Give another server, with an empty database."""
    with expendable().database() as database:
        yield Host(expendable(), database)


@asynccontextmanager
async def _node(appliance: Appliance, host: Host, script: str, **log: str) -> AsyncIterator[Operation]:
    """Run a node on a host, with a carrier that does what its script says."""

    def on_postgres(document: dict[str, Any]) -> None:
        document["store"] = {**document["store"], **host.server.section(host.database)}
        document["api"]["drain_timeout"] = "200ms"
        document["node"]["data_dir"] = _data(host)
        document["audit"]["log"].update(log)

    async with simulators(appliance, ("acme",), script) as carriers:
        configure(appliance, carriers)
        rewrite(appliance, on_postgres)
        async with operating(appliance, carriers) as running:
            running.node._privacy.retirement._pause_s = 0.0  # nobody else reads
            yield running


def _data(host: Host) -> str:
    return "lost" if host.server is shared() else "new"


class Sent(NamedTuple):
    """Ids of messages, by how they stood at the dump."""

    erased: str  # delivered, and erased after the dump
    erased_beside: str  # too, with the doubtful one under its key
    delivered: str
    in_doubt: tuple[str, str]  # the second one is a promotion
    waiting: list[str]


async def _send(operation: Operation) -> Sent:
    """Have messages that are delivered, in doubt, and waiting. The carrier does not answer each second one."""
    received = operation.carriers["acme"].received
    (erased,) = await operation.send(recipient=PERSON, text="erased")
    await operation.reach(erased, "DELIVERED")
    keys = KeyServiceStub(operation.channel("operator", operation.node.admin_address))
    await keys.RotateKeys(key_service_pb2.RotateKeysRequest(reason="ticket 1"), timeout=TIMEOUT_S)
    (doubtful,) = await operation.send(text="doubtful")
    await operation.until(lambda: len(received) == 2)
    (beside,) = await operation.send(recipient=PERSON, text="erased beside")
    await operation.reach(beside, "DELIVERED")
    (promotion,) = await operation.send(category=PROMOTIONAL, text="doubtful promotion")
    await operation.until(lambda: len(received) == 4)
    (delivered,) = await operation.send(text="delivered")
    await operation.reach(delivered, "DELIVERED")
    pause = carrier_service_pb2.PauseCarrierRequest(carrier="acme", reason="so that messages wait")
    await operation.operator.PauseCarrier(pause, timeout=TIMEOUT_S)
    return Sent(erased, beside, delivered, (doubtful, promotion), await operation.send(3, text="waited"))


async def _erase(operation: Operation, code: int = 0) -> dict[str, Any]:
    """Erase the person; what the command says."""
    whom = ("--recipient", PERSON, "--reason", "ticket 4711")
    (told,) = await operation.command("privacy", "erase", *whom, "--cancel-unfinished", "--yes", code=code)
    return told


async def _lose_the_host(appliance: Appliance, lost: Host, new: Host) -> Sent:
    """Take a dump while the node runs, erase a person, copy the keys, and go on sending; then restore."""
    folder = appliance.folder
    dump = str(folder / "smsgw.dump")
    async with _node(appliance, lost, _HALF_ANSWERED) as operation:
        sent = await _send(operation)
        named = {"smsgw": lost.database, "--file=smsgw.dump": f"--file={dump}"}
        await asyncio.to_thread(lost.run, _command("pg_dump"), **named)
        told = await _erase(operation, 5)
        assert (told["messages"], told["backups_unreadable"]) == (2, False)
        waits = {(key["destroyed"], key["why"]) for key in told["keys"]}
        assert waits == {(True, "destroyed"), (False, "5 messages under it are on their way")}
        await asyncio.to_thread(
            run, "db", "backup", "--config", f"{folder}/smsgw.yaml", "--keys", f"{folder}/keys-copy"
        )
        await operation.send(text="after the dump, and lost")
    (folder / "new").mkdir(mode=0o700)
    await asyncio.to_thread(shutil.copytree, folder / "keys-copy", folder / "new" / "keys-wrapped")
    await asyncio.to_thread(shutil.rmtree, folder / "lost")
    named = {"--dbname=smsgw": f"--dbname={new.database}", "smsgw.dump": dump}
    await asyncio.to_thread(new.run, _command("pg_restore"), **named)
    with new.server.connect(new.database) as db:
        db.execute(_statements().encode())
    return sent


async def _resume(operation: Operation) -> None:
    """Let go on what the statements of the page hold back."""
    queues = QueueServiceStub(operation.channel("operator", operation.node.admin_address))
    for category in (message_pb2.CATEGORY_TRANSACTIONAL, message_pb2.CATEGORY_PROMOTIONAL):
        selection = queue_service_pb2.MessageSelection(category=category)
        await queues.ResumeMessages(queue_service_pb2.ResumeMessagesRequest(selection=selection), timeout=TIMEOUT_S)


async def _shown(operation: Operation, message_id: str) -> message_pb2.Message:
    response = await operation.caller.GetMessage(api.GetMessageRequest(message_id=message_id), timeout=TIMEOUT_S)
    return response.message


async def _contents(operation: Operation) -> dict[str, Any]:
    """Return what `smsgw privacy export` gives of who got the others, by message."""
    out = operation.appliance.folder / "other.json"
    await operation.command("privacy", "export", "--recipient", OTHER, "--reason", "ticket 4712", "--out", str(out))
    items = json.loads(await asyncio.to_thread(out.read_text))["items"]
    return {item["message"]["message_id"]: item.get("content") for item in items if item["kind"] == "message"}


@pytest.mark.timeout(180)
async def test_another_host_goes_on_from_a_dump(tmp_path: Path, lost: Host, new: Host) -> None:
    """What waited and what was in doubt is held until it is resumed, a doubtful promotion is not sent again; what was
    erased since cannot be read where its key was destroyed, as the command has said, and can be erased again where it
    was not; and the log goes on under another name only."""
    appliance = Appliance.create(tmp_path / "site", operator=True)
    sent = await _lose_the_host(appliance, lost, new)
    with pytest.raises(LogBroken, match=re.escape("give audit.log.origin another name")):
        async with _node(appliance, new, _RECEIPTS):
            pass
    config = ("--config", str(appliance.folder / "smsgw.yaml"))
    async with _node(appliance, new, _RECEIPTS, origin=_NEXT) as operation:
        received = operation.carriers["acme"].received
        paused = carrier_service_pb2.ResumeCarrierRequest(carrier="acme")  # its pause was in the dump
        await operation.operator.ResumeCarrier(paused, timeout=TIMEOUT_S)
        (fresh,) = await operation.send(text="after")
        await operation.reach(fresh, "DELIVERED")
        assert {await operation.state(each) for each in sent.waiting} == {"ACCEPTED"}
        assert [await operation.state(each) for each in sent.in_doubt] == ["UNKNOWN", "UNKNOWN"]
        assert [each.text for each in received] == ["after"]
        assert await operation.state(sent.delivered) == "DELIVERED"
        assert (await _contents(operation))[sent.delivered] == {"text": "delivered"}
        assert (await _shown(operation, sent.erased)).unreadable == message_pb2.UNREADABLE_KEY_DESTROYED
        assert not (await _shown(operation, sent.erased_beside)).recipient_removed
        await _resume(operation)
        for each in (*sent.waiting, sent.in_doubt[0]):
            await operation.reach(each, "DELIVERED")
        assert sorted(each.text for each in received) == ["after", "doubtful", *["waited"] * 3]
        assert await operation.state(sent.in_doubt[1]) == "UNKNOWN"
        assert (await _erase(operation))["messages"] == 2
        assert (await _shown(operation, sent.erased_beside)).recipient_removed
        key = read_signer(appliance.folder / "audit-log.key", _NEXT).key.vkey
        await asyncio.to_thread(run, "audit", "verify", *config, "--key", key)
    await asyncio.to_thread(run, "check", *config)
    assert "sound" in await asyncio.to_thread(run, "db", "check", *config)
