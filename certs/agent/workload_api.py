"""The SPIFFE Workload API (Workload API §5, §6; Workload Endpoint §3, §6) for processes on this host.

Every call needs the metadata `workload.spiffe.io: true`. A stream tells the whole state at once, and again whenever it
differs. Codes: InvalidArgument for a call that is not as it must be, PermissionDenied for a process without an
identity, Unavailable for one whose SVID is not there yet or has ended while the authority is away, and for everybody
until the authority has been heard since the start.
"""

from __future__ import annotations

import datetime as dt
import logging
from collections import OrderedDict
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass
from typing import Final, Protocol

import grpc
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from google.protobuf import json_format

from certs import jwt_svid
from certs.agent.holdings import Holder, Holdings
from certs.agent.processes import ProcessFacts
from certs.bundle import Bundle
from certs.errors import CertsError
from certs.jwt_svid import check_audiences
from certs.spiffe_id import SpiffeId
from certs.svid import X509Svid
from smsgw.spiffe import workload_pb2 as pb
from smsgw.v1.certificate_service_pb2 import RegistrationEntry

HEADER: Final = "workload.spiffe.io"
MAX_TOKENS: Final = 1000
_LOG = logging.getLogger(__name__)
Clock = Callable[[], dt.datetime]


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """Who calls: the name that the front connected from, and whether the mandatory metadata is there."""

    peer: str
    has_header: bool


class TokenSource(Protocol):
    """Where JWT-SVIDs come from: the authority."""

    async def issue_jwt(self, spiffe_id: str, audiences: Sequence[str]) -> tuple[str, dt.datetime]:
        """Return a token and its end. Raises grpc.RpcError, CertsError."""


class Refused(Exception):
    """The call ends with this code; the text is for the workload's operator."""

    def __init__(self, code: grpc.StatusCode, text: str) -> None:
        super().__init__(text)
        self.code = code


class WorkloadApi:
    """What each method does. Raises Refused for `certs.agent.server` to answer."""

    def __init__(
        self, holder: Holder, facts_of: Callable[[str], ProcessFacts | None], tokens: TokenSource, clock: Clock
    ) -> None:
        self._holder, self._facts_of, self._tokens, self._clock = holder, facts_of, tokens, clock
        self._cache: OrderedDict[tuple[str, tuple[str, ...]], tuple[str, dt.datetime, dt.datetime]] = OrderedDict()

    async def x509_svids(self, request: pb.X509SVIDRequest, call: Call) -> AsyncIterator[pb.X509SVIDResponse]:
        """Stream the caller's X.509-SVIDs."""
        del request  # it is empty
        facts = self._caller(call)
        async for state in self._states():
            yield self._svids(state, facts)

    async def x509_bundles(self, request: pb.X509BundlesRequest, call: Call) -> AsyncIterator[pb.X509BundlesResponse]:
        """Stream the X.509 bundles."""
        del request  # it is empty
        facts = self._caller(call)
        async for state in self._states():
            found = state.bundles_of(_entitled(state, facts))
            yield pb.X509BundlesResponse(bundles={bundle.trust_domain.spiffe_id: _der(bundle) for bundle in found})

    async def jwt_bundles(self, request: pb.JWTBundlesRequest, call: Call) -> AsyncIterator[pb.JWTBundlesResponse]:
        """Stream the JWT bundles."""
        del request  # it is empty
        facts = self._caller(call)
        async for state in self._states():
            found = state.bundles_of(_entitled(state, facts))
            yield pb.JWTBundlesResponse(bundles={bundle.trust_domain.spiffe_id: bundle.jwt_jwks() for bundle in found})

    async def jwt_svids(self, request: pb.JWTSVIDRequest, call: Call) -> pb.JWTSVIDResponse:
        """Return JWT-SVIDs of the caller: of one identity when it names one, else of all."""
        facts = self._caller(call)
        audiences = list(request.audience)
        try:
            check_audiences(audiences)
        except ValueError as refused:
            raise Refused(grpc.StatusCode.INVALID_ARGUMENT, str(refused)) from refused
        entries = _entitled(self._holder.now, facts)
        if request.spiffe_id:
            entries = tuple(entry for entry in entries if entry.spiffe_id == request.spiffe_id)
            if not entries:
                raise Refused(grpc.StatusCode.PERMISSION_DENIED, "this process does not have that identity")
        svids = [
            pb.JWTSVID(spiffe_id=entry.spiffe_id, svid=await self._token(entry.spiffe_id, audiences), hint=entry.hint)
            for entry in entries
        ]
        return pb.JWTSVIDResponse(svids=svids)

    async def validate_jwt(self, request: pb.ValidateJWTSVIDRequest, call: Call) -> pb.ValidateJWTSVIDResponse:
        """Verify a JWT-SVID with the bundle of its own trust domain."""
        state = self._holder.now
        bundles = state.bundles_of(_entitled(state, self._caller(call)))
        if not request.audience or not request.svid:
            raise Refused(grpc.StatusCode.INVALID_ARGUMENT, "an audience and an SVID are needed")
        try:
            domain = jwt_svid.subject_of(request.svid).trust_domain
            bundle = next((bundle for bundle in bundles if bundle.trust_domain == domain), None)
            if bundle is None:
                raise Refused(grpc.StatusCode.INVALID_ARGUMENT, "the trust domain of the token is not trusted here")
            found = jwt_svid.verify(request.svid, bundle.jwt_authorities, request.audience, self._clock())
        except CertsError as refused:
            raise Refused(grpc.StatusCode.INVALID_ARGUMENT, str(refused)) from refused
        reply = pb.ValidateJWTSVIDResponse(spiffe_id=str(found.spiffe_id))
        json_format.ParseDict(dict(found.claims), reply.claims)
        return reply

    def _caller(self, call: Call) -> ProcessFacts:
        """Return who calls. Raises Refused for a call without the header, or past the front."""
        if not call.has_header:
            raise Refused(grpc.StatusCode.INVALID_ARGUMENT, f"the metadata `{HEADER}: true` is missing")
        facts = self._facts_of(call.peer)
        if facts is None:
            raise Refused(grpc.StatusCode.PERMISSION_DENIED, "the calling process is not known")
        return facts

    async def _states(self) -> AsyncIterator[Holdings]:
        """Give the state now, and each later one."""
        while True:
            seen = self._holder.now
            yield seen
            await self._holder.changed_from(seen)

    def _svids(self, state: Holdings, facts: ProcessFacts) -> pb.X509SVIDResponse:
        entries, now, bundle = _entitled(state, facts), self._clock(), _der(state.bundle)
        found = [(entry, state.valid(entry.spiffe_id, now)) for entry in entries]
        svids = [_message(entry, svid, bundle) for entry, svid in found if svid is not None]
        if not svids:
            raise Refused(grpc.StatusCode.UNAVAILABLE, "no SVID is valid now: the authority cannot be reached")
        others = state.bundles_of(entries)[1:]
        federated = {other.trust_domain.spiffe_id: _der(other) for other in others}
        return pb.X509SVIDResponse(svids=svids, federated_bundles=federated)

    async def _token(self, spiffe_id: str, audiences: list[str]) -> str:
        """Return a token: kept until half its life, and while the authority is away to its end."""
        key, now = (spiffe_id, tuple(audiences)), self._clock()
        kept = self._cache.get(key)
        if kept is not None and now < kept[1]:
            return kept[0]
        try:
            token, ends = await self._tokens.issue_jwt(spiffe_id, audiences)
        except (grpc.RpcError, CertsError) as refused:
            if kept is not None and now < kept[2]:
                return kept[0]
            raise Refused(grpc.StatusCode.UNAVAILABLE, "the authority signed no token") from refused
        self._cache[key] = (token, now + (ends - now) / 2, ends)
        while len(self._cache) > MAX_TOKENS:
            self._cache.popitem(last=False)
        return token


def _entitled(state: Holdings, facts: ProcessFacts) -> tuple[RegistrationEntry, ...]:
    """Return the caller's entries, the default first. Raises Refused when there are none (Workload Endpoint §6)."""
    entries = state.entries_of(facts)
    if not entries and not state.heard:  # it is not known who has what: nobody is to give an identity up for that
        raise Refused(grpc.StatusCode.UNAVAILABLE, "this agent has not reached the authority since it started")
    if not entries:
        _LOG.info("no identity", extra={"pid": facts.pid, "uid": facts.uid, "gid": facts.gid, "path": facts.path})
        raise Refused(
            grpc.StatusCode.PERMISSION_DENIED, f"no identity is registered for this process (uid {facts.uid})"
        )
    return entries


def _der(bundle: Bundle) -> bytes:
    return b"".join(authority.public_bytes(Encoding.DER) for authority in bundle.authorities)


def _message(entry: RegistrationEntry, svid: X509Svid, bundle: bytes) -> pb.X509SVID:
    key = svid.key.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption())
    chain = b"".join(certificate.public_bytes(Encoding.DER) for certificate in svid.chain)
    return pb.X509SVID(
        spiffe_id=str(SpiffeId.parse(entry.spiffe_id)),
        x509_svid=chain,
        x509_svid_key=key,
        bundle=bundle,
        hint=entry.hint,
    )
