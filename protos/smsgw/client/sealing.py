"""Content sealed to the gateway's payload key: which key, and the JWE (RFC 7516) that comes of it. Sans-IO.

The format is on docs/sealed-content.md. The library that computes, `joserfc`, is loaded by the first message that is
sealed.
"""

from __future__ import annotations

import base64
import dataclasses
import hashlib
import json
import os
from typing import Any, NamedTuple

from smsgw.client import convert
from smsgw.client.errors import CannotSeal
from smsgw.client.messages import Message
from smsgw.v1 import message_pb2 as pb
from smsgw.v1 import message_service_pb2 as api

MAX_JWE = 8192
_SALT_BYTES = 16
_ALGORITHMS = {"EC": "ECDH-ES", "OKP": "ECDH-ES", "RSA": "RSA-OAEP-256"}
_LEFT_S = 600.0  # a key that ends sooner is taken only where there is no other
_LONGEST_S = 71 * 3600  # the gateway takes 72 hours; clocks differ
_LATER_S = 60  # beyond the validity, for the same reason
_KEPT_AT_MOST_S = 3600.0


class PayloadKeys(NamedTuple):
    """The published keys that can be used, and the tenant that content is bound to."""

    keys: tuple[dict[str, Any], ...]  # public JWKs, the preferred one first
    tenant: str
    until: float  # monotonic: when they are asked for again

    def key(self, now: float) -> dict[str, Any]:
        """Return the key to seal to at `now`, in seconds since the Unix epoch. Raises CannotSeal."""
        live = [key for key in self.keys if key["exp"] > now]
        if not live:
            text = "the gateway publishes no payload key that content could be sealed to; ask its operator"
            raise CannotSeal("NO_PAYLOAD_KEY", text)
        return next((key for key in live if key["exp"] > now + _LEFT_S), live[0])


def read_keys(response: api.GetPayloadKeysResponse, monotonic: float) -> PayloadKeys:
    """Return what the gateway has published, as far as this client can use it. Raises CannotSeal."""
    try:
        keys = tuple(key for key in json.loads(response.jwk_set)["keys"] if _usable(key))
    except (ValueError, LookupError, TypeError, AttributeError):
        raise CannotSeal("NO_PAYLOAD_KEY", "the gateway's set of payload keys cannot be read") from None
    kept_s = min(max(response.max_age.seconds, 1), _KEPT_AT_MOST_S)
    return PayloadKeys(keys, response.tenant, monotonic + kept_s)


def _usable(key: dict[str, Any]) -> bool:
    return (
        key.get("use") == "enc"
        and key.get("alg") == _ALGORITHMS.get(key.get("kty", ""))
        and isinstance(key.get("kid"), str)
        and isinstance(key.get("exp"), int)
    )


def seal(message: Message, keys: PayloadKeys, now: float) -> Message:
    """Return the message with its content sealed for its recipient, under its idempotency key; `now` in seconds since
    the Unix epoch. It is always the same message for the gateway: sealing again makes another one of it.

    Raises CannotSeal.
    """
    from joserfc.errors import JoseError
    from joserfc.jwe import JWERegistry, encrypt_compact
    from joserfc.registry import HeaderParameter

    key, salt = keys.key(now), os.urandom(_SALT_BYTES)
    bound = {
        "smsgw.tenant": keys.tenant,
        "smsgw.to": _recipient_hash(salt, message.to),
        "smsgw.key": message.idempotency_key,
        "smsgw.exp": _expires_at(message, now),
    }
    header = {"alg": key["alg"], "enc": "A256GCM", "kid": key["kid"], **bound}
    names = {name: HeaderParameter(name, "int" if name == "smsgw.exp" else "str") for name in bound}
    inside = pb.SealedContent(recipient_salt=salt, content=convert.content(message.text, message.binary))
    registry = JWERegistry(header_registry=names, algorithms=[key["alg"], "A256GCM"])
    try:
        jwe = encrypt_compact(header, inside.SerializeToString(), _public(key), registry=registry)
    except (JoseError, ValueError, TypeError):
        raise CannotSeal("PAYLOAD_KEY_UNUSABLE", "the gateway's payload key cannot be used") from None
    if len(jwe) > MAX_JWE:
        raise CannotSeal("SEALED_TOO_LONG", f"sealed, the content is longer than {MAX_JWE} octets")
    return dataclasses.replace(message, text=None, binary=None, sealed_jwe=jwe)


def _public(key: dict[str, Any]) -> Any:
    from joserfc.jwk import ECKey, OKPKey, RSAKey

    kinds: dict[str, type[ECKey | OKPKey | RSAKey]] = {"EC": ECKey, "OKP": OKPKey, "RSA": RSAKey}
    return kinds[key["kty"]].import_key(key)


def _recipient_hash(salt: bytes, to: str) -> str:
    digest = hashlib.sha256(b"smsgw.to\x00" + salt + to.encode()).digest()
    return base64.urlsafe_b64encode(digest).rstrip(b"=").decode()


def _expires_at(message: Message, now: float) -> int:
    """Return from when on the gateway does not send it: after its validity, where that is known, and in time."""
    latest = int(now) + _LONGEST_S
    start = now if message.not_before is None else max(now, message.not_before.timestamp())
    if start >= latest:
        raise CannotSeal("NOT_BEFORE_TOO_FAR", "sealed content has to be sent within 71 hours; not_before is later")
    if message.validity is None:
        return latest
    return min(latest, int(start + message.validity.total_seconds()) + _LATER_S)
