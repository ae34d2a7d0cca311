"""Public keys as JWKs (RFC 7517, RFC 7518 §6): their fields, and back. Sans-IO."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from typing import Final

from cryptography.hazmat.primitives.asymmetric import ec, rsa

from certs.errors import BundleError

PublicKey = ec.EllipticCurvePublicKey | rsa.RSAPublicKey
FIELDS: Final = frozenset({"kty", "crv", "x", "y", "n", "e"})
_CURVES: Final[Mapping[str, str]] = {"secp256r1": "P-256", "secp384r1": "P-384", "secp521r1": "P-521"}
_BY_NAME: Final[Mapping[str, ec.EllipticCurve]] = {
    "P-256": ec.SECP256R1(),
    "P-384": ec.SECP384R1(),
    "P-521": ec.SECP521R1(),
}
_MAX_FIELD: Final = 2048  # base64url of an RSA modulus of 12,288 bits


def encode(octets: bytes) -> str:
    """Return octets in base64url without padding (RFC 7515 §2)."""
    return base64.urlsafe_b64encode(octets).rstrip(b"=").decode()


def decode(text: str) -> bytes:
    """Return the octets of base64url without padding. Raises ValueError."""
    if "=" in text or not text.isascii():
        raise ValueError("not base64url without padding")
    return base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)


def _number(number: int, size: int) -> str:
    return encode(number.to_bytes(size, "big"))


def fields_of(key: object) -> dict[str, str]:
    """Return the fields of a key. Raises BundleError for a kind that has no place in a bundle."""
    if isinstance(key, ec.EllipticCurvePublicKey) and key.curve.name in _CURVES:
        numbers, size = key.public_numbers(), (key.curve.key_size + 7) // 8
        curve = _CURVES[key.curve.name]
        return {"kty": "EC", "crv": curve, "x": _number(numbers.x, size), "y": _number(numbers.y, size)}
    if isinstance(key, rsa.RSAPublicKey):
        n, e = key.public_numbers().n, key.public_numbers().e
        return {
            "kty": "RSA",
            "n": _number(n, (n.bit_length() + 7) // 8),
            "e": _number(e, (e.bit_length() + 7) // 8),
        }
    raise BundleError(f"an authority has a key of type {type(key).__name__}; use ECDSA (P-256, P-384, P-521) or RSA")


def key_from(fields: Mapping[str, object]) -> PublicKey:
    """Return the key of a JWK. Raises ValueError."""
    texts = {name: value for name, value in fields.items() if name in FIELDS and isinstance(value, str)}
    if any(len(text) > _MAX_FIELD for text in texts.values()):
        raise ValueError("a field is too long")
    numbers = {name: int.from_bytes(decode(text)) for name, text in texts.items() if name not in {"kty", "crv"}}
    try:
        if texts.get("kty") == "EC":
            curve = _BY_NAME[texts["crv"]]
            return ec.EllipticCurvePublicNumbers(numbers["x"], numbers["y"], curve).public_key()
        if texts.get("kty") == "RSA":
            return rsa.RSAPublicNumbers(numbers["e"], numbers["n"]).public_key()
    except KeyError as missing:
        raise ValueError(f"{missing} is missing or unknown") from missing
    raise ValueError("neither an EC nor an RSA key")
