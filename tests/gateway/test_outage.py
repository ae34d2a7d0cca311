"""A carrier is away for an hour while messages come at the pace at which it takes them; then it is back.

In simulated time, through the whole pipeline, its store on disk and a link. The judge stands outside: what arrived, and
when, is the simulated carrier's own record. All waits on disk, and memory holds no more than it may; what is over ends
as EXPIRED on time, with an event; what is not goes at the carrier's pace, in each category first what ends first, to
the microsecond and without an exception.

A failure names its seed; SMSGW_OUTAGE_SEED plays it again.
"""

from __future__ import annotations

import asyncio
import os
import random
import secrets
import time
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

import apsw
import pytest

from carrier.profile import CarrierProfile, Secret
from carrier.simulator.arrival import Received
from carrier.simulator.events import Event
from carrier.simulator.script_file import parse_script
from carrier.simulator.simulator import Simulator
from gateway.states import Category, State
from gateway.store.sqlite import SqliteStore
from smsgw.v1 import message_pb2
from tests.quirks.way import CARRIER, Way
from tests.simulated_loop import SimulatedLoop

SEED = int(os.environ.get("SMSGW_OUTAGE_SEED", "0")) or secrets.randbits(32)
HOUR_S = 3600.0
MEMORY = 100  # messages of each lane
WINDOW = 20
SECOND = 1_000_000
BATCH_S = 0.5
LATE = 5 * SECOND  # how much later than its end a message may be found to be over
MOMENT = SECOND // 100  # from a link's clock to the carrier's
SHARES = {Category.OTP: 0.1, Category.TRANSACTIONAL: 0.45, Category.PROMOTIONAL: 0.45}
_OPEN = "SELECT count(*) FROM message WHERE queue IS NOT NULL"
_OVER = "SELECT count(*) FROM message WHERE queue IS NOT NULL AND expires_at < ?"
_SCRIPT = "{responses: {delay_s: 0.05}, receipts: {delay_s: 1}}"


class Sent(NamedTuple):
    """A message that was accepted."""

    category: Category
    ends_at: int  # its validity: microseconds since the Unix epoch, as the store has it


class Outage:
    """Everything of one run: `rate` messages/s for so many seconds, in which the carrier is away."""

    def __init__(self, loop: SimulatedLoop, folder: Path, seed: int, *, seconds: float, rate: float) -> None:
        self.loop = loop
        self.random = random.Random(seed)  # noqa: S311 - no secret: it has to be played again
        self.seconds, self.rate = seconds, rate
        self.sent: list[Sent] = []
        self.arrived: list[tuple[int, int]] = []  # when, and which; in the order of the carrier's record
        self.back_at = 0
        self.overdue = self.most_in_memory = 0
        self._wall = time.time() - loop.time()
        self._folder = folder
        self.simulator = Simulator(parse_script(_SCRIPT), plain=True, on_event=self._on_event)
        self.file = folder / "smsgw.db"
        self.store = SqliteStore(self.file, now=self.now)

    def now(self) -> int:
        """Return the simulated time, microseconds since the Unix epoch."""
        return self._moment(self.loop.time())

    def _moment(self, at: float) -> int:
        return int((self._wall + at) * SECOND)

    def _on_event(self, event: Event) -> None:
        if isinstance(event, Received):
            self.arrived.append((self._moment(event.at), int(event.text.split(" ")[0])))

    async def play(self) -> None:
        """Let messages come without the carrier, and then without any more of them all be sent."""
        await self.simulator.start()
        await self.store.open()
        self.loop.watch_store(self.store)
        self.loop.listen(lambda: self.simulator.protocol() if self.back_at else None)
        profile = CarrierProfile(
            name=CARRIER, host="carrier.test", port=1, system_id="user", password=Secret(b"secret"), tls=None,
            window=WINDOW, rate_pdus_s=self.rate, reconnect_max_s=1.0,
        )  # fmt: skip
        way = Way(
            self.store, self._folder, profile, self.simulator, now=self.now, clock=self.loop.time, memory=MEMORY
        )  # fmt: skip
        await way.pipeline.recover()
        stopping = asyncio.Event()
        running = asyncio.create_task(way.pipeline.run([way.link], stopping, 60.0))
        try:
            await self._traffic(way)
            self.overdue = await self._count(_OVER, self.now() - LATE)
            self.back_at = self.now()
            async with asyncio.timeout(4 * self.seconds):  # the longest validity is three times as long
                while await self._count(_OPEN):
                    await asyncio.sleep(1.0)
        finally:
            stopping.set()
            await running
            await self.store.close()
            await self.simulator.stop()

    async def _traffic(self, way: Way) -> None:
        end = self.loop.time() + self.seconds
        while self.loop.time() < end:
            await way.accept_all([self._message() for _ in range(round(self.rate * BATCH_S))])
            self.most_in_memory = max(self.most_in_memory, *(len(way.pipeline.lanes[each]) for each in Category))
            await asyncio.sleep(BATCH_S)

    def _message(self) -> message_pb2.OutboundMessage:
        (category,) = self.random.choices(list(SHARES), list(SHARES.values()))
        least, most = (1 / 6, 1 / 6) if category is Category.OTP else (0.2, 3.0)
        validity_s = round(max(5.0, self.seconds * self.random.uniform(least, most)), 3)
        number = len(self.sent)
        validity = round(validity_s * SECOND)
        self.sent.append(Sent(category, self.now() + validity))
        message = message_pb2.OutboundMessage(
            recipient=f"+49151{number:08d}",
            sender="ACME",
            category=int(category),  # type: ignore[arg-type]  # the stubs' enum is a class of its own
            content=message_pb2.Content(text=f"{number} your parcel is on its way"),
        )
        message.validity.FromMicroseconds(validity)
        return message

    async def _count(self, query: str, *bindings: int) -> int:
        ((count,),) = await self.store._read(lambda look: list(look.db.execute(query, bindings)))
        return int(count)

    def judge(self) -> None:
        """Hold what arrived against what was accepted."""
        states, ends, told = self._in_store()
        arrived = Counter(number for _, number in self.arrived)
        took_s = (self.arrived[-1][0] - self.back_at) / SECOND
        print(f"{len(self.sent)} accepted, {len(arrived)} arrived within {took_s:.0f} s, {states}")
        assert set(states) <= {State.DELIVERED, State.EXPIRED}
        assert (states[State.DELIVERED], sum(states.values())) == (len(arrived), len(self.sent)), "none is lost"
        assert ends == sorted(sent.ends_at for sent in self.sent), "both speak of the same ends"
        assert told == states[State.EXPIRED] > 0, "each that ended has an event"
        assert max(arrived.values()) == 1, "nothing of it arrived twice"
        late = max(at - self.sent[number].ends_at for at, number in self.arrived)
        assert late <= MOMENT, "nothing went after its end"
        assert self.overdue == 0, "what was over was ended while the carrier was away"
        assert self.most_in_memory <= MEMORY
        self._judge_pace(took_s)
        for category in Category:
            self._judge_order(category)

    def _judge_pace(self, took_s: float) -> None:
        """It went as fast as the carrier takes it, and no faster."""
        assert took_s <= len(self.arrived) / self.rate * 1.1 + 10.0
        seconds = Counter(at // SECOND for at, _ in self.arrived)
        assert max(seconds.values()) <= self.rate * 1.1 + 1

    def _judge_order(self, category: Category) -> None:
        """What ended first went first, or was over before its turn."""
        arrived = {number for _, number in self.arrived}
        mine = [
            (at, place, self.sent[number].ends_at)
            for place, (at, number) in enumerate(self.arrived, start=1)
            if self.sent[number].category is category
        ]
        assert mine
        ended = [
            (sent.ends_at, 0, sent.ends_at)  # it could have gone until then
            for number, sent in enumerate(self.sent)
            if sent.category is category and sent.ends_at > self.back_at and number not in arrived
        ]
        early = overtaking(ends_at for _, _, ends_at in sorted([*mine, *ended]))
        print(f"{category.name}: {len(mine)} arrived, {len(ended)} over while they waited, {early} overtook others")
        assert early == 0

    def _in_store(self) -> tuple[dict[State, int], list[int], int]:
        """Return how many messages ended how, when their validity did, and how many events say that one expired."""
        db = apsw.Connection(str(self.file), flags=apsw.SQLITE_OPEN_READONLY)
        found: list[tuple[int, int]] = list(db.execute("SELECT state, count(*) FROM message GROUP BY state"))
        ends = [int(ends_at) for (ends_at,) in db.execute("SELECT expires_at FROM message ORDER BY expires_at")]
        told: int
        ((told,),) = db.execute("SELECT count(*) FROM event WHERE state = ?", (int(State.EXPIRED),))
        db.close()
        return {State(state): count for state, count in found}, ends, told


def overtaking(ends: Iterable[int]) -> int:
    """Return how many of a sequence have one behind them that ends before them."""
    first: int | None = None
    found = 0
    for ends_at in reversed(list(ends)):
        found += first is not None and ends_at > first
        first = ends_at if first is None else min(first, ends_at)
    return found


def play(folder: Path, seed: int, *, seconds: float, rate: float) -> Outage:
    """Play an outage of so many seconds and judge it."""
    random.seed(seed)  # the jitter of the pipeline
    loop = SimulatedLoop()
    outage = Outage(loop, folder, seed, seconds=seconds, rate=rate)
    try:
        with asyncio.Runner(loop_factory=lambda: loop) as runner:
            runner.run(outage.play())
        outage.judge()
    except BaseException as error:
        raise AssertionError(f"seed {seed}, at {loop.time():.3f} s") from error
    return outage


def test_a_minute_away(tmp_path: Path) -> None:
    """The same in short: a minute, with more than a thousand messages."""
    play(tmp_path, SEED, seconds=60.0, rate=20.0)


@pytest.mark.soak
def test_an_hour_away(tmp_path: Path) -> None:
    """An hour at a hundred messages a second."""
    play(tmp_path, SEED, seconds=HOUR_S, rate=100.0)
