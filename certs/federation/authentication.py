"""How an endpoint proves that it is the one: by the web's authorities, or by its SVID (SPIFFE Federation §5.2).

https_web: a certificate of a trusted authority with the host's name (RFC 6125). https_spiffe: an X509-SVID of exactly
the configured SPIFFE ID below the bundle of *its* trust domain, and no host name. TLS 1.2 or 1.3; no variable of the
environment has a say in which roots count, or in what becomes of the keys.
"""

from __future__ import annotations

import datetime as dt
import ssl
from pathlib import Path

from cryptography import x509

from certs.bundle import Bundle
from certs.errors import CertsError, FetchFailed, Reason
from certs.leaf import read_leaf
from certs.pem import UNREADABLE
from certs.spiffe_id import SpiffeId
from certs.verify import check_time


def web_context(ca_file: Path | None) -> ssl.SSLContext:
    """Return a context that verifies chain and host name, by the system's roots or those of a file.

    It reads files, and takes some milliseconds. Raises FetchFailed when there are no roots.
    """
    context = _context()
    context.check_hostname = True
    try:
        if ca_file is not None:
            context.load_verify_locations(cafile=str(ca_file))
        else:
            _load_system_roots(context)
    except (OSError, ValueError) as refused:  # ssl.SSLError is an OSError
        where = "the system's roots" if ca_file is None else str(ca_file)
        raise FetchFailed(
            f"{where} cannot be read as certificates: {_words(refused)}; name a PEM file in ca_file",
            reason=Reason.ENDPOINT_TLS,
        ) from refused
    return context


def spiffe_context(bundle: Bundle) -> ssl.SSLContext:
    """Return a context that verifies the chain up to an authority of `bundle`; who it is, `check_server` says.

    Raises FetchFailed for a bundle without authorities: nobody can prove anything by it.
    """
    if not bundle.authorities:
        raise FetchFailed(
            f"the bundle of {bundle.trust_domain} that is held has no authority, so its endpoint cannot prove who it "
            "is: have a new one from its operator, and name the file in bootstrap_file",
            reason=Reason.ENDPOINT_IDENTITY,
        )
    context = _context()
    context.check_hostname = False  # an SVID names a workload: `check_server` compares it
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN  # an authority of a bundle need not be self-signed
    context.load_verify_locations(cadata=bundle.to_pem().decode())
    return context


def check_server(leaf_der: bytes | None, expected: SpiffeId, now: dt.datetime) -> None:
    """Raise FetchFailed unless a leaf, whose chain TLS has verified, is an SVID of `expected` that is valid now."""
    try:
        facts = read_leaf(x509.load_der_x509_certificate(leaf_der or b""))
        check_time(facts.not_before, facts.not_after, now)
    except (CertsError, *UNREADABLE) as refused:
        raise FetchFailed(
            f"the endpoint's certificate is no valid SVID: {refused}", reason=Reason.ENDPOINT_IDENTITY
        ) from refused
    if facts.spiffe_id != expected:
        raise FetchFailed(
            f"the endpoint is {facts.spiffe_id}, and {expected} was expected", reason=Reason.ENDPOINT_IDENTITY
        )


def tls_failure(refused: OSError) -> FetchFailed:
    """Return what a failed handshake is told as."""
    if isinstance(refused, ssl.SSLCertVerificationError):
        return FetchFailed(
            f"the endpoint's certificate is not accepted: {ascii(refused.verify_message)[1:-1]}",
            reason=Reason.ENDPOINT_TLS,
        )
    return FetchFailed(f"TLS with the endpoint failed: {_words(refused)}", reason=Reason.ENDPOINT_TLS)


def _context() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)  # not create_default_context, which obeys SSLKEYLOGFILE
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.verify_mode = ssl.CERT_REQUIRED
    context.set_alpn_protocols(["http/1.1"])
    return context


def _load_system_roots(context: ssl.SSLContext) -> None:
    """Load the roots that OpenSSL was built to use; SSL_CERT_FILE and SSL_CERT_DIR are not asked. Raises OSError."""
    paths = ssl.get_default_verify_paths()
    file = paths.openssl_cafile if Path(paths.openssl_cafile).is_file() else None
    folder = paths.openssl_capath if Path(paths.openssl_capath).is_dir() else None
    if file is None and folder is None:
        raise OSError(f"there is neither {paths.openssl_cafile} nor {paths.openssl_capath}")
    context.load_verify_locations(cafile=file, capath=folder)


def _words(refused: OSError | ValueError) -> str:
    if isinstance(refused, ssl.SSLError) and refused.reason:
        return refused.reason.lower().replace("_", " ")
    if isinstance(refused, OSError) and refused.strerror:
        return refused.strerror
    return ascii(str(refused))[1:-1] or type(refused).__name__
