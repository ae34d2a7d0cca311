"""The bounds and timers of a session, what it counts, and the bounded book of the peer's unanswered requests."""

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
    max_pdu_bytes: int = MAX_PDU_BYTES


@dataclass(slots=True)
class SessionCounts:
    """What the peer did that needed no event."""

    unmatched_responses: int = 0  # late, duplicate, never asked for, or of another kind than asked for
    malformed: int = 0
    unknown_commands: int = 0
    wrong_state: int = 0
    refused_requests: int = 0  # beyond `max_incoming`, or a sequence number still in use


class PeerRequests:
    """The peer's requests that have no answer yet: command_id by sequence number, bounded in number and octets."""

    def __init__(self, max_requests: int, max_bytes: int) -> None:
        self._max_requests = max_requests
        self._max_bytes = max_bytes
        self._bytes = 0
        self._entries: dict[int, tuple[int, int]] = {}

    def __len__(self) -> int:
        return len(self._entries)

    def takes(self, sequence: int, size: int) -> bool:
        """Say whether a request of `size` octets fits, and its number is not in use."""
        entries = self._entries
        return len(entries) < self._max_requests and sequence not in entries and self._bytes + size <= self._max_bytes

    def add(self, sequence: int, command_id: int, size: int) -> None:
        """Enter a request that `takes` has let in."""
        self._entries[sequence] = (command_id, size)
        self._bytes += size

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
