"""The caller: behind a real gRPC server with mutual TLS on loopback, and on its own."""

from __future__ import annotations

import datetime as dt
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import grpc
import grpc.aio
import pytest
from grpc.experimental.session_cache import ssl_session_cache_lru

from certs.bundle import Bundle, TrustBundles
from certs.errors import Reason
from certs.spiffe_id import SpiffeId, TrustDomain
from certs.svid import X509Svid
from certs.tls import FixedSvid, server_credentials
from gateway.errors import GatewayError, PermissionDenied, Unauthenticated
from gateway.identity import NO_TENANT, Caller, CallerResolver, require_valid, still_valid
from tests.certificates import CERT_SIGN, DIGITAL_SIGNATURE, IssuedSvid, TestAuthority, cert_pem

A = TestAuthority("example.org")
B = TestAuthority("other.org", now=A.now)
MICROSECOND = dt.timedelta(microseconds=1)


def bundle_of(authority: TestAuthority) -> Bundle:
    """Return the bundle of a test authority."""
    return Bundle.from_pem(TrustDomain(authority.trust_domain), authority.bundle_pem)


def tenant_of(spiffe_id: SpiffeId) -> str | None:
    """Map every identity of example.org to a tenant, but not /stranger, and none of other.org."""
    known = spiffe_id.trust_domain.name == "example.org" and spiffe_id.path != "/stranger"
    return f"tenant-{spiffe_id.segments[0]}" if known else None


def session_cache() -> tuple[str, Any]:
    """Return the channel option that lets a client resume its TLS sessions."""
    return ("grpc.ssl_session_cache", ssl_session_cache_lru(8))  # type: ignore[no-untyped-call]  # grpc has no types


class Clock:
    """A clock that tests set."""

    def __init__(self, now: dt.datetime) -> None:
        self.now = now

    def __call__(self) -> dt.datetime:
        return self.now


class Gate(grpc.GenericRpcHandler):
    """Answers every call with "SPIFFE ID|tenant|resumed", or aborts with the refusal's reason."""

    def __init__(self, resolver: CallerResolver) -> None:
        self.resolver = resolver
        self.resumed: list[bool] = []

    def service(self, handler_call_details: grpc.HandlerCallDetails) -> Any:
        """Serve any method."""
        return grpc.unary_unary_rpc_method_handler(self.answer)

    async def answer(self, _request: bytes, context: grpc.aio.ServicerContext[bytes, bytes]) -> bytes:
        """Say who calls."""
        auth: Any = context.auth_context()
        self.resumed.append(auth["ssl_session_reused"] == [b"true"])
        try:
            caller = self.resolver.resolve(auth)
        except GatewayError as refused:
            code = grpc.StatusCode.UNAUTHENTICATED
            if isinstance(refused, PermissionDenied):
                code = grpc.StatusCode.PERMISSION_DENIED
            await context.abort(code, refused.reason)
        return f"{caller.spiffe_id}|{caller.tenant}".encode()


class Server:
    """A node's front door: the gate behind mutual TLS, trusting both domains."""

    def __init__(self, gate: Gate, clock: Clock, port: int) -> None:
        self.gate = gate
        self.clock = clock
        self.port = port

    async def call(self, svid: IssuedSvid | None, *options: tuple[str, Any]) -> str:
        """Call over a new connection; the answer, or raises grpc.aio.AioRpcError."""
        credentials = (
            grpc.ssl_channel_credentials(A.bundle_pem)
            if svid is None
            else grpc.ssl_channel_credentials(A.bundle_pem, svid.key_pem, svid.presented_pem)
        )
        options = (("grpc.use_local_subchannel_pool", 1), *options)
        async with grpc.aio.secure_channel(f"localhost:{self.port}", credentials, options=options) as channel:
            method: Callable[..., Awaitable[bytes]] = channel.unary_unary("/test/Who")
            return (await method(b"", timeout=10)).decode()

    async def refusal(self, svid: IssuedSvid | None, *options: tuple[str, Any]) -> tuple[grpc.StatusCode, str]:
        """Return code and details of a call that must be refused."""
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await self.call(svid, *options)
        return refused.value.code(), refused.value.details() or ""


@pytest.fixture
async def server() -> AsyncIterator[Server]:
    """Run a front door on a free port."""
    bundles, clock = TrustBundles([bundle_of(A), bundle_of(B)]), Clock(A.now)
    gate = Gate(CallerResolver(bundles, tenant_of, clock))
    own = A.svid("/gateway", dns=("localhost",))
    running = grpc.aio.server()
    running.add_generic_rpc_handlers((gate,))
    source = FixedSvid(X509Svid.from_pem(own.presented_pem, own.key_pem))
    port = running.add_secure_port("127.0.0.1:0", server_credentials(source, bundles))
    await running.start()
    yield Server(gate, clock, port)
    await running.stop(None)


async def test_valid_is_accepted(server: Server) -> None:
    """A valid SVID is its caller, with its tenant."""
    assert await server.call(A.svid("/billing")) == "spiffe://example.org/billing|tenant-billing"


REFUSED: dict[str, tuple[IssuedSvid, Reason]] = {
    "domain B's authority minting an id of A": (B.svid(uris=("spiffe://example.org/admin",)), Reason.UNTRUSTED),
    "no URI": (A.svid(uris=(), dns=("x.example.org",)), Reason.NO_URI_SAN),
    "no alternative name": (A.svid(uris=()), Reason.NO_URI_SAN),
    "two URIs": (A.svid(uris=("spiffe://example.org/a", "spiffe://example.org/b")), Reason.MANY_URI_SANS),
    "no authority key id": (A.svid(authority_key_id=False), Reason.NO_AUTHORITY_KEY_ID),
    "a signing certificate": (
        A.svid(is_ca=True, usages=CERT_SIGN | DIGITAL_SIGNATURE),
        Reason.SIGNING_CERTIFICATE,
    ),
    "upper-case domain": (A.svid(uris=("spiffe://EXAMPLE.org/x",)), Reason.BAD_SPIFFE_ID),
    "a third domain's id": (A.svid(uris=("spiffe://third.org/x",)), Reason.WRONG_TRUST_DOMAIN),
    "a query": (A.svid(uris=("spiffe://example.org/x?a=b",)), Reason.BAD_SPIFFE_ID),
    "no path": (A.svid(uris=("spiffe://example.org",)), Reason.NO_WORKLOAD_PATH),
    "no key usage": (A.svid(usages=None), Reason.KEY_USAGE),
}


@pytest.mark.parametrize(("svid", "reason"), REFUSED.values(), ids=REFUSED.keys())
async def test_refused_behind_tls(server: Server, svid: IssuedSvid, reason: Reason) -> None:
    """TLS lets each of these in; the resolver refuses it, for its own reason."""
    assert await server.refusal(svid) == (grpc.StatusCode.UNAUTHENTICATED, reason.value)
    assert server.gate.resumed == [False]  # the handshake was complete: it was not TLS that refused


async def test_identity_without_tenant(server: Server) -> None:
    """An identity that no tenant has is known and refused, also one of the other trusted domain."""
    for svid in (A.svid("/stranger"), B.svid("/billing")):
        assert await server.refusal(svid) == (grpc.StatusCode.PERMISSION_DENIED, NO_TENANT)


@pytest.mark.parametrize(
    "svid",
    [
        None,
        A.svid(not_after=A.now - dt.timedelta(seconds=1)),
        TestAuthority("example.org", now=A.now).svid(),
        TestAuthority("third.org", now=A.now).svid(),
    ],
    ids=["none", "expired", "an authority that nobody knows", "a domain that nobody knows"],
)
async def test_refused_by_tls(server: Server, svid: IssuedSvid | None) -> None:
    """Without a client certificate, or with an expired or unknown one, no handshake ends and no handler runs."""
    code, _ = await server.refusal(svid)
    assert code is grpc.StatusCode.UNAVAILABLE
    assert server.gate.resumed == []


async def test_expired_while_the_connection_lives(server: Server) -> None:
    """A second call on a connection is refused once the certificate has ended."""
    svid = A.svid("/billing")
    credentials = grpc.ssl_channel_credentials(A.bundle_pem, svid.key_pem, svid.presented_pem)
    async with grpc.aio.secure_channel(f"localhost:{server.port}", credentials) as channel:
        method: Callable[..., Awaitable[bytes]] = channel.unary_unary("/test/Who")
        assert await method(b"", timeout=10)
        server.clock.now = svid.leaf.not_valid_after_utc + MICROSECOND
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await method(b"", timeout=10)
    assert (refused.value.code(), refused.value.details()) == (grpc.StatusCode.UNAUTHENTICATED, Reason.EXPIRED.value)


async def test_expired_and_resuming_its_session(server: Server) -> None:
    """A resumed TLS session is not checked by TLS again: the resolver refuses the expired certificate in it."""
    svid = A.svid("/billing")
    cache = session_cache()
    await server.call(svid, cache)
    await server.call(svid, cache)
    assert server.gate.resumed == [False, True]
    server.clock.now = svid.leaf.not_valid_after_utc + MICROSECOND
    assert await server.refusal(svid, cache) == (grpc.StatusCode.UNAUTHENTICATED, Reason.EXPIRED.value)
    assert server.gate.resumed == [False, True, True]


async def test_expired_and_resuming_at_a_resolver_that_never_saw_it(server: Server) -> None:
    """The refusal does not depend on what is remembered: after `forget`, the resumed certificate is verified anew."""
    svid = A.svid("/billing")
    cache = session_cache()
    await server.call(svid, cache)
    server.gate.resolver.forget()
    server.clock.now = svid.leaf.not_valid_after_utc + MICROSECOND
    assert await server.refusal(svid, cache) == (grpc.StatusCode.UNAUTHENTICATED, Reason.EXPIRED.value)
    assert server.gate.resumed == [False, True]


async def test_intermediates_of_a_resumed_session(server: Server) -> None:
    """A resumed session still tells the intermediates, so that a resolver that forgot can build the path."""
    svid = A.svid("/billing")
    cache = session_cache()
    await server.call(svid, cache)
    server.gate.resolver.forget()
    assert await server.call(svid, cache) == "spiffe://example.org/billing|tenant-billing"
    assert server.gate.resumed == [False, True]


# --- the resolver on its own ------------------------------------------------------------------------------------------


def resolver(clock: Clock, **changes: Any) -> CallerResolver:
    """Return a resolver that trusts A."""
    return CallerResolver(changes.pop("bundles", None) or TrustBundles([bundle_of(A)]), tenant_of, clock, **changes)


def refused_for(found: CallerResolver, svid: IssuedSvid) -> str:
    """Return the reason of a refusal."""
    with pytest.raises((Unauthenticated, PermissionDenied)) as refused:
        found.resolve(svid.auth_context())
    return refused.value.reason


def test_caller_fields() -> None:
    """The caller carries what the verified leaf says."""
    svid = A.svid("/billing/otp", serial=0x1F)
    caller = resolver(Clock(A.now)).resolve(svid.auth_context())
    assert (caller.spiffe_id, caller.trust_domain) == ("spiffe://example.org/billing/otp", "example.org")
    assert (caller.path, caller.tenant, caller.serial) == ("/billing/otp", "tenant-billing", "1f")
    assert caller.not_after == svid.leaf.not_valid_after_utc
    assert len(caller.issuer_keys) == 2


def test_remembers_by_octets() -> None:
    """The same leaf gives the same caller object, whatever intermediates come with it later."""
    found, svid = resolver(Clock(A.now)), A.svid()
    caller = found.resolve(svid.auth_context())
    assert found.resolve({"x509_pem_cert": [svid.leaf_pem]}) is caller
    assert found.resolve(A.svid().auth_context()) is not caller


def test_looks_tenants_up_once_until_told_to_forget() -> None:
    """A changed mapping counts after `forget`."""
    tenants = {"/service": "one"}
    found = CallerResolver(TrustBundles([bundle_of(A)]), lambda i: tenants.get(i.path), Clock(A.now))
    svid = A.svid()
    assert found.resolve(svid.auth_context()).tenant == "one"
    tenants.clear()
    assert found.resolve(svid.auth_context()).tenant == "one"
    found.forget()
    assert refused_for(found, svid) == NO_TENANT


def test_new_bundles_count_at_once() -> None:
    """A leaf that was verified under bundles which are replaced is verified anew, and refused."""
    bundles = TrustBundles([bundle_of(A)])
    found, svid = resolver(Clock(A.now), bundles=bundles), A.svid()
    found.resolve(svid.auth_context())
    bundles.replace([bundle_of(TestAuthority("example.org", now=A.now))])
    assert refused_for(found, svid) == Reason.UNTRUSTED
    bundles.replace([])
    assert refused_for(found, svid) == Reason.WRONG_TRUST_DOMAIN


def test_bounded() -> None:
    """The least recently used leaf is forgotten first, and no more than `cache_size` are kept."""
    asked: list[str] = []

    def counting(spiffe_id: SpiffeId) -> str:
        asked.append(spiffe_id.path)
        return "one"

    found = CallerResolver(TrustBundles([bundle_of(A)]), counting, Clock(A.now), cache_size=2)
    a, b, c = (A.svid(path) for path in ("/a", "/b", "/c"))
    for svid in (a, b, a, c, a, b):
        found.resolve(svid.auth_context())
    assert asked == ["/a", "/b", "/c", "/b"]


def test_no_room_at_all() -> None:
    """A cache of no size is a mistake of the caller's."""
    with pytest.raises(ValueError, match="cache_size"):
        resolver(Clock(A.now), cache_size=0)


@pytest.mark.parametrize("context", [{}, {"x509_pem_cert": []}, {"transport_security_type": [b"ssl"]}])
def test_no_certificate(context: dict[str, list[bytes]]) -> None:
    """A peer without a certificate is refused, also when the TLS stack let it in."""
    with pytest.raises(Unauthenticated) as refused:
        resolver(Clock(A.now)).resolve(context)
    assert refused.value.reason == Reason.NO_CERTIFICATE


def test_two_leafs_in_the_context() -> None:
    """More than one leaf is never one identity."""
    leaf = A.svid().leaf_pem
    with pytest.raises(Unauthenticated):
        resolver(Clock(A.now)).resolve({"x509_pem_cert": [leaf, leaf]})


def test_grpcs_own_reading_is_not_used() -> None:
    """What gRPC says of the peer's identity changes nothing."""
    context = {**A.svid("/billing").auth_context(), "peer_spiffe_id": [b"spiffe://example.org/admin"]}
    assert resolver(Clock(A.now)).resolve(context).path == "/billing"


def test_expires_in_the_cache() -> None:
    """A remembered caller is refused from the first microsecond after its end."""
    clock, svid = Clock(A.now), A.svid()
    found = resolver(clock)
    caller = found.resolve(svid.auth_context())
    clock.now = caller.not_after
    assert found.resolve(svid.auth_context()) is caller
    clock.now = caller.not_after + MICROSECOND
    assert refused_for(found, svid) == Reason.EXPIRED


def test_intermediate_ends_and_is_renewed() -> None:
    """When an intermediate ends before the leaf, the caller ends with it, until a renewed one is presented."""
    clock, svid = Clock(A.now), A.svid()
    found, ends = resolver(clock), A.now + dt.timedelta(minutes=5)
    short = cert_pem(A.sub_authority(A.intermediate_key, not_after=ends))
    context = {"x509_pem_cert": [svid.leaf_pem], "x509_pem_cert_chain": [short]}
    assert found.resolve(context).not_after == ends
    clock.now = ends + MICROSECOND
    with pytest.raises(Unauthenticated):
        found.resolve(context)
    assert found.resolve(svid.auth_context()).not_after == svid.leaf.not_valid_after_utc


def test_stream_messages() -> None:
    """A caller can be asked, for each message of a stream, whether it still stands."""
    caller: Caller = resolver(Clock(A.now)).resolve(A.svid().auth_context())
    assert still_valid(caller, caller.not_after)
    require_valid(caller, caller.not_after)
    assert not still_valid(caller, caller.not_after + MICROSECOND)
    with pytest.raises(Unauthenticated) as refused:
        require_valid(caller, caller.not_after + MICROSECOND)
    assert refused.value.reason == Reason.EXPIRED
