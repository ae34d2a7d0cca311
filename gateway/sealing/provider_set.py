"""Several key-encryption providers as one: the newest wraps, and each unwraps what it has wrapped.

So a site goes from a file to a key service, or from one key to the next, while what was wrapped before still opens.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from gateway.sealing.providers import ProviderUnavailable, Wrapped


class NamedProvider(Protocol):
    """A `gateway.sealing.providers.KeyEncryptionProvider` that knows its own wraps by their key's id."""

    @property
    def local(self) -> bool:
        """Whether it answers from memory, within microseconds."""

    def knows(self, kek_id: str) -> bool:
        """Whether it is the one that unwraps what this key has wrapped."""

    def wrap(self, key: bytes, context: bytes) -> Wrapped:
        """Return `key`, wrapped."""

    def unwrap(self, wrapped: Wrapped, context: bytes) -> bytes:
        """Return the key."""


class ProviderSet:
    """The providers of a node; a `KeyEncryptionProvider`."""

    def __init__(self, newest: NamedProvider, older: Sequence[NamedProvider] = ()) -> None:
        self._newest = newest
        self._all = (newest, *older)

    def __repr__(self) -> str:
        return f"ProviderSet({self._newest!r}, {len(self._all) - 1} older)"

    def use(self, other: ProviderSet) -> None:
        """Have the providers of another set from now on."""
        self._newest, self._all = other._newest, other._all

    @property
    def local(self) -> bool:
        """Whether all of them are."""
        return all(provider.local for provider in self._all)

    def knows(self, kek_id: str) -> bool:
        """Whether one of them does."""
        return any(provider.knows(kek_id) for provider in self._all)

    def wrap(self, key: bytes, context: bytes) -> Wrapped:
        """Return `key`, wrapped by the newest. Raises ProviderUnavailable."""
        return self._newest.wrap(key, context)

    def unwrap(self, wrapped: Wrapped, context: bytes) -> bytes:
        """Return the key. Raises UnwrapRefused, and ProviderUnavailable, also for a key that none of them knows: a
        setting can be corrected, and a message that was given up cannot be brought back."""
        for provider in self._all:
            if provider.knows(wrapped.kek_id):
                return provider.unwrap(wrapped, context)
        raise ProviderUnavailable(
            f"a data key is wrapped by the key-encryption key {wrapped.kek_id}, of which nothing is configured: name "
            "it in keys.older_kek_files or keys.older_keks"
        )
