"""What is held on a database server's disk is given up in order, and held again when there is room."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest

from gateway.audit.ballast import GONE, Held, Outcome, Part
from gateway.audit.ballast_gauge import BallastGauge
from gateway.audit.reserve import Reserve, Room
from gateway.errors import StoreUnavailable

WANTED = {Part.RESERVE: 900, Part.LEAST: 100}


@dataclass
class Server:
    """A server's disk, as nodes see it. `free`: what one attempt may take."""

    free: int = 10_000
    there: dict[Part, int] = field(default_factory=lambda: dict.fromkeys(Part, GONE))
    times_full: int = 0
    forbidden: bool = False
    away: bool = False
    attempts: int = 0

    async def held(self) -> Held:
        """Return what is held."""
        if self.away:
            raise StoreUnavailable("the database is away")
        return Held(self.there[Part.RESERVE], self.there[Part.LEAST])

    async def hold(self, part: Part, octets: int) -> Outcome:
        """Hold it, if there is room."""
        self.attempts += 1
        if self.forbidden:
            return Outcome.FORBIDDEN
        if octets > self.free:
            return Outcome.FULL
        self.free -= octets
        self.there[part] = octets
        return Outcome.HELD

    async def release(self, part: Part) -> Outcome:
        """Give it up."""
        self.free += max(0, self.there[part])
        self.there[part] = GONE
        return Outcome.HELD


class Node:
    """A node of that server."""

    def __init__(self, server: Server) -> None:
        self.now = 0.0
        self.reserve = Reserve(reserve_bytes=1000, least_bytes=100)
        self.gauge = BallastGauge(server, self.reserve, clock=lambda: self.now)

    async def look(self, after_s: float = 1.0) -> Room:
        """Look, so much later."""
        self.now += after_s
        room, _ = await self.gauge.look()
        self.reserve.take(room)
        return room


async def test_it_is_held_from_the_first_look_on() -> None:
    """A new database holds both parts before anybody asks how much room there is."""
    server = Server()
    assert await Node(server).look() is Room.PLENTY
    assert server.there == WANTED


async def test_a_disk_that_gets_full() -> None:
    """First the reserve goes, then, when it is full twice, the rest; both come back when there is room, and not at each
    look."""
    server = Server()
    node = Node(server)
    await node.look()
    server.free = 0
    server.times_full += 5
    assert await node.look() is Room.RESERVED
    assert server.there == {Part.RESERVE: GONE, Part.LEAST: 100}
    server.free = 0
    server.times_full += 1
    assert await node.look() is Room.RESERVED
    server.times_full += 1
    assert await node.look() is Room.SPENT
    assert set(server.there.values()) == {GONE}
    tried = server.attempts
    for _ in range(5):
        assert await node.look() is Room.SPENT
    assert server.attempts == tried
    server.free = 500
    assert await node.look(20) is Room.RESERVED
    assert server.there == {Part.RESERVE: GONE, Part.LEAST: 100}
    server.free = 5000
    assert await node.look(10) is Room.RESERVED  # after an attempt that found none it takes longer
    assert await node.look(600) is Room.PLENTY
    assert server.there == WANTED


async def test_nodes_that_share_it() -> None:
    """Of two that are told that the disk is full, one gives a part up; both see what is left."""
    server = Server()
    nodes = [Node(server), Node(server)]
    for node in nodes:
        await node.look()
    server.free = 0
    server.times_full += 2
    assert [await node.look() for node in nodes] == [Room.RESERVED, Room.RESERVED]
    assert server.there == {Part.RESERVE: GONE, Part.LEAST: 100}


async def test_a_doubt_passes() -> None:
    """One refusal a while after another does not cost the last part."""
    server = Server()
    node = Node(server)
    await node.look()
    for _ in range(3):
        server.times_full += 1
        server.free = 0
        await node.look(100)
    assert server.there[Part.LEAST] == 100


@pytest.mark.parametrize("free", [10_000, 500, 0])
async def test_a_server_that_fell_over(free: int) -> None:
    """Its tables are empty: what there is room for is held again at once, and what there is none for is given up."""
    server = Server()
    node = Node(server)
    await node.look()
    server.there, server.free = dict.fromkeys(Part, 0), free
    expected = {10_000: Room.PLENTY, 500: Room.RESERVED, 0: Room.SPENT}[free]
    assert await node.look(20) is expected


async def test_a_role_that_may_not() -> None:
    """Nothing is held, so denials leave no more than they may without: accepting goes on, and it is said what to do."""
    node = Node(Server(forbidden=True))
    assert await node.look() is Room.RESERVED
    _, why = await node.gauge.look()
    assert "smsgw db grants" in why


async def test_a_database_that_is_away() -> None:
    """It leaves everything as it was."""
    server = Server()
    node = Node(server)
    await node.look()
    server.away = True
    assert await node.look() is Room.PLENTY
