"""What both clients stand on: an identity source, the tunnel to the server, and how a channel is opened over it."""

from __future__ import annotations

import datetime as dt
import ssl
import threading
from collections.abc import Callable

from certs.bundle import TrustBundles
from certs.errors import NotValidNow
from certs.spiffe_id import TrustDomain
from certs.verify import check_time
from smsgw.client.errors import IdentityUnusable
from smsgw.client.identity import Identity, IdentitySource
from smsgw.client.server import Server
from smsgw.client.tls import client_context
from smsgw.client.tunnel import Tunnel

NOT_OPEN = "the client is not open: `async with AsyncClient(...) as sms`, or `with Client(...) as sms`"
CALL_TIMEOUT_S = 15.0
WAIT_TIMEOUT_S = 600.0
READY_S = 10.0  # for a new channel to stand
AGAIN_S = 1.0  # until one that did not is tried again, give or take a half
RENEWED_S = 5.0  # how long a refused call waits for the channel of a new identity that is there
_MAX_MESSAGE_BYTES = 16 << 20  # a page of 1,000 messages is large, and the server is verified

OPTIONS: tuple[tuple[str, int | str], ...] = (
    ("grpc.use_local_subchannel_pool", 1),  # a new channel is a new connection, with the identity of now
    ("grpc.http2_scheme", "https"),
    ("grpc.http2.bdp_probe", 0),  # it would measure the socket of ours
    ("grpc.http2.lookahead_bytes", 1 << 20),
    ("grpc.keepalive_time_ms", 30_000),
    ("grpc.keepalive_timeout_ms", 10_000),
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.min_reconnect_backoff_ms", 12_000),  # gRPC's word for how long a connection may take to stand
    ("grpc.max_reconnect_backoff_ms", 2_000),
    ("grpc.max_receive_message_length", _MAX_MESSAGE_BYTES),
    ("grpc.enable_http_proxy", 0),
)


class Link:
    """An identity and a tunnel. Its methods block for milliseconds, `open` for as long as the identity takes."""

    def __init__(self, server: Server, source: IdentitySource) -> None:
        self.server = server
        self.source = source
        self._tunnel: Tunnel | None = None
        self._lock = threading.Lock()
        self._context: tuple[tuple[object, ...], ssl.SSLContext] | None = None

    def open(self, changed: Callable[[], None]) -> None:
        """Get the identity and open the tunnel; `changed` is called on any thread when the identity changes.

        Raises IdentityUnusable, also for an identity that does not trust the server's trust domain.
        """

        def told() -> None:
            if self._tunnel is not None:
                self._tunnel.trouble = None  # it was the identity before that had it
            changed()

        try:
            self.source.open(told)
            self.context()
            self._tunnel = Tunnel(self.server, self)
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """End both. Idempotent."""
        if self._tunnel is not None:
            self._tunnel.close()
        self.source.close()

    @property
    def target(self) -> str:
        """Where a gRPC channel of this link connects to."""
        if self._tunnel is None:
            raise RuntimeError("the client is not open: use it as a context manager")
        return self._tunnel.target

    @property
    def trouble(self) -> Exception | None:
        """Why the last connection to the server failed; None since one stands."""
        return None if self._tunnel is None else self._tunnel.trouble

    def options(self) -> list[tuple[str, int | str]]:
        """Return the options of a channel."""
        return [*OPTIONS, ("grpc.default_authority", self.server.target)]

    def context(self) -> ssl.SSLContext:
        """Return the TLS context for the identity of now; made once for each. Raises IdentityUnusable."""
        identity = self.source.current()
        try:
            check_time(identity.svid.facts.not_before, identity.svid.expires_at, dt.datetime.now(dt.UTC))
        except NotValidNow as ended:  # the node would end the handshake, and nobody would know why
            raise IdentityUnusable(f"our SVID: {ended}; does what renews it still run?") from ended
        bundles = identity.bundles
        state = (identity.svid.facts.fingerprint, id(bundles), bundles.version)
        with self._lock:
            if self._context is None or self._context[0] != state:
                self._context = state, client_context(identity.svid, bundles, self._server_domain(identity))
            return self._context[1]

    def verify(self, presented_pem: list[bytes], now: dt.datetime) -> None:
        """Raise ServerNotVerified unless the certificates are the server's, by the bundle of its own trust domain."""
        identity = self.source.current()
        bundle = identity.bundles.get(self._server_domain(identity))
        if bundle is None:
            raise IdentityUnusable(f"there is no bundle of {self._server_domain(identity)} any more")
        self.server.verify(presented_pem, TrustBundles([bundle]), now)

    def _server_domain(self, identity: Identity) -> TrustDomain:
        if self.server.spiffe_id is not None:
            return self.server.spiffe_id.trust_domain
        return identity.svid.spiffe_id.trust_domain
