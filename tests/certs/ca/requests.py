"""Certificate signing requests for tests, as sound or as broken as asked for."""

from __future__ import annotations

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding

from tests.certificates import PrivateKey, new_key


def csr(key: PrivateKey | None = None, *extensions: x509.ExtensionType, common_name: str = "") -> bytes:
    """Return a request for `key`, signed by it, in DER."""
    key = key or new_key()
    names = [x509.NameAttribute(x509.NameOID.COMMON_NAME, common_name)] if common_name else []
    builder = x509.CertificateSigningRequestBuilder().subject_name(x509.Name(names))
    for extension in extensions:
        builder = builder.add_extension(extension, critical=False)
    return builder.sign(key, hashes.SHA256()).public_bytes(Encoding.DER)
