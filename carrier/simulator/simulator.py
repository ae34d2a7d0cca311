"""A simulated SMSC on a socket: moves octets and time between asyncio and `carrier.simulator.smsc`.

    simulator = Simulator(parse_script("receipts: {delay_s: 0.1}"), context)
    await simulator.start()
    ...                       # bind to simulator.port
    await simulator.stop()

What it accepts is in its log file before the answer's octets leave: who counts losses trusts that order.
"""

from __future__ import annotations

import asyncio
import ipaddress
import os
import ssl
import time
from collections import deque
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import cast

from carrier.simulator.errors import ScriptError
from carrier.simulator.peer import Peer
from carrier.simulator.script import InboundScript, Script
from carrier.simulator.smsc import Event, Happened, Received, Seen, Smsc
from visibility.listening import stop_accepting

MAX_CONNECTIONS = 200
MAX_KEPT = 100_000  # received submit_sm that are remembered
MAX_HAPPENED = 10_000  # binds, refusals and the like that are
_HANDSHAKE_WITHIN_S = 10.0
_MAX_BACKLOG_BYTES = 256 * 1024  # octets a peer may leave unread before we stop reading from it


def is_loopback(host: str) -> bool:
    """Say whether `host` is this machine only."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


class Simulator:
    """One listening SMSC. All methods belong to the event loop that called `start`."""

    def __init__(
        self,
        script: Script | None = None,
        ssl_context: ssl.SSLContext | None = None,
        *,
        host: str = "127.0.0.1",
        port: int = 0,
        plain: bool = False,
        log_path: Path | None = None,
        on_event: Callable[[Event], None] | None = None,
        on_failure: Callable[[], None] | None = None,
    ) -> None:
        """`ssl_context` None needs `plain`, and a loopback `host`; `port` 0 takes a free one.

        `log_path`: one line "destination\\tmessage id\\tpart/total\\ttext" is appended for each accepted submit_sm.
        `on_failure`: the log could not be written; `failure` says why, nothing more is answered.
        Raises ScriptError for a combination that would put messages on a network in the clear.
        """
        if ssl_context is None and not (plain and is_loopback(host)):
            raise ScriptError("a simulator without TLS needs the explicit plain option, and a loopback address")
        self.received: deque[Received] = deque(maxlen=MAX_KEPT)
        self.happened: deque[Happened] = deque(maxlen=MAX_HAPPENED)
        self.failure = ""
        self._script = script or Script()
        self._ssl_context = ssl_context
        self._host = host
        self._wanted_port = port
        self._log_path = log_path
        self._on_event = on_event
        self._on_failure = on_failure
        self._log: int | None = None
        self._connections: dict[Peer, _Connection] = {}
        self._timer: asyncio.TimerHandle | None = None
        self._waiters: list[tuple[Callable[[Simulator], bool], asyncio.Future[None]]] = []
        self._server: asyncio.Server | None = None
        self._smsc: Smsc

    @property
    def port(self) -> int:
        """The port it listens on."""
        if self._server is None:
            raise RuntimeError("the simulator has not been started")
        return cast(int, self._server.sockets[0].getsockname()[1])

    @property
    def texts(self) -> list[str]:
        """The texts of all complete messages kept, oldest first."""
        return [received.whole for received in self.received if received.whole is not None]

    @property
    def seen(self) -> Sequence[Seen]:
        """All other PDUs that came in, the last ones, oldest first."""
        return list(self._smsc.seen)

    def stats(self) -> dict[str, int]:
        """Return all counts."""
        return self._smsc.stats()

    async def start(self) -> None:
        """Listen. Raises OSError when the port or the log file cannot be had."""
        loop = asyncio.get_running_loop()
        now = loop.time()
        wall = time.time()
        # Seconds times a million: ids of one run do not come again in the next.
        self._smsc = Smsc(self._script, now=now, wall_offset_s=wall - now, first_id=int(wall) * 1_000_000)
        if self._log_path is not None:
            self._log = os.open(self._log_path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        handshake = _HANDSHAKE_WITHIN_S if self._ssl_context else None
        self._server = await loop.create_server(
            lambda: _Connection(self),
            self._host,
            self._wanted_port,
            ssl=self._ssl_context,
            ssl_handshake_timeout=handshake,
        )

    async def stop(self) -> None:
        """Close everything. Idempotent."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        server, self._server = self._server, None
        if server is not None:
            await stop_accepting(server)
            server.close()
            connections = list(self._connections.values())
            for connection in connections:
                connection.transport.abort()
            for connection in connections:
                await connection.closed
            await server.wait_closed()
        if self._log is not None:
            os.close(self._log)
            self._log = None

    def inject_inbound(self, source: str, destination: str, text: str) -> int:
        """Send a message from a handset to whoever is bound, or will be; returns its number of parts.

        Raises TextError for what cannot be sent, SimulatorFull when too much waits.
        """
        parts = self._smsc.inject(source, destination, text, now=self._now())
        self._flush()
        return parts

    def inject_message(self, message: InboundScript) -> int:
        """Send any message from a handset; as `inject_inbound`."""
        pdus = self._smsc.inject_message(message, now=self._now())
        self._flush()
        return pdus

    def disconnect_all(self) -> int:
        """Cut all connections at once, without an unbind; returns how many there were."""
        connections = list(self._connections.values())
        for connection in connections:
            connection.transport.abort()
        return len(connections)

    async def until(self, condition: Callable[[Simulator], bool], timeout_s: float = 10.0) -> None:
        """Return when `condition` holds, asked again after everything that happens. Raises TimeoutError."""
        if condition(self):
            return
        waiter = (condition, asyncio.get_running_loop().create_future())
        self._waiters.append(waiter)
        try:
            async with asyncio.timeout(timeout_s):
                await waiter[1]
        finally:
            self._waiters.remove(waiter)

    def protocol(self) -> asyncio.Protocol:
        """Return what serves one connection that came another way than to its port: a socket pair, in tests."""
        return _Connection(self)

    # What connections tell

    def opened(self, connection: _Connection) -> Peer | None:
        """Take a connection, or None when there are too many."""
        if self._server is None or len(self._connections) >= MAX_CONNECTIONS:
            return None
        peer = self._smsc.connect(self._now())
        self._connections[peer] = connection
        self._flush()
        return peer

    def took(self, peer: Peer, data: bytes) -> None:
        """Handle octets of a connection."""
        now = self._now()
        peer.receive(data, now)
        self._smsc.tick(now)
        self._flush()

    def closed(self, peer: Peer) -> None:
        """Forget a connection."""
        self._connections.pop(peer, None)
        self._smsc.disconnect(peer)
        self._smsc.tick(self._now())
        self._flush()

    def roomy(self, peer: Peer) -> None:
        """A peer's socket takes octets again."""
        peer.paused = False
        self._smsc.tick(self._now())
        self._flush()

    # The inside

    def _now(self) -> float:
        return asyncio.get_running_loop().time()

    def _flush(self) -> None:
        """Log what was accepted, only then write what was answered, and set the timer."""
        events = self._smsc.take_events()
        accepted = [event for event in events if isinstance(event, Received)]
        if accepted and not self._write_log(accepted):
            return
        self.received.extend(accepted)
        self.happened.extend(event for event in events if isinstance(event, Happened))
        for peer, connection in list(self._connections.items()):
            connection.write(peer.take_output(), peer.closing)
        if self._on_event is not None:
            for event in events:
                self._on_event(event)
        self._arm()
        for condition, future in self._waiters:
            if not future.done() and condition(self):
                future.set_result(None)

    def _write_log(self, accepted: list[Received]) -> bool:
        """Append lines; a log that cannot be written stops the simulator before it answers."""
        if self._log is None:
            return True
        lines = "".join(map(log_line, accepted)).encode("utf-8", "replace")
        try:
            while lines:
                lines = lines[os.write(self._log, lines) :]
        except OSError as error:
            self.failure = f"{self._log_path}: {error.strerror}"
            if self._on_failure is not None:
                self._on_failure()
            self.disconnect_all()
            return False
        return True

    def _arm(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        deadline = self._smsc.next_deadline()
        if deadline is not None and self._server is not None:
            self._timer = asyncio.get_running_loop().call_at(deadline, self._ring)

    def _ring(self) -> None:
        self._timer = None
        # A timer may come a clock tick early: what it was set for is due all the same.
        self._smsc.tick(max(self._now(), self._smsc.next_deadline() or 0.0))
        self._flush()


def log_line(received: Received) -> str:
    """Return the log's line of one accepted submit_sm; tabs, line ends and backslashes in its text are escaped."""
    text = received.text.translate(_ESCAPES)
    return f"{received.destination}\t{received.message_id}\t{received.part}/{received.total}\t{text}\n"


_ESCAPES = {code: f"\\x{code:02x}" for code in (*range(0x20), 0x7F, 0x85)} | {
    ord("\\"): "\\\\", ord("\t"): "\\t", ord("\n"): "\\n", ord("\r"): "\\r", 0x2028: "\\u2028", 0x2029: "\\u2029",
}  # fmt: skip


class _Connection(asyncio.Protocol):
    """Moves octets of one connection."""

    transport: asyncio.Transport

    def __init__(self, simulator: Simulator) -> None:
        self.closed = asyncio.get_running_loop().create_future()
        self._simulator = simulator
        self._peer: Peer | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)
        self.transport.set_write_buffer_limits(high=_MAX_BACKLOG_BYTES)
        self._peer = self._simulator.opened(self)
        if self._peer is None:
            self.transport.abort()

    def data_received(self, data: bytes) -> None:
        if self._peer is not None and not self._peer.closing:
            self._simulator.took(self._peer, data)

    def connection_lost(self, exc: Exception | None) -> None:
        del exc
        if self._peer is not None:
            self._simulator.closed(self._peer)
        if not self.closed.done():
            self.closed.set_result(None)

    def pause_writing(self) -> None:
        """The peer does not read: take nothing more from it, and deliver nothing to it."""
        if self._peer is not None:
            self._peer.paused = True
            self.transport.pause_reading()

    def resume_writing(self) -> None:
        if self._peer is not None and not self.transport.is_closing():
            self.transport.resume_reading()
            self._simulator.roomy(self._peer)

    def write(self, octets: bytes, closing: bool) -> None:
        """Write, and close after it when asked."""
        if self.transport.is_closing():
            return
        if octets:
            self.transport.write(octets)
        if closing:
            self.transport.close()
