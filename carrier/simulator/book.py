"""The book of what a simulated SMSC has accepted: what query_sm, cancel_sm and replace_sm are answered from.

Bounded: the oldest entry goes. No clock: times are monotonic seconds, given.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass

from carrier.simulator.dialect import MESSAGE_STATES
from carrier.smpp.pdu import SubmitSm

MAX_ENTRIES = 100_000
_ENROUTE, _CANCELLED, _UNKNOWN = MESSAGE_STATES["ENROUTE"], MESSAGE_STATES["DELETED"], MESSAGE_STATES["UNKNOWN"]


@dataclass(slots=True)
class Entry:
    """One accepted submit_sm: it is under way until `done_at`, and then in `state`."""

    number: int
    message_id: str
    submit: SubmitSm
    text: str
    state: str
    error: str
    done_at: float
    cancelled: bool = False

    def final(self, now: float) -> bool:
        """Say whether it is beyond recall."""
        return self.cancelled or self.done_at <= now

    def message_state(self, now: float) -> int:
        """Return its message_state (SMPP 3.4 §5.2.28)."""
        if self.cancelled:
            return _CANCELLED
        return MESSAGE_STATES.get(self.state, _UNKNOWN) if self.done_at <= now else _ENROUTE


class Book:
    """Entries by the id that the response gave."""

    def __init__(self) -> None:
        self._entries: OrderedDict[str, Entry] = OrderedDict()

    def add(self, entry: Entry) -> None:
        """Enter what was accepted."""
        self._entries[entry.message_id] = entry
        if len(self._entries) > MAX_ENTRIES:
            self._entries.popitem(last=False)

    def find(self, message_id: str, source: bytes) -> Entry | None:
        """Return the entry, None when id and source do not belong together. An empty source fits all."""
        entry = self._entries.get(message_id)
        return entry if entry is not None and source in (b"", entry.submit.source_addr) else None

    def between(self, source: bytes, destination: bytes) -> list[Entry]:
        """Return all entries of one source to one destination."""
        return [
            entry
            for entry in self._entries.values()
            if (entry.submit.source_addr, entry.submit.destination_addr) == (source, destination)
        ]
