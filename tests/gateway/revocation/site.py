"""Two nodes of one site in this process, over TLS: one signs the deny list, the other follows it.

The follower reaches the publisher through a proxy on loopback, so that a test can cut it off without ending either.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import grpc
import grpc.aio
import yaml

from gateway.config.loader import load
from gateway.node import Node
from smsgw.v1 import message_service_pb2 as api
from smsgw.v1.message_service_pb2_grpc import MessageServiceStub
from smsgw.v1.revocation_service_pb2_grpc import RevocationServiceStub
from tests.appliance import SERVER_NAME, TENANT, TRUST_DOMAIN, Appliance, run

if TYPE_CHECKING:
    from smsgw.v1.message_service_pb2_grpc import MessageServiceAsyncStub  # there are only types of them
    from smsgw.v1.revocation_service_pb2_grpc import RevocationServiceAsyncStub

NODE_2 = f"spiffe://{TRUST_DOMAIN}/gateway-2"
CALLER = f"spiffe://{TRUST_DOMAIN}/{TENANT}/caller-0"
TIMEOUT_S = 30.0
FAST = {"max_age": "2s", "heartbeat": "300ms", "poll": "500ms"}


class Proxy:
    """A TCP proxy that can be cut."""

    def __init__(self) -> None:
        self.target: tuple[str, int] = ("127.0.0.1", 0)
        self._open = True
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    async def start(self) -> int:
        """Listen; the port."""
        self._server = await asyncio.start_server(self._met, "127.0.0.1", 0)
        return int(self._server.sockets[0].getsockname()[1])

    async def stop(self) -> None:
        """End."""
        if self._server is not None:
            self._server.close()
            await self._cut()
            await self._server.wait_closed()

    async def cut(self) -> None:
        """End every connection, and take no more."""
        self._open = False
        await self._cut()

    async def _cut(self) -> None:
        for task in tuple(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def mend(self) -> None:
        """Take connections again."""
        self._open = True

    async def _met(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        try:
            if self._open:
                await self._join(reader, writer)
        except asyncio.CancelledError:
            pass  # it was cut, and nobody awaits this task but `_cut`
        finally:
            self._tasks.discard(task)
            writer.transport.abort()

    async def _join(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        far_reader, far_writer = await asyncio.open_connection(*self.target)
        try:
            pumps = [asyncio.create_task(_pump(*ends)) for ends in ((reader, far_writer), (far_reader, writer))]
            try:
                await asyncio.wait(pumps, return_when=asyncio.FIRST_COMPLETED)
            finally:
                for pump in pumps:
                    pump.cancel()
                await asyncio.gather(*pumps, return_exceptions=True)
        finally:
            far_writer.transport.abort()


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while octets := await reader.read(65536):
        writer.write(octets)
        await writer.drain()


class Site:
    """Both nodes' folder and files, and whoever calls them."""

    def __init__(self, appliance: Appliance) -> None:
        self.appliance = appliance
        self.proxy = Proxy()
        self.proxy_port = 0
        self._channels: list[grpc.aio.Channel] = []

    @property
    def folder(self) -> Path:
        """Everything is here."""
        return self.appliance.folder

    def write(self, name: str, **revocation: Any) -> Path:
        """Write the configuration of a node with its own data folder."""
        document = yaml.safe_load(self.appliance.configure(None).read_text())
        document["node"] |= {"name": name, "data_dir": f"data-{name}"}
        document["admin"] = {"listen": "127.0.0.1:0"}
        document["revocation"] = {**FAST, **revocation}
        document["telemetry"] = {}
        document["audit"]["log"]["archives"][0]["file"] = f"checkpoints-{name}.jsonl"  # each has a database of its own
        if name == "node-2":
            document["api"] |= {"svid_file": "pki/node-2.pem", "svid_key_file": "pki/node-2.key"}
        path = self.folder / f"{name}.yaml"
        path.write_text(yaml.safe_dump(document, sort_keys=False))
        return path

    def write_publisher(self, **changes: Any) -> Path:
        """Write the configuration of the node that signs."""
        return self.write("node-1", signing_key_file="deny-list.key", followers=[NODE_2], **changes)

    def write_follower(self, **changes: Any) -> Path:
        """Write the configuration of the node that follows."""
        wanted = {
            "publisher": f"127.0.0.1:{self.proxy_port}",
            "publisher_id": f"spiffe://{TRUST_DOMAIN}/gateway",
            "public_key_files": ["deny-list.pub"],
        }
        return self.write("node-2", **{**wanted, **changes})

    def channel(self, who: str, address: str) -> grpc.aio.Channel:
        """Return a channel of the identity `pki/<who>`."""
        pki = self.folder / "pki"
        credentials = grpc.ssl_channel_credentials(
            (pki / "bundle.pem").read_bytes(), (pki / f"{who}.key").read_bytes(), (pki / f"{who}.pem").read_bytes()
        )
        options = [("grpc.ssl_target_name_override", SERVER_NAME), ("grpc.use_local_subchannel_pool", 1)]
        channel = grpc.aio.secure_channel(address, credentials, options=options)
        self._channels.append(channel)
        return channel

    def caller(self, node: Node, who: str = "caller-0") -> MessageServiceAsyncStub:
        """Return what an identity sends by."""
        return MessageServiceStub(self.channel(who, node.api_address))

    def watching(self, address: str) -> grpc.aio.UnaryStreamCall[api.WatchEventsRequest, api.WatchEventsResponse]:
        """Return a watch of a caller at an address."""
        return MessageServiceStub(self.channel("caller-0", address)).WatchEvents(
            api.WatchEventsRequest(), timeout=TIMEOUT_S
        )

    def operator(self, node: Node) -> RevocationServiceAsyncStub:
        """Return what an operator revokes by."""
        return RevocationServiceStub(self.channel("operator", node.admin_address))

    def issue(self, spiffe_id: str, name: str, *more: str) -> None:
        """Issue an SVID into pki/."""
        out = str(self.folder / "pki" / name)
        run("ca", "issue", "--dir", str(self.folder / "ca"), "--spiffe-id", spiffe_id, *more, "--out", out)

    async def hang_up(self) -> None:
        """Close what the tests have opened."""
        for channel in self._channels:
            await channel.close(None)
        self._channels.clear()


def make(folder: Path) -> Site:
    """Make keys and certificates for both nodes, two callers and an operator."""
    site = Site(Appliance.create(folder, callers=2, operator=True))
    site.issue(NODE_2, "node-2", "--dns", SERVER_NAME)
    return site


def forget(site: Site) -> None:
    """Forget what earlier nodes stored, and what they archived of it."""
    for archive in site.folder.glob("checkpoints*.jsonl"):
        archive.unlink()
    for data in site.folder.glob("data-*"):
        for path in sorted(data.rglob("*"), reverse=True):
            path.rmdir() if path.is_dir() else path.unlink()
        data.rmdir()


@contextlib.asynccontextmanager
async def proxied(site: Site) -> AsyncIterator[Site]:
    """Run the proxy."""
    site.proxy = Proxy()
    site.proxy_port = await site.proxy.start()
    try:
        yield site
    finally:
        await site.hang_up()
        await site.proxy.stop()


@contextlib.asynccontextmanager
async def node(path: Path) -> AsyncIterator[Node]:
    """Run the node of a configuration."""
    running = Node(load(path))
    await running.start()
    try:
        yield running
    finally:
        await running.stop()


@contextlib.asynccontextmanager
async def publisher(site: Site, **changes: Any) -> AsyncIterator[Node]:
    """Run the node that signs, and let the proxy lead to it."""
    async with node(site.write_publisher(**changes)) as running:
        host, _, port = running.admin_address.rpartition(":")
        site.proxy.target = (host, int(port))
        yield running


@contextlib.asynccontextmanager
async def both(site: Site) -> AsyncIterator[tuple[Node, Node]]:
    """Run both."""
    async with proxied(site), publisher(site) as first, node(site.write_follower()) as second:
        yield first, second
