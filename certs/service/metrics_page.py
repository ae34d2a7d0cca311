"""Prometheus' page of the authority: on a thread of its own, by an SVID of its own, or in plain text on loopback."""

from __future__ import annotations

import asyncio
import contextlib
import datetime as dt
import ssl
import threading
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Final

from certs.bundle import Bundle
from certs.ca.authority import Asked, Authority
from certs.ca.profile import LeafRequest
from certs.errors import AuthorityError, CertificateRevoked
from certs.readers import may_read, server_context
from certs.spiffe_id import SpiffeId
from certs.svid import X509Svid
from visibility.metrics_server import MetricsServer, Security

PATH: Final = "/ca/metrics"
_START_S: Final = 30.0
_STOP_S: Final = 10.0
Clock = Callable[[], dt.datetime]


@dataclass(frozen=True, slots=True, kw_only=True)
class Metrics:
    """Where the page is, and who reads it: `readers` are SPIFFE IDs, with all below them; none: plain text."""

    host: str
    port: int
    readers: tuple[str, ...]


class PageIdentity:
    """The SVID that the page is served with, renewed in memory, and who may read."""

    def __init__(self, authority: Authority, readers: tuple[str, ...], clock: Clock) -> None:
        """Issue the first. Raises CertsError."""
        self._authority, self._readers, self._clock = authority, readers, clock
        domain = authority.trust_domain
        self._request = LeafRequest(spiffe_id=SpiffeId(domain, PATH), dns_names=(f"ca.{domain.name}",))
        self._svid, self._bundle = self._issue(), authority.bundle

    def refresh(self) -> bool:
        """Renew the SVID when that is due, and take up another bundle; says whether something changed.

        Raises CertsError: then the old ones stay.
        """
        bundle, changed = self._authority.bundle, False
        if self._is_due():
            self._svid, changed = self._issue(), True
        changed, self._bundle = changed or bundle != self._bundle, bundle
        return changed

    def security(self) -> Security:
        """Return mutual TLS by what is in force when it is asked for."""

        def context() -> ssl.SSLContext:
            return server_context(self._svid, _roots(self._bundle))

        def admit(leaf_der: bytes) -> bool:
            return may_read(leaf_der, self._bundle.trust_domain.name, self._readers, self._clock())

        return Security(context, admit)

    def _is_due(self) -> bool:
        issuing = self._authority.issuing
        if self._clock() >= self._svid.half_life:
            return True
        if issuing is not None and issuing.key_id != self._svid.authority_key_id:
            return True
        try:
            self._authority.ledger.refuse_revoked(self._svid.serial)
        except CertificateRevoked:
            return True
        return False

    def _issue(self) -> X509Svid:
        asked = Asked(by=str(self._request.spiffe_id), attested="itself")
        return self._authority.issue(self._request, self._clock(), asked)


def _roots(bundle: Bundle) -> str:
    return bundle.to_pem().decode()


class MetricsPage:
    """The page, from `start` to `stop`."""

    def __init__(self, metrics: Metrics, render: Callable[[], bytes], security: Security | None) -> None:
        self._server = MetricsServer((metrics.host, metrics.port), render, security, readers="--metrics-reader")
        self._thread: threading.Thread | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._ending: asyncio.Event | None = None

    def start(self) -> int:
        """Serve; returns the port. Raises AuthorityError."""
        started: Future[int] = Future()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._serve(started)), name="ca-metrics")
        self._thread.start()
        try:
            return started.result(_START_S)
        except OSError as refused:
            self._thread.join(_STOP_S)
            raise AuthorityError(str(refused.strerror or refused)) from refused

    def reload(self) -> None:
        """Show another certificate from the next connection on. Raises AuthorityError: then the old one stays."""
        if self._loop is None:
            return
        try:
            asyncio.run_coroutine_threadsafe(self._server.reload(), self._loop).result(_START_S)
        except OSError as refused:  # ssl.SSLError is one
            raise AuthorityError(f"the metrics page's certificate cannot be used: {refused}") from refused

    def stop(self) -> None:
        """End it. Idempotent."""
        if self._loop is not None and self._ending is not None:
            with contextlib.suppress(RuntimeError):  # it has ended by itself
                self._loop.call_soon_threadsafe(self._ending.set)
        if self._thread is not None:
            self._thread.join(_STOP_S)

    async def _serve(self, started: Future[int]) -> None:
        self._loop, self._ending = asyncio.get_running_loop(), asyncio.Event()
        try:
            port = await self._server.start()
        except OSError as refused:
            started.set_exception(refused)
            return
        started.set_result(port)
        await self._ending.wait()
        await self._server.stop()
