"""Whoever passes TLS tries to hold every place for calls: by requests that never come, by answers that are not read.

The attackers are bare HTTP/2 clients, many calls on each of several connections; in each test somebody else is served.
"""

from __future__ import annotations

import asyncio
import contextlib
import struct
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest

from gateway.api.connections import ConnectionBounds
from gateway.api.server import ServerOptions
from smsgw.v1 import message_service_pb2 as pb
from tests.certificates import IssuedSvid
from tests.gateway.api.http2 import (
    DATA,
    END_HEADERS,
    END_STREAM,
    HEADERS,
    INITIAL_WINDOW_SIZE,
    PING,
    Http2Client,
    frame,
    header_block,
    setting,
)
from tests.gateway.api.refusals import refusal
from tests.gateway.api.rig import AUTHORITY, TIMEOUT_S, Bounds, Rig, message, running_rig
from tests.gateway.api.test_connections import served
from tests.gateway.revocation.samples import deny_list, identity

SEND = "/smsgw.v1.MessageService/SendMessage"
STREAM = "/smsgw.v1.MessageService/StreamMessages"
ESTIMATE = "/smsgw.v1.MessageService/EstimateMessage"
WATCH = "/smsgw.v1.MessageService/WatchEvents"
UNKNOWN = "/smsgw.v1.MessageService/Nothing"
PLACES = 40
FEW = Bounds(places=PLACES, server=ServerOptions(max_leaving_calls=PLACES))
EXHAUSTED = grpc.StatusCode.RESOURCE_EXHAUSTED


def begin(bare: Http2Client, calls: int, path: str, body: bytes | None = None) -> None:
    """Send the headers of so many calls, and a request for each if there is one; return when the server has them."""
    for number in range(calls):
        stream = 2 * number + 1
        octets = frame(HEADERS, header_block(path), flags=END_HEADERS, stream=stream)
        if body is not None:
            octets += frame(DATA, struct.pack(">?I", False, len(body)) + body, flags=END_STREAM, stream=stream)
        bare.send(octets)
    bare.send(frame(PING, b"arrived?"))


def attack(port: int, svids: list[IssuedSvid], path: str, body: bytes | None, window: int) -> list[Http2Client]:
    """Begin twice as many calls as there are places, over as many connections as there are certificates."""
    clients = [Http2Client(port, svid, AUTHORITY.bundle_pem, setting(INITIAL_WINDOW_SIZE, window)) for svid in svids]
    for bare in clients:
        begin(bare, 2 * PLACES // len(clients), path, body)
    for bare in clients:
        while (found := bare.read()) is not None and (found.kind, found.flags) != (PING, 1):
            pass
    return clients


@contextlib.asynccontextmanager
async def attacked(
    rig: Rig, svids: list[IssuedSvid], path: str = SEND, body: bytes | None = None, window: int = 65535
) -> AsyncIterator[list[Http2Client]]:
    """Keep the calls of an attack open for the time of the block."""
    clients = await asyncio.to_thread(attack, rig.port, svids, path, body, window)
    try:
        yield clients
    finally:
        for bare in clients:
            bare.socket.close()


def certificates(*paths: str) -> list[IssuedSvid]:
    """Return two certificates for each of these paths."""
    return [AUTHORITY.svid(path) for path in paths for _ in range(2)]


@contextlib.contextmanager
def looking(rig: Rig) -> Iterator[None]:
    """Let the keeper look at the connections meanwhile, as a node does."""
    keeping = asyncio.get_running_loop().create_task(rig.server.keep_connections())
    try:
        yield
    finally:
        keeping.cancel()


@pytest.mark.parametrize("path", [SEND, STREAM, UNKNOWN])
async def test_strangers_hold_no_place(tmp_path: Path, path: str) -> None:
    """Who belongs to no tenant is refused at the headers, and holds nothing: of what kind the calls may be."""
    async with running_rig(tmp_path, bounds=FEW) as rig, attacked(rig, certificates("/nobody", "/stranger"), path):
        for _ in range(3):
            assert await served(rig)
        assert rig.limits.places.taken <= 1


async def test_revoked_callers_hold_no_place(tmp_path: Path) -> None:
    """Nor does a revoked caller, though its certificate is valid and its tenant known."""
    async with running_rig(tmp_path, bounds=FEW) as rig:
        rig.revoked.apply(deny_list(identity("spiffe://example.org/payments/stolen")))
        async with attacked(rig, certificates("/payments/stolen")):
            assert await served(rig)
            assert rig.limits.places.taken <= 1


async def test_one_identity_holds_its_own_places(tmp_path: Path) -> None:
    """A valid caller that sends headers only has so many places, and is told so; others of its tenant are served."""
    bounds = Bounds(places=PLACES, open_calls=10)
    async with running_rig(tmp_path, bounds=bounds) as rig, attacked(rig, certificates("/payments/flood")):
        await _until(lambda: rig.limits.places.taken >= 10)
        refused = await refusal(_page(rig, "/payments/flood"))
        assert (refused.code, refused.reason) == (EXHAUSTED, "TOO_MANY_CALLS")
        assert await served(rig, "/payments/api")
        assert await served(rig, "/shop/api")
        assert rig.limits.places.taken <= 11


async def test_one_tenant_leaves_places_to_others(tmp_path: Path) -> None:
    """All callers of a tenant together hold half of the places at most, and another tenant is served."""
    flooding = certificates(*(f"/payments/flood-{number}" for number in range(4)))
    async with running_rig(tmp_path, bounds=FEW) as rig, attacked(rig, flooding):
        await _until(lambda: rig.limits.places.taken >= PLACES // 2)
        refused = await refusal(_page(rig, "/payments/api"))
        assert (refused.code, refused.reason) == (EXHAUSTED, "TENANT_CALLS")
        assert refused.retry_after_s is not None
        assert await served(rig, "/shop/api")
        assert rig.limits.places.taken <= PLACES // 2 + 1


async def test_places_come_back(tmp_path: Path) -> None:
    """When the attackers are gone, or their requests are late, their places are free again."""
    options = ServerOptions(request_timeout_s=0.3)
    async with running_rig(tmp_path, bounds=Bounds(places=PLACES, server=options)) as rig:
        async with attacked(rig, certificates("/payments/flood")):
            await _until(lambda: rig.limits.places.taken == 0)
        async with attacked(rig, certificates("/payments/flood"), STREAM):
            await _until(lambda: rig.limits.places.taken == PLACES // 2)
        await _until(lambda: rig.limits.places.taken == 0)
        assert await served(rig, "/payments/flood")


async def test_answers_that_nobody_reads(tmp_path: Path) -> None:
    """A caller that asks and lets no answer in (a window of 0) is cut off when too many of its answers stand there."""
    body = pb.EstimateMessageRequest(content=message().content).SerializeToString()
    options = ServerOptions(max_leaving_calls=20)
    async with running_rig(tmp_path, bounds=Bounds(places=PLACES, server=options)) as rig:
        async with attacked(rig, certificates("/payments/flood"), ESTIMATE, body, window=0):
            with looking(rig):
                await _until(lambda: rig.connections.ended >= 1)
            assert rig.server.leaving.count <= 20
            assert await served(rig)
        await _until(lambda: rig.server.leaving.count == 0)


async def test_revoked_and_not_reading(tmp_path: Path) -> None:
    """A revoked watcher that lets nothing in cannot be told: its connection is ended."""
    async with running_rig(tmp_path) as rig:
        async with attacked(rig, certificates("/payments/stolen")[:1], WATCH, b"", window=0) as (bare,):
            await _until(lambda: rig.limits.places.taken == 2 * PLACES)
            assert rig.revoked.apply(deny_list(identity("spiffe://example.org/payments/stolen"))) == 2 * PLACES
            with looking(rig):
                await asyncio.to_thread(bare.goaway)
        await _until(lambda: rig.limits.places.taken == 0)


async def test_strangers_are_not_kept(tmp_path: Path) -> None:
    """A connection over which nobody is recognised ends after a while, its calls with it; a caller's stays."""
    bounds = Bounds(connections=ConnectionBounds(silent_s=0.5))
    async with running_rig(tmp_path, bounds=bounds) as rig:
        client = rig.client("/payments/api")
        await client.ListMessages(pb.ListMessagesRequest(), timeout=TIMEOUT_S)
        async with attacked(rig, certificates("/nobody")) as clients:
            with looking(rig):
                for bare in clients:
                    await asyncio.to_thread(bare.goaway)
                assert rig.connections.ended == len(clients)
                await client.ListMessages(pb.ListMessagesRequest(), timeout=TIMEOUT_S)
                assert rig.connections.seen == 1


def _page(rig: Rig, path: str) -> Any:
    return rig.client(path).ListMessages(pb.ListMessagesRequest(), timeout=TIMEOUT_S)


async def _until(condition: Any) -> None:
    async with asyncio.timeout(TIMEOUT_S):
        while not condition():
            await asyncio.sleep(0.005)
