"""A node in this process whose identity comes from a Workload API, and those who call it."""

from __future__ import annotations

import secrets
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import grpc
import grpc.aio
import yaml

from certs.bundle import Trust
from certs.spiffe_id import TrustDomain
from certs.svid import X509Svid
from certs.tls import channel_credentials, server_name_option
from gateway.config.loader import load
from gateway.node import Node
from gateway.policy.default_set import default_files
from gateway.revocation.keys import new_key_pair
from smsgw.v1 import message_service_pb2 as api
from smsgw.v1.message_pb2 import CATEGORY_TRANSACTIONAL, Content, OutboundMessage
from smsgw.v1.message_service_pb2_grpc import MessageServiceStub

if TYPE_CHECKING:
    from smsgw.v1.message_service_pb2_grpc import MessageServiceAsyncStub  # there are only types of it

DOMAIN = TrustDomain("example.org")
NAME = "gateway.example.org"
TIMEOUT_S = 60.0


def write_keys(folder: Path) -> None:
    """Write the keys that every node needs, unless they are there."""
    signing, _ = new_key_pair()
    for name, octets in (
        ("index.key", secrets.token_bytes(32)),
        ("kek.key", secrets.token_bytes(32)),
        ("deny-list.key", signing),
    ):
        if not (folder / name).exists():
            (folder / name).touch(mode=0o600)
            (folder / name).write_bytes(octets)


def write(folder: Path, endpoint: str, **identity: Any) -> Path:
    """Write what a node with a Workload API needs; the path of its smsgw.yaml. `identity`: more of that section."""
    write_keys(folder)
    policy = folder / "policy"
    policy.mkdir(mode=0o700, exist_ok=True)
    for name, octets in default_files().items():
        (policy / name).touch(mode=0o600)
        (policy / name).write_bytes(octets)
    bundles = identity.pop("bundles", {})
    document = {
        "node": {"name": "node-1", "trust_domain": DOMAIN.name, "data_dir": "data"},
        "api": {"listen": "127.0.0.1:0", "drain_linger": "0s"},
        "admin": {"listen": "127.0.0.1:0"},
        "identity": {"workload_api": {"endpoint": endpoint, "wait": "20s", **identity}, "bundles": bundles},
        "tenants": [
            {"name": "demo", "spiffe_ids": ["spiffe://example.org/demo", "spiffe://other.org/demo"]}
            if bundles or "federated" in identity
            else {"name": "demo", "spiffe_ids": ["spiffe://example.org/demo"]}
        ],
        "store": {"index_key_file": "index.key"},
        "keys": {"kek_file": "kek.key"},
        "revocation": {"signing_key_file": "deny-list.key"},
        "telemetry": {"metrics": {"listen": "127.0.0.1:0", "readers": ["spiffe://example.org/prometheus"]}},
        "limits": {"messages_per_recipient_burst": 100_000, "calls_burst": 100_000},
    }
    path = folder / "smsgw.yaml"
    path.write_text(yaml.safe_dump(document, sort_keys=False))
    return path


@asynccontextmanager
async def node_of(path: Path) -> AsyncIterator[Node]:
    """Run the node that a file describes."""
    node = Node(load(path))
    await node.start()
    try:
        yield node
    finally:
        await node.stop()


@dataclass(frozen=True, slots=True)
class Channel:
    """A connection of one caller."""

    channel: grpc.aio.Channel

    @property
    def messages(self) -> MessageServiceAsyncStub:
        """What a caller sends by."""
        return MessageServiceStub(self.channel)

    async def send(self) -> api.SendMessageResponse:
        """Send one message."""
        return await self.messages.SendMessage(api.SendMessageRequest(message=message()), timeout=TIMEOUT_S)


@asynccontextmanager
async def connected(address: str, svid: X509Svid, trusted: Trust) -> AsyncIterator[Channel]:
    """Give a connection of its own, with a new handshake."""
    bundle = trusted.get(DOMAIN)
    assert bundle is not None
    options = [server_name_option(NAME), ("grpc.use_local_subchannel_pool", 1)]
    async with grpc.aio.secure_channel(address, channel_credentials(svid, bundle), options=options) as channel:
        yield Channel(channel)


def message() -> OutboundMessage:
    """Return a message that the default policies permit."""
    return OutboundMessage(
        recipient="+4915112345678", sender="ACME", category=CATEGORY_TRANSACTIONAL, content=Content(text="hello")
    )


def identity_of(snapshot: Mapping[str, object]) -> Mapping[str, object]:
    """Return what `smsgw status` shows of the node's identity."""
    found = snapshot["identity"]
    assert isinstance(found, dict)
    return found
