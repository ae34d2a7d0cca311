"""The second party to a certificate, or a revocation list: signs a plan, and adds nothing that it does not decide.

The extensions follow from one question, whether the plan is an authority's or a leaf's (X509-SVID §4).
"""

from __future__ import annotations

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from certs.ca.crl_profile import CrlEntry, CrlPlan
from certs.ca.profile import CertificatePlan


def sign(plan: CertificatePlan, issuer_name: x509.Name | None, issuer_key: ec.EllipticCurvePrivateKey) -> bytes:
    """Return the DER of the plan's certificate, signed by `issuer_key` with ECDSA and SHA-256.

    `issuer_name` is the subject of the issuer's certificate; None makes the certificate self-signed.
    """
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, plan.common_name)] if plan.common_name else [])
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject if issuer_name is None else issuer_name)
        .public_key(plan.public_key)
        .serial_number(plan.serial)
        .not_valid_before(plan.not_before)
        .not_valid_after(plan.not_after)
    )
    for extension, critical in _extensions(plan, issuer_key.public_key()):
        builder = builder.add_extension(extension, critical)
    return builder.sign(issuer_key, hashes.SHA256()).public_bytes(Encoding.DER)


def _extensions(plan: CertificatePlan, issuer_key: ec.EllipticCurvePublicKey) -> list[tuple[x509.ExtensionType, bool]]:
    is_authority = plan.path_length is not None
    names: list[x509.GeneralName] = [x509.UniformResourceIdentifier(plan.uri)]
    names += [x509.DNSName(name) for name in plan.dns_names]
    extensions: list[tuple[x509.ExtensionType, bool]] = [
        (x509.BasicConstraints(ca=is_authority, path_length=plan.path_length), True),
        (_key_usage(is_authority=is_authority), True),
        (x509.SubjectKeyIdentifier.from_public_key(plan.public_key), False),
        (x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer_key), False),
        (x509.SubjectAlternativeName(names), not plan.common_name),  # critical when the subject is empty
    ]
    if plan.crl_url:
        place = x509.DistributionPoint([x509.UniformResourceIdentifier(plan.crl_url)], None, None, None)
        extensions.append((x509.CRLDistributionPoints([place]), False))  # RFC 5280 §4.2.1.13
    if not is_authority:
        purposes = [ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]
        extensions.append((x509.ExtendedKeyUsage(purposes), False))
    return extensions


def _key_usage(*, is_authority: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not is_authority,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=is_authority,
        crl_sign=is_authority,
        encipher_only=False,
        decipher_only=False,
    )


def sign_crl(plan: CrlPlan, issuer_key: ec.EllipticCurvePrivateKey) -> bytes:
    """Return the DER of the plan's revocation list (RFC 5280 §5), signed by `issuer_key` with ECDSA and SHA-256."""
    key_id = x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer_key.public_key())
    extensions: list[x509.Extension[x509.ExtensionType]] = [
        x509.Extension(key_id.oid, False, key_id),
        x509.Extension(x509.CRLNumber.oid, False, x509.CRLNumber(plan.number)),
    ]
    builder = x509.CertificateRevocationListBuilder(  # at once: adding one by one copies the list each time
        plan.issuer, plan.this_update, plan.next_update, extensions, [_revoked(entry) for entry in plan.entries]
    )
    return builder.sign(issuer_key, hashes.SHA256()).public_bytes(Encoding.DER)


def _revoked(entry: CrlEntry) -> x509.RevokedCertificate:
    builder = x509.RevokedCertificateBuilder().serial_number(entry.serial).revocation_date(entry.revoked_at)
    if entry.reason is not None:
        builder = builder.add_extension(x509.CRLReason(entry.reason), critical=False)
    return builder.build()
