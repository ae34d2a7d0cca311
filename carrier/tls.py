"""TLS towards a carrier: 1.3, or 1.2 where the profile says so; chain and host name verified; refusals in plain words.

Pins (SHA-256 of a SubjectPublicKeyInfo, RFC 5280 §4.1, RFC 7469 §2.4) are checked after the handshake and before the
bind: against the carrier's own certificate, and where Python tells the verified chain (3.13 and later) against all of
it. They come beside chain and host name, never instead of them.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import ssl

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from carrier.endpoint import Endpoint
from carrier.errors import TlsRefused
from carrier.profile import CarrierTls

# X509_V_ERR_*, from OpenSSL's x509_vfy.h, to what is wrong and what to do.
_CHAIN_ADVICE = {
    9: ("is not valid yet", "check this machine's clock, then ask the carrier"),
    10: ("has expired", "ask the carrier to renew it, or check this machine's clock"),
    18: ("is self-signed and not trusted", "set tls.ca_file to the carrier's CA, verified with the carrier"),
    19: (
        "has a self-signed root that is not trusted",
        "set tls.ca_file to the carrier's CA, verified with the carrier",
    ),
    20: ("was issued by an unknown CA", "set tls.ca_file to the carrier's CA, verified with the carrier"),
    21: ("cannot be verified up to a CA", "set tls.ca_file to the carrier's CA, or ask it to send its intermediates"),
    23: ("was revoked", "do not connect: ask the carrier for its new certificate"),
    26: ("is not meant for a server", "ask the carrier for a certificate with the server purpose"),
    62: ("names another host", "set host or tls.server_name to a name in the certificate, as the carrier states it"),
    64: ("names another address", "set tls.server_name to the host name that the carrier states"),
}
_PROTOCOL_ADVICE = {
    "WRONG_VERSION_NUMBER": ("does not speak TLS on this port", "ask the carrier for its TLS port"),
    "SSLV3_ALERT_HANDSHAKE_FAILURE": (
        "refused the TLS handshake",
        "set tls.certificate_file and tls.key_file if it requires them, else ask the carrier for its ciphers",
    ),
    "TLSV13_ALERT_CERTIFICATE_REQUIRED": (
        "requires a client certificate",
        "set tls.certificate_file and tls.key_file to those that the carrier has registered",
    ),
    "TLSV1_ALERT_UNKNOWN_CA": (
        "does not know the CA of our client certificate",
        "register the certificate in tls.certificate_file with the carrier",
    ),
    "SSLV3_ALERT_BAD_CERTIFICATE": (
        "refuses our client certificate",
        "set tls.certificate_file and tls.key_file to those that the carrier has registered",
    ),
    "SSLV3_ALERT_CERTIFICATE_EXPIRED": ("says that our client certificate has expired", "renew tls.certificate_file"),
}


def client_context(tls: CarrierTls) -> ssl.SSLContext:
    """Return the context for one connection, read afresh so that renewed files count. Blocks: files are read.

    Raises TlsRefused naming the file that cannot be used.
    """
    try:
        context = ssl.create_default_context(
            ssl.Purpose.SERVER_AUTH, cafile=str(tls.ca_file) if tls.ca_file is not None else None
        )
    except (OSError, ssl.SSLError) as error:
        raise TlsRefused(f"tls.ca_file {tls.ca_file}: {_words(error)}; it must hold PEM certificates") from error
    context.minimum_version = ssl.TLSVersion.TLSv1_2 if tls.tls_1_2 else ssl.TLSVersion.TLSv1_3
    context.hostname_checks_common_name = False  # RFC 6125 §6.4.4: names are in subjectAltName
    if tls.certificate_file is not None:
        try:
            # Without a password function OpenSSL would ask for one at the terminal.
            context.load_cert_chain(tls.certificate_file, tls.key_file, password=lambda: b"")
        except (OSError, ssl.SSLError) as error:
            raise TlsRefused(
                f"tls.certificate_file {tls.certificate_file}, tls.key_file {tls.key_file}: {_words(error)}; "
                "they must be a PEM chain and its unencrypted key"
            ) from error
    return context


def refusal(error: ssl.SSLError, endpoint: Endpoint) -> TlsRefused:
    """Return a failed handshake as what is wrong and what to do."""
    where = endpoint.where
    if isinstance(error, ssl.SSLCertVerificationError):
        wrong, advice = _CHAIN_ADVICE.get(error.verify_code, (f"is refused: {error.verify_message}", _ASK))
        return TlsRefused(f"the certificate of {where} {wrong} (expected name: {endpoint.expected_name}): {advice}")
    reason = getattr(error, "reason", None) or ""  # absent where OpenSSL gave none
    if reason in _VERSION_REASONS:
        return TlsRefused(f"{where} {_version_advice(endpoint.tls)}")
    wrong, advice = _PROTOCOL_ADVICE.get(reason, (f"failed the TLS handshake: {_words(error)}", _ASK))
    return TlsRefused(f"{where} {wrong}: {advice}")


def check_pins(secured: ssl.SSLObject, endpoint: Endpoint) -> None:
    """Check the pins of a connection whose handshake is done. Raises TlsRefused if there are pins and none fits."""
    pins = endpoint.tls.spki_sha256 if endpoint.tls is not None else ()
    if not pins:
        return
    found = [spki_sha256(certificate) for certificate in _certificates(secured)]
    if any(hmac.compare_digest(pin, digest) for pin in pins for digest in found):
        return
    shown = base64.b64encode(found[0]).decode() if found else "not known"
    raise TlsRefused(
        f"the key of {endpoint.where} is not one of those pinned in tls.spki_sha256 (it is {shown}): do not connect "
        "unless the carrier confirms that it has this key; then add it"
    )


def spki_sha256(certificate: bytes) -> bytes:
    """Return the SHA-256 of a DER certificate's SubjectPublicKeyInfo."""
    key = x509.load_der_x509_certificate(certificate).public_key()
    return hashlib.sha256(key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)).digest()


def _certificates(secured: ssl.SSLObject) -> list[bytes]:
    """Return the verified certificates as DER, the carrier's own first."""
    own = secured.getpeercert(binary_form=True)
    verified_chain = getattr(secured, "get_verified_chain", None)  # Python 3.13
    chain = [bytes(each) for each in verified_chain()] if verified_chain is not None else []
    return [each for each in (own, *chain) if each]


_VERSION_REASONS = frozenset(
    {"UNSUPPORTED_PROTOCOL", "TLSV1_ALERT_PROTOCOL_VERSION", "NO_PROTOCOLS_AVAILABLE", "WRONG_SSL_VERSION"}
)


def _version_advice(tls: CarrierTls | None) -> str:
    if tls is not None and tls.tls_1_2:
        return "offers only TLS older than 1.2: ask the carrier for TLS 1.2 or later"
    return (
        "offers only TLS older than 1.3: ask the carrier for TLS 1.3; if it has 1.2 alone, set tls.min_version to "
        '"1.2" for this carrier'
    )


_ASK = "ask the carrier which TLS versions, certificate and CA it uses"


def _words(error: OSError) -> str:
    """Name an error by its library's short words, without the octets of any file."""
    if isinstance(error, ssl.SSLError):
        return (getattr(error, "reason", None) or "not readable").replace("_", " ").lower()
    return error.strerror or type(error).__name__
