"""The key that signs the log: Ed25519 (RFC 8032), a PEM file. `smsgw init` makes it; so does `openssl genpkey`."""

from __future__ import annotations

from pathlib import Path

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)

from gateway.config.secret_files import SecretFileRefused, read_secret_file
from gateway.sequencing.errors import LogKeyError
from gateway.tlog.notes import Signer, VerifyingKey

_MAX_BYTES = 4096
_ADVICE = "`openssl genpkey -algorithm ed25519` makes one"


def new_key(origin: str) -> tuple[bytes, VerifyingKey]:
    """Return a new signing key as PEM, and its public half under the log's name."""
    key = Ed25519PrivateKey.generate()
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()), Signer(origin, key).key


def read_signer(file: Path, origin: str) -> Signer:
    """Return the key in a file that nobody else may read, under the log's name. Raises LogKeyError."""
    try:
        key = load_pem_private_key(read_secret_file(file, max_bytes=_MAX_BYTES), password=None)
    except SecretFileRefused as error:
        advice = "" if file.exists() else f"; {_ADVICE}"
        raise LogKeyError(f"the key that signs the audit's log: {error}{advice}") from error
    except (ValueError, TypeError, UnsupportedAlgorithm):
        raise LogKeyError(f"{file} holds no private key in PEM without a password") from None
    if not isinstance(key, Ed25519PrivateKey):
        raise LogKeyError(f"{file} holds no Ed25519 key: {_ADVICE}")
    return Signer(origin, key)
