"""Real sealing boxes for tests: over files in a folder, or in memory."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterator, Sequence
from datetime import date
from pathlib import Path

from gateway.sealing.box import SealingBox
from gateway.sealing.data_keys import DataKeys
from gateway.sealing.folder_keyring import WRAPPED_KEYS, FolderKeyring
from gateway.sealing.keyring import (
    EVERY_KEY,
    DestroyedKey,
    KeyRecord,
    Keyring,
    KeyringUnavailable,
    Rewrap,
    Selection,
    Tombstone,
    WrappedKey,
    day_of,
)
from gateway.sealing.openers import Openers
from gateway.sealing.providers import (
    FileKeyProvider,
    KeyEncryptionProvider,
    ProviderUnavailable,
    UnwrapRefused,
    Wrapped,
)


class MemoryKeyring:
    """Keeps records in memory; `failure` is raised instead when set."""

    name = "memory"

    def __init__(self) -> None:
        self.kept: dict[bytes, KeyRecord] = {}
        self.failure: KeyringUnavailable | None = None

    def append(self, keys: Sequence[WrappedKey]) -> None:
        """Keep records."""
        self._may()
        self.kept.update({key.key_id: key for key in keys})

    def find(self, key_id: bytes) -> KeyRecord | None:
        """Return a record."""
        self._may()
        return self.kept.get(key_id)

    def records(self, which: Selection = EVERY_KEY) -> Iterator[KeyRecord]:
        """Yield records."""
        self._may()
        found = sorted(self.kept.values(), key=lambda record: record.key_id)
        return (record for record in found if which.has(record) and which.has_day(day_of(record.key_id)))

    def newest_days(self, count: int) -> list[date]:
        """Return days."""
        self._may()
        return sorted({day_of(key_id) for key_id in self.kept})[-count:]

    def rewrap(self, changes: Sequence[Rewrap]) -> int:
        """Replace wraps."""
        self._may()
        done = 0
        for change in changes:
            record = self.kept.get(change.key_id)
            if isinstance(record, WrappedKey) and record.wrapped == change.old:
                self.kept[change.key_id] = record._replace(wrapped=change.new)
                done += 1
        return done

    def destroy(self, key_ids: Collection[bytes], stone: Tombstone) -> list[bytes]:
        """Leave tombstones."""
        self._may()
        there = [key_id for key_id in key_ids if isinstance(self.kept.get(key_id), WrappedKey)]
        self.kept |= {key_id: DestroyedKey(*self.kept[key_id][:5], stone) for key_id in there}
        return there

    def close(self) -> None:
        """Nothing is held."""

    def _may(self) -> None:
        if self.failure is not None:
            raise self.failure


class PlainProvider:
    """Wraps by writing context and key side by side; `failure` is raised instead when set."""

    def __init__(self) -> None:
        self.failure: ProviderUnavailable | None = None
        self.unwrapped = 0
        self.local = True

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


def box_of(provider: KeyEncryptionProvider, keyring: Keyring) -> SealingBox:
    """Return a box over these."""
    openers = Openers(provider=provider, keyring=keyring)
    return SealingBox(DataKeys(node="node-1", provider=provider, keyring=keyring, openers=openers), openers)


def memory_box() -> SealingBox:
    """Return a box whose keys are in memory only."""
    return box_of(PlainProvider(), MemoryKeyring())


def kek_file(folder: Path, name: str = "kek.key") -> Path:
    """Return the key-encryption key in `folder`, made when it is not there."""
    file = folder / name
    if not file.exists():
        file.touch(mode=0o600)
        file.write_bytes(os.urandom(32))
    return file


def sealing_box(folder: Path) -> SealingBox:
    """Return a box that a node with this folder would use; another one for the same folder opens what it sealed."""
    return box_of(FileKeyProvider(kek_file(folder)), FolderKeyring(folder / WRAPPED_KEYS))
