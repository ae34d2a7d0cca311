"""The link to one carrier bind: connects, binds, serves, and connects again (`carrier.contract.Link`).

Holds no durable state and decides no retry: each submission comes back once, as ANSWERED, NOT_WRITTEN or IN_DOUBT. One
task per link; nothing per PDU. TLS is verified in `carrier.tls`; a profile without TLS is the caller's decision.
"""

from __future__ import annotations

import asyncio
import logging
import ssl
import time
from collections.abc import Callable, Sequence
from random import SystemRandom
from typing import Any

from carrier.connection import CLOSE_GRACE_S, Connection
from carrier.contract import (
    Delivery,
    LinkListener,
    LinkState,
    Outcome,
    Request,
    RequestResult,
    Submission,
    SubmitResult,
)
from carrier.errors import BindRefused, CarrierError, LinkLost, LocalSessionError, PduError
from carrier.pacing import Pacer
from carrier.profile import CarrierProfile
from carrier.requests import not_written, sort_out
from carrier.smpp.constants import CommandId, Status
from carrier.smpp.pdu import BindTransceiver, encode_body
from carrier.smpp.session import SessionConfig
from carrier.staging import Staging
from carrier.tls import client_context, refusal, server_name

logger = logging.getLogger(__name__)

_JITTER = SystemRandom()
_CLIENT_CERTIFICATE_HINT = ": if it requires a client certificate, set tls.certificate_file and tls.key_file"
_UNBIND_WAIT_S = 1.0  # for the carrier's answer to our unbind
_HOPELESS = frozenset({Status.ESME_RINVPASWD, Status.ESME_RINVSYSID, Status.ESME_RINVSYSTYP})


class SmppLink:
    """One transceiver bind to one carrier. See `carrier.contract.Link` for what each method promises."""

    def __init__(
        self,
        profile: CarrierProfile,
        index: int,
        listener: LinkListener,
        pacer: Pacer,
        *,
        clock: Callable[[], float] = time.monotonic,
        random: Callable[[], float] = _JITTER.random,
    ) -> None:
        """`index`: the bind's number, from 0. `pacer`: the one of the carrier's account, shared by its binds, and fed
        with `clock`. `random`: uniform in 0 to 1, for the jitter of reconnecting. Raises PduError if the profile's
        credentials do not fit a bind."""
        self._profile = profile
        self._name = f"{profile.name}/{index}"
        self._bind = _bind_of(profile)
        self._where = f"{profile.host}:{profile.port}"
        self._listener = listener
        self._pacer = pacer
        self._clock = clock
        self._random = random
        self._staging = Staging(profile.window)
        self._refused: set[CommandId] = set()  # commands that the carrier does not take
        self._state = LinkState.STOPPED
        self._connection: Connection | None = None
        self._connections = 0
        self._bound_at: float | None = None
        self._delay_s = profile.reconnect_min_s
        self._last_connection: Connection | None = None
        self._worker: asyncio.Task[None] | None = None
        self._stopping = False
        self._finished = asyncio.Event()

    @property
    def carrier(self) -> str:
        """The name of the carrier's profile."""
        return self._profile.name

    @property
    def name(self) -> str:
        """Carrier and number of the bind: `acme/0`."""
        return self._name

    @property
    def state(self) -> LinkState:
        """Where the link stands."""
        return self._state

    @property
    def window(self) -> int:
        """Unanswered submit_sm and requests at most."""
        return self._profile.window

    @property
    def unanswered(self) -> int:
        """submit_sm and requests written and not answered."""
        return self._staging.unanswered

    @property
    def staged(self) -> int:
        """Submissions taken and not written yet."""
        return self._staging.staged

    def room(self, lane: int) -> int:
        """Return how many submissions of `lane` would be taken now."""
        return self._staging.room(lane) if self._state is LinkState.BOUND else 0

    def submit(self, batch: Sequence[Submission]) -> None:
        """Stage submissions; outside BOUND they come back NOT_WRITTEN in a later turn of the loop."""
        if self._state is LinkState.BOUND and self._connection is not None:
            self._staging.add(batch)
            self._connection.wake()
        elif batch:
            asyncio.get_running_loop().call_soon(self._tell_results, _not_written(batch))

    def request(self, batch: Sequence[Request]) -> None:
        """Queue requests; what cannot be sent comes back in a later turn of the loop."""
        good, results = sort_out(batch, self._refused)
        if self._state is LinkState.BOUND and self._connection is not None:
            results += not_written(self._staging.add_requests(good))
            self._connection.wake()
        else:
            results += not_written(good)
        if results:
            asyncio.get_running_loop().call_soon(self._tell_request_results, results)

    def supports(self, command: CommandId) -> bool:
        """Say whether the carrier is not known to refuse `command`."""
        return command not in self._refused

    def answer(self, answers: Sequence[tuple[object, int]]) -> None:
        """Answer deliveries: (ticket, command_status)."""
        connection = self._connection
        if connection is None:
            return
        for ticket, status in answers:
            if isinstance(ticket, tuple) and ticket[0] is connection:
                connection.answer(ticket[1], status)
        connection.wake()

    async def run(self) -> None:
        """Serve until `stop` is called or this is cancelled. Raises LocalSessionError if it is running already."""
        if self._worker is not None:
            raise LocalSessionError(f"link {self._name} is running already")
        try:
            async with asyncio.TaskGroup() as group:
                self._worker = group.create_task(self._connect_again_and_again(), name=f"link {self._name}")
        finally:
            self._stopping = True
            await self._hang_up()
            self._enter(LinkState.STOPPED, "stopped")
            self._finished.set()

    async def stop(self, grace_s: float) -> None:
        """Stop taking, wait up to `grace_s` seconds for answers, unbind, close; what is left is reported."""
        first, self._stopping = not self._stopping, True
        if self._worker is None:
            return
        connection = self._connection
        if first and connection is not None and self._state is LinkState.BOUND:
            self._enter(LinkState.UNBINDING, "stopping: no more is sent, answers are awaited")
            drained = connection.stop_accepting()
            self._return_unwritten()
            await _first(drained, connection.ended, timeout_s=grace_s)
            connection.unbind()
            await _first(connection.ended, timeout_s=_UNBIND_WAIT_S)
        if first:
            self._worker.cancel()
        await self._finished.wait()

    # What the connection tells (see `carrier.connection.Owner`)

    def connection_bound(self) -> None:
        """The bind was accepted."""
        self._bound_at = self._clock()
        self._enter(LinkState.BOUND, "bound")
        self._tell_room()

    def connection_results(self, results: Sequence[SubmitResult]) -> None:
        """Submissions ended, and the connection goes on."""
        self._tell_results(results)
        self._tell_room()

    def connection_request_results(self, results: Sequence[RequestResult]) -> None:
        """Requests ended."""
        self._tell_request_results(results)
        self._tell_room()

    def connection_refuses(self, command: CommandId) -> None:
        """The carrier does not take `command` at all."""
        if command not in self._refused:
            self._refused.add(command)
            logger.info("link_command_refused", extra={"link": self._name, "command": command.name.lower()})

    def connection_deliveries(self, deliveries: Sequence[Delivery]) -> None:
        """The carrier sent messages or receipts."""
        try:
            self._listener.on_deliveries(self, deliveries)
        except Exception:  # a defect of the driver must not cut the link; the carrier will deliver again
            logger.exception("link_listener_failed", extra={"link": self._name, "callback": "on_deliveries"})

    def connection_ended(self, error: CarrierError, results: Sequence[SubmitResult]) -> None:
        """The connection is over: change state first, so that nothing is submitted in answer to the results."""
        self._connection = None
        if not self._stopping:
            self._back_off(error)
        if results:
            self._tell_results(results)

    def explain(self, error: Exception | None, *, bound: bool) -> CarrierError:
        """Put the end of a connection, before or after the bind was answered, in plain words."""
        if isinstance(error, ssl.SSLError):
            return refusal(error, self._profile)
        how = f" ({error.strerror or type(error).__name__})" if isinstance(error, OSError) else ""
        if bound:
            return LinkLost(f"the carrier closed the connection{how}")
        tls = self._profile.tls
        hint = _CLIENT_CERTIFICATE_HINT if tls is not None and tls.certificate_file is None else ""
        return LinkLost(f"{self._where} closed the connection before it answered the bind{how}{hint}")

    # The inside

    async def _connect_again_and_again(self) -> None:
        try:
            while not self._stopping:
                await self._serve_one_connection()
                if not self._stopping:
                    await asyncio.sleep(self._delay_s)
        finally:
            self._stopping = True
            if self._connection is not None:
                self._connection.end(LinkLost("the link was stopped"))

    async def _serve_one_connection(self) -> None:
        limit_s = self._profile.connect_timeout_s
        self._bound_at = None
        self._enter(LinkState.CONNECTING, f"to {self._where}")
        try:
            async with asyncio.timeout(limit_s):
                connection = await self._connect()
                await _first(connection.bound, connection.ended)
        except TimeoutError:
            self._failed(LinkLost(f"{self._where}: no connection, TLS and bind within {limit_s:g} s"))
        except OSError as error:
            if isinstance(error, ssl.SSLError) or self._connection is not None:  # TCP had come up
                self._failed(self.explain(error, bound=False))
            else:
                self._failed(LinkLost(f"{self._where}: {error.strerror or type(error).__name__}"))
        except CarrierError as error:
            self._failed(error)
        else:
            await _first(connection.ended)

    async def _connect(self) -> Connection:
        profile = self._profile
        context = None
        if profile.tls is not None:
            context = await asyncio.to_thread(client_context, profile.tls)
        _, connection = await asyncio.get_running_loop().create_connection(
            self._new_connection,
            profile.host,
            profile.port,
            ssl=context,
            server_hostname=server_name(profile) if context is not None else None,
        )
        return connection

    def _new_connection(self) -> Connection:
        profile = self._profile
        config = SessionConfig(
            window=profile.window,
            response_timeout_s=profile.response_timeout_s,
            enquire_link_s=profile.enquire_link_s,
        )
        self._connections += 1
        connection = Connection(
            self,
            number=self._connections,
            bind=self._bind,
            config=config,
            staging=self._staging,
            pacer=self._pacer,
            clock=self._clock,
        )
        self._connection = self._last_connection = connection
        return connection

    async def _hang_up(self) -> None:
        """Wait until the last transport is gone: `run` leaves nothing open. It is cut after CLOSE_GRACE_S."""
        if self._last_connection is not None:
            await _first(self._last_connection.closed, timeout_s=2 * CLOSE_GRACE_S)

    def _failed(self, error: CarrierError) -> None:
        """A connection did not come up. If it came far enough to have an object, that one reports."""
        if self._connection is not None:
            self._connection.end(error)
        elif self._state is LinkState.CONNECTING and not self._stopping:
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
        self._enter(LinkState.BACKOFF, f"{error}; connecting again in {self._delay_s:.1f} s")

    def _enter(self, state: LinkState, why: str) -> None:
        self._state = state
        try:
            self._listener.on_state(self, state, why)
        except Exception:  # a defect of the driver must not cut the link
            logger.exception("link_listener_failed", extra={"link": self._name, "callback": "on_state"})

    def _tell_results(self, results: Sequence[SubmitResult]) -> None:
        try:
            self._listener.on_results(self, results)
        except Exception:  # a defect of the driver must not cut the link
            logger.exception("link_listener_failed", extra={"link": self._name, "callback": "on_results"})

    def _tell_request_results(self, results: Sequence[RequestResult]) -> None:
        try:
            self._listener.on_request_results(self, results)
        except Exception:  # a defect of the driver must not cut the link
            logger.exception("link_listener_failed", extra={"link": self._name, "callback": "on_request_results"})

    def _return_unwritten(self) -> None:
        submissions, requests = self._staging.withdraw(), self._staging.withdraw_requests()
        if submissions:
            self._tell_results(_not_written(submissions))
        if requests:
            self._tell_request_results(not_written(requests))

    def _tell_room(self) -> None:
        if self._state is not LinkState.BOUND:
            return
        try:
            self._listener.on_room(self)
        except Exception:  # a defect of the driver must not cut the link
            logger.exception("link_listener_failed", extra={"link": self._name, "callback": "on_room"})


def _bind_of(profile: CarrierProfile) -> BindTransceiver:
    try:
        system_id, system_type = profile.system_id.encode("ascii"), profile.system_type.encode("ascii")
    except UnicodeEncodeError:
        raise PduError(f"carrier {profile.name}: system_id and system_type are ASCII (SMPP 3.4 §3.1)") from None
    bind = BindTransceiver(system_id=system_id, password=profile.password.reveal(), system_type=system_type)
    encode_body(bind)  # what does not fit is told here, not when the connection is up
    return bind


def _not_written(batch: Sequence[Submission]) -> list[SubmitResult]:
    return [SubmitResult(item.key, item.part, Outcome.NOT_WRITTEN, 0, "") for item in batch]


async def _first(*futures: asyncio.Future[Any], timeout_s: float | None = None) -> None:
    """Wait until one of `futures` is done; does not cancel them."""
    await asyncio.wait(futures, timeout=timeout_s, return_when=asyncio.FIRST_COMPLETED)
