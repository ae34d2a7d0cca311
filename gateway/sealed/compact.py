"""The JWE compact serialization (RFC 7516 §7.1), as far as it can be read without a key: bounds and an allow-list.

Everything here happens before any cryptography, on acceptance and again at the link. Whatever is not listed is refused:
other algorithms (RSA1_5, PBES2, dir, key wrapping), `zip`, `crit`, `cty` (nesting), headers that are not known, and
every form that has room for an unprotected header (RFC 7516 §7.2).
"""

from __future__ import annotations

import base64
import binascii
import json
import re
from collections.abc import Mapping
from typing import Any, NamedTuple

from gateway.sealed.errors import SealedRefused

MAX_BYTES = 8192
ECDH = "ECDH-ES"  # RFC 7518 §4.6, direct key agreement
RSA = "RSA-OAEP-256"  # RFC 7518 §4.3
ENC = "A256GCM"  # RFC 7518 §5.3
TENANT, RECIPIENT, KEY, EXPIRES = "smsgw.tenant", "smsgw.to", "smsgw.key", "smsgw.exp"  # RFC 7516 §4.3
KID = re.compile(r"[A-Za-z0-9_-]{1,64}")

# Protected header, encrypted key, 12 octets of initialization vector, ciphertext, 16 octets of tag.
_COMPACT = re.compile(
    r"([A-Za-z0-9_-]{1,2048})\.([A-Za-z0-9_-]{0,683})\.[A-Za-z0-9_-]{16}\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]{22}"
)
_COORDINATE = re.compile(r"[A-Za-z0-9_-]{43}")  # 32 octets
_HASH = _COORDINATE
_BOUND = frozenset({"alg", "enc", "kid", TENANT, RECIPIENT, KEY, EXPIRES})
_HEADERS = {ECDH: _BOUND | {"epk"}, RSA: _BOUND}
_CURVES = {("EC", "P-256"): {"kty", "crv", "x", "y"}, ("OKP", "X25519"): {"kty", "crv", "x"}}
_RSA_CHARACTERS = range(342, 684)  # of 2048 to 4096 bits
_MAX_TEXT = 128  # characters of a tenant or a key
_MAX_TIME = 1 << 40  # seconds


class Header(NamedTuple):
    """What the protected header says. Nothing of it is authentic before the content has been opened."""

    alg: str
    kid: str
    tenant: str
    recipient: str  # base64url of a salted hash, see `binding`
    key: str  # the idempotency key
    expires_at: int  # seconds since the Unix epoch


def read_header(jwe: str) -> Header:
    """Return the protected header of a compact JWE. Raises SealedRefused for whatever is not allowed."""
    if len(jwe) > MAX_BYTES:
        raise SealedRefused("SEALED_TOO_LONG", f"is longer than {MAX_BYTES} characters")
    found = _COMPACT.fullmatch(jwe)
    if found is None:
        text = "is no JWE in the compact serialization: five parts of base64url without padding (RFC 7516 §7.1)"
        raise SealedRefused("SEALED_MALFORMED", text)
    names = _names(found[1])
    alg = names.get("alg")
    if not isinstance(alg, str) or alg not in _HEADERS or names.get("enc") != ENC:
        raise SealedRefused("SEALED_ALGORITHM_REFUSED", f"has to be of alg {ECDH} or {RSA}, and of enc {ENC}")
    if names.keys() != _HEADERS[alg]:
        listed = ", ".join(sorted(_HEADERS[alg]))
        raise SealedRefused("SEALED_HEADER_REFUSED", f"has to have these headers, protected, and no other: {listed}")
    if alg == ECDH:
        _check_ephemeral(names["epk"], found[2])
    elif len(found[2]) not in _RSA_CHARACTERS:
        raise SealedRefused("SEALED_MALFORMED", "has an encrypted key that is of no RSA key of 2048 to 4096 bits")
    return _header(alg, names)


def _names(part: str) -> dict[str, Any]:
    """Return the header's JSON object. A name that stands there twice is refused (RFC 7516 §4)."""
    try:
        octets = base64.urlsafe_b64decode(part + "=" * (-len(part) % 4))
        names = json.loads(octets.decode(), object_pairs_hook=_once)
    except (binascii.Error, UnicodeDecodeError, ValueError, RecursionError):
        raise SealedRefused("SEALED_MALFORMED", "has a protected header that is no JSON object") from None
    if not isinstance(names, dict):
        raise SealedRefused("SEALED_MALFORMED", "has a protected header that is no JSON object")
    return names


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    names = dict(pairs)
    if len(names) != len(pairs):
        raise ValueError("a name twice")
    return names


def _check_ephemeral(epk: object, encrypted_key: str) -> None:
    """Look at the sender's ephemeral public key (RFC 7518 §4.6.1.1); that it is a point of its curve, opening finds."""
    if encrypted_key:
        raise SealedRefused("SEALED_MALFORMED", f"has an encrypted key, and {ECDH} has none")
    if not isinstance(epk, Mapping) or set(epk) != _CURVES.get((str(epk.get("kty")), str(epk.get("crv"))), set()):
        raise SealedRefused("SEALED_HEADER_REFUSED", "has an epk that is no public key of P-256 or X25519")
    for name in ("x", "y"):
        if name in epk and not _is_text(epk[name], _COORDINATE):
            raise SealedRefused("SEALED_HEADER_REFUSED", "has an epk whose coordinates are not 32 octets each")


def _is_text(value: object, pattern: re.Pattern[str]) -> bool:
    return isinstance(value, str) and pattern.fullmatch(value) is not None


def _header(alg: str, names: Mapping[str, Any]) -> Header:
    kid, tenant, recipient, key, expires_at = (names[name] for name in ("kid", TENANT, RECIPIENT, KEY, EXPIRES))
    if not _is_text(kid, KID):
        raise SealedRefused("SEALED_HEADER_REFUSED", "has a kid that is not 1 to 64 characters of base64url")
    if not all(isinstance(text, str) and 1 <= len(text) <= _MAX_TEXT for text in (tenant, key)):
        text = f"has a {TENANT} or {KEY} that is not a text of 1 to {_MAX_TEXT} characters"
        raise SealedRefused("SEALED_HEADER_REFUSED", text)
    if not _is_text(recipient, _HASH):
        raise SealedRefused("SEALED_HEADER_REFUSED", f"has a {RECIPIENT} that is not base64url of 32 octets")
    if type(expires_at) is not int or not 0 < expires_at < _MAX_TIME:  # a bool is an int, too
        raise SealedRefused("SEALED_HEADER_REFUSED", f"has an {EXPIRES} that is no whole number of seconds")
    return Header(alg, kid, tenant, recipient, key, expires_at)
