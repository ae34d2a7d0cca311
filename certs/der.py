"""Certificates and keys in DER, read within bounds: what the Workload API carries them in.

It knows no SPIFFE rule. Each function names what it was reading in its error, through the `error` it is given.
"""

from __future__ import annotations

from collections.abc import Iterator

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization

from certs.errors import CertsError
from certs.pem import MAX_CERTIFICATE_BYTES, UNREADABLE, PrivateKey

_SEQUENCE = 0x30
_LONG_FORM = 0x80


def certificates(der: bytes, *, at_most: int, error: type[CertsError], what: str) -> tuple[x509.Certificate, ...]:
    """Return the certificates that stand one after the other in `der`: none for empty input.

    Raises `error` for anything else, for more than `at_most`, and for any of more than 16 KiB.
    """
    if len(der) > at_most * MAX_CERTIFICATE_BYTES:
        raise error(f"{what}: {len(der)} bytes are more than {at_most} certificates of 16 KiB may take")
    found: list[x509.Certificate] = []
    for octets in _elements(der, error, what):
        if len(found) == at_most:
            raise error(f"{what}: more than {at_most} certificates")
        if len(octets) > MAX_CERTIFICATE_BYTES:
            raise error(f"{what}: a certificate of {len(octets)} bytes; 16 KiB at most")
        try:
            found.append(x509.load_der_x509_certificate(octets))
        except UNREADABLE as refused:
            raise error(f"{what}: not readable as certificates in DER") from refused
    return tuple(found)


def private_key(der: bytes, *, error: type[CertsError], what: str) -> PrivateKey:
    """Return the unencrypted EC or RSA private key in `der` (PKCS #8); raises `error` for anything else."""
    try:
        key = serialization.load_der_private_key(der, password=None)
    except (TypeError, ValueError, UnsupportedAlgorithm):
        key = None
    if key is None:  # outside of the handler: a library's error may quote octets of a key
        raise error(f"{what}: not readable as an unencrypted private key in DER (PKCS #8)")
    if not isinstance(key, PrivateKey):
        raise error(f"{what}: a key of type {type(key).__name__}; use ECDSA (P-256) or RSA")
    return key


def _elements(der: bytes, error: type[CertsError], what: str) -> Iterator[bytes]:
    """Yield the SEQUENCEs that `der` consists of, each with its header (X.690 §8.1)."""
    rest = memoryview(der)
    while rest:
        end = _end(rest)
        if end is None or end > len(rest):
            raise error(f"{what}: not readable as certificates in DER, one after the other")
        yield bytes(rest[:end])
        rest = rest[end:]


def _end(octets: memoryview) -> int | None:
    """Return where the first element ends; None when it is no SEQUENCE of a definite length below 2^32."""
    if len(octets) < 2 or octets[0] != _SEQUENCE:
        return None
    length = octets[1]
    if length < _LONG_FORM:
        return 2 + length
    count = length - _LONG_FORM
    if not 1 <= count <= 4 or len(octets) < 2 + count:
        return None
    return 2 + count + int.from_bytes(octets[2 : 2 + count], "big")
