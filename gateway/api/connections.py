"""Bounds on the connections of one address: what gRPC's server has no setting for.

gRPC bounds the connections of all addresses together, so a single host could take every place, without any certificate:
it opens connections and says nothing. Here the process looks at its own sockets a few times a second, counts those on
the API's port by address, and shuts down what is beyond the bounds. gRPC sees them end like any others.

Two bounds. All connections of an address; beyond it the newest go, those first over which no caller has been recognised
yet. And those among them that are still *silent*: no caller has been recognised, because the handshake stands still, no
call came, or all were refused; beyond it the oldest go, since a real client is through with it in milliseconds, and so
does each that has been silent for too long. And a connection goes when the server says so (`end`).

New connections of an address have a rate, since each begins a TLS handshake, which costs a millisecond: what is beyond
it goes, most of it before its handshake is through. So that it is seen in time, the process looks as soon as some
handshakes have begun since it last looked; gRPC asks for the certificates at each (`handshake`).

A socket is taken by duplicating its descriptor, and then asked what it is: were its number given to another file in
between, that would be seen. Linux keeps the list of a process's descriptors in /proc/self/fd (proc(5)).
"""

from __future__ import annotations

import asyncio
import logging
import os
import socket
import stat
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import NamedTuple

from gateway.errors import Overloaded
from gateway.limits.calls import HANDSHAKES, Buckets, host_of
from gateway.limits.rate import SECOND_US, Rate
from gateway.policy.requests import canonical_address, client_address

log = logging.getLogger(__name__)

_DESCRIPTORS = "/proc/self/fd"
_EVERY_S = 0.25
_HANDSHAKES = 16  # begun since the last look: time for the next one
_REST = 20  # times what a look took: it never takes more than a twentieth of a core
_TOLD = 10  # addresses that one look logs
_SLICE = 200  # descriptors looked at without giving way: about 0.3 ms, 2 ms when all are new


class Endpoint(NamedTuple):
    """The far end of a connection: a canonical IP address and a port."""

    address: str
    port: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ConnectionBounds:
    """How many connections one host (an IPv4 address, an IPv6 /64) may have, how many of them silent, and how many new
    ones in a time; and for how many seconds one may be silent."""

    per_address: int = 1000
    silent_per_address: int = 100
    silent_s: float = 30.0
    handshakes: Rate = field(default_factory=lambda: Rate.a_second(50, 500))

    def __post_init__(self) -> None:
        if not 1 <= self.silent_per_address <= self.per_address:
            raise ValueError("of the connections of an address, 1 up to all may be silent")


def excess(connections: Iterable[Endpoint], spoken: set[Endpoint], bounds: ConnectionBounds) -> list[Endpoint]:
    """Return which of `connections`, the oldest first, are to be ended. `spoken`: those that are not silent."""
    by_host: defaultdict[str, list[Endpoint]] = defaultdict(list)
    for connection in connections:
        by_host[host_of(connection.address)].append(connection)
    ended: list[Endpoint] = []
    for ends in by_host.values():
        silent = [end for end in ends if end not in spoken]
        too_silent = max(0, len(silent) - bounds.silent_per_address)
        ended += silent[:too_silent]
        left = len(ends) - too_silent
        if left > bounds.per_address:
            newest_first = [*reversed(silent[too_silent:]), *(end for end in reversed(ends) if end in spoken)]
            ended += newest_first[: left - bounds.per_address]
    return ended


class ConnectionKeeper:
    """Holds the connections of one port to their bounds. Belongs to one event loop."""

    def __init__(
        self, bounds: ConnectionBounds, clock: Callable[[], float] = time.monotonic, every_s: float = _EVERY_S
    ) -> None:
        """`clock` gives seconds. `every_s`: how long it waits for handshakes before it looks anyway."""
        self._bounds = bounds
        self._every_s = every_s
        self._new = Buckets(HANDSHAKES, bounds.handshakes)
        self._begun = 0  # handshakes since the last look; counted by other threads too
        self._look_now = asyncio.Event()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._clock = clock
        self._known: dict[int, tuple[int, Endpoint | None]] = {}  # descriptor → inode, and its far end
        self._order: dict[Endpoint, int] = {}  # → descriptor; the oldest first
        self._since: dict[Endpoint, float] = {}  # when each was first seen
        self._condemned: set[str] = set()  # peers that the next look ends; it forgets those that are gone
        self._spoken_peers: set[str] = set()  # as gRPC writes them; of connections that are open, after each look
        self.ended = 0  # connections ended for being too many
        self.handshakes = 0  # begun in all; a connection that says nothing has begun one too
        self.proven = 0  # connections over which a caller was recognised

    @property
    def seen(self) -> int:
        """How many connections the last look left."""
        return len(self._order)

    @property
    def spoken(self) -> int:
        """Of how many connections it is remembered that a caller was recognised."""
        return len(self._spoken_peers)

    def recognised(self, peer: str) -> None:
        """A caller was recognised over the connection that gRPC names `peer`: it is not silent any more."""
        if peer not in self._spoken_peers:
            self._spoken_peers.add(peer)
            self.proven += 1

    def end(self, peer: str) -> None:
        """End the connection that gRPC names `peer`, at the next look."""
        self._condemned.add(peer)

    def handshake(self) -> None:
        """A TLS handshake begins. Called on any thread."""
        self.handshakes += 1
        self._begun += 1
        if self._begun == _HANDSHAKES and self._loop is not None:
            self._loop.call_soon_threadsafe(self._look_now.set)

    async def keep(self, port: int) -> None:
        """Look at the connections of `port` again and again, until cancelled. Raises OSError without /proc/self/fd."""
        self._loop = asyncio.get_running_loop()
        while True:
            self._begun = 0
            self._look_now.clear()
            began = self._clock()
            await self.look(port)
            await asyncio.sleep((self._clock() - began) * _REST)
            with suppress(TimeoutError):
                async with asyncio.timeout(self._every_s if self._begun < _HANDSHAKES else 0):
                    await self._look_now.wait()

    async def look(self, port: int) -> None:
        """Look at every connection of `port` once, and end those beyond the bounds."""
        condemned, self._condemned = self._condemned, set()  # what comes while we look is for the next one
        too_fast = self._too_fast(await self._find(port))
        spoken = self._spoken()
        sentenced = self._sentenced({_endpoint(peer) for peer in condemned} | too_fast, spoken)
        left = [end for end in self._order if end not in sentenced]
        ends = [*sentenced, *excess(left, spoken, self._bounds)]
        ended = Counter(end.address for end in ends if self._shut_down(end))
        self.ended += ended.total()
        for address, connections in ended.most_common(_TOLD):
            log.warning("connections_ended", extra={"address": address, "connections": connections})

    def _too_fast(self, new: Iterable[Endpoint]) -> set[Endpoint]:
        """Return which new connections are beyond the rate of their hosts."""
        now = round(self._clock() * SECOND_US)
        found: set[Endpoint] = set()
        for end in new:
            try:
                self._new.take(host_of(end.address), 1, now)
            except Overloaded:
                found.add(end)
        return found

    def _sentenced(self, condemned: set[Endpoint], spoken: set[Endpoint]) -> dict[Endpoint, None]:
        """Return the connections that are to be ended whatever others there are: condemned, or silent for too long."""
        overdue = self._clock() - self._bounds.silent_s
        return {
            end: None for end in self._order if end in condemned or (end not in spoken and self._since[end] < overdue)
        }

    async def _find(self, port: int) -> list[Endpoint]:
        """Find the connections of `port`; returns those that are new."""
        known: dict[int, tuple[int, Endpoint | None]] = {}
        for number, name in enumerate(os.listdir(_DESCRIPTORS)):  # noqa: PTH208 -- a Path each costs 2 µs
            if number % _SLICE == _SLICE - 1:
                await asyncio.sleep(0)
            with suppress(OSError):  # closed meanwhile
                descriptor = int(name)
                found = os.fstat(descriptor)
                if stat.S_ISSOCK(found.st_mode):
                    before = self._known.get(descriptor)
                    same = before is not None and before[0] == found.st_ino
                    known[descriptor] = before if before and same else _examined(descriptor, port)
        self._known = known
        present = {end: descriptor for descriptor, (_, end) in known.items() if end is not None}
        older = {end: present[end] for end in self._order if end in present}
        new = [end for end in present if end not in older]
        self._order = older | present
        now = self._clock()
        self._since = {end: self._since.get(end, now) for end in present}
        return new

    def _spoken(self) -> set[Endpoint]:
        """Return the far ends over which callers were recognised; forgets those of connections that are gone."""
        ends = {peer: _endpoint(peer) for peer in self._spoken_peers}
        self._spoken_peers.difference_update(peer for peer, end in ends.items() if end not in self._order)
        return set(ends.values())

    def _shut_down(self, end: Endpoint) -> bool:
        """End a connection; False when it has ended already."""
        descriptor = self._order.pop(end)
        inode, _ = self._known[descriptor]
        with suppress(OSError), socket.socket(fileno=os.dup(descriptor)) as connection:
            if os.fstat(connection.fileno()).st_ino == inode:
                connection.shutdown(socket.SHUT_RDWR)
                return True
        return False


def _endpoint(peer: str) -> Endpoint:
    port = peer.rpartition(":")[2]
    return Endpoint(client_address(peer), int(port) if port.isdecimal() else 0)


def _examined(descriptor: int, port: int) -> tuple[int, Endpoint | None]:
    """Return a socket's inode, and its far end when it is a connection of `port`. Raises OSError when it is gone."""
    copy = os.dup(descriptor)
    inode = os.fstat(copy).st_ino
    with socket.socket(fileno=copy) as found:
        if found.family not in (socket.AF_INET, socket.AF_INET6) or found.type != socket.SOCK_STREAM:
            return inode, None
        try:
            if found.getsockname()[1] != port:
                return inode, None
            address, far_port = found.getpeername()[:2]
        except OSError:  # it listens, or has ended
            return inode, None
        return inode, Endpoint(canonical_address(address), far_port)
