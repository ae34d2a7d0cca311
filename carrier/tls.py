"""TLS towards a carrier: TLS 1.2 at least, its chain and its host name verified, and refusals put in plain words."""

from __future__ import annotations

import ssl

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
    "UNSUPPORTED_PROTOCOL": ("offers only TLS older than 1.2", "ask the carrier for TLS 1.2 or later"),
    "TLSV1_ALERT_PROTOCOL_VERSION": ("takes only TLS older than 1.2", "ask the carrier for TLS 1.2 or later"),
    "NO_PROTOCOLS_AVAILABLE": ("has no TLS version in common", "ask the carrier for TLS 1.2 or later"),
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
    context.minimum_version = ssl.TLSVersion.TLSv1_2
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
    wrong, advice = _PROTOCOL_ADVICE.get(reason, (f"failed the TLS handshake: {_words(error)}", _ASK))
    return TlsRefused(f"{where} {wrong}: {advice}")


_ASK = "ask the carrier which TLS versions, certificate and CA it uses"


def _words(error: OSError) -> str:
    """Name an error by its library's short words, without the octets of any file."""
    if isinstance(error, ssl.SSLError):
        return (getattr(error, "reason", None) or "not readable").replace("_", " ").lower()
    return error.strerror or type(error).__name__
