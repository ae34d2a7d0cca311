"""Wrapped data keys, and the port to where they are kept: never in the message database, nor in its backups.

There are two homes: a folder (`gateway.sealing.folder_keyring`), and a PostgreSQL database of its own
(`gateway.sealing.postgres_keyring`) where several nodes open what any of them has sealed. One conformance suite holds
both to what is written here.

A key id begins with the day on which its key was made. Destroying a key takes its wrap away, for good, and leaves a
record that says when, by whom and why: who wants to open what it sealed is told so, and not that something is damaged.
"""

from __future__ import annotations

import enum
from collections.abc import Collection, Iterator, Sequence
from datetime import date, timedelta
from typing import NamedTuple, Protocol, TypeAlias

from gateway.records import join_fields, split_fields
from gateway.sealing.envelope import KEY_ID_BYTES
from gateway.sealing.providers import Wrapped

_CONTEXT_LABEL = b"smsgw.data-key"
_CONTEXT_VERSIONS = (1, 2)  # without a purpose, and with one
_DAY_BYTES = 2  # of the key id; days since 1970, until 2149
_RANDOM_BYTES = KEY_ID_BYTES - _DAY_BYTES
_LAST_DAY = (1 << 8 * _DAY_BYTES) - 1
_DAY_S = 86_400
_EPOCH = date(1970, 1, 1)
MAX_WORDS = 500  # characters of a tombstone's `by` and `why`


class Purpose(enum.StrEnum):
    """What a data key seals, by the name of the field: each goes in its own time, and its keys with it. Keys from when
    they had no purpose have none (""), and have sealed all of these."""

    ENVELOPE = "envelope"
    CONTENT = "content"
    INBOUND = "inbound"


class KeyringUnavailable(Exception):
    """The home of the wrapped keys cannot be read or written at the moment; the text says why."""


class WrappedKey(NamedTuple):
    """A wrapped data key and what it is for; all of it is authenticated by the wrap. Times in Unix seconds."""

    key_id: bytes
    node: str
    tenant: str
    made_at: int
    usable_until: int  # it seals nothing after that
    wrapped: Wrapped
    purpose: str = ""


class Tombstone(NamedTuple):
    """That a key was destroyed on purpose; nothing authenticates it. `at` in Unix seconds."""

    at: int
    by: str
    why: str

    def __str__(self) -> str:
        return f"{day_text(self.at)} by {self.by}: {self.why}"


class DestroyedKey(NamedTuple):
    """What is left of a key that was destroyed."""

    key_id: bytes
    node: str
    tenant: str
    made_at: int
    usable_until: int
    stone: Tombstone
    purpose: str = ""


KeyRecord: TypeAlias = WrappedKey | DestroyedKey


def destroyed(record: WrappedKey, stone: Tombstone) -> DestroyedKey:
    """Return what is left of a key."""
    return DestroyedKey(*record[:5], stone, record.purpose)


class Rewrap(NamedTuple):
    """A new wrap for a key, in the place of the one that was read."""

    key_id: bytes
    old: Wrapped
    new: Wrapped


class Selection(NamedTuple):
    """Which keys are meant; what is None does not matter. Days are those on which keys were made, in UTC."""

    tenant: str | None = None
    kek_id: str | None = None  # of keys that are not destroyed
    first_day: date | None = None
    last_day: date | None = None
    node: str | None = None  # that made them

    def has(self, record: KeyRecord) -> bool:
        """Whether a record is meant; its day is asked by `has_day`."""
        if self.tenant is not None and record.tenant != self.tenant:
            return False
        if self.node is not None and record.node != self.node:
            return False
        return self.kek_id is None or (isinstance(record, WrappedKey) and record.wrapped.kek_id == self.kek_id)

    def has_day(self, day: date) -> bool:
        """Whether keys of this day are meant."""
        return (self.first_day is None or self.first_day <= day) and (self.last_day is None or day <= self.last_day)


EVERY_KEY = Selection()


class Keyring(Protocol):
    """The records of all data keys. May be used by several threads, and by several processes on the same home."""

    @property
    def name(self) -> str:
        """What people call the home: a folder, a database."""

    def append(self, keys: Sequence[WrappedKey]) -> None:
        """Keep new keys: they survive a power cut on return. Raises KeyringUnavailable; use none of them then.

        All keys of one call were made on the same UTC day, which their ids name.
        """

    def find(self, key_id: bytes) -> KeyRecord | None:
        """Return a key's record, None when there is none. Raises KeyringUnavailable, StoreCorrupt."""

    def records(self, which: Selection = EVERY_KEY) -> Iterator[KeyRecord]:
        """Yield the records that are meant and can be read, oldest day first. Raises KeyringUnavailable."""

    def rewrap(self, changes: Sequence[Rewrap]) -> int:
        """Put each new wrap in the place of the old one, unless another is there by now; how many were replaced.

        On return they survive a power cut; a crash leaves each key with one of the two. Raises KeyringUnavailable.
        """

    def destroy(self, key_ids: Collection[bytes], stone: Tombstone) -> list[bytes]:
        """Destroy keys for good, and leave the tombstone; the ids of those that were there and not destroyed yet.

        What a crash leaves undone is done by calling again. Raises KeyringUnavailable.
        """

    def newest_days(self, count: int) -> list[date]:
        """Return the newest days of which there are keys, newest last. Raises KeyringUnavailable."""

    def close(self) -> None:
        """Give back what is held. It opens again when it is used."""


def new_key_id(made_at: int, random: bytes) -> bytes:
    """Return a key id for a key made at `made_at` (Unix seconds); `random` has 6 octets."""
    if len(random) != _RANDOM_BYTES:
        raise ValueError(f"{_RANDOM_BYTES} random octets are wanted, not {len(random)}")
    return (made_at // _DAY_S).to_bytes(_DAY_BYTES, "big") + random


def day_of(key_id: bytes) -> date:
    """Return the UTC day on which a key was made."""
    return _EPOCH + timedelta(days=int.from_bytes(key_id[:_DAY_BYTES], "big"))


def first_id_of(day: date) -> bytes:
    """Return the lowest key id of a day; of the nearest day that an id can name."""
    return min(max((day - _EPOCH).days, 0), _LAST_DAY).to_bytes(_DAY_BYTES, "big") + bytes(_RANDOM_BYTES)


def day_text(at: int) -> str:
    """Return the UTC day of a time in Unix seconds."""
    return (_EPOCH + timedelta(days=at // _DAY_S)).isoformat()


def wrap_context(key_id: bytes, node: str, tenant: str, made_at: int, usable_until: int, purpose: str = "") -> bytes:
    """Return the octets that bind a wrap to its key id, node, tenant, period and purpose."""
    period = made_at.to_bytes(8, "big") + usable_until.to_bytes(8, "big")
    fields = (key_id, node.encode(), tenant.encode(), period, *([purpose.encode()] if purpose else []))
    return join_fields(_CONTEXT_LABEL, bytes((_CONTEXT_VERSIONS[bool(purpose)],)), *fields)


def context_of(record: KeyRecord) -> bytes:
    """Return what the wrap of a record is bound to."""
    return wrap_context(*record[:5], record.purpose)


def context_fields(context: bytes) -> dict[str, str]:
    """Return what a wrap is bound to, as names and values that people and policies can read. Raises ValueError."""
    label, version, key_id, node, tenant, period, *purpose = split_fields(context)
    number = _CONTEXT_VERSIONS[len(purpose)] if len(purpose) < len(_CONTEXT_VERSIONS) else 0
    if label != _CONTEXT_LABEL or version != bytes((number,)) or len(period) != 16:
        raise ValueError("this is not what a wrap is bound to")
    return {
        "purpose": f"smsgw data key, version {number}",
        "key": key_id.hex(),
        "node": node.decode(),
        "tenant": tenant.decode(),
        "made_at": str(int.from_bytes(period[:8], "big")),
        "usable_until": str(int.from_bytes(period[8:], "big")),
        **({"seals": purpose[0].decode()} if purpose else {}),
    }
