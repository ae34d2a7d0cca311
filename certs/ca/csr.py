"""Certificate signing requests (PKCS #10, RFC 2986): proof that the caller holds the key it wants a certificate for.

Of a request only the public key counts. Extensions are the profile's business: a request that asks for any, or brings
any other attribute, is refused rather than ignored, so that nobody believes to have got what was not granted. Its
subject is ignored.
"""

from __future__ import annotations

from typing import Final

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm

from certs.ca.profile import PublicKey, check_key
from certs.errors import ProfileRefused, Reason

MAX_CSR_BYTES: Final = 8 * 1024


def read_csr(der: bytes) -> PublicKey:
    """Return the key in a request that its own key has signed. Raises ProfileRefused."""
    if len(der) > MAX_CSR_BYTES:
        raise ProfileRefused(f"the signing request has {len(der)} bytes; {MAX_CSR_BYTES} at most", reason=Reason.CSR)
    try:
        request = x509.load_der_x509_csr(der)
        sound = request.is_signature_valid
        asks = len(request.attributes)
        key = request.public_key()
    except (ValueError, TypeError, UnsupportedAlgorithm) as refused:
        raise ProfileRefused("not readable as a signing request: send PKCS #10 in DER", reason=Reason.CSR) from refused
    if not sound:
        raise ProfileRefused("the signing request is not signed by the key that it is for", reason=Reason.CSR)
    if asks:
        raise ProfileRefused(
            "the signing request asks for extensions or has other attributes: the registration decides what is in a "
            "certificate, send a request without them",
            reason=Reason.CSR,
        )
    return check_key(key)
