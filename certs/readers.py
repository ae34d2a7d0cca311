"""Mutual TLS for a page that few may read: who serves it shows an SVID, who reads it shows one that is named.

It must not know what the page says, nor how it is served (`visibility.metrics_server`).
"""

from __future__ import annotations

import datetime as dt
import os
import ssl

from cryptography import x509

from certs.errors import CertsError
from certs.leaf import read_leaf
from certs.svid import X509Svid


def server_context(svid: X509Svid, bundle_pem: str) -> ssl.SSLContext:
    """Return a context for a server that demands certificates of one trust domain.

    It trusts that domain's roots alone, so that no other domain's authority can make up a reader. No tickets: a session
    that is resumed is not verified again.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.verify_mode = ssl.CERT_REQUIRED
    context.options |= ssl.OP_NO_TICKET
    context.num_tickets = 0
    _present(context, svid)
    context.load_verify_locations(cadata=bundle_pem)
    return context


def _present(context: ssl.SSLContext, svid: X509Svid) -> None:
    """Load an SVID into a context. Python reads it from a file only: this one is in memory, and nobody else's."""
    descriptor = os.memfd_create("svid", os.MFD_CLOEXEC)
    try:
        with os.fdopen(os.dup(descriptor), "wb") as file:
            file.write(svid.key_pem() + svid.chain_pem())
        context.load_cert_chain(f"/proc/self/fd/{descriptor}")
    finally:
        os.close(descriptor)


def may_read(leaf_der: bytes, domain: str, readers: tuple[str, ...], now: dt.datetime) -> bool:
    """Say whether a leaf, which TLS has verified, is a reader's: of this trust domain, valid, and named."""
    try:
        facts = read_leaf(x509.load_der_x509_certificate(leaf_der))
    except (CertsError, ValueError):
        return False
    spiffe_id = str(facts.spiffe_id)
    named = any(spiffe_id == reader or spiffe_id.startswith(f"{reader}/") for reader in readers)
    return named and facts.spiffe_id.trust_domain.name == domain and facts.not_before <= now <= facts.not_after
