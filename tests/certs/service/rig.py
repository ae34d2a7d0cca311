"""A certificate service on loopback, and its callers."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import grpc
from cryptography import x509

from certs.bundle import Bundle
from certs.ca.authority import Authority
from certs.ca.desk import Desk
from certs.ca.profile import LeafRequest
from certs.ca.registration import RegistrationFile
from certs.ca.tokens import new_token
from certs.pem import PrivateKey
from certs.service.server import CertificateServer
from certs.service.servicer import Rates
from certs.spiffe_id import SpiffeId, TrustDomain
from certs.svid import X509Svid
from certs.tls import channel_credentials, server_name_option
from smsgw.v1 import certificate_service_pb2 as pb
from smsgw.v1 import certificate_service_pb2_grpc as rpc
from tests.certificates import new_key
from tests.certs.ca.requests import csr

DOMAIN = TrustDomain("example.org")
NODE = SpiffeId(DOMAIN, "/node/web1")
NAME = "ca.example.org"
ENTRIES = """\
nodes:
  - {spiffe_id: spiffe://example.org/node/web1, ttl: 30m}
  - {spiffe_id: spiffe://example.org/node/web2}
entries:
  - spiffe_id: spiffe://example.org/billing
    node: spiffe://example.org/node/web1
    unix: {uid: 1001, path: /usr/bin/billing}
    ttl: 10m
    dns: billing.example.org
    hint: internal
  - spiffe_id: spiffe://example.org/other
    node: spiffe://example.org/node/web2
    unix: {uid: 1002}
"""


def real_now() -> dt.datetime:
    """Return the real time: TLS reads it as well."""
    return dt.datetime.now(dt.UTC)


@dataclass(kw_only=True)
class Rig:
    """A running service; `authority` is a second view of it, as a command line has."""

    authority: Authority
    entries: Path
    server: CertificateServer
    port: int
    join_port: int

    @classmethod
    def start(
        cls,
        folder: Path,
        admins: Sequence[SpiffeId] = (),
        rates: Rates | None = None,
        federated: Callable[[TrustDomain], Bundle | None] = lambda _: None,
    ) -> Rig:
        """Make an authority and serve it on free ports, to the default administrators or to others; `federated` gives
        the bundles of other trust domains."""
        authority = Authority.create(folder / "ca", DOMAIN, folder / "root", real_now())
        entries = folder / "entries.yaml"
        entries.write_text(ENTRIES)
        desk = Desk(Authority.open(folder / "ca"), RegistrationFile(entries, DOMAIN), admins, federated)
        request = LeafRequest(spiffe_id=SpiffeId(DOMAIN, "/ca"), dns_names=(NAME,))
        server = CertificateServer(desk, request, real_now, rates or Rates())
        port, join_port = server.start("127.0.0.1:0", "127.0.0.1:0")
        return cls(authority=authority, entries=entries, server=server, port=port, join_port=join_port)

    def register(self, content: str) -> None:
        """Replace the registration, and let the service look."""
        fresh = self.entries.with_suffix(".fresh")
        fresh.write_text(content)
        fresh.replace(self.entries)
        self.server.refresh()

    def token(self, node: SpiffeId = NODE) -> str:
        """Return a join token."""
        return new_token(self.authority.ledger, node, 600, real_now())

    def stub(self, svid: X509Svid | None = None, *, port: int | None = None) -> rpc.CertificateServiceStub:
        """Return a stub with a connection of its own: to the nodes' port with an SVID, else to the one for joining."""
        roots = self.authority.bundle.to_pem()
        credentials = (
            grpc.ssl_channel_credentials(roots) if svid is None else channel_credentials(svid, self.authority.bundle)
        )
        options = [server_name_option(NAME), ("grpc.use_local_subchannel_pool", 1)]
        address = f"127.0.0.1:{port or (self.join_port if svid is None else self.port)}"
        return rpc.CertificateServiceStub(grpc.secure_channel(address, credentials, options))

    def join(self, node: SpiffeId = NODE) -> X509Svid:
        """Return a node's first SVID."""
        key = new_key()
        reply = self.stub().JoinNode(pb.JoinNodeRequest(token=self.token(node), csr=csr(key)), timeout=30)
        return svid_of(reply.certificate, key)


def svid_of(certificate: pb.IssuedCertificate, key: PrivateKey) -> X509Svid:
    """Return the SVID in a reply."""
    return X509Svid(chain=tuple(x509.load_der_x509_certificate(der) for der in certificate.chain), key=key)
