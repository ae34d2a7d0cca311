"""Who calls: the one place where a peer's certificate becomes a `Caller`.

It takes what gRPC's `auth_context()` gives, and trusts none of gRPC's own reading of it. `certs.verify` reads and
verifies the leaf; here the result is kept, since the same connection asks for each of its calls, and the end of the
validity is checked every time: a resumed TLS session or a long stream outlives the certificate it began with.

Revocation is not here: it is a guard of its own, on the `Caller` that this module makes.
"""

from __future__ import annotations

import datetime as dt
from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from cryptography import x509

from certs.bundle import Trust
from certs.errors import CertsError, IdentityRefused, Reason
from certs.leaf import read_leaf
from certs.pem import MAX_CERTIFICATE_BYTES
from certs.spiffe_id import SpiffeId
from certs.verify import PeerSvid, verify_peer
from gateway.errors import GatewayError, PermissionDenied, Unauthenticated

NO_TENANT = "NO_TENANT"
DEFAULT_CACHE_SIZE = 4096

# Keys of gRPC's auth context (grpc/grpc_security_constants.h).
LEAF_KEY = "x509_pem_cert"
CHAIN_KEY = "x509_pem_cert_chain"  # the intermediates the peer presented, without the leaf, in one text


@dataclass(frozen=True, slots=True, kw_only=True)
class Caller:
    """A verified caller.

    Attributes:
        spiffe_id: who it is, as text: the owner of what it makes.
        trust_domain: the name of its trust domain.
        path: the path of its SPIFFE ID, with the leading slash.
        tenant: the tenant it belongs to; "" for one that operates the node.
        serial: its leaf's serial number, lower-case hexadecimal.
        authority_key_id: the key id of the leaf's verified issuer, lower-case hexadecimal.
        issuer_keys: SHA-256 of the public key of each authority on its path, the leaf's issuer first.
        not_before: when its leaf became valid, UTC; authorities date it back.
        not_after: the last second in which the leaf, and every authority on its path, is valid; UTC.
        fingerprint: SHA-256 of the leaf, lower-case hexadecimal.
    """

    spiffe_id: str
    trust_domain: str
    path: str
    tenant: str
    serial: str
    authority_key_id: str
    issuer_keys: tuple[str, ...]
    not_before: dt.datetime
    not_after: dt.datetime
    fingerprint: str


def utc_now() -> dt.datetime:
    """Return the present time: the clock of a resolver that is given no other."""
    return dt.datetime.now(dt.UTC)


def still_valid(caller: Caller, now: dt.datetime) -> bool:
    """Say whether the caller's certificates are still valid: for each message of a stream. See `require_valid`."""
    return now <= caller.not_after


def require_valid(caller: Caller, now: dt.datetime) -> None:
    """Raise Unauthenticated (reason EXPIRED) when the caller's certificates are not valid any more."""
    if now > caller.not_after:
        raise Unauthenticated(
            f"the certificate expired at {caller.not_after:%Y-%m-%dT%H:%M:%SZ}: renew it, and connect again",
            reason=Reason.EXPIRED.value,
        )


class CallerResolver:
    """Turns auth contexts into callers, and remembers the verified ones.

    A leaf is remembered by its octets, never by the peer's address, until the bundles change; at most `cache_size`,
    the least recently used goes first. The intermediates are not part of the key: once a path has been found, the
    leaf is known to be genuine, whatever else is presented with it, until the first certificate on that path ends.
    Refusals are not remembered. It belongs to one event loop.
    """

    def __init__(
        self,
        bundles: Trust,
        tenant_of: Callable[[SpiffeId], str | None],
        clock: Callable[[], dt.datetime] = utc_now,
        *,
        cache_size: int = DEFAULT_CACHE_SIZE,
    ) -> None:
        """Args:
        bundles: what is trusted; replaced bundles count from the next call on.
        tenant_of: the tenant of an identity, None for none, "" for one that operates the node (`gateway.admins`);
            it may refuse one by PermissionDenied. Call `forget` when its answers change.
        clock: the present time, aware.
        cache_size: how many leafs are remembered, at least 1.
        """
        if cache_size < 1:
            raise ValueError("cache_size must be at least 1")
        self._bundles = bundles
        self._tenant_of = tenant_of
        self._clock = clock
        self._cache_size = cache_size
        self._known: OrderedDict[bytes, Caller] = OrderedDict()
        self._known_version = bundles.version

    @property
    def version(self) -> int:
        """The version of the bundles: what was resolved by another one has to be resolved anew."""
        return self._bundles.version

    def resolve(
        self, auth_context: Mapping[str, Iterable[bytes]], before_verifying: Callable[[], None] | None = None
    ) -> Caller:
        """Return who calls.

        A certificate that has to be verified costs as much as several messages: `before_verifying` is called first,
        and what it raises refuses it unread.

        Raises Unauthenticated, with a reason of `certs.errors.Reason`, when the certificate proves no identity, and
        PermissionDenied (NO_TENANT, or what `tenant_of` raises) when the identity belongs to no tenant.
        """
        leaf_pem = _single(auth_context, LEAF_KEY)
        if self._known_version != self._bundles.version:
            self.forget()
        caller = self._known.get(leaf_pem)
        now = self._clock()
        if caller is not None:
            if now <= caller.not_after:
                self._known.move_to_end(leaf_pem)
                return caller
            # The leaf has ended, which verifying it says; or an intermediate has, and another one may be presented.
            del self._known[leaf_pem]
        if before_verifying is not None:
            before_verifying()
        return self._remember(leaf_pem, self._verify(leaf_pem, _single(auth_context, CHAIN_KEY), now))

    def forget(self) -> None:
        """Forget every verified leaf: each is verified, and its tenant looked up, anew."""
        self._known.clear()
        self._known_version = self._bundles.version

    def _verify(self, leaf_pem: bytes, chain_pem: bytes, now: dt.datetime) -> Caller:
        try:
            peer = verify_peer(leaf_pem, chain_pem, self._bundles, now)
        except IdentityRefused as refused:
            raise Unauthenticated(str(refused), reason=refused.reason.value) from refused
        tenant = self._tenant_of(peer.spiffe_id)
        if tenant is None:
            raise PermissionDenied(
                f"{peer.spiffe_id} belongs to no tenant: map its trust domain and path to one in the configuration",
                reason=NO_TENANT,
                metadata={"spiffe_id": str(peer.spiffe_id)},
            )
        return _caller(peer, tenant)

    def _remember(self, leaf_pem: bytes, caller: Caller) -> Caller:
        self._known[leaf_pem] = caller
        if len(self._known) > self._cache_size:
            self._known.popitem(last=False)
        return caller


def presented(auth_context: Mapping[str, Iterable[bytes]]) -> tuple[str, str]:
    """Return serial number and authority key id that a refused leaf names, both hexadecimal, "" where it has none.

    They prove nothing: they are for whoever has to find out whose certificate it is.
    """
    try:
        leaf_pem = _single(auth_context, LEAF_KEY)
        if len(leaf_pem) > MAX_CERTIFICATE_BYTES:
            return "", ""
        facts = read_leaf(x509.load_pem_x509_certificate(leaf_pem))
    except (CertsError, GatewayError, ValueError):
        return "", ""
    return facts.serial, facts.authority_key_id


def _single(auth_context: Mapping[str, Iterable[bytes]], key: str) -> bytes:
    """Return the one value of `key`, b"" for none; more than one is refused, since gRPC never gives that."""
    values = tuple(auth_context.get(key, ()))
    if len(values) > 1:
        raise Unauthenticated(f"the TLS stack reports {len(values)} values of {key}", reason=Reason.MALFORMED.value)
    return values[0] if values else b""


def _caller(peer: PeerSvid, tenant: str) -> Caller:
    return Caller(
        spiffe_id=str(peer.spiffe_id),
        trust_domain=peer.spiffe_id.trust_domain.name,
        path=peer.spiffe_id.path,
        tenant=tenant,
        serial=peer.serial,
        authority_key_id=peer.authority_key_id,
        issuer_keys=peer.issuer_keys,
        not_before=peer.not_before,
        not_after=peer.valid_until,
        fingerprint=peer.fingerprint,
    )
