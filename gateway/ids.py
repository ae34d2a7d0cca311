"""Message ids: UUIDv7 (RFC 9562 §5.7), 16 bytes inside, text at the edge.

Ids made by one process are strictly increasing: the twelve bits after the milliseconds and the first bits of the
random part count up within a millisecond, so that the newest rows lie together in the store and a list by id is a
list by time.
"""

from __future__ import annotations

import os
import time
import uuid
from collections.abc import Callable

_VERSION = 0x7 << 76
_VARIANT = 0b10 << 62
_RANDOM_BITS = 48  # what stays random of rand_b; the 14 bits above it count together with the 12 of rand_a
_COUNTER_LIMIT = 1 << 26


class IdSource:
    """Makes ids; one per process. `now_ms` gives Unix milliseconds, `random_bytes` is `os.urandom` by default."""

    def __init__(
        self,
        now_ms: Callable[[], int] = lambda: time.time_ns() // 1_000_000,
        random_bytes: Callable[[int], bytes] = os.urandom,
    ) -> None:
        self._now_ms = now_ms
        self._random_bytes = random_bytes
        self._last_ms = 0
        self._counter = 0
        self._pool = b""
        self._pool_at = 0

    def _random48(self) -> int:
        if self._pool_at + 6 > len(self._pool):
            self._pool, self._pool_at = self._random_bytes(6 * 256), 0
        start = self._pool_at
        self._pool_at = start + 6
        return int.from_bytes(self._pool[start : start + 6], "big")

    def new(self) -> bytes:
        """Return a new id of 16 bytes, greater than every one before it."""
        now = self._now_ms()
        if now > self._last_ms:
            self._last_ms, self._counter = now, 0
        else:  # the same millisecond, or a clock set back: count on
            self._counter += 1
            if self._counter == _COUNTER_LIMIT:
                self._last_ms, self._counter = self._last_ms + 1, 0
        high, low = self._counter >> 14, self._counter & 0x3FFF
        value = (self._last_ms & 0xFFFFFFFFFFFF) << 80 | _VERSION | high << 64 | _VARIANT
        return (value | low << _RANDOM_BITS | self._random48()).to_bytes(16, "big")


def made_at(message_id: bytes) -> int:
    """Return when an id was made: microseconds since the Unix epoch, cut to whole milliseconds (RFC 9562 §5.7)."""
    return int.from_bytes(message_id[:6], "big") * 1000


def to_text(message_id: bytes) -> str:
    """Return the text form of an id."""
    text = message_id.hex()
    return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"


def from_text(text: str) -> bytes:
    """Return the 16 bytes of an id's canonical text form (lower case, with dashes).

    Raises ValueError for anything else: one object has one name.
    """
    value = uuid.UUID(text)
    if str(value) != text:
        raise ValueError("not the canonical text form of a UUID")
    return value.bytes
