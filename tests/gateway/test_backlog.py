"""A backlog, with a carrier of its own pace and simulated time: one-time passwords overtake what waits, and after an
outage what ends first goes first.

The judge is the simulated carrier's own list of what arrived, and when. The short runs are part of `make test`; the
hour at full rate is part of `make soak`.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from carrier.profile import CarrierProfile, Secret
from carrier.simulator.script_file import parse_script
from carrier.simulator.simulator import Simulator
from gateway.states import FINAL, Category, State
from gateway.store.sqlite import SqliteStore
from smsgw.v1 import message_pb2
from tests.quirks.way import CARRIER, Way
from tests.simulated_loop import SimulatedLoop

IN_MEMORY = 200  # of each lane
HOUR_S = 3600.0
_SCRIPT = "responses: {delay_s: 0.05}\nreceipts: {delay_s: 1}\n"


@dataclass
class Site:
    """A way in simulated time; the carrier refuses connections while `away`."""

    loop: SimulatedLoop
    way: Way
    simulator: Simulator
    away: bool = False

    def cut(self) -> None:
        """Let the carrier go away, until `back`."""
        self.away = True
        self.simulator.disconnect_all()

    def back(self) -> None:
        """Let it come back."""
        self.away = False

    async def send(self, number: int, category: Category, validity_s: int) -> bytes:
        """Accept message `number`; its id."""
        message = message_pb2.OutboundMessage(
            recipient=f"+49151{number:08d}",
            sender="ACME",
            category=int(category),  # type: ignore[arg-type]  # the stubs' enum is a class of its own
            content=message_pb2.Content(text="hello"),
        )
        message.validity.FromSeconds(validity_s)
        return await self.way.accept(message)

    def arrived(self) -> list[int]:
        """Return the numbers of the messages that have arrived, in order."""
        return [int(received.destination.lstrip("+").removeprefix("49151")) for received in self.simulator.received]

    async def until(self, done: Callable[[], Awaitable[bool]], within_s: float, every_s: float = 5.0) -> None:
        """Wait in simulated time."""
        async with asyncio.timeout(within_s):
            while not await done():
                await asyncio.sleep(every_s)

    async def drained(self) -> bool:
        """Say whether every message is in a final state."""
        return sum(number for state, number in (await self.states()).items() if state not in FINAL) == 0

    async def states(self) -> Counter[State]:
        """Return how many messages are in each state."""
        rows = await self.way.store._read(
            lambda look: list(look.db.execute("SELECT state, count(*) FROM message GROUP BY state"))
        )
        return Counter({State(state): count for state, count in rows})


def play(folder: Path, rate: float, window: int, scenario: Callable[[Site], Awaitable[None]]) -> None:
    """Run a scenario against a carrier of `rate` PDUs a second."""
    loop = SimulatedLoop()

    async def run() -> None:
        async with _site(loop, folder, rate, window) as site:
            await scenario(site)

    with asyncio.Runner(loop_factory=lambda: loop) as runner:
        runner.run(run())


@asynccontextmanager
async def _site(loop: SimulatedLoop, folder: Path, rate: float, window: int) -> AsyncIterator[Site]:
    wall = time.time() - loop.time()

    def now() -> int:
        return int((wall + loop.time()) * 1e6)

    simulator = Simulator(parse_script(_SCRIPT), plain=True)
    store = SqliteStore(folder / "smsgw.db", now=now)
    await simulator.start()
    await store.open()
    loop.watch_store(store)
    profile = CarrierProfile(
        name=CARRIER, host="carrier.test", port=1, system_id="user", password=Secret(b"secret"), tls=None,
        window=window, rate_pdus_s=rate, reconnect_max_s=5.0,
    )  # fmt: skip
    way = Way(store, folder, profile, simulator, now=now, clock=loop.time, memory=IN_MEMORY)
    site = Site(loop, way, simulator)
    loop.listen(lambda: None if site.away else simulator.protocol())
    await way.pipeline.recover()
    stopping = asyncio.Event()
    running = asyncio.create_task(way.pipeline.run([way.link], stopping, 60.0))
    try:
        yield site
    finally:
        stopping.set()
        await running
        await store.close()
        await simulator.stop()


def test_a_password_overtakes_all_that_waits_but_what_is_on_its_way(tmp_path: Path) -> None:
    """Twelve hundred promotions wait for a carrier of 50/s, most of them in the database. Every one-time password goes
    before all of them that have not been written: between its acceptance and its arrival, no more come than two windows
    hold, and the fair places that keep promotions from starving."""
    window = 10

    async def scenario(site: Site) -> None:
        for number in range(1_200):
            await site.send(number, Category.PROMOTIONAL, 4 * 3600)
        waiting = (await site.way.store.counts())["queue.WAITING_PROMOTIONAL"]
        assert waiting > 800
        await asyncio.sleep(5)
        before: dict[int, int] = {}
        for number in range(10_000, 10_030):
            before[number] = len(site.arrived())
            await site.send(number, Category.OTP, 300)
            await asyncio.sleep(0.2)
        await asyncio.sleep(5)
        arrived = site.arrived()
        overtaking = [arrived.index(number) - already for number, already in before.items()]
        assert max(overtaking) <= 2 * window
        assert sorted(overtaking)[15] <= window
        assert len(arrived) < 1_200, "promotions still wait: they were overtaken"

    play(tmp_path, 50.0, window, scenario)


def test_after_an_outage_what_ends_first_goes_first(tmp_path: Path) -> None:
    """The carrier is away while messages of a long and a short validity come by turns, more than memory holds, and some
    whose validity ends meanwhile. Those have EXPIRED; when it is back, what waited in the database goes in the order in
    which it ends, at the carrier's pace, and all of it arrives once."""
    outage_s, rate = 600.0, 50.0

    async def scenario(site: Site) -> None:
        kept, ended = await _outage(site, 1_200, outage_s)
        back_at = site.loop.time()
        await site.until(site.drained, HOUR_S)
        arrived = site.arrived()
        assert Counter(arrived) == Counter(dict.fromkeys(kept, 1))
        assert (await site.states()) == {State.DELIVERED: len(kept), State.EXPIRED: len(ended)}
        took_s = site.loop.time() - back_at
        assert len(kept) / rate * 0.95 <= took_s <= len(kept) / rate * 1.2 + 30
        _require_soonest_first(arrived, kept)

    play(tmp_path, rate, 50, scenario)


async def _outage(site: Site, messages: int, outage_s: float) -> tuple[dict[int, int], set[int]]:
    """Let the carrier be away for so long while messages come; the numbers of those that outlive it with their
    validity in seconds, and those that do not."""
    await site.until(_bound(site), 30, 0.1)
    site.cut()
    kept: dict[int, int] = {}
    ended: set[int] = set()
    for number in range(messages):
        validity_s = 86_400 if number % 2 else 7_200
        if number % 20 == 0:
            validity_s = 60
            ended.add(number)
        else:
            kept[number] = validity_s
        await site.send(number, Category.TRANSACTIONAL, validity_s)
        await asyncio.sleep(outage_s / messages)
    await asyncio.sleep(90)  # the last of the short ones has ended
    assert (await site.states())[State.EXPIRED] == len(ended)
    site.back()
    return kept, ended


def _bound(site: Site) -> Callable[[], Awaitable[bool]]:
    async def bound() -> bool:
        return site.way.link.state.name == "BOUND"

    return bound


def _require_soonest_first(arrived: list[int], kept: dict[int, int]) -> None:
    """What was in memory when the carrier came back went first; of the rest, all of the short ones before any long one,
    but for what memory takes at a time."""
    rest = arrived[IN_MEMORY:]
    short = sum(1 for number in rest if kept[number] == 7_200)
    assert short > len(rest) // 3
    late = [number for number in rest[: short - IN_MEMORY] if kept[number] != 7_200]
    assert late == [], f"{len(late)} long-lived messages went before short-lived ones"
    assert rest[: short - IN_MEMORY] == sorted(rest[: short - IN_MEMORY]), (
        "of equal validity, in the order of acceptance"
    )


@pytest.mark.soak
def test_an_hour_without_a_carrier_at_full_rate(tmp_path: Path) -> None:
    """An hour of as many messages as the carrier takes, 90,000, in simulated time; then the same judgement."""
    rate = 25.0

    async def scenario(site: Site) -> None:
        kept, ended = await _outage(site, int(rate * HOUR_S), HOUR_S)
        await site.until(site.drained, 3 * HOUR_S, 30)
        assert Counter(site.arrived()) == Counter(dict.fromkeys(kept, 1))
        assert (await site.states()) == {State.DELIVERED: len(kept), State.EXPIRED: len(ended)}
        _require_soonest_first(site.arrived(), kept)

    play(tmp_path, rate, 50, scenario)
