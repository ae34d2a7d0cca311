"""Key-encryption keys: they wrap data keys, and never touch a message.

`KeyEncryptionProvider` is the port: a file today, a key service or a hardware module by another class. A provider wraps
with one key, the newest, and unwraps with every key that it still has.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple, Protocol

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from gateway.config.secret_files import SecretFileRefused, read_secret_file

KEK_BYTES = 32
_ID_BYTES = 8
_NONCE_BYTES = 12


class Wrapped(NamedTuple):
    """A wrapped data key, and the id of the key that unwraps it."""

    kek_id: str  # of a file lower-case hexadecimal; of others "rsa:...", "aws:...", "vault:...", "pkcs11:..."
    octets: bytes


class UnwrapRefused(Exception):
    """The provider answered, and the key cannot be had from it; the text says why and what to do."""


class ProviderUnavailable(Exception):
    """The provider cannot be asked at the moment; the text says why and what to do."""


class KeyEncryptionProvider(Protocol):
    """Wraps and unwraps data keys. Calls come from threads; where it is `local` from the event loop, too."""

    @property
    def local(self) -> bool:
        """Whether it has its keys in memory, and answers within microseconds."""

    def wrap(self, key: bytes, context: bytes) -> Wrapped:
        """Return `key`, wrapped so that it unwraps under the same `context` only. Raises ProviderUnavailable."""

    def unwrap(self, wrapped: Wrapped, context: bytes) -> bytes:
        """Return the key: a new object, which the caller overwrites. Raises UnwrapRefused for another context or
        altered octets, and ProviderUnavailable."""


class FileKeyProvider:
    """Key-encryption keys from files of 32 random octets that nobody else may read.

    A wrapped key is a random nonce of 12 octets and the key under AES-256-GCM, the context being associated data. NIST
    SP 800-38D §8.3 allows 2^32 random nonces for a key: data keys number some hundreds a day.
    """

    def __init__(
        self, file: Path, older_files: Sequence[Path] = (), *, random_bytes: Callable[[int], bytes] = os.urandom
    ) -> None:
        """Read the keys: `file` wraps; `older_files` still unwrap. Raises SecretFileRefused."""
        key = read_kek(file)
        self.kek_id = kek_id(key)
        self._random_bytes = random_bytes
        self._keys = {kek_id(older): AESGCM(older) for older in map(read_kek, older_files)}
        self._keys[self.kek_id] = AESGCM(key)

    def __repr__(self) -> str:
        return f"FileKeyProvider({self.kek_id})"

    @property
    def kek_ids(self) -> frozenset[str]:
        """The ids of all keys, older ones among them."""
        return frozenset(self._keys)

    @property
    def local(self) -> bool:
        """It is."""
        return True

    def knows(self, kek_id: str) -> bool:
        """Whether it has this key."""
        return kek_id in self._keys

    def wrap(self, key: bytes, context: bytes) -> Wrapped:
        """Return `key`, wrapped by the newest key-encryption key."""
        nonce = self._random_bytes(_NONCE_BYTES)
        return Wrapped(self.kek_id, nonce + self._keys[self.kek_id].encrypt(nonce, key, context))

    def unwrap(self, wrapped: Wrapped, context: bytes) -> bytes:
        """Return the key. Raises UnwrapRefused."""
        aead = self._keys.get(wrapped.kek_id)
        if aead is None:
            raise UnwrapRefused(
                f"it is wrapped by the key-encryption key {wrapped.kek_id[: 2 * _ID_BYTES]}, of which no file is "
                "known: name that file in keys.older_kek_files"
            )
        nonce, body = wrapped.octets[:_NONCE_BYTES], wrapped.octets[_NONCE_BYTES:]
        try:
            return aead.decrypt(nonce, body, context)
        except (InvalidTag, ValueError):  # ValueError: cut short
            raise UnwrapRefused(
                "its record was altered or is damaged: restore the folder of wrapped keys from a copy"
            ) from None


def read_kek(file: Path) -> bytes:
    """Return the key-encryption key in `file`. Raises SecretFileRefused."""
    key = read_secret_file(file, max_bytes=KEK_BYTES)
    if len(key) != KEK_BYTES:
        raise SecretFileRefused(f"{file} has {len(key)} bytes; a key-encryption key is {KEK_BYTES} random bytes")
    return key


def kek_id(key: bytes) -> str:
    """Return the id of a key-encryption key: a short one-way hash, which may be shown."""
    return hashlib.blake2b(key, digest_size=_ID_BYTES, person=b"smsgw.kek.id").hexdigest()
