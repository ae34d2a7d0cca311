"""The TLS contexts of a client: what it presents, whom it trusts, and what a finished handshake showed.

OpenSSL trusts the authorities of the server's trust domain alone, demands TLS 1.3 and speaks HTTP/2. It does not look
at names: `smsgw.client.server` judges who it is, by the same rules as the gateway judges us.
"""

from __future__ import annotations

import os
import ssl
from collections.abc import Iterator
from contextlib import contextmanager

from certs.bundle import Trust
from certs.spiffe_id import TrustDomain
from certs.svid import X509Svid
from smsgw.client.errors import IdentityUnusable, ServerNotVerified

_ALPN = "h2"


def client_context(svid: X509Svid, bundles: Trust, server_domain: TrustDomain) -> ssl.SSLContext:
    """Return the context that presents `svid` and trusts the bundle of `server_domain`. Raises IdentityUnusable."""
    bundle = bundles.get(server_domain)
    if bundle is None:
        raise IdentityUnusable(
            f"there is no bundle of {server_domain}, the server's trust domain: have it federated with "
            f"{svid.spiffe_id.trust_domain}, or give its bundle file"
        )
    if not bundle.authorities:
        raise IdentityUnusable(f"the bundle of {server_domain}, the server's trust domain, is empty: all is revoked")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False  # the SPIFFE ID is checked instead, on the finished handshake
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN  # an authority need not sign itself (X509-SVID §6)
    context.set_alpn_protocols([_ALPN])
    context.load_verify_locations(cadata=bundle.to_pem().decode("ascii"))
    with _in_memory(svid.chain_pem() + svid.key_pem()) as path:
        context.load_cert_chain(path)
    return context


@contextmanager
def _in_memory(pem: bytes) -> Iterator[str]:
    """Give a path at which `pem` can be read, and which is on no disk: `ssl` takes keys by path only."""
    descriptor = os.memfd_create("smsgw-client", os.MFD_CLOEXEC)
    try:
        with os.fdopen(os.dup(descriptor), "wb") as file:
            file.write(pem)
        yield f"/proc/self/fd/{descriptor}"
    finally:
        os.close(descriptor)


def presented(connection: ssl.SSLObject) -> list[bytes]:
    """Return the certificates that the server presented, as PEM, the leaf first.

    Raises ServerNotVerified when HTTP/2 was not agreed on, or when this Python cannot tell what was presented.
    """
    if connection.selected_alpn_protocol() != _ALPN:
        raise ServerNotVerified("what answers does not speak HTTP/2, as a gateway does")
    # Public since Python 3.13; before, the object behind has it (since 3.10), with certificates of its own.
    inner = connection if hasattr(connection, "get_unverified_chain") else getattr(connection, "_sslobj", None)
    chain = getattr(inner, "get_unverified_chain", None)
    if chain is None:
        raise ServerNotVerified("this Python does not tell which certificates a server presents: it needs CPython 3.11")
    return [_pem(certificate) for certificate in chain() or ()]


def _pem(certificate: object) -> bytes:
    if isinstance(certificate, bytes):
        return ssl.DER_cert_to_PEM_cert(certificate).encode()
    text: str = certificate.public_bytes()  # type: ignore[attr-defined]  # _ssl.Certificate: PEM, by default
    return text.encode()
