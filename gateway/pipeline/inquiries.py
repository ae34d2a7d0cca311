"""Asking carriers about messages that have left: cancel_sm for callers, query_sm for receipts that are overdue.

What a carrier answers is recorded whoever waits for it: a caller that goes away leaves its question here. The order is
the one that loses no truth in a crash: that a carrier is asked is on record before it can know, and what it answered
goes with the change that it makes, in one transaction. Between the two there is only the carrier's own word: when the
node dies there, its receipt (DELETED) or its answer to a later query says what became of the message.

Bounded: cancels under way, queries under way at each carrier, and how much of what waits is looked through at a time.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter, OrderedDict
from collections.abc import Callable, Sequence
from typing import NamedTuple

from carrier.addresses import PLAIN_WRITER, AddressWriter
from carrier.asking import cancel_of, query_of, read_answer
from carrier.contract import Link, LinkState, Outcome, Request, RequestResult
from carrier.errors import TextError
from carrier.profile import CarrierProfile
from carrier.smpp.constants import CommandId
from carrier.smpp.pdu import QuerySmResp
from gateway.audit.records import CancelAnswered, CancelAsked
from gateway.errors import GatewayError, Overloaded, Unavailable, WrongState
from gateway.pipeline.cancels import Cancel, learned_by, not_cancelled, on_record
from gateway.states import PartState, State
from gateway.store.contract import MessageRow, Store
from gateway.store.receipts import Awaiting, Learned, NewReceipt, Place, Source

log = logging.getLogger(__name__)

_SECOND = 1_000_000
_SWEEP_S = 1.0  # between two looks while there is something to ask
_IDLE_S = 5.0  # and while there is nothing
_LOOKED_AT = 1_000  # messages a sweep
_QUERIES = 20  # under way at one carrier
_CANCELS = 500  # under way altogether
_DOUBTFUL = 10 * _SECOND  # a message in doubt is asked about after this
_REMEMBERED = 20_000  # messages that have been asked about
_LONGEST = 6 * 3600 * _SECOND  # between two questions about one message
_RETRY_STORE_S = 0.5


class _Query(NamedTuple):
    """A question about one part."""

    tenant: str
    message_id: bytes
    part: int
    carrier: str


class Inquiries:
    """Asks, and records what comes back; `run` is its task."""

    def __init__(
        self,
        *,
        store: Store,
        profiles: Sequence[CarrierProfile],
        parts_rule: Callable[[str], int],
        now: Callable[[], int],
    ) -> None:
        """`parts_rule` gives a carrier's `gateway.states.PartsRule`."""
        self._profiles: dict[str, CarrierProfile] = {}
        self.use(profiles)
        self._parts_rule = parts_rule
        self._store = store
        self._now = now
        self._links: Sequence[Link] = ()
        self._cancels: dict[bytes, Cancel] = {}
        self._asked: Counter[str] = Counter()  # queries under way, by carrier
        self._again: OrderedDict[bytes, tuple[int, int]] = OrderedDict()  # when to ask again, after which wait
        self._place: Place | None = None
        self._answered: list[Cancel] = []
        self._learned: list[Learned] = []
        self._work = asyncio.Event()
        self._idle = asyncio.Event()
        self._idle.set()

    def use(self, profiles: Sequence[CarrierProfile]) -> None:
        """Ask as these profiles say from now on."""
        self._profiles = {profile.name: profile for profile in profiles}
        self._addresses = {profile.name: AddressWriter(profile.addresses) for profile in profiles}

    def serve(self, links: Sequence[Link]) -> None:
        """Ask over these links from now on."""
        self._links = links

    async def run(self) -> None:
        """Record and ask, until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._recording())
            tasks.create_task(self._sweeping())

    async def drained(self) -> None:
        """Return when every answer that callers wait for has been recorded."""
        await self._idle.wait()

    # What callers want

    async def cancel(self, row: MessageRow, by: str) -> None:
        """Have a message that has left cancelled by its carrier; returns when what it answered is on disk.

        Raises WrongState when the carrier does not do that, Unavailable when nobody knows (the message may be cancelled
        or not), or when no link is there to ask.
        """
        cancel = self._cancels.get(row.id)
        if cancel is None:
            cancel = await self._ask_to_cancel(row, by)
        await asyncio.shield(cancel.recorded)
        if not cancel.confirmed:
            raise not_cancelled(cancel)

    async def _ask_to_cancel(self, row: MessageRow, by: str) -> Cancel:
        ids = row.carrier_ids.split("\n")
        submitted = PartState.SUBMITTED.value
        parts = [part for part, state in enumerate(row.part_states) if state == submitted and ids[part]]
        if not parts:
            raise WrongState(f"the message is {State(row.state).name}: it has left", reason="ALREADY_SENT")
        link = self._link_to_cancel(row.carrier)
        if len(self._cancels) >= _CANCELS:
            raise Overloaded("too many messages are being cancelled", retry_after_s=1.0)
        cancel = self._cancels[row.id] = Cancel(row, parts, by)
        self._idle.clear()
        try:
            addresses = self._addresses.get(row.carrier, PLAIN_WRITER)
            pdus = [cancel_of(ids[part], row.told_sender, addresses) for part in parts]
            asked = CancelAsked(self._now(), row.id, row.tenant, row.carrier, len(parts), by)
            await self._store.audit([asked])
        except BaseException as error:
            del self._cancels[row.id]
            self._rest()
            failure = _failure(error)
            cancel.fail(failure)
            if isinstance(error, Exception):
                raise failure from error
            raise
        link.request([Request((cancel, part), pdu) for part, pdu in zip(parts, pdus, strict=True)])
        return cancel

    def _link_to_cancel(self, carrier: str) -> Link:
        profile = self._profiles.get(carrier)
        links = [link for link in self._links if link.carrier == carrier]
        refused = any(not link.supports(CommandId.CANCEL_SM) for link in links)
        if profile is None or not profile.operations.cancel or refused:
            raise WrongState(f"the carrier {carrier} takes no cancel_sm", reason="CANCEL_UNSUPPORTED")
        bound = [link for link in links if link.state is LinkState.BOUND]
        if not bound:
            raise Unavailable(f"no link to the carrier {carrier} is up", reason="CARRIER_UNAVAILABLE")
        return min(bound, key=lambda link: link.unanswered)

    # What links report

    def results(self, link: Link, results: Sequence[RequestResult]) -> None:
        """Take the ends of requests."""
        del link
        for result in results:
            if isinstance(result.key, _Query):
                self._take_answer(result.key, result)
            elif isinstance(result.key, tuple) and isinstance(result.key[0], Cancel):
                cancel, part = result.key
                cancel.results[part] = result
                if len(cancel.results) == len(cancel.parts):
                    self._answered.append(cancel)
        self._work.set()

    def _take_answer(self, query: _Query, result: RequestResult) -> None:
        self._asked[query.carrier] -= 1
        if result.outcome is not Outcome.ANSWERED or result.status or not isinstance(result.pdu, QuerySmResp):
            return
        answer = read_answer(result.pdu)
        told = NewReceipt(
            query.carrier,
            "",
            b"",
            answer.part_state,
            self._now(),
            answer.done_at,
            answer.stat,
            answer.network_error,
            self._parts_rule(query.carrier),
            source=Source.QUERY,
        )
        self._learned.append(Learned(query.tenant, query.message_id, (query.part,), told))

    async def _recording(self) -> None:
        while True:
            await self._work.wait()
            self._work.clear()
            answered, self._answered = self._answered, []
            learned, self._learned = self._learned, []
            learned += [learned_by(cancel, self._now()) for cancel in answered if cancel.confirmed]
            await self._record(learned, [on_record(cancel, self._now()) for cancel in answered])
            for cancel in answered:
                self._cancels.pop(cancel.row.id, None)
                cancel.recorded.set_result(None)
            self._rest()

    def _rest(self) -> None:
        if not self._cancels:
            self._idle.set()

    async def _record(self, learned: Sequence[Learned], audit: Sequence[CancelAnswered]) -> None:
        """Put it on disk; what carriers said is kept here until the store takes it."""
        while learned or audit:
            try:
                if learned:
                    await self._store.learned(learned, audit)
                else:
                    await self._store.audit(audit)
            except GatewayError as error:
                log.warning("answers_not_recorded", extra={"answers": len(learned), "why": str(error)})
                await asyncio.sleep(_RETRY_STORE_S)
            else:
                return

    # What is overdue

    async def _sweeping(self) -> None:
        asked = 0
        while True:
            await asyncio.sleep(_SWEEP_S if asked else _IDLE_S)
            try:
                asked = await self.sweep()
            except GatewayError as error:
                log.warning("query_sweep_failed", extra={"why": str(error)})

    async def sweep(self) -> int:
        """Look through a piece of what waits for receipts, and ask about what is overdue: about how many messages."""
        links, asked = self._links_to_query(), 0
        if not links:
            return 0
        now = self._now()
        waits = [_DOUBTFUL, *(_wait_of(self._profiles[carrier]) for carrier in links)]
        found, self._place = await self._store.awaiting(self._place, now - min(waits), _LOOKED_AT)
        for row in found:
            link = links.get(row.carrier)
            if link is not None and self._asked[row.carrier] < _QUERIES and self._is_due(row, now):
                self._query(link, row)
                asked += 1
        return asked

    def _links_to_query(self) -> dict[str, Link]:
        """Return a link for each carrier that may be asked, by this node: of several that share a carrier's binds, the
        one with the first of them asks."""
        links: dict[str, Link] = {}
        ours = {link.carrier for link in self._links if link.name.endswith("/0")}
        refused: set[str] = set()
        for link in self._links:
            profile = self._profiles.get(link.carrier)
            if profile is None or not profile.operations.query or not link.supports(CommandId.QUERY_SM):
                refused.add(link.carrier)
            elif link.state is LinkState.BOUND and link.carrier in ours:
                links[link.carrier] = link
        return {carrier: link for carrier, link in links.items() if carrier not in refused}

    def _is_due(self, row: Awaiting, now: int) -> bool:
        """Say whether to ask about a message now, and note when to do so again."""
        message_id = row.place[2]
        wait = _DOUBTFUL if row.state == State.UNKNOWN else _wait_of(self._profiles[row.carrier])
        due_at, last = self._again.get(message_id, (row.sent_at + wait, wait))
        if now < due_at:
            return False
        self._again[message_id] = (now + min(2 * last, _LONGEST), min(2 * last, _LONGEST))
        self._again.move_to_end(message_id)
        if len(self._again) > _REMEMBERED:
            self._again.popitem(last=False)
        return True

    def _query(self, link: Link, row: Awaiting) -> None:
        _, tenant, message_id = row.place
        requests: list[Request] = []
        for part, (state, carrier_id) in enumerate(zip(row.part_states, row.carrier_ids.split("\n"), strict=False)):
            if state != PartState.SUBMITTED.value or not carrier_id:
                continue
            try:
                pdu = query_of(carrier_id, row.sender, self._addresses.get(row.carrier, PLAIN_WRITER))
            except TextError:
                continue
            requests.append(Request(_Query(tenant, message_id, part, row.carrier), pdu))
        self._asked[row.carrier] += len(requests)
        link.request(requests)


def _wait_of(profile: CarrierProfile) -> int:
    return round(profile.operations.query_after_s * _SECOND)


def _failure(error: BaseException) -> Exception:
    """Return what to tell everybody who waits for a cancel that could not be asked for."""
    if isinstance(error, TextError):
        return WrongState(f"the carrier cannot be asked: {error}", reason="CANCEL_UNSUPPORTED")
    if isinstance(error, Exception):
        return error
    return Unavailable("the call that wanted it was given up before the carrier was asked")
