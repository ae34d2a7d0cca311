"""The verification of a peer: from octets that a TLS peer presented to an identity, or to a refusal (X509-SVID §5).

TLS has only checked the leaf against every authority of every trust domain together; another domain's authority could
have made it. Here the leaf is verified against the bundle of *its own* trust domain (SPIFFE Federation §7.3). The
presented intermediates are untrusted: they are only offered to the path builder, and they are bounded.

It is sans-IO: octets, bundles and `now` in, a `PeerSvid` or an exception out.
"""

from __future__ import annotations

import datetime as dt
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.types import CertificatePublicKeyTypes
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509.verification import Criticality, ExtensionPolicy, PolicyBuilder, Store, VerificationError

from certs.bundle import Bundle, Trust
from certs.errors import BadSvid, NotValidNow, Reason, Untrusted
from certs.leaf import LeafFacts, read_leaf
from certs.pem import MAX_CERTIFICATE_BYTES, MAX_CHAIN, certificates
from certs.spiffe_id import SpiffeId

# The library's own rules for authorities: critical basic constraints with cA, keyCertSign, key ids, path lengths, and
# no critical extension or name constraint that it does not understand.
_AUTHORITY_POLICY = ExtensionPolicy.webpki_defaults_ca()
# Its rules for leafs, with what X509-SVID wants otherwise. A critical alternative name beside a subject is allowed, and
# key usage is required; `read_leaf` has judged the values.
_LEAF_POLICY = (
    ExtensionPolicy.webpki_defaults_ee()
    .require_present(x509.SubjectAlternativeName, Criticality.AGNOSTIC, None)
    .require_present(x509.KeyUsage, Criticality.CRITICAL, None)
)


@dataclass(frozen=True, slots=True, kw_only=True)
class PeerSvid:
    """A verified identity.

    Attributes:
        spiffe_id: who it is.
        dns_names: DNS names beside it.
        serial: the leaf's serial number, lower-case hexadecimal.
        authority_key_id: the key id of the leaf's issuer, lower-case hexadecimal; verified to be the issuer's own.
        issuer_keys: SHA-256 of the public key of each authority on the path, the leaf's issuer first.
        not_before: when the leaf became valid, UTC.
        not_after: the leaf's last second, UTC.
        valid_until: the last second in which every certificate on the path is valid, UTC; never after `not_after`.
        fingerprint: SHA-256 of the leaf's DER, lower-case hexadecimal.
    """

    spiffe_id: SpiffeId
    dns_names: tuple[str, ...]
    serial: str
    authority_key_id: str
    issuer_keys: tuple[str, ...]
    not_before: dt.datetime
    not_after: dt.datetime
    valid_until: dt.datetime
    fingerprint: str


def verify_peer(leaf_pem: bytes, chain_pem: bytes, bundles: Trust, now: dt.datetime) -> PeerSvid:
    """Return who presented `leaf_pem`.

    Args:
        leaf_pem: exactly one certificate, at most 16 KiB.
        chain_pem: the intermediates that came with it, in any order, at most 8; empty for none.
        bundles: what is trusted now.
        now: the time of the check, aware.

    Raises:
        BadSvid, BadSpiffeId: the leaf breaks X509-SVID §2 to §4 or is out of bounds.
        NotValidNow: it is expired, or not valid yet.
        Untrusted: its trust domain has no bundle here, or no path leads to it.
    """
    leaf = _one_certificate(leaf_pem)
    facts = read_leaf(leaf)
    check_time(facts.not_before, facts.not_after, now)
    bundle = bundles.get(facts.spiffe_id.trust_domain)
    if bundle is None:
        raise Untrusted(
            f"the trust domain {facts.spiffe_id.trust_domain} is not trusted here: "
            "use an SVID of a configured trust domain, or configure its bundle",
            reason=Reason.WRONG_TRUST_DOMAIN,
        )
    path = _path(leaf, _intermediates(leaf, chain_pem), bundle, now)
    _check_authority_key(facts, path[1])
    valid_until = min(certificate.not_valid_after_utc for certificate in path)
    if now > valid_until:  # the path builder counts whole seconds: an authority may have ended within this one
        raise NotValidNow(
            f"an authority on its path expired at {valid_until:%Y-%m-%dT%H:%M:%SZ}: present a current intermediate",
            reason=Reason.EXPIRED,
        )
    return PeerSvid(
        spiffe_id=facts.spiffe_id,
        dns_names=facts.dns_names,
        serial=facts.serial,
        authority_key_id=facts.authority_key_id,
        issuer_keys=tuple(public_key_hash(authority) for authority in path[1:]),
        not_before=facts.not_before,
        not_after=facts.not_after,
        valid_until=valid_until,
        fingerprint=facts.fingerprint,
    )


def check_time(not_before: dt.datetime, not_after: dt.datetime, now: dt.datetime) -> None:
    """Raise NotValidNow unless `now` lies within the validity, both ends included (RFC 5280 §4.1.2.5)."""
    if now > not_after:
        raise NotValidNow(
            f"the certificate expired at {not_after:%Y-%m-%dT%H:%M:%SZ}: renew it, and check both clocks",
            reason=Reason.EXPIRED,
        )
    if now < not_before:
        raise NotValidNow(
            f"the certificate is not valid before {not_before:%Y-%m-%dT%H:%M:%SZ}: check both clocks",
            reason=Reason.NOT_YET_VALID,
        )


def public_key_hash(certificate: x509.Certificate) -> str:
    """Return SHA-256 of a certificate's SubjectPublicKeyInfo, in lower-case hexadecimal."""
    return key_hash_of(certificate.public_key())


def key_hash_of(key: CertificatePublicKeyTypes) -> str:
    """Return SHA-256 of a key's SubjectPublicKeyInfo, in lower-case hexadecimal."""
    return hashlib.sha256(key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)).hexdigest()


def _one_certificate(leaf_pem: bytes) -> x509.Certificate:
    if len(leaf_pem) > MAX_CERTIFICATE_BYTES:
        raise BadSvid("the certificate has more than 16 KiB", reason=Reason.TOO_LARGE)
    found = certificates(leaf_pem, at_most=1, error=BadSvid, what="the peer's certificate")
    if not found:
        raise BadSvid("the peer presented no certificate", reason=Reason.NO_CERTIFICATE)
    return found[0]


def _intermediates(leaf: x509.Certificate, chain_pem: bytes) -> list[x509.Certificate]:
    """Return the presented intermediates, each once.

    Two of them with one key are refused. The peer chooses them freely, and authorities that sign each other in circles
    would make the path builder try every order; when all keys differ, each certificate has one possible issuer.
    """
    if len(chain_pem) > MAX_CHAIN * MAX_CERTIFICATE_BYTES or chain_pem.count(b"-----BEGIN") > MAX_CHAIN:
        raise BadSvid(f"the peer presented more than {MAX_CHAIN} intermediates of 16 KiB", reason=Reason.TOO_LARGE)
    found = certificates(chain_pem, at_most=MAX_CHAIN, error=BadSvid, what="the peer's intermediates")
    kept: list[x509.Certificate] = []
    keys: set[str] = set()
    for certificate in found:
        if certificate == leaf or certificate in kept:
            continue
        key = _key_of(certificate)
        if key in keys:
            raise BadSvid("the peer presented two intermediates with one key: present one path only")
        keys.add(key)
        kept.append(certificate)
    return kept


def _key_of(certificate: x509.Certificate) -> str:
    try:
        return public_key_hash(certificate)
    except (ValueError, UnsupportedAlgorithm) as refused:
        raise BadSvid("the peer presented an intermediate whose key is not readable") from refused


def _path(
    leaf: x509.Certificate, intermediates: Sequence[x509.Certificate], bundle: Bundle, now: dt.datetime
) -> list[x509.Certificate]:
    """Return the path from the leaf to an authority of the bundle, both included; raises Untrusted when none is."""
    if not bundle.authorities:
        raise Untrusted(f"every authority of {bundle.trust_domain} is revoked: its bundle is empty")
    verifier = (
        PolicyBuilder()
        .store(Store(list(bundle.authorities)))
        .time(now)
        .max_chain_depth(MAX_CHAIN)
        .extension_policies(ca_policy=_AUTHORITY_POLICY, ee_policy=_LEAF_POLICY)
        .build_client_verifier()
    )
    try:
        path = verifier.verify(leaf, list(intermediates)).chain
    except (VerificationError, ValueError) as refused:
        why = ascii(str(refused).partition(" (encountered")[0])[1:-1]
        raise Untrusted(
            f"no path leads from the certificate to the bundle of {bundle.trust_domain}, its own trust domain: {why}. "
            "Present the intermediates with the leaf, and check that the bundle here is current"
        ) from refused
    if len(path) < 2:  # the bundle holds the leaf itself: `Bundle` takes signing certificates only
        raise Untrusted("a leaf cannot be an authority")
    return path


def _check_authority_key(facts: LeafFacts, issuer: x509.Certificate) -> None:
    """Refuse a leaf that names another key than its verified issuer's: it would escape the tainting of that key."""
    try:
        key_id = issuer.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value.digest
    except x509.ExtensionNotFound:
        key_id = x509.SubjectKeyIdentifier.from_public_key(issuer.public_key()).digest
    if key_id.hex() != facts.authority_key_id:
        raise Untrusted(
            "the certificate's authority key identifier is not that of the authority which signed it",
            reason=Reason.AUTHORITY_KEY_MISMATCH,
        )
