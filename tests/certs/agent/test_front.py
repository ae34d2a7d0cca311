"""The socket that workloads connect to: who connects is known behind it, and only while they are connected."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import os
import socket
from collections.abc import AsyncIterator
from pathlib import Path

import grpc
import pytest

from certs.agent.front import Front
from certs.agent.holdings import Holder, Holdings
from certs.agent.processes import Attestor, ProcessFacts
from certs.agent.workload_api import Call, Refused, WorkloadApi
from certs.bundle import Bundle
from certs.errors import SvidFileError
from certs.spiffe_id import TrustDomain
from smsgw.spiffe import workload_pb2 as pb
from tests.certificates import TestAuthority, utc_now

BOUND_S = 30.0


class Behind:
    """Stands in for gRPC: answers each connection with the facts of its peer, then echoes."""

    def __init__(self, front: Front) -> None:
        self.front = front
        self.peers: list[str] = []

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve a connection."""
        peer = "unix:" + writer.get_extra_info("peername")
        self.peers.append(peer)
        writer.write(repr(self.front.facts_of(peer)).encode() + b"\n")
        with contextlib.suppress(OSError):
            while octets := await reader.read(65536):
                writer.write(octets)
                await writer.drain()
        writer.close()


@contextlib.asynccontextmanager
async def fronted(path: Path) -> AsyncIterator[tuple[Front, Behind]]:
    """Run a front with somebody behind it."""
    front = Front(path, Attestor(), lambda: False)
    behind = Behind(front)
    inner = await asyncio.start_unix_server(behind.serve, path=front.inner.removeprefix("unix:"))
    await front.start()
    try:
        yield front, behind
    finally:
        await front.stop()
        inner.close()


async def test_facts_for_the_time_of_a_connection(tmp_path: Path) -> None:
    """Behind the front the peer's name leads to its facts, until it has gone; octets go both ways, however many."""
    async with fronted(tmp_path / "s") as (front, behind):
        reader, writer = await asyncio.open_unix_connection(str(tmp_path / "s"))
        line = await asyncio.wait_for(reader.readline(), BOUND_S)
        assert line.startswith(f"ProcessFacts(pid={os.getpid()}, uid={os.getuid()}, gid={os.getgid()}".encode())
        sent = os.urandom(1_000_000)
        writer.write(sent)
        assert await asyncio.wait_for(reader.readexactly(len(sent)), BOUND_S) == sent
        assert front.facts_of(behind.peers[0]) is not None
        writer.close()
        async with asyncio.timeout(BOUND_S):
            while front.facts_of(behind.peers[0]) is not None:
                await asyncio.sleep(0.01)


async def test_only_its_user_reaches_what_is_behind(tmp_path: Path) -> None:
    """The inner socket lies in a directory of mode 0700, and both sockets are gone afterwards."""
    async with fronted(tmp_path / "s") as (front, _):
        home = Path(front.inner.removeprefix("unix:")).parent
        assert home.stat().st_mode & 0o777 == 0o700
        assert (tmp_path / "s").stat().st_mode & 0o777 == 0o666
    assert not home.exists()
    assert not (tmp_path / "s").exists()


async def test_a_call_past_the_front_is_denied() -> None:
    """A peer that the front does not know is nobody, whatever is registered."""
    bundle = Bundle(trust_domain=TrustDomain("example.org"), authorities=(TestAuthority().root,))

    def nobody(peer: str) -> ProcessFacts | None:
        return None

    api = WorkloadApi(Holder(Holdings(bundle=bundle)), nobody, None, utc_now)  # type: ignore[arg-type]  # no token is asked for
    with pytest.raises(Refused) as refused:
        await anext(api.x509_svids(pb.X509SVIDRequest(), Call(peer="unix:", has_header=True)))
    assert refused.value.code is grpc.StatusCode.PERMISSION_DENIED


async def test_one_user_does_not_take_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Connections of one user are bounded; those beyond are closed, and room is made by one that ends."""
    monkeypatch.setattr("certs.agent.front.MAX_OF_USER", 2)
    async with fronted(tmp_path / "s"):
        kept = [await asyncio.open_unix_connection(str(tmp_path / "s")) for _ in range(2)]
        for reader, _ in kept:
            assert await asyncio.wait_for(reader.readline(), BOUND_S)
        reader, writer = await asyncio.open_unix_connection(str(tmp_path / "s"))
        assert await asyncio.wait_for(reader.read(), BOUND_S) == b""
        writer.close()
        kept[0][1].close()
        async with asyncio.timeout(BOUND_S):
            while True:
                reader, writer = await asyncio.open_unix_connection(str(tmp_path / "s"))
                line = await reader.readline()
                writer.close()
                if line:
                    break
        kept[1][1].close()


async def test_the_place_of_the_socket(tmp_path: Path) -> None:
    """A file is not overwritten, a socket in use is left alone, and one that nobody listens at is replaced."""
    path = tmp_path / "s"
    path.write_text("mine")
    front = Front(path, Attestor(), lambda: False)
    with pytest.raises(SvidFileError, match="no socket"):
        await front.start()
    await front.stop()
    assert path.read_text() == "mine"
    path.unlink()
    with socket.socket(socket.AF_UNIX) as stale:
        stale.bind(str(path))
    async with fronted(path):
        second = Front(path, Attestor(), lambda: False)
        with pytest.raises(SvidFileError, match="another agent"):
            await second.start()
        await second.stop()
        reader, writer = await asyncio.open_unix_connection(str(path))
        assert await asyncio.wait_for(reader.readline(), BOUND_S)
        writer.close()


@pytest.mark.parametrize("turns", range(16))
async def test_an_end_at_any_moment_leaves_nothing_open(tmp_path: Path, turns: int) -> None:
    """Whenever the front is stopped, while the one behind it ends a connection, both sides of that are closed."""
    front = Front(tmp_path / "s", Attestor(), lambda: False)
    inners: list[asyncio.StreamWriter] = []

    async def end(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        inners.append(writer)
        writer.close()

    inner = await asyncio.start_unix_server(end, path=front.inner.removeprefix("unix:"))
    await front.start()
    reader, writer = await asyncio.open_unix_connection(str(tmp_path / "s"))
    async with asyncio.timeout(BOUND_S):
        while not inners:
            await asyncio.sleep(0)
        for _ in range(turns):
            await asyncio.sleep(0)
        await front.stop()
        assert await reader.read() == b""
    writer.close()
    inner.close()
    gc.collect()  # an open end would be told of here, as a warning, which fails a test
