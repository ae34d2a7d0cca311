"""Calls and streams on a node while its identity changes, and looks at what it shows."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass
from typing import Protocol

import grpc
from cryptography import x509

from certs.bundle import Trust
from certs.svid import X509Svid
from gateway.node import Node
from smsgw.v1 import message_service_pb2 as api
from tests.gateway.site import TIMEOUT_S, Channel, connected, identity_of, message

_LONGEST_S = 3600.0  # of a stream, in a long test


class Presented(Protocol):
    """Where a caller takes its SVID from."""

    @property
    def svid(self) -> X509Svid:
        """The SVID to present now."""


async def until(condition: Callable[[], bool]) -> None:
    """Wait for a condition."""
    async with asyncio.timeout(TIMEOUT_S):
        while not condition():
            await asyncio.sleep(0.01)


@dataclass
class Load:
    """A stream on a connection that stays, calls on it, and calls on new connections: all of them have to succeed."""

    address: str
    own: Presented
    trusted: Trust
    streamed: int = 0
    called: int = 0
    connected: int = 0
    ending: bool = False

    async def stream(self, channel: Channel) -> None:
        """Send by one stream, frame by frame."""
        stream = channel.messages.StreamMessages(timeout=_LONGEST_S)
        while not self.ending:
            self.streamed += 1
            await stream.write(api.StreamMessagesRequest(tag=self.streamed, messages=[message()]))
            reply = await stream.read()
            assert isinstance(reply, api.StreamMessagesResponse)
            assert reply.tag == self.streamed
            assert reply.results[0].accepted.message_id
        await stream.done_writing()
        assert await stream.read() is grpc.aio.EOF
        assert await stream.code() is grpc.StatusCode.OK

    async def call(self, channel: Channel) -> None:
        """Send by calls on one connection."""
        while not self.ending:
            assert (await channel.send()).accepted.message_id
            self.called += 1

    async def connect(self) -> None:
        """Send by calls, each on a connection of its own."""
        while not self.ending:
            async with connected(self.address, self.own.svid, self.trusted) as channel:
                assert (await channel.send()).accepted.message_id
            self.connected += 1

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Run all three until the block ends."""
        async with connected(self.address, self.own.svid, self.trusted) as channel, asyncio.TaskGroup() as tasks:
            tasks.create_task(self.stream(channel))
            tasks.create_task(self.call(channel))
            tasks.create_task(self.connect())
            await until(lambda: min(self.streamed, self.called, self.connected) > 1)
            yield
            self.ending = True


async def served(address: str) -> str:
    """Return the serial number of the leaf that the node shows in a handshake now."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE  # what is shown is looked at, whatever it is
    context.set_alpn_protocols(["h2"])
    host, _, port = address.rpartition(":")
    _, writer = await asyncio.open_connection(host, int(port), ssl=context)
    leaf = writer.get_extra_info("ssl_object").getpeercert(binary_form=True)
    writer.transport.abort()
    return f"{x509.load_der_x509_certificate(leaf).serial_number:x}"


async def shown(node: Node) -> Mapping[str, object]:
    """Return the node's identity as `smsgw status` has it."""
    return identity_of(await node.snapshot())


async def until_shown(node: Node, **wanted: object) -> None:
    """Wait until the node's identity is as wanted."""
    async with asyncio.timeout(TIMEOUT_S):
        while not wanted.items() <= (await shown(node)).items():
            await asyncio.sleep(0.01)
