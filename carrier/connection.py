"""One connection of a link: moves octets between a transport and an SMPP session, keeps its timers, joins its writes.

An asyncio.Protocol, so that one read costs one call and no task. Everything that is due in a turn of the loop leaves in
one `transport.write`. What the octets mean is `carrier.smpp.session`; which submission goes next is `carrier.staging`;
when, `carrier.pacing`; when to connect again, `carrier.bind`.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from typing import Protocol, cast

from carrier.contract import Submission
from carrier.endpoint import BindPdu
from carrier.errors import BindRefused, CarrierError, LinkLost
from carrier.meter import Meter
from carrier.pacing import Pacer
from carrier.smpp.bounds import SessionCounts
from carrier.smpp.constants import Tag, status_description
from carrier.smpp.events import (
    BindRejected,
    Bound,
    Event,
    Failed,
    Nacked,
    Notified,
    Unbound,
)
from carrier.smpp.pdu import BindTransceiverResp
from carrier.smpp.session import Session, SessionConfig
from carrier.smpp.tlv import read_int
from carrier.sorting import Sink, Sorter
from carrier.staging import MAX_REQUESTS, Staging
from carrier.tap import Tap, TapSink

logger = logging.getLogger(__name__)

CLOSE_GRACE_S = 1.0  # for the last octets and TLS's farewell; then the connection is cut
MAX_UNREAD_BYTES = 4 * 1024 * 1024  # of ours that the peer does not read, before it is taken for dead
_PACE_STEP_S = 0.005  # lanes 2 and 3 gather this long for a joined write; the bucket holds twenty times as much
_TIMER_STEP_S = 0.001
_CLOSED_LOOK_S = 0.05  # how often it is asked whether the driver may write again
_PACE_LOOK_S = 0.5  # a pace that was cut grows while we wait for it


class Owner(Protocol):
    """The bind, as its connection sees it. None of these may raise."""

    def check_peer(self, transport: asyncio.BaseTransport) -> None:
        """Look at who is at the other end before anything is said to it. Raises CarrierError if it is not the one."""

    def connection_bound(self, stated_version: int | None) -> None:
        """The bind was accepted, by a carrier that states this sc_interface_version."""

    def connection_ended(self, error: CarrierError) -> None:
        """The connection is over; what it had taken and not reported goes to the sink after this. Called once."""

    def explain(self, error: Exception | None, *, bound: bool) -> CarrierError:
        """Put the end of a connection, before or after the bind was answered, in plain words."""


class Connection(asyncio.Protocol):
    """One TCP connection, from the bind to the end."""

    def __init__(
        self,
        owner: Owner,
        sink: Sink,
        *,
        number: int,
        bind: BindPdu,
        config: SessionConfig,
        counts: SessionCounts,
        staging: Staging,
        pacer: Pacer,
        meter: Meter,
        clock: Callable[[], float],
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self.bound: asyncio.Future[None] = self._loop.create_future()
        self.ended: asyncio.Future[CarrierError] = self._loop.create_future()
        self.closed: asyncio.Future[None] = self._loop.create_future()  # the transport is gone
        self._owner = owner
        self._bind = bind
        self._staging = staging
        self._pacer = pacer
        self._meter = meter
        self._clock = clock
        self._session = Session(config, now=clock(), counts=counts)
        self._sorter = Sorter(self._session, sink, owner=self, number=number, staging=staging, meter=meter)
        self._transport: asyncio.Transport | None = None
        self._writable = True
        self._accepting = False
        self._flush_due = False
        self._pace_timer: asyncio.TimerHandle | None = None
        self._deadline_timer: asyncio.TimerHandle | None = None
        self._deadline = float("inf")
        self._drained: asyncio.Future[None] | None = None
        self._abort_timer: asyncio.TimerHandle | None = None
        self._tap: Tap | None = None

    # What the bind and the link ask

    @property
    def round_trip_s(self) -> float:
        """From a submit_sm to its answer, smoothed; 0 before the first."""
        return self._session.round_trip_s

    def wake(self) -> None:
        """Write what is due at the end of this turn of the loop."""
        if not self._flush_due:
            self._flush_due = True
            self._loop.call_soon(self._flush)

    def tap(self, sink: TapSink | None) -> None:
        """Copy each PDU to `sink` from now on; None ends it."""
        self._tap = None if sink is None else Tap(sink, clock=time.time, unfinished=self._session.unfinished)

    def answer(self, sequence: int, status: int) -> None:
        """Answer a delivery; the octets leave with the next `wake`."""
        self._session.answer(sequence, status)

    def stop_accepting(self) -> asyncio.Future[None]:
        """Write no more submissions. Returns a future that is done when no answer is awaited."""
        self._accepting = False
        self._drained = self._loop.create_future()
        self._tell_drained()
        return self._drained

    def unbind(self) -> None:
        """Send an unbind: `ended` follows."""
        if not self.ended.done():
            self._session.unbind(self._clock())
            self._flush()

    def end(self, error: CarrierError) -> None:
        """Close for the reason `error`, and report what was taken and not reported. Again: does nothing."""
        if self.ended.done():
            return
        octets = self._session.bytes_to_send()
        self._accepting = False
        for timer in (self._pace_timer, self._deadline_timer):
            if timer is not None:
                timer.cancel()
        lost = self._session.lost()
        self.ended.set_result(error)
        if not self.bound.done():
            self.bound.cancel()
        self._tell_drained()
        self._close(octets)
        logger.info("link_connection_ended", extra={"why": str(error), "counts": repr(self._session.counts)})
        self._owner.connection_ended(error)  # first: nothing may be submitted in answer to the results
        self._sorter.report_lost(lost)

    # What asyncio calls

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Send the bind at once."""
        if self.ended.done():
            cast(asyncio.Transport, transport).abort()
            return
        self._transport = cast(asyncio.Transport, transport)
        try:
            self._owner.check_peer(transport)
        except CarrierError as error:
            self.end(error)
            return
        self._session.bind(self._bind, self._clock())
        self._flush()

    def data_received(self, data: bytes) -> None:
        """Take one read."""
        now = self._clock()
        if self._tap is not None:
            self._tap.incoming(data)
        self._dispatch(self._session.receive_data(data, now), now)
        self._flush()

    def pause_writing(self) -> None:
        """The peer reads too slowly: answers still go out, submissions wait."""
        self._writable = False

    def resume_writing(self) -> None:
        """The peer has caught up."""
        self._writable = True
        self.wake()

    def connection_lost(self, exc: Exception | None) -> None:
        """The transport is gone."""
        if self._abort_timer is not None:
            self._abort_timer.cancel()
        if not self.closed.done():
            self.closed.set_result(None)
        if not self.ended.done():
            self.end(self._owner.explain(exc, bound=self.bound.done()))

    # The inside

    def _dispatch(self, events: list[Event], now: float) -> None:
        if not self.bound.done():
            for event in events:
                if isinstance(event, Bound):
                    self._take_bound(event.pdu)
        for event in self._sorter.sort(events, now):
            self._take_rare(event)
        if self._session.congestion_state is not None:
            self._sorter.heed_congestion(self._session.congestion_state)
            self._session.congestion_state = None
        if self._drained is not None:
            self._tell_drained()

    def _take_bound(self, response: object) -> None:
        self._accepting = True
        if not self.bound.done():
            self.bound.set_result(None)
        tlvs = cast(BindTransceiverResp, response).tlvs  # each kind of bind response has the same fields
        self._owner.connection_bound(read_int(tlvs, Tag.SC_INTERFACE_VERSION))

    def _take_rare(self, event: Event) -> None:
        match event:
            case BindRejected(status):
                self.end(BindRefused(f"the carrier refused the bind: {status_description(status)}", status=status))
            case Unbound(by_peer):
                self.end(LinkLost("the carrier unbound" if by_peer else "unbound"))
            case Failed(why):
                self.end(LinkLost(why))
            case Bound():
                pass  # taken before everything else of its read
            case Nacked(sequence, status):
                logger.warning("link_generic_nack", extra={"sequence": sequence, "status": status_description(status)})
            case Notified(pdu):
                logger.debug("link_notification", extra={"pdu": type(pdu).__name__})
            case _:
                logger.error("link_unexpected_event", extra={"event": type(event).__name__})

    def _flush(self) -> None:
        self._flush_due = False
        transport = self._transport
        if transport is None or self.ended.done():
            return
        if transport.is_closing():
            return  # connection_lost follows, and reports: nothing more is taken
        now = self._clock()
        if self._accepting and self._writable and (self._staging.staged or self._staging.requests):
            self._submit_staged(now)
        octets = self._session.bytes_to_send()
        if octets:
            if self._tap is not None:
                self._tap.outgoing(octets)
            transport.write(octets)
            if not self._writable and transport.get_write_buffer_size() > MAX_UNREAD_BYTES:
                self.end(LinkLost(f"the carrier left {MAX_UNREAD_BYTES} octets unread"))
                return
        self._arm_deadline(now)

    def _submit_staged(self, now: float) -> None:
        if not self._staging.may_write():
            self._arm_pace(_CLOSED_LOOK_S)
            return
        now_ns = int(now * 1e9)
        pacer, session = self._pacer, self._session
        if self._staging.request_is_due:
            self._send_requests(now, pace=pacer.available(1, now_ns), limit=1)
        taken = self._staging.take(pacer.available(1, now_ns), pacer.available(2, now_ns))
        if taken:
            taken = self._in_time(taken, now)
            pacer.take(len(taken), now_ns)
            for submission in taken:
                session.submit(submission[2], submission, now)
            self._meter.wrote(len(taken), now)
        if self._staging.requests:
            self._send_requests(now, pace=pacer.available(2, now_ns))
        lane = self._staging.next_lane()
        if lane:
            wait_s = (pacer.ready_at(lane, now_ns) - now_ns) / 1e9
            if wait_s > 0:  # else the window is what holds it: an answer will wake us
                self._arm_pace(max(wait_s, _TIMER_STEP_S if lane == 1 else _PACE_STEP_S))

    def _in_time(self, taken: list[Submission], now: float) -> list[Submission]:
        """Return those that may still be written; the others are given back, and make room for more."""
        over = self._staging.over(taken, now)
        if not over:
            return taken
        self._loop.call_soon(self._sorter.report_late, over)
        self.wake()
        gone = set(map(id, over))
        return [submission for submission in taken if id(submission) not in gone]

    def _send_requests(self, now: float, *, pace: int, limit: int = MAX_REQUESTS) -> None:
        taken = self._staging.take_requests(pace, limit)
        self._pacer.take(len(taken), int(now * 1e9))
        for request in taken:
            self._session.request(request.pdu, request, now)

    def _arm_pace(self, wait_s: float) -> None:
        if self._pace_timer is not None:
            self._pace_timer.cancel()
        self._pace_timer = self._loop.call_later(min(wait_s, _PACE_LOOK_S), self._flush)

    def _arm_deadline(self, now: float) -> None:
        """Keep one timer, at or before the session's next deadline: deadlines mostly move back, and one that comes too
        early only looks again."""
        deadline = self._session.next_deadline()
        if deadline is None or (self._deadline_timer is not None and self._deadline <= deadline):
            return
        if self._deadline_timer is not None:
            self._deadline_timer.cancel()
        self._deadline = deadline
        self._deadline_timer = self._loop.call_later(max(deadline - now, _TIMER_STEP_S), self._deadline_due)

    def _deadline_due(self) -> None:
        self._deadline_timer = None
        now = self._clock()
        self._dispatch(self._session.handle_timeout(now), now)
        self._flush()

    def _tell_drained(self) -> None:
        if self._drained is not None and not self._drained.done() and not self._staging.unanswered:
            self._drained.set_result(None)

    def _close(self, octets: bytes) -> None:
        transport = self._transport
        if transport is None:
            self.closed.set_result(None)  # no handshake was finished: asyncio closes what it opened
        elif not self.closed.done():
            if octets and not transport.is_closing():
                if self._tap is not None:
                    self._tap.outgoing(octets)
                transport.write(octets)
            transport.close()
            self._abort_timer = self._loop.call_later(CLOSE_GRACE_S, transport.abort)
