"""Real sealing boxes for tests: over files in a folder, or in memory."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from gateway.sealing.box import SealingBox
from gateway.sealing.data_keys import DataKeys
from gateway.sealing.keyring import WRAPPED_KEYS, Keyring, KeyringUnavailable, WrappedKey
from gateway.sealing.providers import FileKeyProvider, ProviderUnavailable, UnwrapRefused, Wrapped


class MemoryKeyring(Keyring):
    """Keeps records in memory; `failure` is raised instead when set."""

    def __init__(self) -> None:
        super().__init__(Path("nowhere"))
        self.kept: dict[bytes, WrappedKey] = {}
        self.failure: KeyringUnavailable | None = None

    def append(self, keys: Sequence[WrappedKey]) -> None:
        """Keep records."""
        if self.failure is not None:
            raise self.failure
        self.kept.update({key.key_id: key for key in keys})

    def find(self, key_id: bytes) -> WrappedKey | None:
        """Return a record."""
        if self.failure is not None:
            raise self.failure
        return self.kept.get(key_id)


class PlainProvider:
    """Wraps by writing context and key side by side; `failure` is raised instead when set."""

    def __init__(self) -> None:
        self.failure: ProviderUnavailable | None = None
        self.unwrapped = 0

    def wrap(self, key: bytes, context: bytes) -> Wrapped:
        """Return the two."""
        if self.failure is not None:
            raise self.failure
        return Wrapped("plain", context + key)

    def unwrap(self, wrapped: Wrapped, context: bytes) -> bytes:
        """Return the key when the context is the same."""
        if self.failure is not None:
            raise self.failure
        if wrapped.kek_id != "plain" or wrapped.octets[:-32] != context:
            raise UnwrapRefused("it is another's")
        self.unwrapped += 1
        return wrapped.octets[-32:]


def memory_box() -> SealingBox:
    """Return a box whose keys are in memory only."""
    return SealingBox(DataKeys(node="node-1", provider=PlainProvider(), keyring=MemoryKeyring()))


def kek_file(folder: Path, name: str = "kek.key") -> Path:
    """Return the key-encryption key in `folder`, made when it is not there."""
    file = folder / name
    if not file.exists():
        file.touch(mode=0o600)
        file.write_bytes(os.urandom(32))
    return file


def sealing_box(folder: Path) -> SealingBox:
    """Return a box that a node with this folder would use; another one for the same folder opens what it sealed."""
    return SealingBox(
        DataKeys(node="node-1", provider=FileKeyProvider(kek_file(folder)), keyring=Keyring(folder / WRAPPED_KEYS))
    )
