"""The carrier of the benchmarks: takes submit_sm as fast as one Python process can, and sends receipts.

It looks at as few octets as it can, and joins what one read brought into one write. Every submit_sm is accepted; who
asked for a receipt gets a deliver_sm with text and TLVs. Receipts never outrun the peer: at most `window` are
unanswered on a connection, and when MAX_WAITING more are due it holds its answers back, which stops the peer at its
own window. A receipt that is refused, or whose connection ends before its answer, is delivered again, as a carrier
does: one that is not acknowledged in the end is the peer's loss. It can log when each submit_sm came. Not scriptable,
and no judge of what it reads: for that there is `carrier.simulator.simulator`.
"""

from __future__ import annotations

import asyncio
import itertools
import ssl
import struct
import time
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, cast

from carrier.simulator.errors import ScriptError
from carrier.simulator.simulator import is_loopback
from carrier.smpp.constants import CommandId, Status, Tag
from visibility.listening import stop_accepting

_HEADER = struct.Struct(">IIII")
_HEADER_BYTES = 16
_MAX_PDU_BYTES = 64 * 1024
MAX_WAITING = 50_000  # receipts of one connection that its window does not take yet
_MAX_UNWRITTEN = 10_000  # lines of the log of arrivals
_AGAIN_S = 0.5  # after which a refused receipt is delivered again
MAX_HELD = 100_000  # answers held back; a peer whose window is larger is cut off
_RESPONSE = 0x80000000
_SUBMIT, _DELIVER_RESP = int(CommandId.SUBMIT_SM), int(CommandId.DELIVER_SM_RESP)
_SUBMIT_RESP, _DELIVER = int(CommandId.SUBMIT_SM_RESP), int(CommandId.DELIVER_SM)
_BIND_TRANSMITTER = int(CommandId.BIND_TRANSMITTER)
_BINDS = frozenset({int(CommandId.BIND_TRANSCEIVER), int(CommandId.BIND_RECEIVER), _BIND_TRANSMITTER})
_POLITE = frozenset({int(CommandId.ENQUIRE_LINK), int(CommandId.UNBIND)})  # answered with a header
_GENERIC_NACK = int(CommandId.GENERIC_NACK)
_TLV_ID = struct.pack(">HH", Tag.RECEIPTED_MESSAGE_ID, 9)
_TLV_STATE = struct.pack(">HHB", Tag.MESSAGE_STATE, 1, 2)  # DELIVERED
_TEXT = b"id:%b sub:001 dlvrd:001 submit date:%b done date:%b stat:DELIVRD err:000 text:"


@dataclass(slots=True)
class SinkStats:
    """What a sink counts. Times are CLOCK_MONOTONIC seconds, 0 before there is one."""

    binds: int = 0
    submits: int = 0
    receipts: int = 0  # written, each time
    receipts_acknowledged: int = 0
    receipts_refused: int = 0
    receipts_left: int = 0  # of connections that ended before they were acknowledged: for the next one
    receipts_lost: int = 0  # of these, more than are kept
    first_submit_at: float = 0.0
    last_submit_at: float = 0.0
    last_acknowledged_at: float = 0.0


class Sink:
    """One listening sink."""

    def __init__(
        self,
        ssl_context: ssl.SSLContext | None = None,
        *,
        host: str = "127.0.0.1",
        port: int = 0,
        plain: bool = False,
        window: int = 1000,
        arrivals: Path | None = None,
        delay_s: float = 0.0,
    ) -> None:
        """Args:
            window: unanswered receipts on a connection, at most.
            arrivals: a file for one line "destination\\tnanoseconds" for each submit_sm: when the read that brought it
                began, CLOCK_MONOTONIC. It is whole whenever the counts have been read, and after `stop`.
            delay_s: how long everything that is written waits before that: the carrier's distance.

        Raises ScriptError like `Simulator`.
        """
        if ssl_context is None and not (plain and is_loopback(host)):
            raise ScriptError("a sink without TLS needs the explicit plain option, and a loopback address")
        self.counts = SinkStats()
        self.window = window
        self.delay_s = delay_s
        self._ssl_context = ssl_context
        self._host = host
        self._wanted_port = port
        self._ids = itertools.count(1)
        self._arrivals = arrivals
        self._log: BinaryIO | None = None
        self._unwritten: list[bytes] = []
        self._server: asyncio.Server | None = None
        self._connections: set[_SinkConnection] = set()
        self._left: deque[bytes] = deque()  # receipts of connections that have ended
        self._cpu_at_start = 0.0
        self._minute = 0
        self._date = b""

    @property
    def port(self) -> int:
        """The port it listens on."""
        if self._server is None:
            raise RuntimeError("the sink has not been started")
        return cast(int, self._server.sockets[0].getsockname()[1])

    def stats(self) -> dict[str, float]:
        """Return the counts, and the CPU seconds of this process since `start`."""
        self._write_log()
        counts = {name: getattr(self.counts, name) for name in SinkStats.__slots__}
        return counts | {"cpu_s": round(time.process_time() - self._cpu_at_start, 6)}

    async def start(self) -> None:
        """Listen. Raises OSError when the port, or the log of arrivals, cannot be had."""
        self._cpu_at_start = time.process_time()
        if self._arrivals is not None:
            self._log = self._arrivals.open("ab")  # a local file, closed by `stop`
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(
            lambda: _SinkConnection(self), self._host, self._wanted_port, ssl=self._ssl_context
        )

    async def stop(self) -> None:
        """Close everything. Idempotent."""
        server, self._server = self._server, None
        if server is None:
            return
        await stop_accepting(server)
        server.close()
        connections = list(self._connections)
        for connection in connections:
            connection.transport.abort()
        for connection in connections:
            await connection.closed
        await server.wait_closed()
        self._write_log()
        if self._log is not None:
            self._log.close()

    def _write_log(self) -> None:
        if self._log is not None:
            self._log.write(b"".join(self._unwritten))
            self._log.flush()
            self._unwritten.clear()

    @property
    def logs(self) -> bool:
        """Whether arrivals are logged."""
        return self._log is not None

    def arrived(self, destinations: list[bytes], at_ns: int) -> None:
        """Log the destinations of one read."""
        self._unwritten += [b"%b\t%d\n" % (destination, at_ns) for destination in destinations]
        if len(self._unwritten) >= _MAX_UNWRITTEN:
            self._write_log()

    def next_id(self) -> bytes:
        """Return a message id of 8 octets."""
        return b"%08x" % (next(self._ids) & 0xFFFFFFFF)

    def date(self) -> bytes:
        """Return the time as receipts write it, to the minute."""
        minute = int(time.time()) // 60
        if minute != self._minute:
            self._minute, self._date = minute, time.strftime("%y%m%d%H%M", time.gmtime()).encode()
        return self._date

    def opened(self, connection: _SinkConnection) -> None:
        """Note a connection."""
        self._connections.add(connection)

    def closed(self, connection: _SinkConnection, receipts: Iterable[bytes]) -> None:
        """Forget a connection, and keep its receipts for another."""
        self._connections.discard(connection)
        for receipt in receipts:
            if len(self._left) < MAX_WAITING:
                self._left.append(receipt)
            else:
                self.counts.receipts_lost += 1
        self.counts.receipts_left = len(self._left)
        for other in self._connections:
            if self._left and other.receives:
                other.take(self.left())
                return

    def left(self) -> deque[bytes]:
        """Return the receipts that ended connections have left; they are the caller's from now on."""
        left, self._left = self._left, deque()
        self.counts.receipts_left = 0
        return left


class _SinkConnection(asyncio.Protocol):
    transport: asyncio.Transport

    def __init__(self, sink: Sink) -> None:
        self.closed = asyncio.get_running_loop().create_future()
        self._sink = sink
        self._rest = b""
        self._waiting: deque[bytes] = deque()  # bodies of receipts
        self._unanswered: dict[int, bytes] = {}  # bodies of receipts that are written, by sequence number
        self._refused: list[bytes] = []
        self._sequence = 0
        self._held: deque[bytes] = deque()  # answers held back
        self._choked = False  # the socket takes no more
        self._destinations: list[bytes] = []  # of what the read under way has brought, where arrivals are logged
        self._transmitter = False  # bound so: nothing can be delivered
        self.receives = False  # bound, and not so

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)
        self._sink.opened(self)

    def connection_lost(self, exc: Exception | None) -> None:
        del exc
        self.receives = False
        refused, self._refused = self._refused, []
        self._sink.closed(self, (*self._unanswered.values(), *refused, *self._waiting))
        self.closed.set_result(None)

    def pause_writing(self) -> None:
        """The peer does not read: take nothing more from it."""
        self._choked = True
        self.transport.pause_reading()

    def resume_writing(self) -> None:
        self._choked = False
        if not self.transport.is_closing():
            self.transport.resume_reading()
            self._finish([])

    def data_received(self, data: bytes) -> None:
        began_ns = time.monotonic_ns()
        octets = self._rest + data if self._rest else data
        out: list[bytes] = []
        position, end = 0, len(octets)
        submits = acknowledged = 0
        while end - position >= _HEADER_BYTES:
            length, command, status, sequence = _HEADER.unpack_from(octets, position)
            if not _HEADER_BYTES <= length <= _MAX_PDU_BYTES:
                self.transport.abort()
                return
            if end - position < length:
                break
            if command == _SUBMIT:
                submits += 1
                if not self._submit(octets, position, position + length, sequence, out):
                    self.transport.abort()
                    return
            elif command == _DELIVER_RESP:
                receipt = self._unanswered.pop(sequence, None)
                if status:
                    self._refuse(receipt)
                elif receipt is not None:
                    acknowledged += 1
            else:
                self._control(command, sequence, out)
            position += length
        self._rest = octets[position:]
        self._count(submits, acknowledged)
        if self._destinations:
            self._sink.arrived(self._destinations, began_ns)
            self._destinations.clear()
        self._finish(out)

    def _finish(self, out: list[bytes]) -> None:
        """Add the receipts and answers that may go now, and write everything."""
        if not self._choked:
            self._deliver(out)
        while self._held and len(self._waiting) < MAX_WAITING:
            out.append(self._held.popleft())
        if out and self._sink.delay_s:
            asyncio.get_running_loop().call_later(self._sink.delay_s, self._write, b"".join(out))
        elif out:
            self.transport.write(b"".join(out))

    def _write(self, octets: bytes) -> None:
        """Write what has waited; in order, since all of it waits for as long."""
        if not self.transport.is_closing():
            self.transport.write(octets)

    def _count(self, submits: int, acknowledged: int) -> None:
        counts = self._sink.counts
        if submits:
            counts.submits += submits
            counts.last_submit_at = time.monotonic()
            counts.first_submit_at = counts.first_submit_at or counts.last_submit_at
        if acknowledged:
            counts.receipts_acknowledged += acknowledged
            counts.last_acknowledged_at = time.monotonic()

    def _submit(self, octets: bytes, start: int, end: int, sequence: int, out: list[bytes]) -> bool:
        """Answer one submit_sm, and keep its receipt; False when its fields do not fit its frame."""
        message_id = self._sink.next_id()
        answer = _HEADER.pack(25, _SUBMIT_RESP, 0, sequence) + message_id + b"\0"
        if len(self._waiting) < MAX_WAITING:
            out.append(answer)
        elif len(self._held) < MAX_HELD:
            self._held.append(answer)
        else:
            return False
        try:
            source = octets.index(0, start + 16, end) + 1
            destination = octets.index(0, source + 2, end) + 1
            flags = octets.index(0, destination + 2, end) + 1
            validity = octets.index(0, octets.index(0, flags + 3, end) + 1, end) + 1
            wants_receipt = octets[validity] & 3 and validity < end
        except (ValueError, IndexError):
            return False
        if self._sink.logs:
            self._destinations.append(octets[destination + 2 : flags - 1])
        if wants_receipt and not self._transmitter:
            date = self._sink.date()
            text = _TEXT % (message_id, date, date)
            self._waiting.append(
                b"\0%b%b\x04\0\0\0\0\0\0\0\0%c%b%b%b\0%b"
                % (
                    octets[destination:flags],
                    octets[source:destination],
                    len(text),
                    text,
                    _TLV_ID,
                    message_id,
                    _TLV_STATE,
                )
            )
        return True

    def _control(self, command: int, sequence: int, out: list[bytes]) -> None:
        if command in _BINDS:
            self._sink.counts.binds += 1
            self._transmitter = command == _BIND_TRANSMITTER
            out.append(_HEADER.pack(21, command | _RESPONSE, 0, sequence) + b"sink\0")
            self.receives = not self._transmitter
            if self.receives:
                self._waiting += self._sink.left()
        elif command == _GENERIC_NACK:
            self._refuse(self._unanswered.pop(sequence, None))
        elif command in _POLITE:
            out.append(_HEADER.pack(16, command | _RESPONSE, 0, sequence))
        elif not command & _RESPONSE:
            out.append(_HEADER.pack(16, _GENERIC_NACK, Status.ESME_RINVCMDID, sequence))

    def take(self, receipts: Iterable[bytes]) -> None:
        """Deliver these receipts too."""
        self._waiting += receipts
        if not self.transport.is_closing():
            self._finish([])

    def _refuse(self, receipt: bytes | None) -> None:
        """The peer does not take a receipt: it gets it again after a while, with all that it refuses until then."""
        self._sink.counts.receipts_refused += 1
        if receipt is None:
            return
        self._refused.append(receipt)
        if len(self._refused) == 1:
            asyncio.get_running_loop().call_later(_AGAIN_S, self._again)

    def _again(self) -> None:
        refused, self._refused = self._refused, []
        self.take(refused)

    def _deliver(self, out: list[bytes]) -> None:
        """Write as many receipts as the window takes."""
        waiting, unanswered = self._waiting, self._unanswered
        count = min(len(waiting), self._sink.window - len(unanswered))
        if count <= 0:
            return
        sequence = self._sequence
        for _ in range(count):
            body = waiting.popleft()
            sequence = sequence + 1 & 0x7FFFFFFF or 1
            unanswered[sequence] = body
            out.append(_HEADER.pack(16 + len(body), _DELIVER, 0, sequence) + body)
        self._sequence = sequence
        self._sink.counts.receipts += count
