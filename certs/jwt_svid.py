"""JWT-SVIDs: signed with ES256, and verified strictly (JWT-SVID §2 to §5).

Compact serialization only, an algorithm of the list only, `kid` names the key, `sub`, `aud` and `exp` are mandatory.
Whoever can carry X.509-SVIDs should: a JWT-SVID can be replayed until it ends, so it lives for minutes. It is sans-IO.
"""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature, encode_dss_signature

from certs import jwk
from certs.errors import BadSpiffeId, BadSvid, NotValidNow, Reason, Untrusted
from certs.jwk import PublicKey
from certs.spiffe_id import SpiffeId

MAX_TOKEN_BYTES: Final = 16 * 1024
MAX_AUDIENCES: Final = 32
MAX_AUDIENCE_BYTES: Final = 512
LEEWAY: Final = dt.timedelta(seconds=30)  # for `nbf` and `iat` of a peer whose clock is a little ahead; never for `exp`
_HASHES: Final[Mapping[str, hashes.HashAlgorithm]] = {
    "256": hashes.SHA256(),
    "384": hashes.SHA384(),
    "512": hashes.SHA512(),
}
_CURVES: Final[Mapping[str, str]] = {"ES256": "secp256r1", "ES384": "secp384r1", "ES512": "secp521r1"}
_ALGORITHMS: Final = frozenset(kind + size for kind in ("RS", "ES", "PS") for size in _HASHES)  # JWT-SVID §2.1


@dataclass(frozen=True, slots=True, kw_only=True)
class JwtAuthority:
    """A key that signs JWT-SVIDs, as a bundle holds it."""

    key_id: str
    key: PublicKey


@dataclass(frozen=True, slots=True, kw_only=True)
class JwtSvid:
    """A verified JWT-SVID."""

    spiffe_id: SpiffeId
    audiences: tuple[str, ...]
    expires_at: dt.datetime
    claims: Mapping[str, object]


def check_audiences(audiences: Sequence[str]) -> None:
    """Raise ValueError unless these are one to 32 audiences, each of 1 to 512 octets."""
    if not 1 <= len(audiences) <= MAX_AUDIENCES:
        raise ValueError(f"{len(audiences)} audiences were given: 1 to {MAX_AUDIENCES} are needed")
    if not all(1 <= len(audience.encode()) <= MAX_AUDIENCE_BYTES for audience in audiences):
        raise ValueError(f"an audience has 1 to {MAX_AUDIENCE_BYTES} octets")


def sign(
    spiffe_id: SpiffeId,
    audiences: Sequence[str],
    expires_at: dt.datetime,
    now: dt.datetime,
    *,
    key_id: str,
    key: ec.EllipticCurvePrivateKey,
) -> str:
    """Return a JWT-SVID for `spiffe_id`, signed with ES256. Raises ValueError for audiences out of bounds."""
    check_audiences(audiences)
    header = {"alg": "ES256", "kid": key_id, "typ": "JWT"}
    claims = {
        "sub": str(spiffe_id),
        "aud": list(audiences),
        "iat": int(now.timestamp()),
        "exp": int(expires_at.timestamp()),
    }
    signed = ".".join(jwk.encode(json.dumps(part, separators=(",", ":")).encode()) for part in (header, claims))
    r, s = decode_dss_signature(key.sign(signed.encode(), ec.ECDSA(hashes.SHA256())))
    return f"{signed}.{jwk.encode(r.to_bytes(32, 'big') + s.to_bytes(32, 'big'))}"


def subject_of(token: str) -> SpiffeId:
    """Return for whom a token claims to be, unverified: to find the bundle to verify it with. Raises BadSvid."""
    return _subject(_parts(token)[1])


def verify(token: str, authorities: Sequence[JwtAuthority], audience: str, now: dt.datetime) -> JwtSvid:
    """Return what a token says, once it is known to be for `audience`, signed by one of `authorities`, and valid.

    The authorities are those of the subject's own trust domain (`subject_of`).

    Raises BadSvid, BadSpiffeId, NotValidNow, Untrusted.
    """
    header, claims, signed, signature = _parts(token)
    spiffe_id = _subject(claims)
    authority = next((found for found in authorities if found.key_id == header.get("kid")), None)
    if authority is None:
        raise Untrusted(f"no key of {spiffe_id.trust_domain} has the id that the token names: is the bundle current?")
    _check_signature(str(header["alg"]), authority.key, signed, signature)
    expires_at = _check_times(claims, now)
    audiences = _audiences(claims)
    if audience not in audiences:
        raise Untrusted("the token is for another audience")
    return JwtSvid(spiffe_id=spiffe_id, audiences=audiences, expires_at=expires_at, claims=claims)


def _refused(why: str) -> BadSvid:
    return BadSvid(f"no JWT-SVID: {why}", reason=Reason.JWT)


def _parts(token: str) -> tuple[dict[str, object], dict[str, object], bytes, bytes]:
    """Return header, claims, what was signed, and the signature."""
    if len(token) > MAX_TOKEN_BYTES or token.count(".") != 2:
        raise _refused(f"three parts of {MAX_TOKEN_BYTES} octets at most were expected")
    first, second, third = token.split(".")
    try:
        header, claims = (json.loads(jwk.decode(part)) for part in (first, second))
        signature = jwk.decode(third)
    except (ValueError, RecursionError) as refused:
        raise _refused("a part is not readable") from refused
    if not isinstance(header, dict) or not isinstance(claims, dict):
        raise _refused("header and claims must be objects")
    if header.get("alg") not in _ALGORITHMS:
        raise _refused("its algorithm is not of the list RS, ES, PS with 256, 384, 512")
    if header.get("typ", "JWT") not in {"JWT", "JOSE"} or "crit" in header or not header.get("kid"):
        raise _refused("its header must name the key, be of type JWT, and demand no extension")
    return header, claims, f"{first}.{second}".encode(), signature


def _subject(claims: Mapping[str, object]) -> SpiffeId:
    subject = claims.get("sub")
    if not isinstance(subject, str):
        raise _refused("`sub` is missing")
    spiffe_id = SpiffeId.parse(subject)
    if not spiffe_id.path:
        raise BadSpiffeId(f"{spiffe_id} names no workload", reason=Reason.NO_WORKLOAD_PATH)
    return spiffe_id


def _check_signature(algorithm: str, key: PublicKey, signed: bytes, signature: bytes) -> None:
    digest = _HASHES[algorithm[2:]]
    try:
        if isinstance(key, ec.EllipticCurvePublicKey) and _CURVES.get(algorithm) == key.curve.name:
            size = (key.curve.key_size + 7) // 8
            if len(signature) != 2 * size:
                raise InvalidSignature
            r, s = (int.from_bytes(half) for half in (signature[:size], signature[size:]))
            key.verify(encode_dss_signature(r, s), signed, ec.ECDSA(digest))
        elif isinstance(key, rsa.RSAPublicKey) and algorithm.startswith("RS"):
            key.verify(signature, signed, padding.PKCS1v15(), digest)
        elif isinstance(key, rsa.RSAPublicKey) and algorithm.startswith("PS"):
            key.verify(signature, signed, padding.PSS(padding.MGF1(digest), padding.PSS.DIGEST_LENGTH), digest)
        else:
            raise InvalidSignature
    except (InvalidSignature, ValueError) as refused:
        raise Untrusted("the token's signature is not that of the key which it names") from refused


def _check_times(claims: Mapping[str, object], now: dt.datetime) -> dt.datetime:
    """Return the end of the token's validity. Raises BadSvid, NotValidNow."""
    times = {name: claims[name] for name in ("exp", "nbf", "iat") if name in claims}
    if any(not isinstance(value, int | float) or not 0 <= value < 1 << 40 for value in times.values()):
        raise _refused("its times must be seconds since 1970")
    moments = {name: dt.datetime.fromtimestamp(float(str(value)), dt.UTC) for name, value in times.items()}
    if "exp" not in moments:
        raise _refused("`exp` is missing")
    if now >= moments["exp"]:
        raise NotValidNow(f"the token expired at {moments['exp']:%Y-%m-%dT%H:%M:%SZ}: fetch another one")
    if any(now + LEEWAY < moments[name] for name in ("nbf", "iat") if name in moments):
        raise NotValidNow("the token is not valid yet: check both clocks", reason=Reason.NOT_YET_VALID)
    return moments["exp"]


def _audiences(claims: Mapping[str, object]) -> tuple[str, ...]:
    found = claims.get("aud")
    listed = [found] if isinstance(found, str) else found
    if not isinstance(listed, list) or not listed or not all(isinstance(one, str) for one in listed):
        raise _refused("`aud` must name at least one audience")
    return tuple(listed)
