"""Key-encryption by RSA: whoever has the public half wraps data keys, and only who has the private half unwraps them.

RSAES-OAEP with SHA-256 (RFC 8017 §7.1), its mask by SHA-256 too, and the context as its label: a wrap opens under its
own context only. Keys of 2048 to 4096 bits. Wrapping is not authenticated: anybody with the public half can make a
wrap. So what such a key seals is believed because of who could write it, and not because it opens.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    PublicFormat,
    load_pem_private_key,
    load_pem_public_key,
)

from gateway.config.secret_files import SecretFileRefused, read_guarded_file, read_secret_file
from gateway.sealing.providers import ProviderUnavailable, UnwrapRefused, Wrapped

PREFIX = "rsa:"
MIN_BITS = 2048
MAX_BITS = 4096
_MAX_BYTES = 16_384
_ID_BYTES = 8


class RsaProvider:
    """RSA keys from PEM files: one public half that wraps, private halves that unwrap, if this node has any."""

    def __init__(self, public_file: Path | None, private_files: Sequence[Path] = ()) -> None:
        """Read the keys. Without `public_file` the first of `private_files` wraps. Raises SecretFileRefused."""
        privates = [read_private_key(file) for file in private_files]
        if public_file is None and not privates:
            raise SecretFileRefused("an RSA key-encryption key wants its public half, its private half, or both")
        self._public = privates[0].public_key() if public_file is None else read_public_key(public_file)
        self._privates = {rsa_kek_id(private.public_key()): private for private in privates}
        self.kek_id = rsa_kek_id(self._public)

    def __repr__(self) -> str:
        return f"RsaProvider({self.kek_id})"

    @property
    def local(self) -> bool:
        """It is not: the private half takes a millisecond or more."""
        return False

    @property
    def unwraps(self) -> bool:
        """Whether there is a private half."""
        return bool(self._privates)

    def knows(self, kek_id: str) -> bool:
        """Whether it is this provider's sort of key, and may unwrap what it wrapped."""
        return kek_id in self._privates or kek_id == self.kek_id

    def wrap(self, key: bytes, context: bytes) -> Wrapped:
        """Return `key`, wrapped by the public half."""
        return Wrapped(self.kek_id, self._public.encrypt(key, _oaep(context)))

    def unwrap(self, wrapped: Wrapped, context: bytes) -> bytes:
        """Return the key: a new object, which the caller overwrites. Raises UnwrapRefused, and ProviderUnavailable
        where this node has no private half: another one can open it."""
        private = self._privates.get(wrapped.kek_id)
        if private is None:
            raise ProviderUnavailable(
                f"this node has only the public half of {wrapped.kek_id}: it accepts messages, and opens none; nodes "
                "that relay have the private half (keys.kek.rsa.private_key_file)"
            )
        try:
            return private.decrypt(wrapped.octets, _oaep(context))
        except ValueError:
            raise UnwrapRefused("its record was altered or is damaged: restore the wrapped keys from a copy") from None


def read_public_key(file: Path) -> rsa.RSAPublicKey:
    """Return the public key in a PEM file, which anybody may read, and nobody else write. Raises SecretFileRefused."""
    try:
        key = load_pem_public_key(read_guarded_file(file, max_bytes=_MAX_BYTES))
    except (ValueError, UnsupportedAlgorithm):
        raise SecretFileRefused(f"{file} holds no public key in PEM") from None
    if not isinstance(key, rsa.RSAPublicKey):
        raise SecretFileRefused(f"{file} holds a key that is not RSA")
    _check_bits(file, key.key_size)
    return key


def read_private_key(file: Path) -> rsa.RSAPrivateKey:
    """Return the private key in a PEM file, which nobody else may read. Raises SecretFileRefused."""
    try:
        key = load_pem_private_key(read_secret_file(file, max_bytes=_MAX_BYTES), password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm):  # TypeError: it is encrypted
        raise SecretFileRefused(f"{file} holds no private key in PEM, without a passphrase") from None
    if not isinstance(key, rsa.RSAPrivateKey):
        raise SecretFileRefused(f"{file} holds a key that is not RSA")
    _check_bits(file, key.key_size)
    return key


def rsa_kek_id(key: rsa.RSAPublicKey) -> str:
    """Return the id of a key: a hash of its SubjectPublicKeyInfo."""
    info = key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return PREFIX + hashlib.sha256(info).hexdigest()[: 2 * _ID_BYTES]


def _check_bits(file: Path, bits: int) -> None:
    if not MIN_BITS <= bits <= MAX_BITS:
        raise SecretFileRefused(f"{file} has an RSA key of {bits} bits: {MIN_BITS} to {MAX_BITS} are accepted")


def _oaep(context: bytes) -> padding.OAEP:
    return padding.OAEP(mgf=padding.MGF1(hashes.SHA256()), algorithm=hashes.SHA256(), label=context)
