"""The strict reading of a leaf certificate: X509-SVID §2 to §4, before any signature is looked at.

It answers one question: if this certificate is genuine, whose is it? Whether it is genuine is for `certs.verify`.
Everything the specification forbids is refused, with a reason of its own; nothing is repaired or normalised.
"""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from typing import TypeVar

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.x509.oid import ExtendedKeyUsageOID

from certs.errors import BadSpiffeId, BadSvid, Reason
from certs.pem import UNREADABLE_EXTENSIONS
from certs.spiffe_id import SpiffeId

_Extension = TypeVar("_Extension", bound=x509.ExtensionType)


@dataclass(frozen=True, slots=True, kw_only=True)
class LeafFacts:
    """What a leaf says of itself.

    Attributes:
        spiffe_id: the identity; its path is never empty.
        dns_names: DNS names beside it, as a server's SVID has one.
        serial: the serial number in lower-case hexadecimal.
        authority_key_id: the key id of the issuer that the leaf names, in lower-case hexadecimal.
        not_before: the first second of its validity, UTC.
        not_after: the last second of its validity, UTC.
        fingerprint: SHA-256 of its DER, in lower-case hexadecimal. It names these octets: an ECDSA signature can be
            written in two ways, so revoke by issuer and serial number.
    """

    spiffe_id: SpiffeId
    dns_names: tuple[str, ...]
    serial: str
    authority_key_id: str
    not_before: dt.datetime
    not_after: dt.datetime
    fingerprint: str


def read_leaf(leaf: x509.Certificate) -> LeafFacts:
    """Return what the certificate says of itself.

    Raises BadSvid or BadSpiffeId, with the reason, for what X509-SVID §2 to §4 does not allow in a leaf.
    """
    extensions = _extensions(leaf)
    _refuse_signing(extensions)
    names = _alternative_names(leaf, extensions)
    return LeafFacts(
        spiffe_id=_spiffe_id(names),
        dns_names=tuple(names.get_values_for_type(x509.DNSName)),
        serial=f"{leaf.serial_number:x}",
        authority_key_id=_authority_key_id(extensions),
        not_before=leaf.not_valid_before_utc,
        not_after=leaf.not_valid_after_utc,
        fingerprint=leaf.fingerprint(hashes.SHA256()).hex(),
    )


def _extensions(leaf: x509.Certificate) -> x509.Extensions:
    """Return the extensions: `cryptography` refuses malformed and repeated ones here."""
    try:
        if leaf.version is not x509.Version.v3:
            raise BadSvid("the certificate is no X.509 version 3 certificate: issue an X509-SVID")
        if leaf.serial_number <= 0:  # RFC 5280 §4.1.2.2
            raise BadSvid("the certificate's serial number is not positive: issue an X509-SVID")
        return leaf.extensions
    except UNREADABLE_EXTENSIONS as refused:
        raise BadSvid("the certificate has malformed or repeated extensions: issue an X509-SVID") from refused


def _find(extensions: x509.Extensions, kind: type[_Extension]) -> x509.Extension[_Extension] | None:
    try:
        return extensions.get_extension_for_class(kind)
    except x509.ExtensionNotFound:
        return None


def _refuse_signing(extensions: x509.Extensions) -> None:
    """Refuse whatever could sign certificates, and key usages that are not a leaf's (X509-SVID §3.2, §4.1, §4.3)."""
    constraints = _find(extensions, x509.BasicConstraints)
    if constraints is not None and constraints.value.ca:
        raise BadSvid(
            "a signing certificate (cA is true) never authenticates: present a leaf SVID",
            reason=Reason.SIGNING_CERTIFICATE,
        )
    usage = _find(extensions, x509.KeyUsage)
    if usage is None or not usage.critical:
        raise BadSvid("the certificate must have a critical key usage extension", reason=Reason.KEY_USAGE)
    if usage.value.key_cert_sign or usage.value.crl_sign:
        raise BadSvid(
            "a certificate that may sign certificates or revocation lists never authenticates: present a leaf SVID",
            reason=Reason.SIGNING_CERTIFICATE,
        )
    if not usage.value.digital_signature:
        raise BadSvid("the certificate's key usage must include digitalSignature", reason=Reason.KEY_USAGE)
    purposes = _find(extensions, x509.ExtendedKeyUsage)
    if purposes is not None and not {ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH} <= set(
        purposes.value
    ):  # X509-SVID §4.4
        raise BadSvid(
            "the certificate's extended key usage must include both serverAuth and clientAuth, or be left out",
            reason=Reason.EXTENDED_KEY_USAGE,
        )


def _alternative_names(leaf: x509.Certificate, extensions: x509.Extensions) -> x509.SubjectAlternativeName:
    names = _find(extensions, x509.SubjectAlternativeName)
    if names is None:
        raise BadSvid(
            "the certificate has no subject alternative name: it needs exactly one URI, its SPIFFE ID",
            reason=Reason.NO_URI_SAN,
        )
    if not names.critical and not list(leaf.subject):  # RFC 5280 §4.2.1.6
        raise BadSvid(
            "the subject alternative name must be critical when the subject is empty", reason=Reason.SAN_NOT_CRITICAL
        )
    return names.value


def _spiffe_id(names: x509.SubjectAlternativeName) -> SpiffeId:
    """Return the one identity (X509-SVID §2), of a workload and not of the trust domain itself (§3.1)."""
    uris = names.get_values_for_type(x509.UniformResourceIdentifier)
    if not uris:
        raise BadSvid(
            "the certificate has no URI among its alternative names: it needs exactly one, its SPIFFE ID",
            reason=Reason.NO_URI_SAN,
        )
    if len(uris) > 1:
        raise BadSvid(
            f"the certificate has {len(uris)} URIs among its alternative names, and exactly one is allowed",
            reason=Reason.MANY_URI_SANS,
        )
    spiffe_id = SpiffeId.parse(uris[0])
    if not spiffe_id.path:
        raise BadSpiffeId(
            f"{spiffe_id} names a trust domain and no workload: a leaf's SPIFFE ID needs a path",
            reason=Reason.NO_WORKLOAD_PATH,
        )
    return spiffe_id


def _authority_key_id(extensions: x509.Extensions) -> str:
    """Return the key id of the issuer: without it the certificate could not be tied to a tainted authority."""
    found = _find(extensions, x509.AuthorityKeyIdentifier)
    key_id = None if found is None else found.value.key_identifier
    if not key_id:
        raise BadSvid(
            "the certificate does not name its issuer's key: it needs an authority key identifier with a key id",
            reason=Reason.NO_AUTHORITY_KEY_ID,
        )
    return key_id.hex()
