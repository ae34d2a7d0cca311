"""The part of the store's contract that has to do with the keys of the index, and with data keys that nobody needs.

Hashes of recipients and of idempotency keys begin with two octets that stand for their index key (`gateway.records`):
its version. Those of recipients are written anew under another key where the recipient is still known; the others age.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, Protocol

from gateway.store.retention import Rule

# A part from a handset waits for so long for the others, whose message then has the id of the last: microseconds.
PART_WAITS = 24 * 3600 * 1_000_000


class Hashed(NamedTuple):
    """A message whose recipient is hashed under a version; without an envelope (b"") nobody knows the recipient."""

    id: bytes
    recipient_hash: bytes
    envelope: bytes


class Rehashed(NamedTuple):
    """A message's new hash, for the one that was read."""

    tenant: str
    id: bytes
    old: bytes
    new: bytes


class IndexUse(NamedTuple):
    """What stands under a version. Counting ends at 100,000 messages."""

    messages: int
    unrecoverable: int  # of them: their recipient is not known any more
    keys: bool  # whether idempotency keys do
    receipts: int
    holds: int
    since: int  # since when it has been the newest, microseconds; 0 for never, or not known

    @property
    def any(self) -> bool:
        """Whether anything stands under it."""
        return bool(self.messages or self.keys or self.receipts or self.holds)


class KeyFloor(NamedTuple):
    """Data keys of a tenant whose time was over before `at` (microseconds) sealed nothing that is kept, but for those
    that are `needed`."""

    at: int
    needed: frozenset[bytes]


class KeyFloors(NamedTuple):
    """The same for data keys by what they seal: contents, envelopes, what handsets wrote; `mixed` for those that have
    sealed all of it."""

    content: KeyFloor
    envelope: KeyFloor
    inbound: KeyFloor

    @property
    def mixed(self) -> KeyFloor:
        """What holds for keys that have sealed all of it."""
        return KeyFloor(min(floor.at for floor in self), frozenset().union(*(floor.needed for floor in self)))


class IndexStore(Protocol):
    """What `Store` does about keys."""

    async def newest_index_key(self, version: bytes, now: int) -> None:
        """Note that hashes are written under this version from now on, unless that has been noted."""

    async def index_versions(self) -> list[bytes]:
        """Return the versions that recipients are hashed under."""

    async def index_use(self, version: bytes) -> IndexUse:
        """Return what stands under a version."""

    async def hashed_under(self, tenant: str, version: bytes, after: tuple[bytes, bytes], limit: int) -> list[Hashed]:
        """Return a page of messages under a version, in an order of the store's own: behind the hash and id of the last
        message of the page before, (b"", b"") for the first page."""

    async def rehash(self, batch: Sequence[Rehashed]) -> int:
        """Write hashes anew where they are still those that were read; returns how many."""

    async def key_floors(self, tenant: str, rules: Sequence[Rule], now: int) -> KeyFloors:
        """Return which data keys of a tenant are needed; `rules` are those of its contents and envelopes."""
