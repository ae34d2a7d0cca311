"""One bind of a link: connects, binds, serves, and connects again with jittered backoff. One task; nothing per PDU.

What goes over the connection is `carrier.connection`; what becomes of it, `carrier.link`. TLS is verified in
`carrier.tls`; an endpoint without TLS is the caller's decision, and is called plain text in everything said about it.
"""

from __future__ import annotations

import asyncio
import logging
import ssl
from collections.abc import Callable
from typing import Any, Protocol

from carrier.connection import CLOSE_GRACE_S, Connection
from carrier.contract import BindStats, LinkState
from carrier.endpoint import Endpoint
from carrier.errors import BindRefused, CarrierError, LinkLost, TlsRefused
from carrier.meter import Meter
from carrier.pacing import Pacer
from carrier.profile import CarrierProfile
from carrier.smpp.bounds import SessionCounts
from carrier.smpp.constants import Status
from carrier.smpp.session import SessionConfig
from carrier.sorting import Sink
from carrier.staging import Staging
from carrier.tap import TapSink
from carrier.tls import check_pins, client_context, refusal
from carrier.versions import understood

logger = logging.getLogger(__name__)

_CLIENT_CERTIFICATE_HINT = ": if it requires a client certificate, set tls.certificate_file and tls.key_file"
_VERSION_HINT = ': if it has only TLS older than 1.3, set tls.min_version to "1.2", or ask it for TLS 1.2 or later'
_OLD_VERSION_HINT = ": if it offers only TLS older than 1.2, ask the carrier for TLS 1.2 or later"
_CAP_HINT = ": the carrier may allow fewer binds than `binds` asks for"
_UNBIND_WAIT_S = 1.0  # for the carrier's answer to our unbind
_REBIND_GRACE_S = 5.0  # for answers, before a bind is given up for a new one
_HOPELESS = frozenset({Status.ESME_RINVPASWD, Status.ESME_RINVSYSID, Status.ESME_RINVSYSTYP})
_CAPPED = frozenset({Status.ESME_RALYBND, Status.ESME_RBINDFAIL})


class BindOwner(Protocol):
    """The link, as one of its binds sees it. None of these may raise."""

    def bind_entered(self, bind: Bind) -> None:
        """`bind.state` or `bind.why` has changed."""

    def bind_leaves(self, bind: Bind) -> None:
        """No more is written on this bind: what is staged for it has to go back."""

    def next_connection(self) -> int:
        """Return the number of the link's next connection."""


class Bind:
    """Keeps one bind up. `run` is its task."""

    def __init__(
        self,
        profile: CarrierProfile,
        endpoint: Endpoint,
        *,
        owner: BindOwner,
        sink: Sink,
        staging: Staging,
        pacer: Pacer,
        meter: Meter,
        clock: Callable[[], float],
        random: Callable[[], float],
    ) -> None:
        self._profile = profile
        self._endpoint = endpoint
        self._owner = owner
        self._sink = sink
        self._staging = staging
        self._pacer = pacer
        self._meter = meter
        self._clock = clock
        self._random = random
        self.state = LinkState.STOPPED
        self.why = "not started"
        self.counts = SessionCounts()
        self.stated_version: int | None = None
        self.connection: Connection | None = None
        self._connections = 0
        self._bound_at: float | None = None
        self._delay_s = profile.reconnect_min_s
        self._last_connection: Connection | None = None
        self._stopping = False
        self._tap: TapSink | None = None
        self._rebind_asked: asyncio.Future[str]  # of the connection that is being made or served

    @property
    def peer_version(self) -> int:
        """The carrier's SMPP version: as it stated it, or as the profile assumes."""
        return understood(self.stated_version, assumed=self._profile.binding.assumed_version)

    def stats(self) -> BindStats:
        """Return how the bind stands."""
        bound = self.state is LinkState.BOUND and self._bound_at is not None
        return BindStats(
            role=self._endpoint.role.value,
            where=self._endpoint.where,
            secured=self._endpoint.tls is not None,
            state=self.state,
            why=self.why,
            connections=self._connections,
            bound_for_s=self._clock() - (self._bound_at or 0.0) if bound else None,
            stated_version=self.stated_version,
        )

    async def run(self) -> None:
        """Connect, bind, serve, and again, until `finish` is called and this is cancelled."""
        try:
            while not self._stopping:
                await self._serve_one_connection()
                if not self._stopping:
                    await asyncio.sleep(self._delay_s)
        finally:
            self.finish()
            if self.connection is not None:
                self.connection.end(LinkLost("the link was stopped"))

    def tap(self, sink: TapSink | None) -> None:
        """Copy each PDU to `sink` from now on, on later connections too; None ends it."""
        self._tap = sink
        if self.connection is not None:
            self.connection.tap(sink)

    def finish(self) -> None:
        """Do not connect again."""
        self._stopping = True

    def rebind(self, why: str) -> None:
        """Leave in good order and bind again; does nothing while not bound."""
        if self.state is LinkState.BOUND and not self._rebind_asked.done():
            self._rebind_asked.set_result(why)

    async def leave(self, why: str, grace_s: float) -> None:
        """Write no more, wait up to `grace_s` for answers, unbind, and wait for the end."""
        connection = self.connection
        if connection is None:
            return
        if self.state is not LinkState.BOUND:
            if self.state is LinkState.UNBINDING:  # a rebind is on its way
                await first(connection.ended, timeout_s=grace_s + _UNBIND_WAIT_S)
            return
        self._enter(LinkState.UNBINDING, f"{why}: no more is sent, answers are awaited")
        drained = connection.stop_accepting()
        self._owner.bind_leaves(self)
        await first(drained, connection.ended, timeout_s=grace_s)
        connection.unbind()
        await first(connection.ended, timeout_s=_UNBIND_WAIT_S)

    async def hang_up(self) -> None:
        """Wait until the last transport is gone: nothing is left open. It is cut after CLOSE_GRACE_S."""
        if self._last_connection is not None:
            await first(self._last_connection.closed, timeout_s=2 * CLOSE_GRACE_S)
        self._enter(LinkState.STOPPED, "stopped")

    # What the connection tells (see `carrier.connection.Owner`)

    def check_peer(self, transport: asyncio.BaseTransport) -> None:
        """Check the pins, before the password is sent."""
        if self._endpoint.tls is not None:
            secured = transport.get_extra_info("ssl_object")
            if secured is None:
                raise TlsRefused(f"{self._endpoint.where}: the connection came up without TLS: this is a defect here")
            check_pins(secured, self._endpoint)

    def connection_bound(self, stated_version: int | None) -> None:
        """The bind was accepted."""
        self._bound_at = self._clock()
        self.stated_version = stated_version
        self._enter(LinkState.BOUND, f"bound{self._in_plain_text()}")

    def connection_ended(self, error: CarrierError) -> None:
        """The connection is over."""
        self.connection = None
        if not self._stopping:
            self._back_off(error)

    def explain(self, error: Exception | None, *, bound: bool) -> CarrierError:
        """Put the end of a connection, before or after the bind was answered, in plain words."""
        if isinstance(error, ssl.SSLError):
            return refusal(error, self._endpoint)
        how = f" ({error.strerror or type(error).__name__})" if isinstance(error, OSError) else ""
        if bound:
            return LinkLost(f"the carrier closed the connection{how}")
        tls = self._endpoint.tls
        hint = _CLIENT_CERTIFICATE_HINT if tls is not None and tls.certificate_file is None else ""
        return LinkLost(f"{self._endpoint.where} closed the connection before it answered the bind{how}{hint}")

    # The inside

    def _explain_handshake(self, error: OSError) -> CarrierError:
        """Put the end of a connection on which TLS did not come up: many carriers hang up without an alert."""
        tls = self._endpoint.tls
        if isinstance(error, ssl.SSLError) or tls is None:
            return self.explain(error, bound=False)
        hint = _OLD_VERSION_HINT if tls.tls_1_2 else _VERSION_HINT
        if tls.certificate_file is None:
            hint += _CLIENT_CERTIFICATE_HINT.replace(":", ";", 1)
        how = error.strerror or type(error).__name__
        return TlsRefused(f"{self._endpoint.where} hung up during the TLS handshake ({how}){hint}")

    async def _serve_one_connection(self) -> None:
        limit_s, where = self._profile.connect_timeout_s, self._endpoint.where
        self._bound_at = None
        self._rebind_asked = asyncio.get_running_loop().create_future()
        self._enter(LinkState.CONNECTING, f"to {where}{self._in_plain_text()}")
        try:
            async with asyncio.timeout(limit_s):
                connection = await self._connect()
                await first(connection.bound, connection.ended)
        except TimeoutError:
            self._failed(LinkLost(f"{where}: no connection, TLS and bind within {limit_s:g} s"))
        except OSError as error:
            if isinstance(error, ssl.SSLError) or self.connection is not None:  # TCP had come up
                self._failed(self._explain_handshake(error))
            else:
                self._failed(LinkLost(f"{where}: {error.strerror or type(error).__name__}"))
        except CarrierError as error:
            self._failed(error)
        else:
            await self._serve(connection)

    async def _serve(self, connection: Connection) -> None:
        """Wait for the end, or lead to it when a rebind is asked for."""
        await first(connection.ended, self._rebind_asked)
        if self._rebind_asked.done() and not connection.ended.done():
            why = f"rebinding: {self._rebind_asked.result()}"
            await self.leave(why, _REBIND_GRACE_S)
            connection.end(LinkLost(why))

    async def _connect(self) -> Connection:
        endpoint = self._endpoint
        context = None
        if endpoint.tls is not None:
            context = await asyncio.to_thread(client_context, endpoint.tls)
        _, connection = await asyncio.get_running_loop().create_connection(
            self._new_connection,
            endpoint.host,
            endpoint.port,
            ssl=context,
            server_hostname=endpoint.expected_name if context is not None else None,
        )
        return connection

    def _new_connection(self) -> Connection:
        profile = self._profile
        config = SessionConfig(
            window=profile.window,
            response_timeout_s=profile.response_timeout_s,
            enquire_link_s=profile.enquire_link_s,
            max_inbound_rate=profile.max_inbound_rate,
        )
        self._connections += 1
        connection = Connection(
            self,
            self._sink,
            number=self._owner.next_connection(),
            bind=self._endpoint.bind,
            config=config,
            counts=self.counts,
            staging=self._staging,
            pacer=self._pacer,
            meter=self._meter,
            clock=self._clock,
        )
        if self._tap is not None:
            connection.tap(self._tap)
        self.connection = self._last_connection = connection
        return connection

    def _failed(self, error: CarrierError) -> None:
        """A connection did not come up. If it came far enough to have an object, that one reports."""
        if self.connection is not None:
            self.connection.end(error)
        elif self.state is LinkState.CONNECTING and not self._stopping:
            self._back_off(error)

    def _back_off(self, error: CarrierError) -> None:
        """Decorrelated jitter between the profile's bounds; a bind that held long enough starts anew."""
        low, high = self._profile.reconnect_min_s, self._profile.reconnect_max_s
        if self._bound_at is not None and self._clock() - self._bound_at >= high:
            self._delay_s = low
        if isinstance(error, BindRefused) and error.status in _HOPELESS:
            self._delay_s = high * (0.75 + 0.25 * self._random())  # asking again fast would lock the account
        else:
            self._delay_s = min(high, low + self._random() * max(0.0, self._delay_s * 3 - low))
        capped = isinstance(error, BindRefused) and error.status in _CAPPED
        self._enter(
            LinkState.BACKOFF, f"{error}{_CAP_HINT if capped else ''}; connecting again in {self._delay_s:.1f} s"
        )

    def _in_plain_text(self) -> str:
        return "" if self._endpoint.tls is not None else ", in plain text (insecure: true)"

    def _enter(self, state: LinkState, why: str) -> None:
        self.state, self.why = state, why
        self._owner.bind_entered(self)


async def first(*futures: asyncio.Future[Any], timeout_s: float | None = None) -> None:
    """Wait until one of `futures` is done; does not cancel them."""
    await asyncio.wait(futures, timeout=timeout_s, return_when=asyncio.FIRST_COMPLETED)
