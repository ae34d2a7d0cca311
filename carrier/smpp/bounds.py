"""The bounds and timers of a session, what it counts, and the bounded book of what it has given up."""

from __future__ import annotations

from dataclasses import dataclass

from carrier.smpp.frames import MAX_PDU_BYTES
from carrier.smpp.states import Side


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionConfig:
    """The bounds and timers of a session. Times in seconds, above 0."""

    side: Side = Side.ESME
    window: int = 50  # our requests without an answer, at most
    response_timeout_s: float = 30.0
    enquire_link_s: float = 30.0  # without a PDU from the peer, before we ask
    max_incoming: int = 2000  # the peer's requests without our answer; more are refused with a temporary error
    max_incoming_bytes: int = 8 * 1024 * 1024
    max_inbound_rate: int = 0  # the peer's requests a second, a second's worth at once; 0: any. More are refused alike
    max_pdu_bytes: int = MAX_PDU_BYTES


@dataclass(slots=True)
class SessionCounts:
    """What the peer did that needed no event."""

    unmatched_responses: int = 0  # late, duplicate, never asked for, or of another kind than asked for
    late_responses: int = 0  # of those: the ones to a submit_sm that had been given up
    malformed: int = 0
    unknown_commands: int = 0
    wrong_state: int = 0
    refused_requests: int = 0  # beyond a bound or the rate, or a sequence number still in use


class GivenUp:
    """The submit_sm that were given up for lack of an answer: ticket by sequence number, the latest `limit` of them, so
    that an answer that comes after all is recognised."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._tickets: dict[int, object] = {}

    def __contains__(self, sequence: int) -> bool:
        return sequence in self._tickets

    def add(self, sequence: int, ticket: object) -> None:
        """Remember one; the oldest is forgotten beyond the limit."""
        self._tickets[sequence] = ticket
        if len(self._tickets) > self._limit:
            del self._tickets[next(iter(self._tickets))]

    def pop(self, sequence: int) -> object:
        """Forget one and return its ticket."""
        return self._tickets.pop(sequence)

    def clear(self) -> None:
        """Forget all."""
        self._tickets.clear()
