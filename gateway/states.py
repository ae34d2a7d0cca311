"""The states of a message, and the table of the ways between them.

The numbers are those of `smsgw.v1.MessageState` (a test holds them together), so that no layer translates them. The
diagram in docs/architecture.md is drawn from `TRANSITIONS`.
"""

from __future__ import annotations

import enum


class State(enum.IntEnum):
    """Where a message stands; the values are stored and sent."""

    ACCEPTED = 1
    SENDING = 2
    SUBMITTED = 3
    DELIVERED = 4
    UNDELIVERABLE = 5
    EXPIRED = 6
    CANCELLED = 7
    REJECTED = 8
    UNKNOWN = 9


class Category(enum.IntEnum):
    """Why a message is sent, and its lane: a lower number goes first. The values are those of smsgw.v1.Category."""

    OTP = 1
    TRANSACTIONAL = 2
    PROMOTIONAL = 3


FINAL = frozenset({State.DELIVERED, State.UNDELIVERABLE, State.EXPIRED, State.CANCELLED, State.REJECTED})

_BY_RECEIPT = FINAL - {State.REJECTED}

TRANSITIONS: dict[State, frozenset[State]] = {
    State.ACCEPTED: frozenset({State.SENDING, State.CANCELLED, State.REJECTED, State.EXPIRED}),
    State.SENDING: frozenset({State.SUBMITTED, State.ACCEPTED, State.REJECTED, State.UNKNOWN, State.EXPIRED}),
    State.SUBMITTED: _BY_RECEIPT | {State.REJECTED, State.UNKNOWN},
    State.UNKNOWN: _BY_RECEIPT | {State.REJECTED, State.SENDING, State.SUBMITTED},
    **{state: frozenset() for state in FINAL},
}


def may_follow(old: State, new: State) -> bool:
    """Say whether a message may go from `old` to `new`."""
    return new in TRANSITIONS[old]


class PartState(enum.StrEnum):
    """Where one segment stands: one character each, joined into a string beside the message."""

    UNSENT = "-"
    SUBMITTED = "S"
    DELIVERED = "D"
    UNDELIVERABLE = "U"
    EXPIRED = "E"
    CANCELLED = "C"
    REJECTED = "R"


_PART_TO_MESSAGE = {
    PartState.DELIVERED: State.DELIVERED,
    PartState.UNDELIVERABLE: State.UNDELIVERABLE,
    PartState.EXPIRED: State.EXPIRED,
    PartState.CANCELLED: State.CANCELLED,
    PartState.REJECTED: State.REJECTED,
}


class PartsRule(enum.IntEnum):
    """Of which parts a carrier tells that they were delivered; stored."""

    ALL = 0
    LAST = 1
    FIRST = 2
    ANY = 3  # of one of them, whichever it is


def aggregate(parts: str, rule: int = PartsRule.ALL) -> State | None:
    """Return the one state of a message whose parts stand as `parts` says, or None while that is open.

    A handset shows a long message only when it has every part, so the first part that fails decides, whatever the rule;
    the message is DELIVERED when those parts are of which the carrier tells so.
    """
    for part in parts:
        failed = _PART_TO_MESSAGE.get(PartState(part))
        if failed is not None and failed is not State.DELIVERED:
            return failed
    return State.DELIVERED if parts and _delivered(parts, rule) else None


def _delivered(parts: str, rule: int) -> bool:
    if rule == PartsRule.ALL:
        return parts.count(PartState.DELIVERED) == len(parts)
    if rule == PartsRule.ANY:
        return PartState.DELIVERED in parts
    return parts[-1 if rule == PartsRule.LAST else 0] == PartState.DELIVERED
