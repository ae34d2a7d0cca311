"""The peer's requests of one session: which are taken, which are answered at once, how many may wait.

Bounded in number, octets and rate; what is beyond is answered with a temporary error, so that the peer sends it again
later. Answers of the driver are `carrier.smpp.session`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from carrier.errors import RecoverablePduError
from carrier.smpp.bounds import SessionConfig, SessionCounts
from carrier.smpp.constants import HEADER_BYTES, RESPONSE_BIT, CommandId, Status
from carrier.smpp.events import Event, Notified, RequestReceived, Unbound
from carrier.smpp.layouts import LAYOUTS
from carrier.smpp.pdu import HEADER, decode_body
from carrier.smpp.states import Side

# Plain ints: comparing and packing an IntEnum costs more, and these run once per delivery.
_ENQUIRE_LINK = int(CommandId.ENQUIRE_LINK)
_UNBIND = int(CommandId.UNBIND)
_tuple = tuple.__new__  # makes a named tuple in half the time that its class takes (hot)
_DELIVERIES = frozenset({int(CommandId.DELIVER_SM), int(CommandId.DATA_SM)})
_BINDS = frozenset({int(CommandId.BIND_TRANSMITTER), int(CommandId.BIND_RECEIVER), int(CommandId.BIND_TRANSCEIVER)})
UNANSWERABLE = frozenset({int(CommandId.OUTBIND), int(CommandId.ALERT_NOTIFICATION)})


class RequestRate:
    """How many requests of the peer are taken: a token bucket of one second's worth. Time is an argument."""

    def __init__(self, rate_s: int, now: float) -> None:
        """`rate_s`: requests a second, 0 for any number."""
        self._rate_s = rate_s
        self._level = float(rate_s)
        self._filled_at = now

    def allowance(self, now: float) -> int | None:
        """Return how many may be taken now; None for any number."""
        if not self._rate_s:
            return None
        self._level = min(float(self._rate_s), self._level + (now - self._filled_at) * self._rate_s)
        self._filled_at = now
        return int(self._level)

    def take(self, count: int) -> None:
        """Spend what `allowance` has allowed."""
        self._level -= count


class Incoming:
    """The peer's requests that have no answer yet: command_id by sequence number."""

    def __init__(
        self,
        config: SessionConfig,
        counts: SessionCounts,
        out: list[bytes],
        *,
        now: float,
        unbinds: Callable[[], frozenset[int]],
    ) -> None:
        """`out` takes the octets of answers. `unbinds` is called when an unbind of the peer has been answered, and
        returns what the peer may send from then on."""
        self._max_requests = config.max_incoming
        self._max_bytes = config.max_incoming_bytes
        self._esme = config.side is Side.ESME
        self._counts = counts
        self._out = out
        self._unbinds = unbinds
        self._rate = RequestRate(config.max_inbound_rate, now)
        self._bytes = 0
        self._taken = 0  # of all that count against the rate: those that are waited for, and those without an answer
        self._entries: dict[int, tuple[int, int]] = {}

    def __len__(self) -> int:
        return len(self._entries)

    def command_id(self, sequence: int) -> int | None:
        """Return the command_id of a request that waits, or None."""
        entry = self._entries.get(sequence)
        return entry[0] if entry else None

    def remove(self, sequence: int) -> int | None:
        """Forget a request and return its command_id; None if it does not wait."""
        entry = self._entries.pop(sequence, None)
        if entry is None:
            return None
        self._bytes -= entry[1]
        return entry[0]

    def clear(self) -> None:
        """Forget all."""
        self._entries.clear()
        self._bytes = 0

    def take(
        self, requests: Sequence[tuple[int, int, bytes]], now: float, peer_may: frozenset[int], events: list[Event]
    ) -> None:
        """Take (command_id, sequence, frame) of one read, of which `peer_may` names the ones that the state allows."""
        allowed = self._rate.allowance(now)
        before = self._taken
        for command_id, sequence, frame in requests:
            if command_id not in peer_may:
                self._refuse_unexpected(command_id, sequence, peer_may)
            elif command_id == _ENQUIRE_LINK:
                self._out.append(HEADER.pack(HEADER_BYTES, CommandId.ENQUIRE_LINK_RESP, 0, sequence))
            elif command_id == _UNBIND:
                self._out.append(HEADER.pack(HEADER_BYTES, CommandId.UNBIND_RESP, 0, sequence))
                peer_may = self._unbinds()
                events.append(Unbound(by_peer=True))
            elif allowed is not None and self._taken - before >= allowed:
                self._refuse_for_now(command_id, sequence)
            else:
                self._take_one(command_id, sequence, frame, events)
        if allowed is not None:
            self._rate.take(self._taken - before)

    def _take_one(self, command_id: int, sequence: int, frame: bytes, events: list[Event]) -> None:
        size, entries = len(frame), self._entries
        if len(entries) >= self._max_requests or sequence in entries or self._bytes + size > self._max_bytes:
            self._refuse_for_now(command_id, sequence)
            return
        try:
            pdu = decode_body(frame, command_id, 0, sequence)
        except RecoverablePduError as error:
            self._counts.malformed += 1
            self._nack(sequence, error.status)
            return
        self._taken += 1
        if command_id in UNANSWERABLE:
            events.append(Notified(pdu))
            return
        entries[sequence] = (command_id, size)
        self._bytes += size
        events.append(_tuple(RequestReceived, (sequence, pdu)))

    def _refuse_unexpected(self, command_id: int, sequence: int, peer_may: frozenset[int]) -> None:
        if command_id not in LAYOUTS:
            self._counts.unknown_commands += 1
            self._nack(sequence, Status.ESME_RINVCMDID)
        else:
            self._counts.wrong_state += 1
            again = command_id in _BINDS and _UNBIND in peer_may  # who may unbind is bound
            self._refuse(command_id, sequence, Status.ESME_RALYBND if again else Status.ESME_RINVBNDSTS)

    def _refuse_for_now(self, command_id: int, sequence: int) -> None:
        self._counts.refused_requests += 1
        self._refuse(command_id, sequence, Status.ESME_RX_T_APPN if self._esme else Status.ESME_RMSGQFUL)

    def _refuse(self, command_id: int, sequence: int, status: int) -> None:
        if command_id in UNANSWERABLE:
            return
        body = b"\0" if command_id in _DELIVERIES else b""
        self._out.append(HEADER.pack(HEADER_BYTES + len(body), command_id | RESPONSE_BIT, status, sequence) + body)

    def _nack(self, sequence: int, status: int) -> None:
        self._out.append(HEADER.pack(HEADER_BYTES, CommandId.GENERIC_NACK, status, sequence))
