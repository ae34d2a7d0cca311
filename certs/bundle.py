"""Bundles: the authorities of a trust domain, and the set of bundles that a node trusts now.

The SPIFFE bundle format (SPIFFE Trust Domain and Bundle §4, X509-SVID §6.1) is a JWK Set in which each X.509 authority
is a key with `use` "x509-svid" and one certificate in `x5c`. Keys of an unknown `kty` or `use` are ignored, and an
empty list means that every authority is revoked. It is sans-IO: octets in, bundles out.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final, Protocol

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.serialization import Encoding

from certs import jwk
from certs.errors import BundleError
from certs.jwt_svid import JwtAuthority
from certs.pem import MAX_CERTIFICATE_BYTES, UNREADABLE, UNREADABLE_EXTENSIONS, certificates, encode_certificates
from certs.spiffe_id import TrustDomain

MAX_BUNDLE_BYTES: Final = 1024 * 1024
MAX_AUTHORITIES: Final = 64
MAX_KEYS: Final = 1024  # in a JWK Set, those of unknown kinds included
USE_X509: Final = "x509-svid"
USE_JWT: Final = "jwt-svid"
MAX_KEY_ID: Final = 128


@dataclass(frozen=True, slots=True, kw_only=True)
class Bundle:
    """The X.509 authorities of one trust domain.

    Attributes:
        trust_domain: whose authorities they are.
        authorities: at most 64 signing certificates; none means that all are revoked.
        sequence: `spiffe_sequence` (Bundle §4.1.1), None when not stated.
        refresh_hint_s: `spiffe_refresh_hint` in seconds (Bundle §4.1.2), None when not stated.
        jwt_authorities: at most 64 keys that sign JWT-SVIDs, each with its own key id.
    """

    trust_domain: TrustDomain
    authorities: tuple[x509.Certificate, ...]
    sequence: int | None = None
    refresh_hint_s: int | None = None
    jwt_authorities: tuple[JwtAuthority, ...] = ()

    def __post_init__(self) -> None:
        if len(self.authorities) > MAX_AUTHORITIES:
            raise BundleError(
                f"the bundle of {self.trust_domain} has {len(self.authorities)} authorities; {MAX_AUTHORITIES} at most"
            )
        for number, authority in enumerate(self.authorities, 1):
            _check_authority(self.trust_domain, number, authority)
        key_ids = {found.key_id for found in self.jwt_authorities}
        if len(self.jwt_authorities) > MAX_AUTHORITIES or len(key_ids) != len(self.jwt_authorities):
            raise BundleError(
                f"the bundle of {self.trust_domain} has more than {MAX_AUTHORITIES} JWT keys, or two with one `kid`"
            )

    @classmethod
    def from_pem(cls, trust_domain: TrustDomain, pem: bytes) -> Bundle:
        """Return the bundle whose authorities are the certificates in `pem`: at least one. Raises BundleError."""
        what = f"the bundle of {trust_domain}"
        found = certificates(pem, at_most=MAX_AUTHORITIES, error=BundleError, what=what)
        if not found:
            raise BundleError(f"{what} holds no certificate; write it with `smsgw ca bundle`")
        return cls(trust_domain=trust_domain, authorities=found)

    @classmethod
    def from_jwks(cls, trust_domain: TrustDomain, document: bytes) -> Bundle:
        """Return the bundle in a SPIFFE JWK Set (Bundle §4). Raises BundleError."""
        what = f"the bundle of {trust_domain}"
        if len(document) > MAX_BUNDLE_BYTES:
            raise BundleError(f"{what} has {len(document)} bytes; {MAX_BUNDLE_BYTES} at most")
        try:
            parsed = json.loads(document)
        except (ValueError, RecursionError) as refused:
            raise BundleError(f"{what} is not JSON") from refused
        if not isinstance(parsed, dict) or not isinstance(parsed.get("keys"), list):
            raise BundleError(f"{what} is no JWK Set: an object with a list `keys` was expected")
        if len(parsed["keys"]) > MAX_KEYS:
            raise BundleError(f"{what} has {len(parsed['keys'])} keys; {MAX_KEYS} at most")
        found = [_authority(what, number, key) for number, key in enumerate(parsed["keys"], 1)]
        jwt_keys = [_jwt_authority(key) for key in parsed["keys"]]
        return cls(
            trust_domain=trust_domain,
            authorities=tuple(authority for authority in found if authority is not None),
            sequence=_whole_number(what, parsed, "spiffe_sequence"),
            refresh_hint_s=_whole_number(what, parsed, "spiffe_refresh_hint"),
            jwt_authorities=tuple(authority for authority in jwt_keys if authority is not None),
        )

    @classmethod
    def parse(cls, trust_domain: TrustDomain, content: bytes) -> Bundle:
        """Return the bundle in a file's content: a SPIFFE JWK Set, or PEM. Raises BundleError."""
        if content.lstrip()[:1] == b"{":
            return cls.from_jwks(trust_domain, content)
        return cls.from_pem(trust_domain, content)

    def to_pem(self) -> bytes:
        """Return the authorities as PEM."""
        return encode_certificates(self.authorities)

    def jwt_jwks(self) -> bytes:
        """Return the keys that sign JWT-SVIDs alone, as a JWK Set: what a Workload API calls a JWT bundle."""
        return json.dumps({"keys": [_jwt_jwk(authority) for authority in self.jwt_authorities]}).encode()

    def to_jwks(self) -> bytes:
        """Return the bundle as a SPIFFE JWK Set, in JSON."""
        keys = [_jwk(authority) for authority in self.authorities]
        document: dict[str, object] = {"keys": keys + [_jwt_jwk(authority) for authority in self.jwt_authorities]}
        if self.sequence is not None:
            document["spiffe_sequence"] = self.sequence
        if self.refresh_hint_s is not None:
            document["spiffe_refresh_hint"] = self.refresh_hint_s
        return json.dumps(document, indent=2).encode()


class Trust(Protocol):
    """What is trusted now, by trust domain: a `TrustBundles`, or several of them joined.

    `version` grows with each change: whatever was concluded from an older version is concluded anew. Read it before
    what it numbers.
    """

    @property
    def version(self) -> int:
        """The number of this state."""

    def get(self, trust_domain: TrustDomain) -> Bundle | None:
        """Return the bundle of `trust_domain`, None when it is not trusted."""

    def all(self) -> tuple[Bundle, ...]:
        """Return every bundle, by name."""

    def to_pem(self) -> bytes:
        """Return every authority of every domain as PEM: the first, coarse gate of TLS. See `certs.verify`."""


class TrustBundles:
    """The bundles that are trusted now, by trust domain; replaced as a whole, so that a reader sees one state.

    `version` grows with each replacement: whatever was concluded from an older version is concluded anew.
    """

    __slots__ = ("_state",)

    def __init__(self, bundles: Iterable[Bundle] = ()) -> None:
        self._state: tuple[int, Mapping[str, Bundle]] = (1, _by_name(bundles))

    @property
    def version(self) -> int:
        """The number of this state: 1 at first."""
        return self._state[0]

    def get(self, trust_domain: TrustDomain) -> Bundle | None:
        """Return the bundle of `trust_domain`, None when it is not trusted."""
        return self._state[1].get(trust_domain.name)

    def all(self) -> tuple[Bundle, ...]:
        """Return every bundle, by name."""
        bundles = self._state[1]
        return tuple(bundles[name] for name in sorted(bundles))

    def replace(self, bundles: Iterable[Bundle]) -> int:
        """Trust exactly `bundles` from now on; returns the new version. Raises BundleError for a domain named twice."""
        version = self._state[0] + 1
        self._state = (version, _by_name(bundles))  # one assignment: threads of the TLS stack read it too
        return version

    def to_pem(self) -> bytes:
        """Return every authority of every domain as PEM: the first, coarse gate of TLS. See `certs.verify`."""
        return b"".join(bundle.to_pem() for bundle in self.all())


class JoinedTrust:
    """Our own trust, and that of other trust domains beside it.

    Each trust domain has one source: `own` counts where both have a bundle of it, and authorities of two sources are
    never put into one bundle (SPIFFE Federation §4.2). Nobody is trusted while `own` trusts nobody: then this is no
    member of its own trust domain any more.
    """

    __slots__ = ("_others", "_own")

    def __init__(self, own: Trust, others: Trust) -> None:
        self._own, self._others = own, others

    @property
    def version(self) -> int:
        """The number of this state: both only grow, and so does their sum."""
        return self._own.version + self._others.version

    def get(self, trust_domain: TrustDomain) -> Bundle | None:
        """Return the bundle of `trust_domain`, None when it is not trusted."""
        found = self._own.get(trust_domain)
        if found is not None or not self._own.all():
            return found
        return self._others.get(trust_domain)

    def all(self) -> tuple[Bundle, ...]:
        """Return every bundle, by name."""
        own = self._own.all()
        if not own:
            return ()
        found = _by_name(own)
        others = [bundle for bundle in self._others.all() if bundle.trust_domain.name not in found]
        return tuple(sorted((*own, *others), key=lambda bundle: bundle.trust_domain.name))

    def to_pem(self) -> bytes:
        """Return every authority of every domain as PEM: the first, coarse gate of TLS. See `certs.verify`."""
        return b"".join(bundle.to_pem() for bundle in self.all())


def _by_name(bundles: Iterable[Bundle]) -> Mapping[str, Bundle]:
    found: dict[str, Bundle] = {}
    for bundle in bundles:
        if found.setdefault(bundle.trust_domain.name, bundle) is not bundle:
            raise BundleError(f"two bundles are given for {bundle.trust_domain}: join them into one")
    return found


def _check_authority(trust_domain: TrustDomain, number: int, authority: x509.Certificate) -> None:
    try:
        constraints = authority.extensions.get_extension_for_class(x509.BasicConstraints).value
    except (x509.ExtensionNotFound, *UNREADABLE_EXTENSIONS) as refused:
        raise BundleError(
            f"authority {number} of {trust_domain} is no CA certificate: it has no readable basic constraints"
        ) from refused
    if not constraints.ca:
        raise BundleError(f"authority {number} of {trust_domain} is no CA certificate: a leaf cannot be an authority")


def _authority(what: str, number: int, key: object) -> x509.Certificate | None:
    """Return the certificate of a JWK, or None for a key that this reader is to ignore (Bundle §4.2)."""
    if not isinstance(key, dict):
        raise BundleError(f"{what}: key {number} is no object")
    if key.get("use") != USE_X509 or key.get("kty") not in {"EC", "RSA"}:
        return None
    x5c = key.get("x5c")
    if not isinstance(x5c, list) or len(x5c) != 1 or not isinstance(x5c[0], str):
        raise BundleError(f"{what}: key {number} must have exactly one certificate in `x5c` (X509-SVID §6.1)")
    if len(x5c[0]) > MAX_CERTIFICATE_BYTES * 2:
        raise BundleError(f"{what}: the certificate of key {number} has more than 16 KiB")
    try:
        authority = x509.load_der_x509_certificate(base64.b64decode(x5c[0], validate=True))
    except UNREADABLE as refused:
        raise BundleError(f"{what}: the `x5c` of key {number} is not readable as a certificate") from refused
    try:
        in_certificate = jwk.fields_of(authority.public_key())
    except (UnsupportedAlgorithm, *UNREADABLE) as refused:
        raise BundleError(f"{what}: the certificate of key {number} has a key that is not readable") from refused
    stated = {name: value for name, value in key.items() if name in jwk.FIELDS}
    if stated != in_certificate:
        raise BundleError(f"{what}: the fields of key {number} are not those of the key in its certificate")
    return authority


def _whole_number(what: str, document: Mapping[str, object], name: str) -> int | None:
    value = document.get(name)
    if value is None:
        return None
    if type(value) is not int or not 0 <= value < 1 << 63:
        raise BundleError(f"{what}: `{name}` must be a whole number of at least 0")
    return value


def _jwk(authority: x509.Certificate) -> dict[str, object]:
    """Return the JWK of an authority: `use`, one `x5c`, and no `kid` (X509-SVID §6.1)."""
    der = base64.b64encode(authority.public_bytes(Encoding.DER)).decode()
    return {**jwk.fields_of(authority.public_key()), "use": USE_X509, "x5c": [der]}


def _jwt_jwk(authority: JwtAuthority) -> dict[str, object]:
    """Return the JWK of a key that signs JWT-SVIDs: `use` and `kid` (JWT-SVID §6.1)."""
    return {**jwk.fields_of(authority.key), "use": USE_JWT, "kid": authority.key_id}


def _jwt_authority(key: object) -> JwtAuthority | None:
    """Return the JWT authority in a JWK, or None for a key that is none, or that cannot be used to verify anything."""
    if not isinstance(key, dict) or key.get("use") != USE_JWT or key.get("kty") not in {"EC", "RSA"}:
        return None
    key_id = key.get("kid")
    if not isinstance(key_id, str) or not 1 <= len(key_id) <= MAX_KEY_ID:
        return None
    try:
        return JwtAuthority(key_id=key_id, key=jwk.key_from(key))
    except ValueError:
        return None
