"""Channels that are exchanged under load: who uses which, and when the old one may be closed. Sans-IO, thread-safe.

A call leases the channel of now and gives it back. `swap` retires a channel: calls that began on it end on it, streams
are told so that they move on by themselves, and the last lease that is given back closes it.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Generic, TypeVar

ChannelT = TypeVar("ChannelT")


class Lease(Generic[ChannelT]):
    """The use of one channel; a context manager that gives it back."""

    __slots__ = ("_generation", "_on_retired", "_pool")

    def __init__(self, pool: Pool[ChannelT], generation: _Generation[ChannelT]) -> None:
        self._pool, self._generation = pool, generation
        self._on_retired: Callable[[], object] | None = None

    @property
    def channel(self) -> ChannelT:
        """The channel."""
        return self._generation.channel

    @property
    def retired(self) -> bool:
        """Whether another channel has taken its place."""
        return self._generation.retired

    def when_retired(self, told: Callable[[], object]) -> None:
        """Call `told` once when another channel takes its place: on that one's thread, or at once when it has."""
        self._on_retired = told
        if self._pool.hear(self._generation, told):
            told()

    def __enter__(self) -> Lease[ChannelT]:
        return self

    def __exit__(self, *_: object) -> None:
        self._pool.give_back(self._generation, self._on_retired)


class _Generation(Generic[ChannelT]):
    __slots__ = ("channel", "leases", "listeners", "retired")

    def __init__(self, channel: ChannelT) -> None:
        self.channel = channel
        self.leases = 0
        self.retired = False
        self.listeners: list[Callable[[], object]] = []


class Pool(Generic[ChannelT]):
    """The channel of now, and those that are still in use."""

    def __init__(self, channel: ChannelT, close: Callable[[ChannelT], None]) -> None:
        """`close` is called once for each channel that nobody uses any more; it must not block for long."""
        self._lock = threading.Lock()
        self._close = close
        self._now = _Generation(channel)
        self._old: set[_Generation[ChannelT]] = set()

    def lease(self) -> Lease[ChannelT]:
        """Return the use of the channel of now."""
        with self._lock:
            self._now.leases += 1
            return Lease(self, self._now)

    def swap(self, channel: ChannelT) -> None:
        """Use `channel` from now on, and retire the one before."""
        with self._lock:
            old, self._now = self._now, _Generation(channel)
            old.retired = True
            listeners, old.listeners = old.listeners, []
            idle = old.leases == 0
            if not idle:
                self._old.add(old)
        for told in listeners:
            told()
        if idle:
            self._close(old.channel)

    def hear(self, generation: _Generation[ChannelT], told: Callable[[], object]) -> bool:
        """Note who wants to be told of its retirement; True when it is retired already."""
        with self._lock:
            if not generation.retired:
                generation.listeners.append(told)
            return generation.retired

    def give_back(self, generation: _Generation[ChannelT], told: Callable[[], object] | None) -> None:
        """End a lease, and with the last of a retired channel the channel."""
        with self._lock:
            generation.leases -= 1
            if told is not None and told in generation.listeners:
                generation.listeners.remove(told)
            done = generation.retired and generation.leases == 0
            self._old.discard(generation) if done else None
        if done:
            self._close(generation.channel)

    def everything(self) -> list[ChannelT]:
        """Return every channel that is not closed: for the end of the client."""
        with self._lock:
            return [self._now.channel, *(generation.channel for generation in self._old)]
