"""The agent's calls to the authority, each with a deadline; one connection for each SVID of the node."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import grpc
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding

from certs.bundle import Bundle
from certs.errors import BadSvid
from certs.pem import MAX_CHAIN, UNREADABLE
from certs.spiffe_id import TrustDomain
from certs.svid import X509Svid
from certs.tls import channel_credentials, server_name_option
from smsgw.v1 import certificate_service_pb2 as pb
from smsgw.v1 import certificate_service_pb2_grpc as rpc

DEADLINE_S: Final = 10.0
_OPTIONS: Final = (
    ("grpc.use_local_subchannel_pool", 1),
    ("grpc.max_reconnect_backoff_ms", 2000),
    ("grpc.enable_http_proxy", 0),
    ("grpc.max_receive_message_length", 16 * 1024 * 1024),  # the bundles of 64 other trust domains have room
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Authorities:
    """Where the authority is, and what its service is called."""

    trust_domain: TrustDomain
    address: str
    join_address: str
    server_name: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """What the authority told a node."""

    entries: tuple[pb.RegistrationEntry, ...]
    bundle: Bundle
    authority_key_id: str
    refresh_after_s: float
    revoked: frozenset[str] = frozenset()
    federated: tuple[Bundle, ...] = ()


class Link:
    """Calls with the node's SVID. Raises grpc.RpcError, and CertsError for a reply that is not as it must be."""

    def __init__(self, where: Authorities, svid: X509Svid, bundle: Bundle) -> None:
        self.svid, self.bundle = svid, bundle
        self._where = where
        options = [server_name_option(where.server_name), *_OPTIONS]
        self._channel = grpc.aio.secure_channel(where.address, channel_credentials(svid, bundle), options)
        self._stub = rpc.CertificateServiceStub(self._channel)

    async def close(self) -> None:
        """End the connection; calls under way have their time."""
        await self._channel.close(DEADLINE_S)

    async def sync(self) -> Told:
        """Return what this node is to serve."""
        reply = await self._stub.SyncNode(pb.SyncNodeRequest(), timeout=DEADLINE_S)
        return Told(
            entries=tuple(reply.entries),
            bundle=Bundle.from_jwks(self._where.trust_domain, reply.bundle),
            authority_key_id=reply.authority_key_id,
            refresh_after_s=min(300.0, max(1.0, reply.refresh_after.ToTimedelta().total_seconds())),
            revoked=frozenset(reply.revoked_serials),
            federated=tuple(
                Bundle.from_jwks(TrustDomain(found.trust_domain), found.bundle) for found in reply.federated_bundles
            ),
        )

    async def renew(self) -> X509Svid:
        """Return the node's next SVID."""
        key = ec.generate_private_key(ec.SECP256R1())
        reply = await self._stub.RenewCertificate(pb.RenewCertificateRequest(csr=_csr(key)), timeout=DEADLINE_S)
        return _svid(reply.certificate, key)

    async def issue(self, spiffe_id: str) -> X509Svid:
        """Return a workload's SVID; its key is made here."""
        key = ec.generate_private_key(ec.SECP256R1())
        request = pb.IssueCertificateRequest(spiffe_id=spiffe_id, csr=_csr(key))
        reply = await self._stub.IssueCertificate(request, timeout=DEADLINE_S)
        return _svid(reply.certificate, key)

    async def issue_jwt(self, spiffe_id: str, audiences: Sequence[str]) -> tuple[str, dt.datetime]:
        """Return a workload's JWT-SVID, and its end."""
        request = pb.IssueJwtSvidRequest(spiffe_id=spiffe_id, audiences=audiences)
        reply = await self._stub.IssueJwtSvid(request, timeout=DEADLINE_S)
        return reply.token, reply.expires_at.ToDatetime(dt.UTC)


async def join(where: Authorities, bundle: Bundle, token: str) -> X509Svid:
    """Return the node's first SVID for a token. Raises as Link's calls do."""
    key = ec.generate_private_key(ec.SECP256R1())
    credentials = grpc.ssl_channel_credentials(bundle.to_pem())
    options = [server_name_option(where.server_name), *_OPTIONS]
    async with grpc.aio.secure_channel(where.join_address, credentials, options) as channel:
        stub = rpc.CertificateServiceStub(channel)
        reply = await stub.JoinNode(pb.JoinNodeRequest(token=token, csr=_csr(key)), timeout=DEADLINE_S)
    return _svid(reply.certificate, key)


def _csr(key: ec.EllipticCurvePrivateKey) -> bytes:
    builder = x509.CertificateSigningRequestBuilder().subject_name(x509.Name([]))
    return builder.sign(key, hashes.SHA256()).public_bytes(Encoding.DER)


def _svid(certificate: pb.IssuedCertificate, key: ec.EllipticCurvePrivateKey) -> X509Svid:
    """Return the SVID in a reply. Raises CertsError when the chain is not for that key, or no SVID."""
    if len(certificate.chain) > MAX_CHAIN + 1:
        raise BadSvid(f"the authority sent {len(certificate.chain)} certificates")
    try:
        chain = tuple(x509.load_der_x509_certificate(der) for der in certificate.chain)
    except UNREADABLE as refused:
        raise BadSvid("the authority sent what is not readable as a certificate") from refused
    return X509Svid(chain=chain, key=key)
