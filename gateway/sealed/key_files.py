"""The files of payload keys, read and made: one JWK each (RFC 7517), with `kid`, `use` enc, `alg`, and `exp`, until
when callers seal to it. Nodes with carrier links have the private ones, nodes that only accept the public ones."""

from __future__ import annotations

import base64
import datetime as dt
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

from gateway.config.secret_files import read_guarded_file, read_secret_file
from gateway.sealed.compact import ECDH, KID, RSA
from gateway.sealed.errors import PayloadKeyRefused
from gateway.sealed.jose import JoseKey, generate, import_key
from gateway.sealed.keys import PayloadKey

MAX_FILE_BYTES = 16_384
RSA_BITS = range(2048, 4097)
_CURVES = {"EC": "P-256", "OKP": "X25519"}
# What there are: kty, and curve or bits.
KINDS: Mapping[str, tuple[str, int | str]] = MappingProxyType(
    {
        "p256": ("EC", "P-256"),
        "x25519": ("OKP", "X25519"),
        "rsa2048": ("RSA", 2048),
        "rsa3072": ("RSA", 3072),
        "rsa4096": ("RSA", 4096),
    }
)


def read_key(octets: bytes) -> PayloadKey:
    """Return the payload key that a file holds, with its private half. Raises PayloadKeyRefused."""
    key = _read(octets)
    if not key.half.is_private:
        raise PayloadKeyRefused("is a public key; the node needs the private one")
    return key


def read_public_key(octets: bytes) -> PayloadKey:
    """Return the public half that a file holds. Raises PayloadKeyRefused, also for a private one, which is not to be
    there."""
    key = _read(octets)
    if key.half.is_private:
        raise PayloadKeyRefused(
            "is a private key, which a node that only accepts must not have: take it away, and write its public half "
            "by smsgw payload-key public"
        )
    return key


def _read(octets: bytes) -> PayloadKey:
    try:
        jwk = json.loads(octets)
    except (ValueError, RecursionError):
        raise PayloadKeyRefused("is no JSON") from None
    if not isinstance(jwk, dict) or jwk.get("use") != "enc":
        raise PayloadKeyRefused('is no JWK with "use": "enc"')
    alg, kid, not_after = jwk.get("alg"), jwk.get("kid"), jwk.get("exp")
    wanted = RSA if jwk.get("kty") == "RSA" else ECDH
    if alg != wanted:
        raise PayloadKeyRefused(f'has to say "alg": "{wanted}"')
    if not isinstance(kid, str) or not KID.fullmatch(kid):
        raise PayloadKeyRefused("has no kid of 1 to 64 characters of base64url")
    if type(not_after) is not int or not_after <= 0:
        raise PayloadKeyRefused('has no "exp", until when callers may seal to it')
    return PayloadKey(kid=kid, alg=wanted, not_after=not_after, half=_half(jwk))


def _half(jwk: dict[str, Any]) -> JoseKey:
    kind = jwk.get("kty")
    if kind == "RSA":
        bits = _bits(jwk.get("n"))
        if bits not in RSA_BITS:
            raise PayloadKeyRefused(f"is an RSA key of {bits} bits; 2048 to 4096 are taken")
    elif not isinstance(kind, str) or kind not in _CURVES or jwk.get("crv") != _CURVES[kind]:
        raise PayloadKeyRefused("is no key of P-256, X25519 or RSA")
    return import_key(jwk)


def _bits(modulus: object) -> int:
    """Return how many bits a JWK's number has, 0 for what is none."""
    try:
        octets = base64.urlsafe_b64decode(str(modulus) + "==")
    except ValueError:
        return 0
    return int.from_bytes(octets, "big").bit_length()


def read_keys(files: Sequence[Path]) -> list[PayloadKey]:
    """Return the keys of these files. Raises SecretFileRefused, and PayloadKeyRefused that names the file."""
    return _keys(files, lambda file: read_key(read_secret_file(file, max_bytes=MAX_FILE_BYTES)))


def read_public_keys(files: Sequence[Path]) -> list[PayloadKey]:
    """Return the public halves in these files, which anybody may read, and nobody else write: whoever could put a key
    of his own there would read what callers seal. Raises as `read_keys`."""
    return _keys(files, lambda file: read_public_key(read_guarded_file(file, max_bytes=MAX_FILE_BYTES)))


def _keys(files: Sequence[Path], read: Callable[[Path], PayloadKey]) -> list[PayloadKey]:
    keys: dict[str, PayloadKey] = {}
    for file in files:
        try:
            key = read(file)
        except PayloadKeyRefused as error:
            raise PayloadKeyRefused(f"{file} {error}") from None
        if key.kid in keys:
            raise PayloadKeyRefused(f"{file} has the kid of another payload key, {key.kid}")
        keys[key.kid] = key
    return list(keys.values())


def new_key_file(kind: str, not_after: dt.datetime) -> tuple[str, bytes]:
    """Return the kid, an RFC 7638 thumbprint, and the octets of a new key file; `kind` is one of KINDS."""
    key = generate(*KINDS[kind])
    kid = key.thumbprint()
    alg = RSA if KINDS[kind][0] == "RSA" else ECDH
    names = PayloadKey(kid=kid, alg=alg, not_after=int(not_after.timestamp()), half=key).names
    return kid, json.dumps({**key.as_dict(private=True), **names}, indent=1).encode() + b"\n"


def public_file(key: PayloadKey) -> bytes:
    """Return the octets of the file of a key's public half."""
    return json.dumps(key.public, indent=1).encode() + b"\n"
