"""CertificateService: gRPC calls in, decisions of the desk out.

It reads the caller's certificate from the TLS connection, verifies it against the authority's own bundle on every call
(TLS resumption outlives a certificate), and leaves what the caller may have to `certs.ca.desk`.
"""

from __future__ import annotations

import datetime as dt
import logging
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Final, TypeVar

import grpc
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp

from certs.bundle import TrustBundles
from certs.ca.desk import Chain, Desk
from certs.ca.registration import WorkloadEntry
from certs.ca.revocations import Code, Revocation
from certs.errors import BadSpiffeId, BadSvid, CertsError, ProfileRefused, Reason
from certs.leaf import read_leaf
from certs.pem import certificates
from certs.service.rates import CALLERS, EVERYBODY, JOINING, Limiter, Rate, address_of
from certs.service.refusals import Refusal, Refusals
from certs.service.status import abort
from certs.spiffe_id import SpiffeId
from certs.verify import verify_peer
from smsgw.v1 import certificate_service_pb2 as pb

_Request = TypeVar("_Request", bound=Message)
_Reply = TypeVar("_Reply", bound=Message)
SERVICE: Final = pb.DESCRIPTOR.services_by_name["CertificateService"].full_name
Clock = Callable[[], dt.datetime]
REFRESH_S = 5
PAGE: Final = 10_000  # revoked certificates in one reply
_LOG = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Rates:
    """How often may be called: by each SPIFFE ID, by each address that joins, and by all who join together."""

    callers: Rate = CALLERS
    joining: Rate = JOINING
    everybody: Rate = EVERYBODY
    monotonic: Callable[[], float] = time.monotonic


def presented_leaf(context: grpc.ServicerContext, bundles: TrustBundles, now: dt.datetime) -> x509.Certificate:
    """Return the leaf that the caller presented, once it verifies. Raises IdentityRefused."""
    presented = context.auth_context()
    leaf_pem = _joined(presented.get("x509_pem_cert", ()))
    verify_peer(leaf_pem, _joined(presented.get("x509_pem_cert_chain", ())), bundles, now)
    found = certificates(leaf_pem, at_most=1, error=BadSvid, what="the caller's certificate")
    if not found:
        raise BadSvid("the caller presented no certificate", reason=Reason.NO_CERTIFICATE)
    return found[0]


def _joined(values: bytes | Iterable[bytes]) -> bytes:
    return values if isinstance(values, bytes) else b"".join(values)


def issued(chain: Chain) -> pb.IssuedCertificate:
    """Return a chain as a message."""
    ends = min(certificate.not_valid_after_utc for certificate in chain)
    stamp = Timestamp()
    stamp.FromDatetime(ends)
    return pb.IssuedCertificate(
        spiffe_id=str(read_leaf(chain[0]).spiffe_id),
        chain=[certificate.public_bytes(Encoding.DER) for certificate in chain],
        expires_at=stamp,
    )


def entry_message(entry: WorkloadEntry) -> pb.RegistrationEntry:
    """Return an entry as a message: what a node needs of it."""
    found = entry.selectors
    return pb.RegistrationEntry(
        spiffe_id=str(entry.request.spiffe_id),
        uid=found.uid,
        gid=found.gid,
        path=found.path or "",
        sha256=found.sha256 or "",
        hint=entry.hint,
        federates_with=[domain.name for domain in entry.federates_with],
    )


class Calls:
    """What each method does. Raises for `_answering` to turn into a status."""

    def __init__(self, desk: Desk, bundles: TrustBundles, clock: Clock, rates: Rates = Rates()) -> None:
        self._desk, self._bundles, self._clock = desk, bundles, clock
        self._monotonic = rates.monotonic
        self._callers, self._joining = Limiter(rates.callers), Limiter(rates.joining)
        self._everybody = Limiter(rates.everybody)
        self._refusals = Refusals(self._note)

    def join(self, request: pb.JoinNodeRequest, context: grpc.ServicerContext) -> pb.JoinNodeResponse:
        """Exchange a token for a certificate."""
        self._admit(self._joining, address_of(context.peer()))
        self._admit(self._everybody, "everybody who joins")  # after the other: who is refused there takes nothing here
        return pb.JoinNodeResponse(certificate=issued(self._desk.join(request.token, request.csr, self._clock())))

    def renew(self, request: pb.RenewCertificateRequest, context: grpc.ServicerContext) -> pb.RenewCertificateResponse:
        """Renew the SVID of the call."""
        leaf, now = self._caller(context)
        return pb.RenewCertificateResponse(certificate=issued(self._desk.renew(leaf, request.csr, now)))

    def sync(self, request: pb.SyncNodeRequest, context: grpc.ServicerContext) -> pb.SyncNodeResponse:
        """Tell a node what it serves."""
        del request  # it is empty
        state = self._desk.sync(*self._caller(context))
        return pb.SyncNodeResponse(
            entries=[entry_message(entry) for entry in state.entries],
            bundle=state.bundle.to_jwks(),
            authority_key_id=state.authority_key_id,
            refresh_after=Duration(seconds=REFRESH_S),
            revoked_serials=state.revoked,
            federated_bundles=[
                pb.FederatedBundle(trust_domain=bundle.trust_domain.name, bundle=bundle.to_jwks())
                for bundle in state.federated
            ],
        )

    def issue(self, request: pb.IssueCertificateRequest, context: grpc.ServicerContext) -> pb.IssueCertificateResponse:
        """Issue a workload's certificate to its node."""
        leaf, now = self._caller(context)
        chain = self._desk.issue(leaf, _requested(request.spiffe_id), request.csr, now)
        return pb.IssueCertificateResponse(certificate=issued(chain))

    def issue_jwt(self, request: pb.IssueJwtSvidRequest, context: grpc.ServicerContext) -> pb.IssueJwtSvidResponse:
        """Sign a workload's JWT-SVID for its node."""
        leaf, now = self._caller(context)
        token, ends = self._desk.issue_jwt(leaf, _requested(request.spiffe_id), request.audiences, now)
        reply = pb.IssueJwtSvidResponse(token=token)
        reply.expires_at.FromDatetime(ends)
        return reply

    def revoke(
        self, request: pb.RevokeCertificatesRequest, context: grpc.ServicerContext
    ) -> pb.RevokeCertificatesResponse:
        """Revoke what an administrator names."""
        leaf, now = self._caller(context)
        found = self._desk.revoke(leaf, _target(request), _code(request.code), request.reason, now)
        rest = [one for one in found if one.serial > request.page_token]
        asked_by = str(read_leaf(leaf).spiffe_id)
        _LOG.warning("certificates are revoked", extra={"asked_by": asked_by, "certificates": len(found)})
        return pb.RevokeCertificatesResponse(
            certificates=[_revoked(one) for one in rest[:PAGE]],
            next_page_token=rest[PAGE - 1].serial if len(rest) > PAGE else "",
        )

    def refused(self, method: str, request: Message, context: grpc.ServicerContext, error: Exception) -> None:
        """Put a refusal on record before the caller is told; where that cannot be, it is logged, and refused anyhow."""
        if not isinstance(error, CertsError):
            return
        now = self._clock()
        refusal = Refusal(
            asked_by=self._who(context, now),
            method=method,
            subject=str(getattr(request, "spiffe_id", "") or getattr(request, "serial", "")),
            reason=error.reason.value,
            text=str(error),
        )
        try:
            self._refusals.refused(refusal, now)
        except CertsError as unnoted:
            _LOG.error("refusal_not_recorded", extra={"reason": refusal.reason, "why": str(unnoted)})

    def flush(self) -> None:
        """Put on record which refusals have been counted. Raises AuthorityError."""
        self._refusals.flush(self._clock())

    def _note(self, refusal: Refusal, now: dt.datetime, times: int) -> None:
        detail = f"{refusal.method}: {refusal.text}"
        self._desk.note_refused(
            now, reason=refusal.reason, subject=refusal.subject, asked_by=refusal.asked_by, detail=detail, times=times
        )

    def _who(self, context: grpc.ServicerContext, now: dt.datetime) -> str:
        """Return who called: the identity that he has proved, or else the address that he called from."""
        try:
            facts = read_leaf(presented_leaf(context, self._bundles, now))
        except CertsError:
            return address_of(context.peer())
        return f"{facts.spiffe_id} (svid {facts.serial})"

    def _caller(self, context: grpc.ServicerContext) -> tuple[x509.Certificate, dt.datetime]:
        """Return the verified leaf of a caller that may call now. Raises IdentityRefused, RateExceeded."""
        now = self._clock()
        leaf = presented_leaf(context, self._bundles, now)
        self._admit(self._callers, str(read_leaf(leaf).spiffe_id))
        return leaf, now

    def _admit(self, limiter: Limiter, caller: str) -> None:
        now_s = self._monotonic()
        try:
            limiter.admit(caller, now_s)
        finally:
            if refused := limiter.refused_since(now_s):
                _LOG.warning("callers call too often", extra={"refused": refused, "last": caller})


def _requested(text: str) -> SpiffeId:
    try:
        return SpiffeId.parse(text)
    except BadSpiffeId as refused:  # the request is at fault, and not who sent it
        raise ProfileRefused(str(refused), reason=refused.reason) from refused


def _target(request: pb.RevokeCertificatesRequest) -> SpiffeId | str:
    """Return whose certificates, or which one. Raises ProfileRefused when it is not said, or no SPIFFE ID."""
    if request.spiffe_id:
        return _requested(request.spiffe_id)
    if not request.serial:
        raise ProfileRefused("say what is to be revoked: spiffe_id or serial")
    return request.serial


def _code(code: int) -> Code:
    try:
        return Code(code)
    except ValueError as refused:
        raise ProfileRefused(f"{code} is no reason to revoke a leaf for (RFC 5280, section 5.3.1)") from refused


def _revoked(one: Revocation) -> pb.RevokedCertificate:
    message = pb.RevokedCertificate(serial=one.serial, authority_key_id=one.authority_key_id, spiffe_id=one.spiffe_id)
    message.not_after.FromDatetime(one.not_after)
    message.revoked_at.FromDatetime(one.revoked_at)
    return message


def join_handler(calls: Calls) -> grpc.GenericRpcHandler:
    """Return what is served without a client certificate: JoinNode. gRPC answers UNIMPLEMENTED to all else."""
    return grpc.method_handlers_generic_handler(
        SERVICE, {"JoinNode": _handler(calls, calls.join, pb.JoinNodeRequest.FromString)}
    )


def node_handler(calls: Calls) -> grpc.GenericRpcHandler:
    """Return what is served to nodes and administrators, over mutual TLS."""
    return grpc.method_handlers_generic_handler(
        SERVICE,
        {
            "RenewCertificate": _handler(calls, calls.renew, pb.RenewCertificateRequest.FromString),
            "SyncNode": _handler(calls, calls.sync, pb.SyncNodeRequest.FromString),
            "IssueCertificate": _handler(calls, calls.issue, pb.IssueCertificateRequest.FromString),
            "IssueJwtSvid": _handler(calls, calls.issue_jwt, pb.IssueJwtSvidRequest.FromString),
            "RevokeCertificates": _handler(calls, calls.revoke, pb.RevokeCertificatesRequest.FromString),
        },
    )


def _handler(
    calls: Calls, call: Callable[[_Request, grpc.ServicerContext], _Reply], parse: Callable[[bytes], _Request]
) -> grpc.RpcMethodHandler[_Request, _Reply]:
    """Return a handler that answers what `call` raises with its status."""

    def answer(request: _Request, context: grpc.ServicerContext) -> _Reply:
        try:
            return call(request, context)
        except Exception as refused:  # the top of the call: `abort` says what becomes of it
            calls.refused(call.__name__, request, context, refused)
            abort(context, refused)

    return grpc.unary_unary_rpc_method_handler(
        answer, request_deserializer=parse, response_serializer=lambda reply: reply.SerializeToString()
    )
