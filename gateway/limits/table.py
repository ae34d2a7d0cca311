"""A bounded table of states, one a key, that forgets only what makes no difference.

A state that is idle (a full bucket, a horizon in the past) is like none, so it may go. When the table is full and
nothing idle is found, the newest key, which it does not know, is refused: forgetting somebody's debt instead would let
whoever can make keys wash away their own. Looking for idle states is bounded, and goes on where it ended.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Generic, TypeVar

K = TypeVar("K")
S = TypeVar("S")

_LOOKS = 8  # states looked at for a new key
_KEPT = 1024  # states below which none is forgotten: whoever comes now and then would be made anew each time


class TableFull(Exception):
    """There is no place for a new key."""


class Table(Generic[K, S]):
    """At most `limit` states. `idle` says whether a state may be forgotten at a time (microseconds)."""

    __slots__ = ("_idle", "_keep", "_limit", "states")

    def __init__(self, limit: int, idle: Callable[[S, int], bool]) -> None:
        if limit < 1:
            raise ValueError(f"a table has room for 1 or more, not {limit}")
        self._limit = limit
        self._keep = min(limit, _KEPT)
        self._idle = idle
        self.states: dict[K, S] = {}  # may be read directly; a known key may be given another state

    def __len__(self) -> int:
        return len(self.states)

    def add(self, key: K, state: S, now: int) -> S:
        """Keep the first state of an unknown `key`; returns it. Raises TableFull."""
        if len(self.states) >= self._keep:
            self._forget_idle(now)
        if len(self.states) >= self._limit:
            raise TableFull
        self.states[key] = state
        return state

    def _forget_idle(self, now: int) -> None:
        """Look at the states that were looked at longest ago."""
        states = self.states
        for _ in range(min(_LOOKS, len(states))):
            key = next(iter(states))
            state = states.pop(key)
            if not self._idle(state, now):
                states[key] = state  # behind all others
