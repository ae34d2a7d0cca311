"""How the fields of audit records become octets: one class a type of value, one octet string a value.

Everything is big-endian and prefixed by its length; a value has exactly one form, and reading refuses all others.
"""

from __future__ import annotations

import struct
from typing import Protocol, TypeVar

V = TypeVar("V")


class Malformed(Exception):
    """Octets that are no audit record, or a value that none can hold: `str()` says which field and why."""


class Field(Protocol[V]):
    """One type of value."""

    def pack(self, value: V) -> bytes:
        """Return the octets of `value`. Raises Malformed when it has none."""

    def unpack(self, octets: bytes, at: int) -> tuple[V, int]:
        """Return the value at `at`, and where the next one begins. Raises Malformed."""


def _take(octets: bytes, at: int, size: int) -> bytes:
    end = at + size
    if end > len(octets):
        raise Malformed("it ends within a field")
    return octets[at:end]


class Number:
    """A whole number from `least` up, of `size` octets."""

    def __init__(self, size: int, least: int = 0, most: int | None = None) -> None:
        self._size = size
        self._least = least
        self._most = (1 << 8 * size) - 1 if most is None else most

    def pack(self, value: int) -> bytes:
        """Return its octets."""
        self._check(value)
        return value.to_bytes(self._size, "big")

    def unpack(self, octets: bytes, at: int) -> tuple[int, int]:
        """Read one."""
        value = int.from_bytes(_take(octets, at, self._size), "big")
        self._check(value)
        return value, at + self._size

    def _check(self, value: int) -> None:
        if not self._least <= value <= self._most:
            raise Malformed(f"a number is not within {self._least} and {self._most}")


class Flag:
    """Yes or no: an octet, 1 or 0."""

    def pack(self, value: bool) -> bytes:
        """Return its octet."""
        return b"\x01" if value else b"\x00"

    def unpack(self, octets: bytes, at: int) -> tuple[bool, int]:
        """Read one."""
        octet = _take(octets, at, 1)
        if octet not in (b"\x00", b"\x01"):
            raise Malformed("a flag is neither 0 nor 1")
        return octet == b"\x01", at + 1


class Maybe:
    """Four octets that may be missing: a flag before them says so."""

    def __init__(self) -> None:
        self._flag = Flag()
        self._number = Number(4)

    def pack(self, value: int | None) -> bytes:
        """Return its octets."""
        return b"\x00" if value is None else b"\x01" + self._number.pack(value)

    def unpack(self, octets: bytes, at: int) -> tuple[int | None, int]:
        """Read one."""
        present, at = self._flag.unpack(octets, at)
        return self._number.unpack(octets, at) if present else (None, at)


class Text:
    """UTF-8 behind its length, which takes `prefix` octets and is at most `most`."""

    def __init__(self, prefix: int, most: int) -> None:
        self._prefix = prefix
        self._most = most

    def pack(self, value: str) -> bytes:
        """Return its octets."""
        try:
            octets = value.encode()
        except UnicodeEncodeError as error:
            raise Malformed("a text is no Unicode text") from error
        if len(octets) > self._most:
            raise Malformed(f"a text has {len(octets)} octets, and {self._most} are allowed")
        return len(octets).to_bytes(self._prefix, "big") + octets

    def unpack(self, octets: bytes, at: int) -> tuple[str, int]:
        """Read one."""
        size = int.from_bytes(_take(octets, at, self._prefix), "big")
        if size > self._most:
            raise Malformed(f"a text has {size} octets, and {self._most} are allowed")
        at += self._prefix
        try:
            return _take(octets, at, size).decode(), at + size
        except UnicodeDecodeError as error:
            raise Malformed("a text is not UTF-8") from error


class Id:
    """The 16 octets of an id."""

    def pack(self, value: bytes) -> bytes:
        """Return them."""
        if len(value) != ID_BYTES:
            raise Malformed(f"an id has {len(value)} octets instead of {ID_BYTES}")
        return bytes(value)

    def unpack(self, octets: bytes, at: int) -> tuple[bytes, int]:
        """Read one."""
        return _take(octets, at, ID_BYTES), at + ID_BYTES


class Digest:
    """The 32 octets of a hash."""

    def pack(self, value: bytes) -> bytes:
        """Return them."""
        if len(value) != DIGEST_BYTES:
            raise Malformed(f"a hash has {len(value)} octets instead of {DIGEST_BYTES}")
        return bytes(value)

    def unpack(self, octets: bytes, at: int) -> tuple[bytes, int]:
        """Read one."""
        return _take(octets, at, DIGEST_BYTES), at + DIGEST_BYTES


class Ids:
    """Ids behind their number (two octets): at least one, at most `MAX_IDS`."""

    def pack(self, value: tuple[bytes, ...]) -> bytes:
        """Return their octets."""
        self._check(len(value))
        joined = b"".join(value)
        if any(len(one) != ID_BYTES for one in value):
            raise Malformed(f"an id has not {ID_BYTES} octets")
        return _COUNT.pack(len(value)) + joined

    def unpack(self, octets: bytes, at: int) -> tuple[tuple[bytes, ...], int]:
        """Read them."""
        (count,) = _COUNT.unpack(_take(octets, at, _COUNT.size))
        self._check(count)
        at += _COUNT.size
        joined = _take(octets, at, count * ID_BYTES)
        starts = range(0, len(joined), ID_BYTES)
        return tuple(joined[start : start + ID_BYTES] for start in starts), at + len(joined)

    def _check(self, count: int) -> None:
        if not 1 <= count <= MAX_IDS:
            raise Malformed(f"a list has {count} ids: 1 to {MAX_IDS} are allowed")


ID_BYTES = 16
DIGEST_BYTES = 32
MAX_IDS = 1000
_COUNT = struct.Struct(">H")
