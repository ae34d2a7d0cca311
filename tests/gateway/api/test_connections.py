"""The connections of one address are held to their bounds."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path

import grpc
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.api.connections import ConnectionBounds, Endpoint, excess
from gateway.limits.rate import Rate
from smsgw.v1 import message_service_pb2 as pb
from tests.gateway.api.http2 import Http2Client
from tests.gateway.api.rig import AUTHORITY, SECOND, TIMEOUT_S, Bounds, Rig, running_rig

Connection = tuple[asyncio.StreamReader, asyncio.StreamWriter]


def ends(address: str, *ports: int) -> list[Endpoint]:
    """Return connections of one address, the oldest first."""
    return [Endpoint(address, port) for port in ports]


@pytest.mark.parametrize(("per_address", "silent"), [(0, 0), (5, 6), (5, 0)])
def test_bounds_make_sense(per_address: int, silent: int) -> None:
    """Of an address's connections one up to all may be silent."""
    with pytest.raises(ValueError, match="silent"):
        ConnectionBounds(per_address=per_address, silent_per_address=silent)


def test_the_oldest_silent_ones_go() -> None:
    """Of too many silent connections the oldest go: a real client would be through by now."""
    bounds = ConnectionBounds(per_address=10, silent_per_address=2)
    spoken = set(ends("10.0.0.1", 2))
    assert excess(ends("10.0.0.1", 1, 2, 3, 4), spoken, bounds) == ends("10.0.0.1", 1)


def test_the_newest_ones_go() -> None:
    """Of too many connections the newest go, silent ones before those that somebody uses."""
    bounds = ConnectionBounds(per_address=2, silent_per_address=2)
    all_spoken = set(ends("10.0.0.1", 1, 2, 3, 4))
    assert excess(ends("10.0.0.1", 1, 2, 3, 4), all_spoken, bounds) == ends("10.0.0.1", 4, 3)
    assert excess(ends("10.0.0.1", 1, 2, 3, 4), set(ends("10.0.0.1", 3, 4)), bounds) == ends("10.0.0.1", 2, 1)


def test_addresses_are_counted_apart() -> None:
    """Each address has its own bound; all addresses of an IPv6 network are one."""
    bounds = ConnectionBounds(per_address=1, silent_per_address=1)
    apart = ends("10.0.0.1", 1) + ends("10.0.0.2", 1) + ends("2001:db8:0:1::1", 1) + ends("2001:db8:0:2::1", 1)
    assert excess(apart, set(), bounds) == []
    assert excess(ends("2001:db8::1", 1) + ends("2001:db8::2", 1), set(), bounds) == ends("2001:db8::1", 1)


addresses = st.sampled_from(["10.0.0.1", "10.0.0.2", "2001:db8::1", "2001:db8::2"])


@settings(max_examples=60)
@given(
    st.lists(st.builds(Endpoint, address=addresses, port=st.integers(1, 30)), unique=True, max_size=60),
    st.sets(st.integers(1, 30)),
    st.integers(1, 8),
    st.integers(1, 8),
)
def test_what_is_left_is_within_the_bounds(
    connections: list[Endpoint], spoken_ports: set[int], per_address: int, silent: int
) -> None:
    """What is left is within both bounds, and nothing goes without need."""
    bounds = ConnectionBounds(per_address=max(per_address, silent), silent_per_address=silent)
    spoken = {end for end in connections if end.port in spoken_ports}
    ended = excess(connections, spoken, bounds)
    assert len(ended) == len(set(ended))
    for host in (("10.0.0.1",), ("10.0.0.2",), ("2001:db8::1", "2001:db8::2")):
        mine = [end for end in connections if end.address in host]
        left = [end for end in mine if end not in ended]
        quiet = [end for end in mine if end not in spoken]
        gone = len(mine) - len(left)
        assert len(left) <= bounds.per_address
        assert len([end for end in left if end not in spoken]) <= silent
        assert gone == max(0, len(mine) - bounds.per_address, len(quiet) - silent)


@contextlib.asynccontextmanager
async def silent(port: int, count: int, host: str = "127.0.0.1") -> AsyncIterator[list[Connection]]:
    """Open connections from `host`, over which nothing is said."""
    opened = [await asyncio.open_connection("127.0.0.1", port, local_addr=(host, 0)) for _ in range(count)]
    try:
        yield opened
    finally:
        for _, writer in opened:
            writer.close()
            with contextlib.suppress(ConnectionError):
                await writer.wait_closed()


async def ended(connections: list[Connection]) -> list[bool]:
    """Say which connections the server has closed, when each of them had the time to be."""
    found = []
    for reader, _ in connections:
        try:
            async with asyncio.timeout(0.3):
                found.append(await reader.read(1) == b"")
        except TimeoutError:
            found.append(False)
        except ConnectionError:
            found.append(True)
    return found


async def arrived(rig: Rig, count: int) -> None:
    """Wait until the server has accepted so many connections: each look finds those that are there."""
    async with asyncio.timeout(TIMEOUT_S):
        while rig.connections.seen + rig.connections.ended < count:
            await rig.connections.look(rig.port)
            await asyncio.sleep(0.01)


async def served(rig: Rig, path: str = "/payments/api") -> bool:
    """Say whether a caller with a new connection is served."""
    try:
        await rig.client(path).ListMessages(pb.ListMessagesRequest(), timeout=TIMEOUT_S)
    except grpc.aio.AioRpcError:
        return False
    return True


async def test_silent_connections_end(tmp_path: Path) -> None:
    """A host that opens connections and says nothing keeps a few; whoever is recognised keeps his."""
    bounds = Bounds(connections=ConnectionBounds(per_address=20, silent_per_address=3))
    async with running_rig(tmp_path, bounds=bounds) as rig:
        client = rig.client("/payments/api")
        await client.ListMessages(pb.ListMessagesRequest(), timeout=TIMEOUT_S)
        async with silent(rig.port, 8) as opened:
            await arrived(rig, 9)
            assert sorted(await ended(opened)) == [False] * 3 + [True] * 5
            await client.ListMessages(pb.ListMessagesRequest(), timeout=TIMEOUT_S)
            assert await served(rig, "/payments/other")
        assert rig.connections.ended == 5


async def test_too_many_of_one_address(tmp_path: Path) -> None:
    """A host has so many connections, whoever calls over them; those that are in use stay."""
    bounds = Bounds(connections=ConnectionBounds(per_address=3, silent_per_address=3))
    async with running_rig(tmp_path, bounds=bounds) as rig:
        client = rig.client("/payments/api")
        await client.ListMessages(pb.ListMessagesRequest(), timeout=TIMEOUT_S)
        async with silent(rig.port, 3) as opened:
            await arrived(rig, 4)
            assert sum(await ended(opened)) == 1
            await client.ListMessages(pb.ListMessagesRequest(), timeout=TIMEOUT_S)


async def test_kept_while_the_server_runs(tmp_path: Path) -> None:
    """The keeper looks again and again, by itself."""
    bounds = Bounds(connections=ConnectionBounds(per_address=20, silent_per_address=2))
    async with running_rig(tmp_path, bounds=bounds) as rig:
        keeping = asyncio.create_task(rig.server.keep_connections())
        for _ in range(2):
            before = rig.connections.ended
            async with silent(rig.port, 5), asyncio.timeout(TIMEOUT_S):
                while rig.connections.ended < before + 3:
                    await asyncio.sleep(0.01)
        keeping.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await keeping


async def test_new_connections_of_one_address(tmp_path: Path) -> None:
    """A host has so many new connections in a time, whether it keeps them or not; others are free to connect.

    Whoever is recognised keeps his connection, though the address is the attacker's."""
    hourly = Rate(count=1, period_us=3600 * SECOND, burst=6)
    bounds = Bounds(connections=ConnectionBounds(handshakes=hourly))
    async with running_rig(tmp_path, bounds=bounds) as rig:
        client = rig.client("/payments/api")
        await client.ListMessages(pb.ListMessagesRequest(), timeout=TIMEOUT_S)
        async with silent(rig.port, 3):
            await arrived(rig, 4)
        async with silent(rig.port, 5) as more, silent(rig.port, 5, "127.0.0.2") as others:
            await arrived(rig, 11)
            assert sum(await ended(more)) == 3
            assert not any(await ended(others))
            await client.ListMessages(pb.ListMessagesRequest(), timeout=TIMEOUT_S)
        assert rig.connections.ended == 3


async def test_handshakes_wake_the_keeper(tmp_path: Path) -> None:
    """A flood of handshakes is seen when it begins, long before the keeper would have looked by itself."""
    bounds = Bounds(
        connections=ConnectionBounds(handshakes=Rate(count=1, period_us=3600 * SECOND, burst=2)), look_every_s=3600
    )

    def flood() -> None:
        while not rig.connections.ended:
            with contextlib.suppress(OSError), Http2Client(rig.port, AUTHORITY.svid("/nobody"), AUTHORITY.bundle_pem):
                pass

    async with running_rig(tmp_path, bounds=bounds) as rig:
        keeping = asyncio.create_task(rig.server.keep_connections())
        async with asyncio.timeout(TIMEOUT_S):
            await asyncio.gather(*(asyncio.to_thread(flood) for _ in range(4)))
        keeping.cancel()


async def test_forgets_what_is_gone(tmp_path: Path) -> None:
    """Connections that have ended are forgotten, and what is known of their callers with them."""
    async with running_rig(tmp_path) as rig:
        assert await served(rig)
        async with silent(rig.port, 3):
            await arrived(rig, 4)
        async with asyncio.timeout(TIMEOUT_S):
            while rig.connections.seen > 1:
                await rig.connections.look(rig.port)
                await asyncio.sleep(0.01)
        for channel in rig.channels:
            await channel.close(None)
        async with asyncio.timeout(TIMEOUT_S):
            while rig.connections.seen or rig.connections.spoken:
                await rig.connections.look(rig.port)
                await asyncio.sleep(0.01)
