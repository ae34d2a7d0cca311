"""The link to one carrier (`carrier.contract.Link`): a transceiver, or a pair of transmitter and receiver.

Holds no durable state and decides no retry: each submission comes back once, as ANSWERED, NOT_WRITTEN or IN_DOUBT. A
pair is one link: BOUND when its transmitter is, while receipts come through its receiver, and neither stands in for the
other. How a bind is kept up is `carrier.bind`.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Sequence
from random import SystemRandom
from typing import Concatenate, ParamSpec

from carrier.bind import Bind
from carrier.congestion import Sign
from carrier.contract import (
    Delivery,
    LinkListener,
    LinkState,
    LinkStats,
    Outcome,
    Request,
    RequestResult,
    Submission,
    SubmitResult,
)
from carrier.endpoint import Role, endpoints_of
from carrier.errors import LocalSessionError
from carrier.meter import Meter
from carrier.pacing import Pacer
from carrier.profile import CarrierProfile
from carrier.requests import not_written, sort_out
from carrier.smpp.constants import CommandId, status_name
from carrier.staging import Staging
from carrier.statuses import Action, action_for
from carrier.tap import TapSink
from carrier.versions import V34

logger = logging.getLogger(__name__)

_JITTER = SystemRandom()
P = ParamSpec("P")


class SmppLink:
    """One link to one carrier. See `carrier.contract.Link` for what each method promises."""

    def __init__(
        self,
        profile: CarrierProfile,
        index: int,
        listener: LinkListener,
        pacer: Pacer,
        *,
        clock: Callable[[], float] = time.monotonic,
        random: Callable[[], float] = _JITTER.random,
        may_write: Callable[[], bool] = lambda: True,
    ) -> None:
        """`index`: the link's number, from 0. `pacer`: the one of the carrier's account, shared by its links, and fed
        with `clock`. `random`: uniform in 0 to 1, for the jitter of reconnecting. `may_write` is asked before
        submissions and requests are written; while it says no they wait. Raises PduError if the profile's credentials
        do not fit a bind."""
        self._profile = profile
        self._name = f"{profile.name}/{index}"
        self._listener = listener
        self._pacer = pacer
        self._clock = clock
        self._staging = Staging(profile.window, may_write)
        self._refused: set[CommandId] = set()  # commands that the carrier does not take
        self._meter = Meter()
        self._connections = 0
        self._binds = tuple(
            Bind(
                profile,
                endpoint,
                owner=self,
                sink=self,
                staging=Staging(profile.window) if endpoint.role is Role.RECEIVER else self._staging,
                pacer=pacer,
                meter=self._meter,
                clock=clock,
                random=random,
            )
            for endpoint in endpoints_of(profile)
        )
        self._first = self._binds[0]  # the one that submits
        self._workers: list[asyncio.Task[None]] = []
        self._stopping = False
        self._finished = asyncio.Event()

    @property
    def carrier(self) -> str:
        """The name of the carrier's profile."""
        return self._profile.name

    @property
    def name(self) -> str:
        """Carrier and number of the link: `acme/0`."""
        return self._name

    @property
    def state(self) -> LinkState:
        """Where the link stands; of a pair, its transmitter."""
        return self._first.state

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

    @property
    def pace(self) -> float:
        """PDUs a second that may go now, on all binds of the account together."""
        return self._pacer.rate_pdus_s

    def room(self, lane: int) -> int:
        """Return how many submissions of `lane` would be taken now."""
        return self._staging.room(lane) if self._first.state is LinkState.BOUND else 0

    def submit(self, batch: Sequence[Submission]) -> None:
        """Stage submissions; outside BOUND they come back NOT_WRITTEN in a later turn of the loop."""
        connection = self._first.connection
        if self._first.state is LinkState.BOUND and connection is not None:
            self._staging.add(batch)
            connection.wake()
        elif batch:
            asyncio.get_running_loop().call_soon(self._tell_results, _not_written(batch))

    def request(self, batch: Sequence[Request]) -> None:
        """Queue requests; what cannot be sent comes back in a later turn of the loop."""
        good, results = sort_out(batch, self._refused_now())
        connection = self._first.connection
        if self._first.state is LinkState.BOUND and connection is not None:
            results += not_written(self._staging.add_requests(good))
            connection.wake()
        else:
            results += not_written(good)
        if results:
            asyncio.get_running_loop().call_soon(self._tell_request_results, results)

    def supports(self, command: CommandId) -> bool:
        """Say whether the carrier is not known to refuse `command`."""
        return command not in self._refused_now()

    def withdraw(self) -> None:
        """Give back what is staged."""
        staged = self._staging.withdraw()
        if staged:
            asyncio.get_running_loop().call_soon(self._tell_results, _not_written(staged))

    def answer(self, answers: Sequence[tuple[object, int]]) -> None:
        """Answer deliveries: (ticket, command_status)."""
        live = tuple(bind.connection for bind in self._binds if bind.connection is not None)
        for ticket, status in answers:
            if isinstance(ticket, tuple) and ticket[0] in live:
                ticket[0].answer(ticket[1], status)
        for connection in live:
            connection.wake()

    def stats(self) -> LinkStats:
        """Return how the link stands and what it has done."""
        meter, staging, now = self._meter, self._staging, self._clock()
        counts = [bind.counts for bind in self._binds]
        self._pacer.available(1, int(now * 1e9))  # an idle account's pace has grown all the same
        return LinkStats(
            binds=tuple(bind.stats() for bind in self._binds),
            window=self._profile.window,
            unanswered=staging.unanswered,
            staged=staging.staged,
            requests_waiting=staging.requests,
            submitted=meter.submitted,
            answered=meter.by_status(),
            in_doubt=meter.in_doubt,
            late=meter.late,
            deliveries=meter.deliveries,
            refused_deliveries=sum(count.refused_requests for count in counts),
            unmatched_responses=sum(count.unmatched_responses for count in counts),
            malformed=sum(count.malformed for count in counts),
            submitted_per_s=meter.submit_rate.per_second(now),
            deliveries_per_s=meter.delivery_rate.per_second(now),
            round_trip_s=self._first.connection.round_trip_s if self._first.connection is not None else 0.0,
            rate_pdus_s=self._pacer.rate_pdus_s,
            slow_factor=self._pacer.slow_factor,
        )

    def rebind(self, why: str) -> None:
        """Leave in good order and bind again, a pair both of its binds; those that are not bound stay as they are."""
        for bind in self._binds:
            bind.rebind(why)

    def tap(self, sink: TapSink | None) -> None:
        """Give `sink` each PDU from now on; None ends it."""
        for bind in self._binds:
            bind.tap(sink)

    async def run(self) -> None:
        """Serve until `stop` is called or this is cancelled. Raises LocalSessionError if it is running already."""
        if self._workers:
            raise LocalSessionError(f"link {self._name} is running already")
        if self._profile.tls is None:
            logger.warning("link_in_plain_text", extra={"link": self._name, "host": self._profile.host})
        try:
            async with asyncio.TaskGroup() as group:
                self._workers += [group.create_task(bind.run(), name=f"link {self._name}") for bind in self._binds]
        finally:
            self._stopping = True
            for bind in reversed(self._binds):
                await bind.hang_up()
            self._finished.set()

    async def stop(self, grace_s: float) -> None:
        """Stop taking, wait up to `grace_s` seconds for answers, unbind, close; what is left is reported."""
        again, self._stopping = self._stopping, True
        if not self._workers:
            return
        if not again:
            for bind in self._binds:
                bind.finish()
            for bind in self._binds:  # receipts are taken until the last answer has come
                await bind.leave("stopping", grace_s)
            for worker in self._workers:
                worker.cancel()
        await self._finished.wait()

    # What the binds tell (see `carrier.bind.BindOwner`)

    def bind_entered(self, bind: Bind) -> None:
        """A bind changed state."""
        if len(self._binds) == 1:
            why = bind.why
        else:
            why = "; ".join(f"{each.stats().role} {each.state.value}: {each.why}" for each in self._binds)
        self._tell("on_state", self._listener.on_state, self._first.state, why)
        if bind is self._first:
            self._tell_room()

    def bind_leaves(self, bind: Bind) -> None:
        """What is staged cannot be written any more."""
        if bind is not self._first:
            return
        submissions, requests = self._staging.withdraw(), self._staging.withdraw_requests()
        if submissions:
            self._tell_results(_not_written(submissions))
        if requests:
            self._tell_request_results(not_written(requests))

    def next_connection(self) -> int:
        """Return the number of the next connection: each of the link's has its own."""
        self._connections += 1
        return self._connections

    # What the connections bring (see `carrier.sorting.Sink`)

    def take_results(self, results: Sequence[SubmitResult]) -> None:
        """Submissions ended."""
        self._tell_results(results)
        self._tell_room()

    def take_late_results(self, results: Sequence[SubmitResult]) -> None:
        """Submissions that were in doubt have been answered."""
        self._tell("on_late_results", self._listener.on_late_results, results)

    def take_request_results(self, results: Sequence[RequestResult]) -> None:
        """Requests ended."""
        self._tell_request_results(results)
        self._tell_room()

    def take_refusal(self, command: CommandId) -> None:
        """The carrier does not take `command` at all."""
        if command not in self._refused:
            self._refused.add(command)
            logger.info("link_command_refused", extra={"link": self._name, "command": command.name.lower()})

    def take_deliveries(self, deliveries: Sequence[Delivery]) -> None:
        """The carrier sent messages or receipts."""
        # When the driver fails here, the carrier will deliver again.
        self._tell("on_deliveries", self._listener.on_deliveries, deliveries)

    def take_errors(self, statuses: Sequence[int], round_trip_s: float) -> None:
        """Submissions were answered with errors: slow down or bind anew where the profile says so."""
        for status in set(statuses):
            action = action_for(self._profile, status)
            if Action.SLOW_DOWN in action:
                self.take_sign(Sign.TOO_MUCH, round_trip_s)
            if Action.REBIND in action:
                self._first.rebind(f"a submit_sm was answered with {status_name(status)}")

    def take_sign(self, sign: Sign, round_trip_s: float) -> None:
        """The carrier is congested."""
        if self._pacer.slow_down(sign, int(self._clock() * 1e9), int(round_trip_s * 1e9)):
            rate = f"{self._pacer.rate_pdus_s:.1f}"
            logger.warning("link_slowed_down", extra={"link": self._name, "sign": sign.name, "rate_pdus_s": rate})

    # The inside

    def _refused_now(self) -> set[CommandId]:
        """The commands that the carrier does not take: learned, or not in its version of SMPP."""
        if self._first.state is LinkState.BOUND and self._first.peer_version < V34:
            return self._refused | {CommandId.DATA_SM}
        return self._refused

    # What the driver is told

    def _tell(
        self, name: str, callback: Callable[Concatenate[SmppLink, P], None], *what: P.args, **more: P.kwargs
    ) -> None:
        try:
            callback(self, *what, **more)
        except Exception:  # a defect of the driver must not cut the link
            logger.exception("link_listener_failed", extra={"link": self._name, "callback": name})

    def _tell_results(self, results: Sequence[SubmitResult]) -> None:
        self._tell("on_results", self._listener.on_results, results)

    def _tell_request_results(self, results: Sequence[RequestResult]) -> None:
        self._tell("on_request_results", self._listener.on_request_results, results)

    def _tell_room(self) -> None:
        if self._first.state is not LinkState.BOUND:
            return
        self._tell("on_room", self._listener.on_room)


def _not_written(batch: Sequence[Submission]) -> list[SubmitResult]:
    return [SubmitResult(item.key, item.part, Outcome.NOT_WRITTEN, 0, "") for item in batch]
