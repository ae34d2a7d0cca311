"""Where the records of a message lead. Sans-IO.

A record is told to be about a message by its octets: the id stands at one place in the records of a single message, and
in a list in those of several.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import NamedTuple

from gateway.audit.codec import decode, split
from gateway.audit.fields import ID_BYTES
from gateway.audit.records import (
    CancelAnswered,
    CancelAsked,
    MessageAccepted,
    MessagesRouted,
    MessagesSending,
    MessageStored,
    Record,
    RouteDenied,
    StateChanged,
)
from gateway.states import State

_OF_ONE = (MessageStored, MessageAccepted, StateChanged, RouteDenied, CancelAsked, CancelAnswered)
_OF_SEVERAL = (MessagesSending, MessagesRouted)
_DOUBTED = (State.ACCEPTED, State.UNKNOWN)


class Place(NamedTuple):
    """One record about a message: which of its commit's records it is, from 0, and what it says."""

    number: int
    record: Record

    @property
    def lists_others(self) -> bool:
        """Whether it may be about other messages too."""
        return isinstance(self.record, _OF_SEVERAL)


def places_of(message_id: bytes, frames: bytes) -> Iterator[Place]:
    """Yield the records of a commit that are about a message; `frames` are its records as they are stored.

    Raises gateway.audit.fields.Malformed for records that cannot be read.
    """
    if len(message_id) != ID_BYTES or message_id not in frames:  # nearly always
        return
    for number, octets in enumerate(split(frames)):
        if message_id in octets:
            record = decode(octets)
            if _is_about(record, message_id):
                yield Place(number, record)


def _is_about(record: Record, message_id: bytes) -> bool:
    if isinstance(record, _OF_SEVERAL):
        return message_id in record.message_ids
    return isinstance(record, _OF_ONE) and record.message_id == message_id


class Way(NamedTuple):
    """Where records lead: the state after the last, how often the message went to SENDING, and whether each change
    begins where the one before it ended."""

    state: int
    attempts: int
    gapless: bool


def way_of(records: Iterable[Record]) -> Way:
    """Return where these records of one message lead, in order."""
    state, attempts, gapless = 0, 0, True
    for record in records:
        if isinstance(record, MessageStored) or (isinstance(record, MessageAccepted) and not record.replayed):
            gapless = gapless and not state
            state = State.ACCEPTED
        elif isinstance(record, _OF_SEVERAL):
            gapless = gapless and state in _DOUBTED
            state, attempts = State.SENDING, attempts + 1
        elif isinstance(record, StateChanged):
            gapless = gapless and record.before == state
            state = record.state
    return Way(state, attempts, gapless and bool(state))
