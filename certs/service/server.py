"""The authority as a server: two ports, its own SVID, and what is looked at every second.

The port for nodes demands client certificates; the one for joining asks for none and answers JoinNode only, so that a
firewall can tell them apart. The server's SVID lives in memory and is renewed at half its life, and as soon as another
intermediate issues.
"""

from __future__ import annotations

import datetime as dt
from concurrent.futures import ThreadPoolExecutor
from types import TracebackType
from typing import Final, Self

import grpc

from certs.bundle import TrustBundles
from certs.ca.desk import Desk
from certs.ca.profile import LeafRequest
from certs.errors import AuthorityError
from certs.service.servicer import Calls, Clock, Rates, join_handler, node_handler
from certs.svid import X509Svid
from certs.tls import server_credentials

PATH: Final = "/ca"
_THREADS: Final = 8
_MAX_CALLS: Final = 256  # beyond it, RESOURCE_EXHAUSTED
_OPTIONS: Final = (
    ("grpc.max_receive_message_length", 64 * 1024),
    ("grpc.max_concurrent_streams", 64),
    ("grpc.max_connection_age_ms", 15 * 60 * 1000),
    ("grpc.max_connection_age_grace_ms", 30 * 1000),
    ("grpc.server_handshake_timeout_ms", 10 * 1000),
    ("grpc.so_reuseport", 0),
)


class OwnSvid:
    """The server's SVID: an `SvidSource` that is renewed in memory."""

    def __init__(self, desk: Desk, request: LeafRequest, now: dt.datetime) -> None:
        """Issue the first. Raises CertsError."""
        self._desk, self._request = desk, request
        self.svid: X509Svid = desk.own_svid(request, now)
        self.version = 1

    def refresh(self, now: dt.datetime) -> bool:
        """Renew it when that is due; says whether it was. Raises CertsError, and keeps the old one."""
        good = now < self.svid.half_life and self._desk.issues in {self.svid.authority_key_id, ""}
        if good and not self._desk.is_revoked(self.svid.serial):
            return False
        self.svid = self._desk.own_svid(self._request, now)
        self.version += 1
        return True


class CertificateServer:
    """Both ports, from `start` to `stop`."""

    def __init__(self, desk: Desk, request: LeafRequest, clock: Clock, rates: Rates = Rates()) -> None:  # noqa: B008 - frozen
        """Issue the server's own SVID. Raises CertsError."""
        self._desk, self._clock = desk, clock
        desk.refresh(clock())  # the bundle has JWT keys before anybody asks
        self._own = OwnSvid(desk, request, clock())
        self._bundles = TrustBundles([desk.bundle])
        self._calls = Calls(desk, self._bundles, clock, rates)
        self._servers: list[grpc.Server] = []

    @property
    def own(self) -> X509Svid:
        """What it presents now."""
        return self._own.svid

    def start(self, listen: str, join: str) -> tuple[int, int]:
        """Serve nodes at `listen` and joining at `join` (host:port; port 0 chooses one); returns both ports.

        Raises AuthorityError when an address cannot be used.
        """
        return self._serve(node_handler(self._calls), listen, clients=True), self._serve(
            join_handler(self._calls), join, clients=False
        )

    def _serve(self, handler: grpc.GenericRpcHandler, address: str, *, clients: bool) -> int:
        server = grpc.server(ThreadPoolExecutor(_THREADS), options=_OPTIONS, maximum_concurrent_rpcs=_MAX_CALLS)
        server.add_generic_rpc_handlers([handler])
        try:
            port = server.add_secure_port(address, server_credentials(self._own, self._bundles, clients=clients))
        except RuntimeError as refused:
            raise AuthorityError(f"{address} cannot be listened at: is the port in use?") from refused
        server.start()
        self._servers.append(server)
        return port

    @property
    def registration_refused(self) -> str:
        """Why the registration's file cannot be used as it is now; empty while it can."""
        return self._desk.registration_refused

    def refresh(self) -> bool:
        """Take up what changed: authorities, registration, bundle, the own SVID. Raises CertsError; serving goes on."""
        try:
            changed = self._desk.refresh(self._clock())
        finally:
            if self._bundles.all() != (bundle := self._desk.bundle,):
                self._bundles.replace([bundle])
            self._own.refresh(self._clock())
        self._calls.flush()
        return changed

    def stop(self) -> None:
        """End both; calls under way have five seconds."""
        for done in [server.stop(5) for server in self._servers]:
            done.wait(10)
        self._servers.clear()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()
