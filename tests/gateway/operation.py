"""A node in this process that operators can call, with simulated carriers beside it, over TLS everywhere.

What is checked from outside is the carriers' own counts, the node's audit, and what `smsgw` commands print.
"""

from __future__ import annotations

import asyncio
import json
import ssl
import sys
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import grpc
import grpc.aio
import yaml

from carrier.simulator.script_file import parse_script
from carrier.simulator.simulator import Simulator
from gateway.audit.codec import decode, split
from gateway.audit.records import OperatorActed, Record
from gateway.config.loader import load
from gateway.node import Node
from smsgw.v1 import message_pb2
from smsgw.v1 import message_service_pb2 as api
from smsgw.v1.carrier_service_pb2_grpc import CarrierServiceStub
from smsgw.v1.message_service_pb2_grpc import MessageServiceStub
from tests.appliance import SERVER_NAME, SMSGW, TENANT, Appliance, CarrierSpec

if TYPE_CHECKING:
    from smsgw.v1.carrier_service_pb2_grpc import CarrierServiceAsyncStub  # there are only types of them
    from smsgw.v1.message_service_pb2_grpc import MessageServiceAsyncStub

TIMEOUT_S = 30.0


@dataclass(slots=True)
class Operation:
    """A running node, its carriers by name, and those who call it."""

    appliance: Appliance
    carriers: dict[str, Simulator]
    node: Node
    channels: list[grpc.aio.Channel] = field(default_factory=list)

    def channel(self, name: str, address: str) -> grpc.aio.Channel:
        """Return a channel of the identity `pki/<name>`."""
        pki = self.appliance.folder / "pki"
        credentials = grpc.ssl_channel_credentials(
            (pki / "bundle.pem").read_bytes(), (pki / f"{name}.key").read_bytes(), (pki / f"{name}.pem").read_bytes()
        )
        options = [("grpc.ssl_target_name_override", SERVER_NAME), ("grpc.use_local_subchannel_pool", 1)]
        channel = grpc.aio.secure_channel(address, credentials, options=options)
        self.channels.append(channel)
        return channel

    @property
    def operator(self) -> CarrierServiceAsyncStub:
        """What an operator calls CarrierService by."""
        return CarrierServiceStub(self.channel("operator", self.node.admin_address))

    @property
    def caller(self) -> MessageServiceAsyncStub:
        """What a caller of the tenant sends by."""
        return MessageServiceStub(self.channel("caller-0", self.node.api_address))

    async def send(
        self, count: int = 1, category: int = 2, recipient: str = "+4915112345678", *, text: str = "hello"
    ) -> list[str]:
        """Send messages as a caller; their ids."""
        message = message_pb2.OutboundMessage(
            recipient=recipient, sender="ACME", category=category,  # type: ignore[arg-type]  # a number will do
            content=message_pb2.Content(text=text),
        )  # fmt: skip
        request = api.SendMessagesRequest(messages=[message] * count)
        response = await self.caller.SendMessages(request, timeout=TIMEOUT_S)
        return [result.accepted.message_id for result in response.results]

    async def state(self, message_id: str) -> str:
        """Return where a message stands."""
        response = await self.caller.GetMessage(api.GetMessageRequest(message_id=message_id), timeout=TIMEOUT_S)
        return message_pb2.MessageState.Name(response.message.state).removeprefix("MESSAGE_STATE_")

    async def reach(self, message_id: str, state: str) -> None:
        """Wait until a message is in a state."""
        async with asyncio.timeout(TIMEOUT_S):
            while await self.state(message_id) != state:
                await asyncio.sleep(0.02)

    async def until(self, done: Callable[[], bool]) -> None:
        """Wait until `done`."""
        async with asyncio.timeout(TIMEOUT_S):
            while not done():
                await asyncio.sleep(0.01)

    async def command(self, *arguments: str, code: int = 0) -> list[dict[str, Any]]:
        """Run `smsgw ... --json` on this node; the objects that it prints."""
        text = await self.shown(*arguments, "--json", code=code)
        return [json.loads(line) for line in text.splitlines()]

    async def shown(self, *arguments: str, code: int = 0) -> str:
        """Run `smsgw ...` on this node; what it prints."""
        process = await asyncio.create_subprocess_exec(
            sys.executable, SMSGW, *arguments, "--dir", str(self.appliance.folder),
            stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
        )  # fmt: skip
        output, _ = await asyncio.wait_for(process.communicate(), 60)
        assert process.returncode == code, output.decode()
        return output.decode()

    async def records(self) -> list[Record]:
        """Return the audit."""
        found: list[Record] = []
        seq = 0
        while commits := await self.node.store.audit_read(seq, 1_000):
            found += [decode(octets) for commit in commits for octets in split(commit.records)]
            seq = commits[-1].seq
        return found

    async def acts(self) -> list[OperatorActed]:
        """Return what operators did, from the audit."""
        return [record for record in await self.records() if isinstance(record, OperatorActed)]


def write_client(appliance: Appliance, api_address: str, admin_address: str) -> None:
    """Write client.yaml for the commands."""
    document = {
        "target": api_address, "server_name": SERVER_NAME, "bundle_file": "pki/bundle.pem",
        "svid_file": "pki/caller-0.pem", "svid_key_file": "pki/caller-0.key",
        "admin": {
            "target": admin_address, "svid_file": "pki/operator.pem", "svid_key_file": "pki/operator.key",
        },
    }  # fmt: skip
    (appliance.folder / "client.yaml").write_text(yaml.safe_dump(document))


def configure(appliance: Appliance, carriers: dict[str, Simulator], **changes: Any) -> Path:
    """Write smsgw.yaml with these carriers and an administrative address; `changes` go to every carrier."""
    path = appliance.configure(None)
    document = yaml.safe_load(path.read_text())
    document["admin"] = {"listen": "127.0.0.1:0"}
    document["carriers"] = [
        {**CarrierSpec(port=simulator.port, ca_file=appliance.carrier_ca).section(), "name": name, **changes}
        for name, simulator in carriers.items()
    ]
    path.write_text(yaml.safe_dump(document, sort_keys=False))
    return path


def rewrite(appliance: Appliance, change: Callable[[dict[str, Any]], None]) -> None:
    """Change smsgw.yaml."""
    path = appliance.folder / "smsgw.yaml"
    document = yaml.safe_load(path.read_text())
    change(document)
    path.write_text(yaml.safe_dump(document, sort_keys=False))


def server_context(appliance: Appliance) -> ssl.SSLContext:
    """Return the carriers' side of TLS."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(appliance.carrier_certificate, appliance.carrier_key)
    return context


@asynccontextmanager
async def simulators(
    appliance: Appliance, names: Sequence[str], script: str = ""
) -> AsyncIterator[dict[str, Simulator]]:
    """Run simulated carriers over TLS."""
    context = server_context(appliance)
    running = {name: Simulator(parse_script(script), context) for name in names}
    for simulator in running.values():
        await simulator.start()
    try:
        yield running
    finally:
        for simulator in running.values():
            await simulator.stop()


@asynccontextmanager
async def operating(appliance: Appliance, carriers: dict[str, Simulator]) -> AsyncIterator[Operation]:
    """Run the node that smsgw.yaml describes, bound to what is not held back."""
    node = Node(load(appliance.folder / "smsgw.yaml"))
    await node.start()
    operation = Operation(appliance, carriers, node)
    try:
        write_client(appliance, node.api_address, node.admin_address)
        yield operation
    finally:
        for channel in operation.channels:
            await channel.close(None)
        await node.stop()


def fresh(appliance: Appliance) -> None:
    """Forget what earlier nodes of this folder stored, and what they archived of it."""
    data = appliance.folder / "data"
    (appliance.folder / "checkpoints.jsonl").unlink(missing_ok=True)
    for path in sorted(data.rglob("*"), reverse=True):
        path.rmdir() if path.is_dir() else path.unlink()


__all__ = ["TENANT", "Operation", "configure", "fresh", "operating", "rewrite", "server_context", "simulators"]
