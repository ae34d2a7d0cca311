"""PEM blocks, read within bounds: the one place where octets become certificates and private keys.

It knows no SPIFFE rule. Each function names what it was reading in its error, through the `error` it is given.
"""

from __future__ import annotations

from collections.abc import Sequence

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.utils import CryptographyDeprecationWarning

from certs.errors import CertsError

PrivateKey = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey

MAX_CERTIFICATE_BYTES = 16 * 1024
MAX_CHAIN = 8

# What `cryptography` raises for octets that are no certificate. It only warns of a serial number that is not positive;
# where warnings are errors, that is an unreadable certificate too, and elsewhere `certs.leaf` refuses it.
UNREADABLE = (ValueError, x509.InvalidVersion, CryptographyDeprecationWarning)

# ... and for extensions that are none, or that it does not know how to read: they are parsed when they are asked for.
UNREADABLE_EXTENSIONS = (*UNREADABLE, x509.DuplicateExtension, x509.UnsupportedGeneralNameType)

_BEGIN = b"-----BEGIN CERTIFICATE-----"


def certificates(pem: bytes, *, at_most: int, error: type[CertsError], what: str) -> tuple[x509.Certificate, ...]:
    """Return the certificates in `pem`, in order: none for empty input.

    Raises `error` for octets that are not PEM, for more than `at_most` certificates, and for any of more than 16 KiB.
    """
    if len(pem) > at_most * MAX_CERTIFICATE_BYTES:
        raise error(f"{what}: {len(pem)} bytes are more than {at_most} certificates of 16 KiB may take")
    count = pem.count(_BEGIN)
    if count > at_most:
        raise error(f"{what}: {count} certificates, and at most {at_most} are read")
    if not pem.strip():
        return ()
    try:
        found = tuple(x509.load_pem_x509_certificates(pem))
    except UNREADABLE as refused:
        raise error(f"{what}: not readable as certificates in PEM: {refused}") from refused
    if len(found) != count:  # a block with another label, such as TRUSTED CERTIFICATE, was counted by one side only
        raise error(f"{what}: {count} certificates were expected and {len(found)} read")
    return found


def private_key(pem: bytes, *, error: type[CertsError], what: str) -> PrivateKey:
    """Return the unencrypted EC or RSA private key in `pem`; raises `error` for anything else."""
    try:
        key = serialization.load_pem_private_key(pem, password=None)
    except TypeError as refused:
        raise error(f"{what}: the private key is encrypted; smsgw reads unencrypted keys in files of mode 0600") from (
            refused
        )
    except (ValueError, UnsupportedAlgorithm) as refused:
        raise error(f"{what}: not readable as a private key in PEM (PKCS #8)") from refused
    if not isinstance(key, PrivateKey):
        raise error(f"{what}: a key of type {type(key).__name__}; use ECDSA (P-256) or RSA")
    return key


def encode_certificates(found: Sequence[x509.Certificate]) -> bytes:
    """Return certificates as PEM, in order."""
    return b"".join(certificate.public_bytes(serialization.Encoding.PEM) for certificate in found)


def encode_private_key(key: PrivateKey) -> bytes:
    """Return a private key as unencrypted PKCS #8 PEM. Write it only to files of mode 0600."""
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
