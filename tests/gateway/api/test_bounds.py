"""Each bound of the server, tried by a client that goes beyond it: over TLS, frame by frame where needed."""

from __future__ import annotations

import asyncio
import struct
import time
from collections import Counter
from pathlib import Path
from typing import Any

import grpc
import pytest

from gateway.api.server import ServerOptions
from gateway.limits.places import CallPlaces
from smsgw.v1 import message_service_pb2 as pb
from tests.gateway.api.http2 import (
    ACK,
    CONTINUATION,
    END_HEADERS,
    ENHANCE_YOUR_CALM,
    GOAWAY,
    HEADERS,
    MAX_CONCURRENT_STREAMS,
    PING,
    REFUSED_STREAM,
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


def client(rig: Rig, path: str = "/payments/api") -> Http2Client:
    """Connect a bare client whose certificate is good."""
    return Http2Client(rig.port, AUTHORITY.svid(path), AUTHORITY.bundle_pem)


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


class Watched:
    """The places of calls, and how many calls of one identity have been open at most."""

    def __init__(self, places: CallPlaces, spiffe_id: str) -> None:
        self._places = places
        self._whose = spiffe_id
        self.open = self.most = self.begun = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._places, name)

    def take(self, spiffe_id: str, tenant: str) -> None:
        """Count one more."""
        self._places.take(spiffe_id, tenant)
        self.open += spiffe_id == self._whose
        self.begun += spiffe_id == self._whose
        self.most = max(self.most, self.open)

    def give_back(self, spiffe_id: str, tenant: str) -> None:
        """Count one less."""
        self._places.give_back(spiffe_id, tenant)
        self.open -= spiffe_id == self._whose


def refused_streams(bare: Http2Client) -> Counter[int]:
    """Return by code what was reset, up to the answer to the client's last ping; the connection is still there then."""
    bare.send(frame(PING, b"the end!"))
    codes: Counter[int] = Counter()
    while (found := bare.read()) is not None:
        assert found.kind != GOAWAY, found.payload
        if found.kind == RST_STREAM:
            codes[struct.unpack(">I", found.payload)[0]] += 1
        elif found.kind == PING and found.flags & ACK:  # the server pings too, when streams are reset
            assert found.payload == b"the end!"
            return codes
    raise AssertionError("the server has ended the connection")


async def test_rapid_reset(tmp_path: Path) -> None:
    """A client that opens and resets streams without end never has more calls open in the node than one beyond its
    bound, which is where gRPC begins to refuse; how many it refuses goes by who is faster. Nobody else notices."""
    attempts, bound = 5000, 5

    def flood() -> Counter[int]:
        with client(rig, "/payments/flood") as bare:
            bare.settings()
            bare.send(frame(SETTINGS, flags=ACK))
            block = header_block(METHOD)
            for number in range(attempts):
                stream = 2 * number + 1
                octets = frame(HEADERS, block, flags=END_HEADERS, stream=stream)
                assert bare.send(octets + frame(RST_STREAM, CANCEL, stream=stream))
            return refused_streams(bare)

    async with running_rig(tmp_path, bounds=Bounds(server=ServerOptions(max_concurrent_streams=bound))) as rig:
        watched = Watched(rig.limits.places, f"spiffe://{AUTHORITY.trust_domain}/payments/flood")
        rig.limits.places = watched  # type: ignore[assignment]  # it does what is asked of places
        flooding = asyncio.create_task(asyncio.to_thread(flood))
        assert await served(rig)
        refused = await flooding
        assert set(refused) <= {REFUSED_STREAM}
        assert refused.total() + watched.begun <= attempts
        assert 1 <= watched.most <= bound + 1
        assert await served(rig)
        async with asyncio.timeout(TIMEOUT_S):
            while watched.open:
                await asyncio.sleep(0.01)
        assert rig.intake.calls == []


async def test_streams_before_the_settings_are_acknowledged(tmp_path: Path) -> None:
    """A client that does not acknowledge the server's settings gets as many streams as they allow, ever: resetting them
    makes no room."""
    attempts, bound = 200, 5

    def flood() -> Counter[int]:
        with client(rig) as bare:
            bare.settings()
            block = header_block(METHOD)
            for number in range(attempts):
                stream = 2 * number + 1
                bare.send(frame(HEADERS, block, flags=END_HEADERS, stream=stream))
                if number >= bound:  # each by itself: what is reset before it is refused need not be answered
                    assert answered(bare, stream)
                bare.send(frame(RST_STREAM, CANCEL, stream=stream))
            return refused_streams(bare)

    def answered(bare: Http2Client, stream: int) -> bool:
        while (found := bare.read()) is not None:
            if found.kind == RST_STREAM and found.stream == stream:
                return found.payload == struct.pack(">I", ENHANCE_YOUR_CALM)
        return False

    async with running_rig(tmp_path, bounds=Bounds(server=ServerOptions(max_concurrent_streams=bound))) as rig:
        assert not await asyncio.to_thread(flood)
        assert await served(rig)


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
