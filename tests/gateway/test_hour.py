"""An hour of traffic through the pipeline, its store and a link, in simulated time, over a carrier that misbehaves.

Connections are cut and refused at random; responses are lost, late, swapped and doubled; the carrier throttles;
receipts come early, late, more than once, for states that follow each other or contradict; handsets write meanwhile.
At the end every message is in a final state, every receipt has found its message, but those whose id the carrier never
told us in time, and every inbound message is there once.

A failure names its seed; SMSGW_HOUR_SEED plays it again. The short run is part of `make test`, the hour of `make soak`.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import secrets
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from random import Random

import apsw
import pytest

from carrier.contract import Link, Outcome, SubmitResult
from carrier.profile import CarrierProfile, Secret
from carrier.simulator.script_file import parse_script
from carrier.simulator.simulator import Simulator
from gateway.states import FINAL, State
from gateway.store.sqlite import SqliteStore
from smsgw.v1 import message_pb2
from tests.quirks.way import CARRIER, Way
from tests.simulated_loop import SimulatedLoop

SEED = int(os.environ.get("SMSGW_HOUR_SEED", "0")) or secrets.randbits(32)
MESSAGES_S = 1.5
VALIDITY_S = 600
GRACE_S = 900  # for receipts, beyond the validity
DOUBT_S = 2 * 3600  # by then a message in doubt is closed
INBOUND_S = 0.2
MINUTE = 60.0

MISBEHAVING = """
message_ids: hex
responses: {delay_s: 0.08, none_every: 97, late_every: 61, late_s: 45, swap_s: 0.05}
answers: [{to: submit_sm, with: twice, every: 29}, {to: enquire_link, with: nothing, every: 7}]
errors:
  - {every: 83, status: ESME_RTHROTTLED}
  - {every: 127, status: ESME_RMSGQFUL}
  - {every: 211, status: ESME_RSYSERR, accepted: true}
  - {every: 307, status: ESME_RINVDSTADR}
throttle: {rate_s: 12, burst_s: 2}
receipts:
  delay_s: 9
  gap_s: 1
  duplicates: 0
  states: [DELIVRD, DELIVRD, DELIVRD, UNDELIV, DELIVRD, EXPIRED]
  retry_s: 3
  redeliver_after_s: 20
  variants:
    - {every: 11, before_response: true}
    - {every: 13, delay_s: 120, duplicates: 2, by: data_sm}
    - {every: 17, before: [ACCEPTD, ENROUTE], delay_s: 30, gap_s: 5}
    - {every: 19, afterwards: [UNDELIV], gap_s: 2, form: text}
    - {every: 23, form: tlv}
enquire_link_s: 25
"""
_STATES = "SELECT state, count(*) FROM message GROUP BY state"
WORDS = ("Your code is 4711. ", "नमस्ते ", "Grüße [€] ", "😀 ", "hello ")


@dataclass
class Told:
    """What passed the border between the link and the pipeline."""

    ids: set[str] = field(default_factory=set)  # told to us in a response
    outcomes: Counter[str] = field(default_factory=Counter)


class Hour:
    """Everything of one run. `seconds` is how long traffic flows."""

    def __init__(self, loop: SimulatedLoop, folder: Path, seed: int, seconds: float) -> None:
        self.loop = loop
        self.random = Random(seed)  # noqa: S311  # no secret: it has to be played again
        self.seconds = seconds
        self.sent: list[bytes] = []
        self.told = Told()
        self.down_until = 0.0
        self.cut = self.inbound = 0
        self._wall = time.time() - loop.time()
        self._folder = folder
        self.simulator = Simulator(parse_script(MISBEHAVING), plain=True)
        self.file = folder / "smsgw.db"
        self.store = SqliteStore(self.file, receipt_grace=int(GRACE_S * 1e6), now=self.now)

    def now(self) -> int:
        """Return the simulated time, microseconds since the Unix epoch."""
        return int((self._wall + self.loop.time()) * 1e6)

    async def play(self) -> None:
        """Let traffic flow, then wait for its end."""
        await self.simulator.start()
        await self.store.open()
        self.loop.watch_store(self.store)
        self.loop.listen(lambda: None if self.loop.time() < self.down_until else self.simulator.protocol())
        profile = CarrierProfile(
            name=CARRIER, host="carrier.test", port=1, system_id="user", password=Secret(b"secret"), tls=None,
            window=10, rate_pdus_s=15.0, reconnect_max_s=20.0,
        )  # fmt: skip
        way = Way(self.store, self._folder, profile, self.simulator, now=self.now, clock=self.loop.time)
        self._listen_in(way)
        way.link._first._random = self.random.random
        keeper = way.pipeline._keeper
        keeper._tick_s = 0.5  # twenty times a second would be most of what an hour costs here
        await way.pipeline.recover()
        stopping = asyncio.Event()
        running = asyncio.create_task(way.pipeline.run([way.link], stopping, 60.0))
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self._traffic(way))
                tasks.create_task(self._handsets())
                tasks.create_task(self._trouble())
            keeper._tick_s = 20.0
            await self._quiet()
        finally:
            stopping.set()
            await running
            await self.store.close()
            await self.simulator.stop()

    def _listen_in(self, way: Way) -> None:
        listener = way.pipeline.on_results

        def on_results(link: Link, results: Sequence[SubmitResult]) -> None:
            for result in results:
                self.told.outcomes[result.outcome.name] += 1
                if result.outcome is Outcome.ANSWERED and not result.status:
                    self.told.ids.add(result.message_id)
            listener(link, results)

        way.pipeline.on_results = on_results  # type: ignore[method-assign]  # to listen in

    async def _traffic(self, way: Way) -> None:
        """Send messages of every category and length, to many recipients, as they come."""
        dice, end = self.random, self.loop.time() + self.seconds
        while self.loop.time() < end:
            await asyncio.sleep(dice.expovariate(MESSAGES_S))
            message = message_pb2.OutboundMessage(
                recipient=f"+49151{dice.randrange(10**8):08d}",
                sender="ACME",
                category=dice.choice((1, 2, 3)),  # type: ignore[arg-type]  # the stubs' enum is a class of its own
                content=message_pb2.Content(text=dice.choice(WORDS) * dice.choice((1, 1, 1, 2, 12, 30))),
            )
            message.validity.FromSeconds(VALIDITY_S)
            self.sent.append(await way.accept(message))

    async def _handsets(self) -> None:
        """Let handsets write, in one part or in many."""
        dice, end = self.random, self.loop.time() + self.seconds
        while self.loop.time() < end:
            await asyncio.sleep(dice.expovariate(INBOUND_S))
            self.inbound += 1
            text = f"number {self.inbound}: " + dice.choice(WORDS) * dice.choice((1, 1, 20))
            self.simulator.inject_inbound(f"+49170{self.inbound:07d}", "80800", text)

    async def _trouble(self) -> None:
        """Cut connections, and refuse new ones for a while, every minute or so."""
        dice, end = self.random, self.loop.time() + self.seconds
        while self.loop.time() < end:
            await asyncio.sleep(dice.expovariate(1 / 60))
            if dice.random() < 0.5:  # in the middle of a delivery: it comes again
                with contextlib.suppress(TimeoutError):
                    await self.simulator.until(lambda simulator: simulator.stats()["in_flight"] > 0, MINUTE)
            self.down_until = self.loop.time() + dice.choice((0, 0, 2, 25))
            self.simulator.disconnect_all()
            self.cut += 1

    async def _quiet(self) -> None:
        """Wait until nothing is under way; at the latest when validity and grace are over."""
        async with asyncio.timeout(VALIDITY_S + GRACE_S + DOUBT_S):
            while await self._open_messages() or self.simulator.stats()["waiting"]:
                await asyncio.sleep(MINUTE)

    async def _open_messages(self) -> int:
        counts = await self.store._read(lambda look: list(look.db.execute(_STATES)))
        return sum(int(count) for state, count in counts if State(state) not in FINAL)

    def judge(self) -> None:
        """Hold the end against what was asked for."""
        db = apsw.Connection(str(self.file), flags=apsw.SQLITE_OPEN_READONLY)
        states = {State(state): count for state, count in db.execute(_STATES)}
        kept = {carrier_id for (carrier_id,) in db.execute("SELECT carrier_id FROM kept_receipt")}
        ((arrived,),) = db.execute("SELECT count(*) FROM event WHERE state = 0")
        ((held,),) = db.execute("SELECT count(*) FROM inbound_held")
        db.close()
        stats, outcomes = self.simulator.stats(), self.told.outcomes
        print(f"{len(self.sent)} messages, {self.cut} cuts, {dict(outcomes)}, {stats}, {states}, {len(kept)} kept")
        assert sum(states.values()) == len(self.sent)
        assert set(states) <= set(FINAL)
        assert not kept & self.told.ids, "a receipt whose id we were told has found no message"
        assert kept <= {received.message_id for received in self.simulator.received}
        assert (arrived, held) == (self.inbound, 0), "each inbound message is there once, and whole"
        # It was as bad as it should have been:
        assert min(self.cut, outcomes["IN_DOUBT"], stats["refused"], stats["unanswered"]) > 0
        assert states[State.DELIVERED] > len(self.sent) // 3


def play(folder: Path, seed: int, seconds: float) -> Hour:
    """Play so many seconds of traffic and judge them."""
    random.seed(seed)  # the jitter of the pipeline
    loop = SimulatedLoop()
    hour = Hour(loop, folder, seed, seconds)
    try:
        with asyncio.Runner(loop_factory=lambda: loop) as runner:
            runner.run(hour.play())
        hour.judge()
    except BaseException as error:
        raise AssertionError(f"seed {seed}, at {loop.time():.3f} s") from error
    return hour


def test_minutes_of_traffic_end_well(tmp_path: Path) -> None:
    """A few simulated minutes, with some hundred messages."""
    play(tmp_path, SEED, 4 * MINUTE)


@pytest.mark.soak
def test_an_hour_of_traffic_ends_well(tmp_path: Path) -> None:
    """An hour: every message in a final state, every receipt matched."""
    hour = play(tmp_path, SEED, 60 * MINUTE)
    assert len(hour.sent) > 4000
    assert hour.cut > 10
    assert hour.simulator.stats()["deliveries_repeated"] > 0
