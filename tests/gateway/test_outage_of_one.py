"""One of two carriers is away, and what waits for it alone keeps nothing of the other one's; then it is back.

As in `tests.gateway.test_outage`: simulated time, the whole pipeline, its store on disk, two links. What arrived, and
when, is the simulated carriers' own record. Messages of each carrier go by a route that leads to it alone. Time stands
still while the store works, so how long it takes to bring a backlog back is not in it.

A failure names its seed; SMSGW_OUTAGE_SEED plays it again.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections import Counter
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from carrier.link import SmppLink
from carrier.pacing import Pacer
from carrier.profile import CarrierProfile, Secret
from carrier.simulator.arrival import Received
from carrier.simulator.events import Event
from carrier.simulator.script_file import parse_script
from carrier.simulator.simulator import Simulator
from carrier.text.writing import counting
from gateway.ids import IdSource
from gateway.pipeline.deliveries import DeliveryReader
from gateway.pipeline.encoding import MessageEncoder
from gateway.pipeline.intake import Intake
from gateway.pipeline.lanes import Lanes
from gateway.pipeline.outcomes import RetryRules
from gateway.pipeline.permits import Permits
from gateway.pipeline.pipeline import Pipeline, PipelineParts
from gateway.pipeline.router import Routing
from gateway.records import IndexKeys
from gateway.routing.routes import Match, Route, Target
from gateway.states import Category
from gateway.store.sqlite import SqliteStore
from gateway.tenants import TenantEntry, Tenants
from gateway.validation import MessageRules, Validator
from smsgw.v1 import message_pb2
from tests.gateway.callers import caller
from tests.gateway.policy.sets import authorizer
from tests.gateway.sealed.keys import sealed_contents
from tests.gateway.sealing.boxes import sealing_box
from tests.gateway.test_outage import BATCH_S, HOUR_S, MEMORY, SECOND, SEED, SHARES, WINDOW, overtaking
from tests.simulated_loop import SimulatedLoop

AWAY, THERE = "away", "there"
_PREFIXES = {AWAY: "+49151", THERE: "+49170"}
_SCRIPT = "{responses: {delay_s: 0.05}}"
_OPEN = "SELECT count(*) FROM message WHERE queue IS NOT NULL AND state < 3"
_CALLER = caller(tenant="demo", spiffe_id="spiffe://example.org/demo/api")
_TENANTS = Tenants([TenantEntry(name="demo", spiffe_ids=("spiffe://example.org/demo",))])
_ROUTES = [
    Route(name=name, match=Match(prefixes=frozenset({prefix})), targets=(Target(carrier=name),))
    for name, prefix in _PREFIXES.items()
]


class TwoCarriers(SimulatedLoop):
    """Knows the two by their addresses."""

    async def create_connection(  # type: ignore[override]  # as that of the class above
        self, protocol_factory: Any, host: str = "", *more: Any, **options: Any
    ) -> Any:
        """As ever, and says for whom."""
        self.host = host
        return await super().create_connection(protocol_factory, host, *more, **options)


class Sent(NamedTuple):
    """A message that was accepted."""

    carrier: str
    category: Category
    at: int
    ends_at: int


class OneAway:
    """Everything of one run: each carrier takes `rate` messages/s, and gets half of that for so many seconds."""

    def __init__(self, loop: TwoCarriers, folder: Path, seed: int, *, seconds: float, rate: float) -> None:
        self.loop, self.seconds, self.rate = loop, seconds, rate
        self.random = random.Random(seed)  # noqa: S311 - no secret: it has to be played again
        self.sent: list[Sent] = []
        self.arrived: list[tuple[int, int]] = []
        self.back = False
        self.most_in_memory = 0
        self._wall = time.time() - loop.time()
        self.simulators = {
            name: Simulator(parse_script(_SCRIPT), plain=True, on_event=self._on_event) for name in _PREFIXES
        }
        self.store = SqliteStore(folder / "smsgw.db", now=self.now)
        profiles = [self._profile(name) for name in _PREFIXES]
        box, keys, ids = sealing_box(folder), IndexKeys(bytes(32)), IdSource()
        self.validator = Validator(MessageRules(), counting([each.text for each in profiles]))
        encoder = MessageEncoder(box, {each.name: each for each in profiles})
        self.pipeline = Pipeline(
            PipelineParts(
                store=self.store,
                lanes=Lanes(MEMORY),
                reader=DeliveryReader(tenants=_TENANTS, keys=keys, box=box, ids=ids, profiles=profiles),
                encode=encoder.encode,
                opening=encoder,
                sealed=sealed_contents(box, encoder, self.validator),
                routing=Routing(_ROUTES, encoder.number_of, tuple(_PREFIXES)),
                rules=RetryRules(resend=frozenset()),
                permits=Permits(authorizer("")),
                now=self.now,
                batch=100,
                profiles=profiles,
            )
        )
        self.links = [
            SmppLink(each, 0, self.pipeline, Pacer(rate, now_ns=round(loop.time() * 1e9)), clock=loop.time)
            for each in profiles
        ]
        self.intake = Intake(store=self.store, pipeline=self.pipeline, box=box, keys=keys, ids=ids, now=self.now)

    def _profile(self, name: str) -> CarrierProfile:
        return CarrierProfile(
            name=name, host=name, port=1, system_id="user", password=Secret(b"secret"), tls=None, window=WINDOW,
            rate_pdus_s=self.rate, reconnect_max_s=1.0,
        )  # fmt: skip

    def now(self) -> int:
        """Return the simulated time, microseconds since the Unix epoch."""
        return int((self._wall + self.loop.time()) * SECOND)

    def _on_event(self, event: Event) -> None:
        if isinstance(event, Received):
            self.arrived.append((int((self._wall + event.at) * SECOND), int(event.text.split(" ")[0])))

    def _accept(self) -> asyncio.Protocol | None:
        return self.simulators[self.loop.host].protocol() if self.back or self.loop.host == THERE else None

    async def play(self) -> None:
        """Send to both while one is away; then only to the other one, until all has been sent."""
        for simulator in self.simulators.values():
            await simulator.start()
        await self.store.open()
        self.loop.watch_store(self.store)
        self.loop.listen(self._accept)
        await self.pipeline.recover()
        stopping = asyncio.Event()
        running = asyncio.create_task(self.pipeline.run(self.links, stopping, 60.0))
        try:
            await self._traffic(AWAY, THERE)
            self.back = True
            async with asyncio.timeout(4 * self.seconds):
                while await self._open():
                    await asyncio.sleep(BATCH_S)
        finally:
            stopping.set()
            await running
            await self.store.close()
            for simulator in self.simulators.values():
                await simulator.stop()

    async def _traffic(self, *carriers: str) -> None:
        end = self.loop.time() + self.seconds
        while self.loop.time() < end:
            batch = [self._message(name) for name in carriers for _ in range(round(self.rate / 2 * BATCH_S))]
            drafts = [self.validator.draft(each, self.now(), "message") for each in batch]
            await self.intake.accept(_CALLER, drafts)
            self.most_in_memory = max(self.most_in_memory, *(len(self.pipeline.lanes[each]) for each in Category))
            await asyncio.sleep(BATCH_S)

    def _message(self, carrier: str) -> message_pb2.OutboundMessage:
        (category,) = self.random.choices(list(SHARES), list(SHARES.values()))
        validity = round(self.seconds * self.random.uniform(1.5, 3.0) * SECOND)
        number = len(self.sent)
        self.sent.append(Sent(carrier, category, self.now(), self.now() + validity))
        message = message_pb2.OutboundMessage(
            recipient=f"{_PREFIXES[carrier]}{number:08d}",
            sender="ACME",
            category=int(category),  # type: ignore[arg-type]  # the stubs' enum is a class of its own
            content=message_pb2.Content(text=f"{number} your parcel is on its way"),
        )
        message.validity.FromMicroseconds(validity)
        return message

    async def _open(self) -> int:
        ((count,),) = await self.store._read(lambda look: list(look.db.execute(_OPEN)))
        return int(count)

    def judge_the_other(self) -> None:
        """Nothing is lost, and what goes by the carrier that is there does not notice."""
        assert Counter(number for _, number in self.arrived) == Counter(range(len(self.sent)))
        delays = [at - self.sent[number].at for at, number in self.arrived if self.sent[number].carrier == THERE]
        print(f"{len(delays)} went by the other carrier, the slowest after {max(delays) / SECOND:.2f} s")
        assert max(delays) <= 2 * SECOND
        assert self.most_in_memory <= MEMORY

    def judge_order(self) -> None:
        """What waited goes in the order of its end, in each category."""
        found: dict[str, tuple[int, int]] = {}
        for category in Category:
            ends = [
                self.sent[number].ends_at
                for _, number in self.arrived
                if (self.sent[number].carrier, self.sent[number].category) == (AWAY, category)
            ]
            found[category.name] = overtaking(ends), len(ends)
        print(f"overtook others, of all: {found}")
        assert not any(count for count, _ in found.values())


def play(folder: Path, *, seconds: float, rate: float) -> None:
    """Play an outage of so many seconds and judge it."""
    random.seed(SEED)  # the jitter of the pipeline
    loop = TwoCarriers()
    outage = OneAway(loop, folder, SEED, seconds=seconds, rate=rate)
    try:
        with asyncio.Runner(loop_factory=lambda: loop) as runner:
            runner.run(outage.play())
        outage.judge_the_other()
        outage.judge_order()
    except BaseException as error:
        raise AssertionError(f"seed {SEED}, at {loop.time():.3f} s") from error


def test_half_a_minute_away(tmp_path: Path) -> None:
    """The same in short, with six hundred messages for each."""
    play(tmp_path, seconds=30.0, rate=40.0)


@pytest.mark.soak
def test_an_hour_away(tmp_path: Path) -> None:
    """An hour at fifty messages a second for each."""
    play(tmp_path, seconds=HOUR_S, rate=100.0)
