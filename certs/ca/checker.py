"""The third party to a certificate: reads the signed DER again, and lets it out of the authority only if it is sound.

It does not see the plan. It knows what was asked for, who signed, and rules of its own, written independently of
`certs.ca.profile` and `certs.ca.signer`, so that a defect in either is caught here instead of in a peer's logs.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Set as AbstractSet

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import ExtensionOID

from certs.ca.profile import LeafRequest, PublicKey
from certs.errors import CheckFailed, IdentityRefused
from certs.leaf import read_leaf
from certs.spiffe_id import TrustDomain

_LONGEST_LEAF = dt.timedelta(hours=24, minutes=1)
_LONGEST_AUTHORITY = dt.timedelta(days=3651)
_COMMON = frozenset(
    {
        ExtensionOID.BASIC_CONSTRAINTS,
        ExtensionOID.KEY_USAGE,
        ExtensionOID.SUBJECT_KEY_IDENTIFIER,
        ExtensionOID.AUTHORITY_KEY_IDENTIFIER,
        ExtensionOID.SUBJECT_ALTERNATIVE_NAME,
    }
)
_LEAF_EXTENSIONS = _COMMON | {ExtensionOID.EXTENDED_KEY_USAGE}


def check_leaf(
    der: bytes, request: LeafRequest, key: PublicKey, issuer: x509.Certificate, now: dt.datetime, *, crl_url: str = ""
) -> x509.Certificate:
    """Return the leaf in `der` if it is an X509-SVID, the one that was asked for, and valid at `now`.

    It names `crl_url` as the place of its issuer's revocation list, and no other. Raises CheckFailed.
    """
    leaf = _read(der)
    _check_extensions(leaf, _LEAF_EXTENSIONS, crl_url, "it has other extensions than a leaf's")
    _check_binding(leaf, key, issuer, issuer.public_key())
    try:
        facts = read_leaf(leaf)
    except IdentityRefused as refused:
        raise CheckFailed(f"the signed certificate is no X509-SVID, and is not handed out: {refused}") from refused
    names = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    _require(facts.spiffe_id == request.spiffe_id, "it names another SPIFFE ID than was asked for")
    _require(facts.dns_names == request.dns_names, "it has other DNS names than were asked for")
    _require(len(names) == 1 + len(request.dns_names), "it has alternative names that were not asked for")
    _require(facts.not_before <= now < facts.not_after, "it is not valid now")
    _require(facts.not_after - facts.not_before <= _LONGEST_LEAF, "it is valid for more than 24 hours")
    _require(facts.not_after <= issuer.not_valid_after_utc, "it outlives its issuer")
    _require(leaf.public_key() != issuer.public_key(), "it has its issuer's key")
    _require(_is_strong(leaf.public_key()), "its key is weak, or of a kind that is not allowed")
    return leaf


def check_authority(
    der: bytes,
    trust_domain: TrustDomain,
    key: ec.EllipticCurvePublicKey,
    issuer: x509.Certificate | None,
    path_length: int,
    *,
    crl_url: str = "",
) -> x509.Certificate:
    """Return the authority in `der` if it is a signing certificate of `trust_domain`; `issuer` None: self-signed.

    `crl_url` as for a leaf. Raises CheckFailed.
    """
    authority = _read(der)
    extensions = authority.extensions
    _check_extensions(authority, _COMMON, crl_url, "it has other extensions than an authority's")
    _require(isinstance(key.curve, ec.SECP256R1), "its key is not on P-256")
    if issuer is None:
        _check_binding(authority, key, authority, key)
    else:
        _check_binding(authority, key, issuer, issuer.public_key())
        _require(authority.not_valid_after_utc <= issuer.not_valid_after_utc, "it outlives its issuer")
    constraints = extensions.get_extension_for_class(x509.BasicConstraints)
    usage = extensions.get_extension_for_class(x509.KeyUsage)
    names = list(extensions.get_extension_for_class(x509.SubjectAlternativeName).value)
    _require(constraints.critical and constraints.value.ca, "it is no CA certificate")
    _require(constraints.value.path_length == path_length, "its path length is not the one asked for")
    _require(usage.critical and usage.value.key_cert_sign, "it may not sign certificates")
    _require(not usage.value.digital_signature, "an authority must not authenticate")
    _require(names == [x509.UniformResourceIdentifier(trust_domain.spiffe_id)], "it names another trust domain")
    lifetime = authority.not_valid_after_utc - authority.not_valid_before_utc
    _require(dt.timedelta() < lifetime <= _LONGEST_AUTHORITY, "its lifetime is out of bounds")
    return authority


def _read(der: bytes) -> x509.Certificate:
    try:
        certificate = x509.load_der_x509_certificate(der)
        list(certificate.extensions)
    except (ValueError, x509.DuplicateExtension) as refused:
        raise CheckFailed("the signed certificate is not readable, and is not handed out") from refused
    return certificate


def _check_extensions(
    certificate: x509.Certificate, known: AbstractSet[x509.ObjectIdentifier], crl_url: str, why: str
) -> None:
    """Check that these extensions are there and no others, and where the revocation list is said to be."""
    where = {ExtensionOID.CRL_DISTRIBUTION_POINTS} if crl_url else set()
    _require({found.oid for found in certificate.extensions} == known | where, why)
    if crl_url:
        (place, *more) = certificate.extensions.get_extension_for_class(x509.CRLDistributionPoints).value
        named = [x509.UniformResourceIdentifier(crl_url)]
        _require(not more and place.full_name == named, "it names another place for the revocation list")
        _require(place.crl_issuer is None and place.reasons is None, "it has its revocation list made by others")


def _check_binding(
    certificate: x509.Certificate,
    key: PublicKey,
    issuer: x509.Certificate,
    issuer_key: object,
) -> None:
    """Check whose certificate it is and who signed it."""
    _require(certificate.public_key() == key, "it is for another key than was asked for")
    _require(0 < certificate.serial_number < 1 << 159, "its serial number is out of bounds")
    try:
        certificate.verify_directly_issued_by(issuer)
    except (ValueError, TypeError, InvalidSignature) as refused:
        raise CheckFailed("the signed certificate does not verify, and is not handed out") from refused
    if not isinstance(issuer_key, ec.EllipticCurvePublicKey):
        raise CheckFailed("the issuer's key is not an EC key")
    expected = x509.SubjectKeyIdentifier.from_public_key(issuer_key).digest
    named = certificate.extensions.get_extension_for_class(x509.AuthorityKeyIdentifier).value.key_identifier
    _require(named == expected, "it does not name its issuer's key")


def _is_strong(key: object) -> bool:
    """Say whether a leaf's key is one that peers accept: 112 bits of security at least."""
    if isinstance(key, rsa.RSAPublicKey):
        return 2048 <= key.key_size <= 4096
    return isinstance(key, ec.EllipticCurvePublicKey) and key.curve.name in {"secp256r1", "secp384r1"}


def _require(condition: bool, why: str) -> None:
    if not condition:
        raise CheckFailed(f"the signed certificate is not handed out: {why}")
