"""The pipeline as one part: intake on one side, carrier links on the other, and the tasks between them.

It listens to the links and passes what they say on; the work is done by the parts it holds. `run` owns every task: when
one of them fails, all end and the node goes down, since a pipeline without its settler or keeper would look alive and
lose sight of messages. A restart recovers from the store.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from carrier.contract import Delivery, Link, LinkState, RequestResult, SubmitResult
from carrier.profile import CarrierProfile
from gateway.pipeline.deliveries import DeliveryReader
from gateway.pipeline.dispatcher import Dispatcher
from gateway.pipeline.dispatching import Encoder, Opening
from gateway.pipeline.handing import Handing
from gateway.pipeline.holds import Holds, Parking
from gateway.pipeline.inquiries import Inquiries
from gateway.pipeline.keeper import Keeper
from gateway.pipeline.lanes import Lanes
from gateway.pipeline.lease import LeaseWatch
from gateway.pipeline.outcomes import RetryRules
from gateway.pipeline.permits import Permits
from gateway.pipeline.pricing import Pricing
from gateway.pipeline.router import Router, Routing
from gateway.pipeline.sealed_contents import SealedContents
from gateway.pipeline.settler import Settler
from gateway.pipeline.sharing import Sharing
from gateway.pipeline.switches import CarrierSwitches
from gateway.states import Category
from gateway.store.contract import MessageRow, Store, Waiting
from gateway.store.nodes import News, Recovered
from gateway.store.operating import Selection
from gateway.telemetry.meters import Meters
from gateway.telemetry.tracing import Tracing
from gateway.usage.prices import PriceTable

log = logging.getLogger(__name__)

_CUT_S = 1.5  # for the carrier to answer an unbind


@dataclass(frozen=True, slots=True, kw_only=True)
class PipelineParts:
    """What the composition root hands to the pipeline."""

    store: Store
    lanes: Lanes
    encode: Encoder
    opening: Opening
    sealed: SealedContents
    routing: Routing
    reader: DeliveryReader
    rules: RetryRules
    permits: Permits
    now: Callable[[], int]
    batch: int
    profiles: Sequence[CarrierProfile] = ()  # who may be asked about messages that left
    tracing: Tracing = field(default_factory=Tracing.off)
    meters: Meters = field(default_factory=lambda: Meters(()))
    switches: CarrierSwitches = field(default_factory=CarrierSwitches)
    prices: PriceTable = field(default_factory=PriceTable)


@dataclass(frozen=True, slots=True, kw_only=True)
class LinkStatus:
    """One link as an operator sees it."""

    name: str
    state: str
    why: str
    window: int
    unanswered: int
    staged: int
    slots: int


class Pipeline:
    """Moves messages between the store and the links; a `carrier.contract.LinkListener`."""

    def __init__(self, parts: PipelineParts) -> None:
        self._store = parts.store
        self._rules = parts.rules
        self._now = parts.now
        self.lanes = parts.lanes
        self.switches = parts.switches
        self._why: dict[str, str] = {}
        self._links: Sequence[Link] = ()
        self._runs: dict[int, asyncio.Task[None]] = {}  # by the identity of the link that each runs
        self._tasks: asyncio.TaskGroup | None = None
        self.router = Router(parts.routing, parts.switches)
        self._settler = Settler(
            store=parts.store,
            reader=parts.reader,
            rules=parts.rules,
            now=parts.now,
            on_waiting=self._note_waiting,
            meters=parts.meters,
            carrier_ids=parts.reader.carrier_ids,
        )
        reader = parts.reader
        self.inquiries = Inquiries(
            store=parts.store,
            profiles=parts.profiles,
            parts_rule=lambda carrier: reader.terms.of(carrier).parts_rule,
            now=parts.now,
        )
        self.holds = Holds()
        self._parking = Parking(parts.store, self.holds, self._returned)
        self._sealed = parts.sealed
        self._pricing = Pricing(parts.routing.number_of, parts.prices)
        self.sharing = Sharing(
            store=parts.store,
            resend=lambda: self._rules.resend,
            now=parts.now,
            put_down=self._put_down,
            look=self._look,
        )
        self.lease = LeaseWatch(self.sharing)
        self.handing = Handing(
            store=parts.store,
            sharing=self.sharing,
            lanes=parts.lanes,
            router=self.router,
            now=parts.now,
            look=self._look,
        )
        self.destined = self.handing.destined
        self._dispatcher = Dispatcher(
            store=parts.store,
            lanes=parts.lanes,
            encode=parts.encode,
            opening=parts.opening,
            sealed=parts.sealed,
            settling=self._settler,
            permits=parts.permits,
            rules=parts.rules,
            now=parts.now,
            batch=parts.batch,
            tracing=parts.tracing,
            router=self.router,
            holds=self.holds,
            parking=self._parking,
            pricing=self._pricing,
            hopeless=self.handing.hopeless,
        )
        self.sharing.react(News.ORPHANS, self._bring_back)
        self._keeper = Keeper(
            store=parts.store,
            lanes=parts.lanes,
            now=parts.now,
            add=self._dispatcher.add,
            pump=self._dispatcher.pump,
            carriers=self.handing.carriers,
            most=self.handing.most,
            alone=lambda: self.sharing.alone,
        )

    async def recover(self) -> Recovered:
        """Take up what an earlier run of this node left; before anything else is done with the store."""
        found = await self._store.recover(self._now(), self._rules.resend)
        log.info("recovered", extra={"reclaimed": found.reclaimed, "in_doubt": found.in_doubt})
        await self._keeper.look()
        return found

    async def run(self, links: Sequence[Link], stopping: asyncio.Event, grace_s: float) -> None:
        """Serve `links` until `stopping` is set; then let them finish for up to `grace_s`, record, and return."""
        async with asyncio.TaskGroup() as tasks:
            self._tasks = tasks
            parts = (self._settler, self._keeper, self.inquiries, self._parking, self.sharing, self.handing)
            owned = [tasks.create_task(part.run()) for part in (*parts, self.lease)]
            self._dispatcher.start((), tasks)
            self.serve(links)
            await stopping.wait()
            self._tasks = None
            await self._dispatcher.stop()
            await asyncio.gather(*(link.stop(grace_s) for link in self._links))
            async with asyncio.timeout(grace_s + 5):
                await self._settler.drained()
            async with asyncio.timeout(grace_s + 5):
                await self.inquiries.drained()
            for task in (*owned, *self._runs.values()):
                task.cancel()
        self._sealed.close()

    def serve(self, links: Sequence[Link]) -> None:
        """Serve these links from now on, in this order of preference; those that are new are started.

        Those that are not among them any more have been withdrawn before. Does nothing while the pipeline does not run.
        """
        if self._tasks is None:
            return
        self._links = tuple(links)
        for link in self._links:
            if id(link) not in self._runs:
                self._runs[id(link)] = self._tasks.create_task(link.run())
        self._dispatcher.serve(self._links)
        self.inquiries.serve(self._links)

    async def withdraw(self, links: Sequence[Link], grace_s: float) -> None:
        """Give these links nothing more, let them finish for up to `grace_s`, and end them; the others go on."""
        gone = {id(link) for link in links}
        for link in links:
            self._dispatcher.leave(link)
        await asyncio.gather(*(link.stop(grace_s) for link in links))
        for link in links:
            self._end_run(link)
        self.serve([link for link in self._links if id(link) not in gone])

    async def withdraw_all(self, grace_s: float) -> None:
        """As `withdraw` of all links, and of those that are being withdrawn with more patience: what has not ended in
        `grace_s` and a moment is cut off."""
        links = self._links
        try:
            async with asyncio.timeout(grace_s + _CUT_S):
                await self.withdraw(links, grace_s)
        except TimeoutError:
            log.warning("links_cut_off", extra={"links": [link.name for link in links if id(link) in self._runs]})
            cut = [run for link in links if (run := self._end_run(link)) is not None]
            self.serve(())
            await asyncio.gather(*cut, return_exceptions=True)  # each waits for its connection to be gone, not for long

    def _end_run(self, link: Link) -> asyncio.Task[None] | None:
        run = self._runs.pop(id(link), None)
        if run is not None:  # else it was ended meanwhile
            run.cancel()
            self._why.pop(link.name, None)
        return run

    def use(self, routing: Routing) -> None:
        """Send by these routes from now on; what is with a link already stays there."""
        self._dispatcher.use(routing)

    def use_prices(self, table: PriceTable) -> None:
        """Bill what is handed to links from now on by these prices."""
        self._pricing.use(table)

    def use_rules(self, rules: RetryRules) -> None:
        """Settle by these rules from now on."""
        self._rules = rules
        self._dispatcher.use_rules(rules)
        self._settler.use_rules(rules)

    def add(self, message: Waiting, number: str) -> None:
        """Take a message that its acceptance has claimed; `number` is its recipient's."""
        self._dispatcher.add(message, number)

    async def cancel(self, row: MessageRow, by: str) -> None:
        """Have a message that has left cancelled by its carrier: see `Inquiries.cancel`."""
        await self.inquiries.cancel(row, by)

    def offered(self) -> None:
        """Messages have been added."""
        self._dispatcher.pump()

    def hold(self, selections: Sequence[Selection]) -> None:
        """Hold these messages back from now on, and no others; those that are free again are brought back."""
        freed = set(self.holds.selections) - set(selections)
        self.holds.use(selections)
        if freed:
            self._parking.look()

    async def _returned(self) -> None:
        await self._keeper.look()
        self.sharing.tell(News.WAITING)

    async def _look(self) -> None:
        await self._keeper.look()

    async def _bring_back(self) -> None:
        self._parking.look()  # what a node that is gone had put away

    def _put_down(self) -> None:
        self._dispatcher.put_down()

    def note_waiting(self, category: int, due_at: int, ways: str) -> None:
        """A message of `category` waits in the store until `due_at`, for these ways."""
        if self.handing.ours(category, ways):
            self._keeper.note_waiting(10 + category, due_at)

    def left_to_others(self) -> None:
        """Messages wait that other nodes may take."""
        self.sharing.tell(News.WAITING)

    def _note_waiting(self, queue: int, due_at: int) -> None:
        self._keeper.note_waiting(queue, due_at)

    def waiting(self) -> dict[str, tuple[int, int]]:
        """Return by carrier how many messages in memory are for it at present, and since when the oldest of them is
        due; those under "" can go by none."""
        found: dict[str, tuple[int, int]] = {}
        for category in Category:
            for plan, queue in self.lanes[category].queues.items():
                carrier = self.router.first(plan)
                count, oldest = found.get(carrier, (0, queue.messages[0].due_at))
                found[carrier] = count + len(queue.messages), min(oldest, queue.messages[0].due_at)
        return found

    def status(self) -> tuple[LinkStatus, ...]:
        """Return the links as they stand."""
        return tuple(
            LinkStatus(
                name=link.name,
                state=link.state.value,
                why=self._why.get(link.name, ""),
                window=link.window,
                unanswered=link.unanswered,
                staged=link.staged,
                slots=self._dispatcher.slots(link),
            )
            for link in self._links
        )

    def on_state(self, link: Link, state: LinkState, why: str) -> None:
        """A link changed state."""
        self._why[link.name] = why
        level = logging.WARNING if state is LinkState.BACKOFF else logging.INFO
        log.log(level, "link_state", extra={"link": link.name, "state": state.value, "why": why})
        self._keeper.low()  # nothing is claimed while no carrier can be used
        self._dispatcher.pump()

    def on_results(self, link: Link, results: Sequence[SubmitResult]) -> None:
        """Submissions ended."""
        self._dispatcher.results(link, results)
        self._settler.results(results, self._dispatcher.release)

    def on_late_results(self, link: Link, results: Sequence[SubmitResult]) -> None:
        """Submissions that were in doubt have been answered after all."""
        del link
        self._settler.late(results)

    def on_request_results(self, link: Link, results: Sequence[RequestResult]) -> None:
        """Requests about messages that have left ended."""
        self.inquiries.results(link, results)

    def on_deliveries(self, link: Link, deliveries: Sequence[Delivery]) -> None:
        """Receipts and inbound messages came."""
        self._settler.deliveries(link, deliveries)

    def on_room(self, link: Link) -> None:
        """A link can take more."""
        del link
        self._dispatcher.pump()
