"""The key that signs the deny list, and the public keys that nodes pin: Ed25519 (RFC 8032), PEM files.

It is no key of any authority: whoever issues certificates, the list is the gateway's. `smsgw init` makes it; so does
`openssl genpkey -algorithm ed25519`.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
    load_pem_public_key,
)

from gateway.config.secret_files import SecretFileRefused, read_secret_file
from gateway.revocation.errors import DenyListFileError

_MAX_BYTES = 4096


def new_key_pair() -> tuple[bytes, bytes]:
    """Return a new signing key and its public key, as PEM."""
    key = Ed25519PrivateKey.generate()
    private = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    return private, key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)


def read_signing_key(file: Path) -> Ed25519PrivateKey:
    """Return the key in a file that nobody else may read. Raises DenyListFileError."""
    try:
        key = load_pem_private_key(read_secret_file(file, max_bytes=_MAX_BYTES), password=None)
    except SecretFileRefused as error:
        advice = "; `openssl genpkey -algorithm ed25519` makes one" if not file.exists() else ""
        raise DenyListFileError(f"the key that signs the deny list: {error}{advice}") from error
    except (ValueError, TypeError, UnsupportedAlgorithm):
        raise DenyListFileError(f"{file} holds no private key in PEM without a password") from None
    if not isinstance(key, Ed25519PrivateKey):
        raise DenyListFileError(f"{file} holds no Ed25519 key: `openssl genpkey -algorithm ed25519` makes one")
    return key


def read_public_keys(files: Sequence[Path]) -> list[Ed25519PublicKey]:
    """Return the pinned keys. Raises DenyListFileError."""
    return [_public_key(file) for file in files]


def _public_key(file: Path) -> Ed25519PublicKey:
    try:
        with file.open("rb") as stream:
            key = load_pem_public_key(stream.read(_MAX_BYTES))
    except OSError as error:
        raise DenyListFileError(f"{file} cannot be read: {error.strerror}") from error
    except (ValueError, UnsupportedAlgorithm):
        raise DenyListFileError(f"{file} holds no public key in PEM: copy that of the publisher here") from None
    if not isinstance(key, Ed25519PublicKey):
        raise DenyListFileError(f"{file} holds no Ed25519 key: copy the publisher's keys/deny-list.pub here")
    return key
