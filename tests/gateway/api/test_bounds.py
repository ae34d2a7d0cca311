"""Each bound of the server, tried by a client that goes beyond it: over TLS, frame by frame where needed."""

from __future__ import annotations

import asyncio
import struct
import time
from pathlib import Path
from typing import Any

import grpc
import pytest

from gateway.api.server import ServerOptions
from smsgw.v1 import message_service_pb2 as pb
from tests.gateway.api.http2 import (
    CONTINUATION,
    END_HEADERS,
    ENHANCE_YOUR_CALM,
    GOAWAY,
    HEADERS,
    MAX_CONCURRENT_STREAMS,
    PING,
    RST_STREAM,
    SETTINGS,
    Http2Client,
    frame,
    header_block,
    header_field,
)
from tests.gateway.api.rig import AUTHORITY, TIMEOUT_S, Bounds, Rig, running_rig
from tests.gateway.api.test_connections import ended, served, silent

METHOD = "/smsgw.v1.MessageService/GetMessage"
CANCEL = struct.pack(">I", 8)


def client(rig: Rig) -> Http2Client:
    """Connect a bare client whose certificate is good."""
    return Http2Client(rig.port, AUTHORITY.svid("/payments/api"), AUTHORITY.bundle_pem)


async def code_of(call: Any) -> grpc.StatusCode:
    """Return the code with which a unary call failed."""
    with pytest.raises(grpc.aio.AioRpcError) as error:
        await call
    return error.value.code()


async def test_ping_flood(tmp_path: Path) -> None:
    """A client that pings without end is told to calm down, and its connection is closed."""

    def flood() -> tuple[int, bytes] | None:
        with client(rig) as bare:
            bare.settings()
            for _ in range(20):
                bare.send(frame(PING, b"12345678"))
            return bare.goaway()

    async with running_rig(tmp_path) as rig:
        assert await asyncio.to_thread(flood) == (ENHANCE_YOUR_CALM, b"too_many_pings")
        assert await served(rig)


async def test_streams_of_one_connection(tmp_path: Path) -> None:
    """A connection has so many streams open; the next ones are reset, and told to calm down."""

    def open_too_many() -> tuple[int, list[int]]:
        with client(rig) as bare:
            told = bare.settings()[MAX_CONCURRENT_STREAMS]
            for number in range(8):
                bare.send(frame(HEADERS, header_block(METHOD), flags=END_HEADERS, stream=2 * number + 1))
            reset: list[int] = []
            while len(reset) < 3 and (found := bare.read()) is not None:
                reset += [found.stream] if found.kind == RST_STREAM else []
            return told, reset

    async with running_rig(tmp_path, bounds=Bounds(server=ServerOptions(max_concurrent_streams=5))) as rig:
        assert await asyncio.to_thread(open_too_many) == (5, [11, 13, 15])


async def test_rapid_reset(tmp_path: Path) -> None:
    """A client that opens and resets streams without end gets most of them refused, or its connection ended; nobody
    else notices."""
    attempts = 5000

    def flood() -> bool:
        with client(rig) as bare:
            bare.settings()
            block, refused = header_block(METHOD), 0
            for number in range(attempts):
                stream = 2 * number + 1
                octets = frame(HEADERS, block, flags=END_HEADERS, stream=stream)
                if not bare.send(octets + frame(RST_STREAM, CANCEL, stream=stream)):
                    break
            bare.send(frame(PING, b"the end!"))
            while (found := bare.read()) is not None and found.kind not in (PING, GOAWAY):
                refused += found.kind == RST_STREAM
            return found is None or found.kind == GOAWAY or refused > attempts // 2

    async with running_rig(tmp_path, bounds=Bounds(server=ServerOptions(max_concurrent_streams=5))) as rig:
        flooding = asyncio.create_task(asyncio.to_thread(flood))
        assert await served(rig)
        assert await flooding
        assert await served(rig)
        assert rig.intake.calls == []


@pytest.mark.parametrize("frames", [20, 200, 4000])
async def test_endless_headers(tmp_path: Path, frames: int) -> None:
    """Headers that go on frame after frame, each within the bound, are refused together, or end the connection."""

    def send_headers() -> bytes | None:
        with client(rig) as bare:
            bare.settings()
            bare.send(frame(HEADERS, header_block(METHOD), stream=1))
            block = header_field("x-more", "y" * 1000) * 5
            for _ in range(frames):
                if not bare.send(frame(CONTINUATION, block, stream=1)):
                    return None
            bare.send(frame(CONTINUATION, b"", flags=END_HEADERS, stream=1))
            while (found := bare.read()) is not None:
                if found.stream == 1:
                    return found.payload
            return None

    async with running_rig(tmp_path) as rig:
        told = await asyncio.to_thread(send_headers)
        assert told is None or b"grpc-status\x018" in told  # RESOURCE_EXHAUSTED
        assert await served(rig)


async def test_connections_of_all(tmp_path: Path) -> None:
    """With every place taken a new connection is closed at once; when places are free again, it is served."""
    options = ServerOptions(max_connections=3, handshake_timeout_s=1)
    async with running_rig(tmp_path, bounds=Bounds(server=options)) as rig:
        async with silent(rig.port, 3), silent(rig.port, 2) as late:
            assert await ended(late) == [True, True]
        async with asyncio.timeout(TIMEOUT_S):
            while not await served(rig):
                await asyncio.sleep(0.05)


async def test_silent_handshake(tmp_path: Path) -> None:
    """A client that connects and says nothing is cut off when its handshake has taken too long."""
    options = ServerOptions(handshake_timeout_s=0.5)
    async with running_rig(tmp_path, bounds=Bounds(server=options)) as rig, silent(rig.port, 2) as opened:
        began = time.monotonic()
        async with asyncio.timeout(TIMEOUT_S):
            assert [await reader.read() for reader, _ in opened] == [b"", b""]
        assert time.monotonic() - began >= 0.4


async def test_slow_handshake(tmp_path: Path) -> None:
    """A client that gives its handshake octet by octet is cut off as well: the time is for all of it."""
    options = ServerOptions(handshake_timeout_s=0.5)
    async with running_rig(tmp_path, bounds=Bounds(server=options)) as rig, silent(rig.port, 1) as ((reader, writer),):
        record = b"\x16\x03\x01\x02\x00" + bytes(512)  # the head of a ClientHello, and what could be one
        async with asyncio.timeout(TIMEOUT_S):
            for octet in record:
                writer.write(bytes([octet]))
                await asyncio.sleep(0.05)
                if reader.at_eof():
                    break
            assert await reader.read() == b""


async def test_idle_connections_end(tmp_path: Path) -> None:
    """A client that says nothing after its handshake is told to go when it has been idle for too long."""

    def connect() -> tuple[int, bytes] | None:
        with client(rig) as bare:
            bare.settings()
            return bare.goaway()

    async with running_rig(tmp_path, bounds=Bounds(server=ServerOptions(connection_idle_s=0.5))) as rig:
        told = await asyncio.to_thread(connect)
        assert told is not None
        assert told[1] == b"connection idle"


async def test_metadata_and_message_size(tmp_path: Path) -> None:
    """The bounds of metadata and of messages are those of the options."""
    options = ServerOptions(max_message_bytes=10_000, max_metadata_bytes=4096)
    async with running_rig(tmp_path, bounds=Bounds(server=options)) as rig:
        stub = rig.client("/payments/api")
        for call in (
            stub.GetMessage(pb.GetMessageRequest(message_id="x" * 10_001), timeout=TIMEOUT_S),
            stub.GetMessage(pb.GetMessageRequest(), timeout=TIMEOUT_S, metadata=(("x-large", "x" * 5000),)),
        ):
            assert await code_of(call) is grpc.StatusCode.RESOURCE_EXHAUSTED


def test_frames() -> None:
    """The bare client writes frames as RFC 9113 has them."""
    assert frame(PING, b"12345678").hex() == "00000806000000000031323334353637" + "38"
    assert frame(SETTINGS).hex() == "000000040000000000"
