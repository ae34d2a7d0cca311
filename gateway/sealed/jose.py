"""The only module that knows the JOSE library: what it may do is listed here, and is all that it does.

`joserfc` computes; what comes to it has been read by `compact` before, so its own parsing meets nothing unexpected.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeAlias

from joserfc.errors import JoseError
from joserfc.jwe import JWERegistry, decrypt_compact
from joserfc.jwk import ECKey, OKPKey, RSAKey
from joserfc.registry import HeaderParameter

from gateway.sealed.compact import ECDH, ENC, EXPIRES, KEY, RECIPIENT, RSA, TENANT
from gateway.sealed.errors import PayloadKeyRefused, SealedRefused

JoseKey: TypeAlias = ECKey | OKPKey | RSAKey

_KINDS: Mapping[str, type[ECKey | OKPKey | RSAKey]] = {"EC": ECKey, "OKP": OKPKey, "RSA": RSAKey}
_REGISTRY = JWERegistry(
    header_registry={
        TENANT: HeaderParameter("Tenant", "str"),
        RECIPIENT: HeaderParameter("Recipient, hashed", "str"),
        KEY: HeaderParameter("Idempotency key", "str"),
        EXPIRES: HeaderParameter("Not to be sent from then on", "int"),
    },
    algorithms=[ECDH, RSA, ENC],
)
_REGISTRY.max_protected_header_length = 2048


def decrypt(jwe: str, key: JoseKey) -> bytes:
    """Return the plaintext. Raises SealedRefused, the same for every way in which it cannot be opened (RFC 7516 §11.5):
    a wrong key, another curve's point, a changed header, a changed ciphertext."""
    try:
        opened = decrypt_compact(jwe, key, registry=_REGISTRY).plaintext
    except Exception as error:  # foreign octets in a foreign library: whatever it raises, this message is refused
        raise _unopened() from error
    if opened is None:
        raise _unopened()
    return opened


def _unopened() -> SealedRefused:
    return SealedRefused("SEALED_UNOPENABLE", "the content does not open: it was changed, or sealed to another key")


def import_key(jwk: Mapping[str, Any]) -> JoseKey:
    """Return the key of a JWK of a known kind, private or public. Raises PayloadKeyRefused."""
    try:
        return _KINDS[jwk["kty"]].import_key(dict(jwk))
    except (JoseError, ValueError, KeyError, TypeError):
        raise PayloadKeyRefused("is no sound JWK") from None  # the cause might quote it


def generate(kind: str, size: int | str) -> JoseKey:
    """Return a new private key: `kind` EC or OKP with a curve's name, or RSA with its bits."""
    if kind == "RSA":
        return RSAKey.generate_key(int(size))
    return ECKey.generate_key(str(size)) if kind == "EC" else OKPKey.generate_key("X25519")
