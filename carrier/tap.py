"""Copies each PDU of one connection, in and out, to whoever watches. Costs nothing per PDU while nobody does.

The copies are as on the wire, password and texts included: what leaves the process goes through `carrier.redaction`.
"""

from __future__ import annotations

import logging
from collections.abc import Callable

from carrier.smpp.frames import FrameSplitter

logger = logging.getLogger(__name__)

TapSink = Callable[[float, bool, bytes], None]
"""Is called with Unix time in seconds, whether we sent it, and one whole PDU."""


class Tap:
    """Cuts both directions into PDUs. A sink that raises is not called again: a watcher must not cut the link."""

    def __init__(self, sink: TapSink, *, clock: Callable[[], float], unfinished: bytes = b"") -> None:
        """`unfinished`: what the connection has of a PDU whose rest is still to come."""
        self._sink: TapSink | None = sink
        self._clock = clock
        self._in, self._out = FrameSplitter(), FrameSplitter()
        self._in.feed(unfinished)

    def incoming(self, octets: bytes) -> None:
        """Take what was read."""
        self._pass(False, self._in.feed(octets))

    def outgoing(self, octets: bytes) -> None:
        """Take what is written."""
        self._pass(True, self._out.feed(octets))

    def _pass(self, sent: bool, pdus: list[bytes]) -> None:
        now = self._clock()
        for pdu in pdus:
            if self._sink is None:
                return
            try:
                self._sink(now, sent, pdu)
            except Exception:  # a defect of the watcher must not cut the link
                self._sink = None
                logger.exception("link_tap_failed")
