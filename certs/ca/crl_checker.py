"""The third party to a revocation list: reads the signed DER again, and lets it out only if it says what is revoked.

It does not see the plan. It knows what is revoked, who signs and when, and rules of its own, written independently of
`certs.ca.crl_profile` and `certs.ca.signer`. A list that leaves one out would be believed by every peer.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from collections.abc import Set as AbstractSet
from typing import Final

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import CRLEntryExtensionOID, ExtensionOID, SignatureAlgorithmOID

from certs.errors import CheckFailed

_EXTENSIONS: Final = {ExtensionOID.AUTHORITY_KEY_IDENTIFIER, ExtensionOID.CRL_NUMBER}
_LONGEST: Final = dt.timedelta(days=401)
_CODES: Final[Mapping[x509.ReasonFlags, int]] = {
    x509.ReasonFlags.key_compromise: 1,
    x509.ReasonFlags.ca_compromise: 2,
    x509.ReasonFlags.affiliation_changed: 3,
    x509.ReasonFlags.superseded: 4,
    x509.ReasonFlags.cessation_of_operation: 5,
    x509.ReasonFlags.privilege_withdrawn: 9,
}


def check_crl(
    der: bytes,
    issuer: x509.Certificate,
    now: dt.datetime,
    *,
    number: int,
    revoked: Mapping[str, int],
    current: AbstractSet[str],
) -> x509.CertificateRevocationList:
    """Return the list in `der` if it is `issuer`'s, valid at `now`, and says what is revoked. Raises CheckFailed.

    Args:
        der: as it was signed.
        issuer: whose list it is to be.
        now: the time of the check.
        number: what it is to be numbered.
        revoked: everything on record: what may be listed, and for which code (RFC 5280 §5.3.1). Serial numbers are in
            lower-case hexadecimal.
        current: what must be listed: all that is revoked and has not ended.
    """
    crl = _read(der)
    _check_binding(crl, issuer)
    _require(crl.extensions.get_extension_for_class(x509.CRLNumber).value.crl_number == number, "its number is wrong")
    next_update = crl.next_update_utc
    _require(next_update is not None, "it does not say when the next one comes")
    _require(next_update is not None and crl.last_update_utc <= now < next_update, "it is not valid now")
    _require(next_update is not None and next_update - crl.last_update_utc <= _LONGEST, "it is valid for too long")
    listed = {f"{entry.serial_number:x}": _code(entry) for entry in crl}
    _require(len(listed) == len(crl), "it lists a certificate twice")
    _require(listed.keys() >= current, "it leaves out what is revoked")
    _require(listed.items() <= dict(revoked).items(), "it lists what is not revoked, or for other reasons")
    _require(all(entry.revocation_date_utc <= now for entry in crl), "it lists what is not revoked yet")
    return crl


def _read(der: bytes) -> x509.CertificateRevocationList:
    try:
        crl = x509.load_der_x509_crl(der)
        found = {extension.oid for extension in crl.extensions}
    except (ValueError, x509.DuplicateExtension) as refused:
        raise CheckFailed("the signed revocation list is not readable, and is not published") from refused
    _require(found == _EXTENSIONS, "it has other extensions than a full list's")
    _require(not any(extension.critical for extension in crl.extensions), "it has a critical extension")
    return crl


def _check_binding(crl: x509.CertificateRevocationList, issuer: x509.Certificate) -> None:
    """Check who signed it, and that this one may (RFC 5280 §4.2.1.3)."""
    key = issuer.public_key()
    if not isinstance(key, ec.EllipticCurvePublicKey):
        raise CheckFailed("the issuer's key is not an EC key")
    try:
        sound = crl.is_signature_valid(key)
    except (ValueError, TypeError, InvalidSignature, UnsupportedAlgorithm) as refused:
        raise CheckFailed("the signed revocation list does not verify, and is not published") from refused
    _require(sound, "its signature is not its issuer's")
    _require(crl.signature_algorithm_oid == SignatureAlgorithmOID.ECDSA_WITH_SHA256, "it is signed in another way")
    _require(crl.issuer == issuer.subject, "it names another issuer")
    _require(issuer.extensions.get_extension_for_class(x509.KeyUsage).value.crl_sign, "its issuer may not sign lists")
    expected = issuer.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value.digest
    named = crl.extensions.get_extension_for_class(x509.AuthorityKeyIdentifier).value.key_identifier
    _require(named == expected, "it does not name its issuer's key")


def _code(entry: x509.RevokedCertificate) -> int:
    extensions = list(entry.extensions)
    _require(all(found.oid == CRLEntryExtensionOID.CRL_REASON for found in extensions), "an entry has other extensions")
    if not extensions:
        return 0
    reason = entry.extensions.get_extension_for_class(x509.CRLReason).value.reason
    _require(reason in _CODES, "an entry has a reason that is not for good")
    return _CODES[reason]


def _require(condition: bool, why: str) -> None:
    if not condition:
        raise CheckFailed(f"the signed revocation list is not published: {why}")
