"""A bounded, redacted copy of a carrier's PDUs, as a capture file: what `smsgw carrier trace` gets.

Each PDU loses contents, addresses and passwords (`carrier.redaction`) before it is kept for a moment, and each link is
a TCP stream of its own in the file. Two bounds: what the file may have in all, which ends the capture, and what may
wait for a reader that is slow, beyond which PDUs are left out and counted.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from carrier.redaction import redact
from carrier.trace import Stream, file_header

MAX_BYTES = 64 << 20
_MAX_UNREAD = 2 << 20

Sink = Callable[[float, bool, bytes], None]


class Capture:
    """One capture. `ready` is set when there is something to read, or nothing more to come."""

    def __init__(self, max_bytes: int) -> None:
        self.ready = asyncio.Event()
        self.pdus = 0
        self.left_out = 0  # since nobody read fast enough
        self.octets = len(file_header())
        self.full = False
        self._max_bytes = max_bytes
        self._unread = bytearray(file_header())
        self.ready.set()

    def sink(self, number: int) -> Sink:
        """Return what takes the PDUs of link `number`."""
        stream = Stream(number)

        def take(at: float, sent: bool, pdu: bytes) -> None:
            if self.full:
                return
            if len(self._unread) > _MAX_UNREAD:
                self.left_out += 1
                return
            packets = stream.packets(at, sent, redact(pdu))
            if self.octets + len(packets) > self._max_bytes:
                self.full = True
            else:
                self.pdus += 1
                self.octets += len(packets)
                self._unread += packets
            self.ready.set()

        return take

    def read(self, size: int) -> bytes:
        """Return up to `size` octets that have not been read; b"" for none."""
        octets = bytes(self._unread[:size])
        del self._unread[:size]
        if not self._unread and not self.full:
            self.ready.clear()
        return octets
