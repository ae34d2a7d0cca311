"""The reply leaves after the commit is on disk: a whole node, with its real API, on a disk whose sync a test holds."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
import pytest

from gateway import composition
from gateway.audit import journal
from gateway.config.loader import load
from gateway.node import Node
from gateway.store.engine.transaction import Transaction
from gateway.store.engine.writer import Operation, Writer
from gateway.store.sqlite import SqliteStore
from smsgw.v1 import message_pb2
from smsgw.v1 import message_service_pb2 as pb
from smsgw.v1.message_service_pb2_grpc import MessageServiceStub
from tests.appliance import SERVER_NAME, Appliance, CarrierSpec
from tests.gateway.store.tracing_vfs import TracingVFS

LOOKS = 5
HELD_S = 0.5  # how long a reply gets to leave too early
DEADLINE_S = 10.0


class EarlyWriter(Writer):
    """A writer with the defect that this test is for: it answers, and then commits."""

    def _commit(self, group: list[Operation]) -> None:
        tx: Transaction = self._connected()
        tx.db.execute("BEGIN IMMEDIATE")
        outcomes = self._apply(tx, group)
        tx.flush()
        self._publish(outcomes, tx.end())
        tx.db.execute("COMMIT")


class EarlyStore(SqliteStore):
    """The store with that writer."""

    writer_class = EarlyWriter


@asynccontextmanager
async def sending(
    folder: Path, store: Callable[..., SqliteStore], monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[tuple[TracingVFS, Callable[[], Any]]]:
    """Run a node on a traced disk; the disk, and what sends it one message over mutual TLS."""
    vfs = TracingVFS(f"durability-{store.__name__}")
    monkeypatch.setattr(journal, "_LOOK_S", 3600.0)  # no commit of the node's own between
    monkeypatch.setattr(composition, "SqliteStore", lambda *args, **keys: store(*args, vfs=vfs.name, **keys))
    appliance = await asyncio.to_thread(Appliance.create, folder / "appliance")
    node = Node(load(appliance.configure(CarrierSpec(port=1, ca_file=appliance.carrier_ca))))
    await node.start()
    caller = appliance.callers[0]
    credentials = grpc.ssl_channel_credentials(
        caller.bundle.read_bytes(), caller.key.read_bytes(), caller.certificate.read_bytes()
    )
    try:
        options = [("grpc.ssl_target_name_override", SERVER_NAME)]
        async with grpc.aio.secure_channel(node.api_address, credentials, options) as channel:
            stub: Any = MessageServiceStub(channel)
            yield vfs, lambda: stub.SendMessage(_request(), timeout=DEADLINE_S)
    finally:
        await node.stop()
        vfs.close()


def _request() -> pb.SendMessageRequest:
    return pb.SendMessageRequest(
        message=message_pb2.OutboundMessage(
            recipient="+4915112345678",
            sender="ACME",
            category=message_pb2.CATEGORY_OTP,
            content=message_pb2.Content(text="4711"),
        )
    )


async def answers_while_the_sync_is_held(vfs: TracingVFS, send: Callable[[], Any]) -> bool:
    """Send one message, hold the sync of its commit, and say whether the reply came all the same."""
    synced = vfs.count("sync", "-wal")
    await send()  # connections and keys are ready
    async with asyncio.timeout(DEADLINE_S):
        while vfs.count("sync", "-wal") == synced:  # an early writer's commit is still on its way
            await asyncio.sleep(0.01)
    with vfs.hold():
        call = asyncio.ensure_future(send())
        await asyncio.to_thread(vfs.wait_for_sync)
        done, _ = await asyncio.wait({call}, timeout=HELD_S)
        early = bool(done)
    reply = await call
    assert reply.accepted.state == message_pb2.MESSAGE_STATE_ACCEPTED
    return early


async def test_no_reply_leaves_before_the_sync_returns(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """While fdatasync has not returned there is no reply; when it has, there is."""
    async with sending(tmp_path, SqliteStore, monkeypatch) as (vfs, send):
        assert not await answers_while_the_sync_is_held(vfs, send)


async def test_a_node_that_replies_early_is_caught(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same judge finds the reply of a writer that answers before it commits. Where the sync that is held is by
    chance that of another commit, as of the audit's log, which the message waits behind, it looks again."""
    async with sending(tmp_path, EarlyStore, monkeypatch) as (vfs, send):
        looks = 0
        while looks < LOOKS and not await answers_while_the_sync_is_held(vfs, send):
            looks += 1
        assert looks < LOOKS
