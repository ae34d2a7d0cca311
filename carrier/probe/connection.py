"""One bind of a probe: moves octets between a socket and the links' session, and keeps everything it hears.

Unlike a link it connects once, paces nothing, and hands out each answer with its status and time.
"""

from __future__ import annotations

import asyncio
import ssl
import time
from collections.abc import Callable
from typing import Any, cast

from carrier.endpoint import Endpoint
from carrier.errors import BindRefused, LinkLost, PduError
from carrier.probe.observations import Answered, Asked, Told
from carrier.smpp.constants import Status, Tag, status_description
from carrier.smpp.events import (
    BindRejected,
    Bound,
    Event,
    Failed,
    InDoubt,
    RequestAnswered,
    RequestReceived,
    SubmitAnswered,
    Unbound,
)
from carrier.smpp.pdu import DataSm, DeliverSm, Pdu, printable
from carrier.smpp.session import Session, SessionConfig
from carrier.smpp.tlv import read_int
from carrier.tls import client_context, refusal

MAX_TOLD = 10_000  # deliveries that are kept
_UNBIND_WITHIN_S = 2.0


class ProbeConnection(asyncio.Protocol):
    """See the module. `told` is shared by the connections of one probe."""

    def __init__(self, endpoint: Endpoint, told: list[Told], *, answer_within_s: float) -> None:
        self.interface_version: int | None = None
        self.tls_version = ""
        self._endpoint = endpoint
        self._told = told
        self._answer_within_s = answer_within_s
        loop = asyncio.get_running_loop()
        self._loop = loop
        self._bound: asyncio.Future[None] = loop.create_future()
        self._ended: asyncio.Future[None] = loop.create_future()
        self._timer: asyncio.TimerHandle | None = None
        self._transport: asyncio.Transport | None = None
        self._session: Session

    @classmethod
    async def open(
        cls, endpoint: Endpoint, told: list[Told], *, connect_within_s: float, answer_within_s: float
    ) -> ProbeConnection:
        """Connect and bind. Raises BindRefused, TlsRefused or LinkLost."""
        connection = cls(endpoint, told, answer_within_s=answer_within_s)
        tls = endpoint.tls
        try:
            async with asyncio.timeout(connect_within_s):
                context = await asyncio.to_thread(client_context, tls) if tls is not None else None
                await connection._loop.create_connection(
                    lambda: connection, endpoint.host, endpoint.port, ssl=context,
                    server_hostname=endpoint.expected_name if context is not None else None,
                )  # fmt: skip
                await connection._bound
        except TimeoutError:
            connection.abort()
            raise LinkLost(f"{endpoint.where}: no connection, TLS and bind within {connect_within_s:g} s") from None
        except ssl.SSLError as error:
            raise refusal(error, endpoint) from error
        except OSError as error:
            raise LinkLost(f"{endpoint.where}: {error.strerror or type(error).__name__}") from error
        except BaseException:
            connection.abort()
            raise
        return connection

    def submit(self, body: bytes) -> asyncio.Future[Answered]:
        """Write a submit_sm. Raises LocalSessionError when the connection is over."""
        future: asyncio.Future[Answered] = self._loop.create_future()
        now, unanswered = self._loop.time(), self._session.in_flight + 1

        def settle(status: int | None, message_id: str) -> None:
            if not future.done():
                future.set_result(Answered(status, message_id, self._loop.time() - now, unanswered))

        self._session.submit(body, settle, now)
        self._flush()
        return future

    async def ask(self, pdu: Pdu) -> Asked:
        """Send another request, and return its answer. Raises LocalSessionError when the connection is over."""
        future: asyncio.Future[Asked] = self._loop.create_future()

        def settle(status: int | None, answer: Pdu | None) -> None:
            if not future.done():
                future.set_result(Asked(status, nacked=status is not None and answer is None))

        try:
            self._session.request(pdu, settle, self._loop.time())
        except PduError:
            return Asked(Status.ESME_RINVPARLEN, nacked=False)  # an id that no such PDU can hold
        self._flush()
        return await future

    async def close(self) -> None:
        """Unbind and close; what is not answered in time is not waited for."""
        if self._transport is not None and not self._ended.done():
            try:
                self._session.unbind(self._loop.time())
                self._flush()
                await asyncio.wait({self._ended}, timeout=_UNBIND_WITHIN_S)
            finally:
                self.abort()
        await asyncio.wait({self._ended}, timeout=_UNBIND_WITHIN_S)

    def abort(self) -> None:
        """Close at once."""
        if self._transport is not None:
            self._transport.abort()

    # What the transport tells

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Bind."""
        self._transport = cast(asyncio.Transport, transport)
        secured = transport.get_extra_info("ssl_object")
        self.tls_version = (secured.version() or "") if secured is not None else ""
        config = SessionConfig(window=1000, response_timeout_s=self._answer_within_s, max_incoming=MAX_TOLD)
        self._session = Session(config, now=self._loop.time())
        self._session.bind(self._endpoint.bind, self._loop.time())
        self._flush()

    def data_received(self, data: bytes) -> None:
        """Take octets."""
        for event in self._session.receive_data(data, self._loop.time()):
            self._take(event)
        self._flush()

    def connection_lost(self, exc: Exception | None) -> None:
        """The end: what was open stays without an answer."""
        if self._timer is not None:
            self._timer.cancel()
        for ticket in self._session.lost():
            _settle(ticket, None, None)
        if not self._bound.done():
            how = f" ({exc})" if exc else ""
            self._bound.set_exception(LinkLost(f"{self._endpoint.where} closed the connection at the bind{how}"))
            self._bound.exception()  # whoever waits for it gets it; nobody may
        if not self._ended.done():
            self._ended.set_result(None)

    # The inside

    def _take(self, event: Event) -> None:
        match event:
            case Bound(pdu):
                self.interface_version = read_int(pdu.tlvs, Tag.SC_INTERFACE_VERSION)
                if not self._bound.done():
                    self._bound.set_result(None)
            case BindRejected(status):
                if not self._bound.done():
                    why = f"{self._endpoint.where} refused the bind: {status_description(status)}"
                    self._bound.set_exception(BindRefused(why, status=status))
                self.abort()
            case SubmitAnswered(ticket, status, message_id):
                _settle(ticket, status, printable(message_id))
            case RequestAnswered(ticket, status, answer):
                _settle(ticket, status, answer)
            case InDoubt(ticket):
                _settle(ticket, None, None)
            case RequestReceived(sequence, pdu):
                if isinstance(pdu, DeliverSm | DataSm) and len(self._told) < MAX_TOLD:
                    self._told.append(Told(pdu, self._loop.time(), time.time()))
                self._session.answer(sequence, 0)
            case Failed() | Unbound():
                self._flush()
                if self._transport is not None:
                    self._transport.close()

    def _flush(self) -> None:
        octets = self._session.bytes_to_send()
        if octets and self._transport is not None and not self._transport.is_closing():
            self._transport.write(octets)
        if self._timer is not None:
            self._timer.cancel()
        deadline = self._session.next_deadline()
        self._timer = None if deadline is None else self._loop.call_at(deadline, self._due)

    def _due(self) -> None:
        for event in self._session.handle_timeout(max(self._loop.time(), self._session.next_deadline() or 0.0)):
            self._take(event)
        self._flush()


def _settle(ticket: object, status: int | None, found: Any) -> None:
    """Hand an answer to who waits for it: tickets are the functions that `submit` and `ask` made."""
    cast(Callable[[int | None, Any], None], ticket)(status, "" if found is None and status is None else found)
