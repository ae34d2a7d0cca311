"""The way of a message as a row meets it: store, pipeline, one link, and the simulated carrier behind TLS."""

from __future__ import annotations

import asyncio
import ssl
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from carrier.link import SmppLink
from carrier.pacing import Pacer
from carrier.profile import CarrierProfile, CarrierTls, Secret
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
from gateway.states import Category, State
from gateway.store.contract import MessageRow
from gateway.store.sqlite import SqliteStore
from gateway.tenants import TenantEntry, Tenants
from gateway.validation import MessageRules, Validator
from smsgw.v1 import message_pb2
from tests.gateway.callers import caller
from tests.gateway.policy.sets import authorizer
from tests.gateway.sealed.keys import sealed_contents
from tests.gateway.sealing.boxes import sealing_box

CARRIER, TENANT, RECIPIENT = "acme", "demo", "+4915112345678"
_CALLER = caller(tenant=TENANT, spiffe_id="spiffe://example.org/demo/api")
_TENANTS = Tenants(
    [TenantEntry(name=TENANT, spiffe_ids=("spiffe://example.org/demo",), inbound_numbers=("80800", "+4915700000000"))]
)
_WITHIN_S = 30.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Files:
    """The carrier's certificate and key, and the authority that a link knows it by."""

    certificate: Path
    key: Path
    ca: Path


class Way:
    """What a test holds of it."""

    def __init__(
        self,
        store: SqliteStore,
        folder: Path,
        profile: CarrierProfile,
        simulator: Simulator,
        *,
        now: Callable[[], int] | None = None,
        clock: Callable[[], float] = time.monotonic,
        memory: int = 1000,
    ) -> None:
        """`now` (microseconds since the Unix epoch) and `clock` (monotonic seconds): the real ones, if left out.
        `memory`: messages that each lane holds."""
        self.ahead = 0  # microseconds that the node's time is ahead of the real one
        now = now or (lambda: now_us() + self.ahead)
        box, keys, ids = sealing_box(folder), IndexKeys(bytes(32)), IdSource()
        self.store = store
        self.simulator = simulator
        self.validator = Validator(MessageRules(), counting([profile.text]))
        self.reader = DeliveryReader(tenants=_TENANTS, keys=keys, box=box, ids=ids, profiles=[profile])
        encoder = MessageEncoder(box, {CARRIER: profile})
        self.pipeline = Pipeline(
            PipelineParts(
                store=store,
                lanes=Lanes(memory),
                reader=self.reader,
                encode=encoder.encode,
                opening=encoder,
                sealed=sealed_contents(box, encoder, self.validator),
                routing=Routing((), encoder.number_of),
                rules=RetryRules(resend=frozenset({Category.OTP, Category.TRANSACTIONAL})),
                permits=Permits(authorizer("")),
                now=now,
                batch=100,
                profiles=[profile],
            )
        )
        pacer = Pacer(profile.rate_pdus_s, now_ns=round(clock() * 1e9))
        self.link = SmppLink(profile, 0, self.pipeline, pacer, clock=clock)
        self._intake = Intake(store=store, pipeline=self.pipeline, box=box, keys=keys, ids=ids, now=now)
        self._now = now

    async def send(
        self,
        text: str = "hello",
        *,
        labels: Mapping[str, str] | None = None,
        sender: str = "ACME",
        recipient: str = RECIPIENT,
        category: Category = Category.TRANSACTIONAL,
    ) -> bytes:
        """Accept one message; its id."""
        message = message_pb2.OutboundMessage(
            recipient=recipient,
            sender=sender,
            category=int(category),  # type: ignore[arg-type]  # the stubs' enum is a class of its own
            content=message_pb2.Content(text=text),
            labels=labels,
        )
        return await self.accept(message)

    async def accept(self, message: message_pb2.OutboundMessage) -> bytes:
        """Accept this message; its id."""
        return (await self.accept_all([message]))[0]

    async def accept_all(self, messages: Sequence[message_pb2.OutboundMessage]) -> list[bytes]:
        """Accept these messages by one commit; their ids."""
        drafts = [self.validator.draft(message, self._now(), "message") for message in messages]
        return [accepted.id for accepted in await self._intake.accept(_CALLER, drafts)]

    async def row(self, message_id: bytes) -> MessageRow:
        """Return a message as it is stored."""
        row = await self.store.get_message(TENANT, message_id)
        assert row is not None
        return row

    async def reach(self, message_id: bytes, *states: State) -> MessageRow:
        """Wait until a message is in one of `states`."""
        async with asyncio.timeout(_WITHIN_S):
            while (row := await self.row(message_id)).state not in states:
                await asyncio.sleep(0.005)
        return row

    async def until(self, done: Callable[[], bool]) -> None:
        """Wait until `done`."""
        async with asyncio.timeout(_WITHIN_S):
            while not done():
                await asyncio.sleep(0.005)

    async def counted(self, cause: str) -> int:
        """Wait until the store has counted `cause`; how often it has."""
        async with asyncio.timeout(_WITHIN_S):
            while not (count := (await self.store.counts()).get(cause, 0)):
                await asyncio.sleep(0.005)
        return count


def now_us() -> int:
    """Return the time: microseconds since the Unix epoch."""
    return time.time_ns() // 1000


@asynccontextmanager
async def simulated(files: Files, script: str = "") -> AsyncIterator[Simulator]:
    """Run a carrier with `script`."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(files.certificate, files.key)
    simulator = Simulator(parse_script(script), context)
    await simulator.start()
    try:
        yield simulator
    finally:
        await simulator.stop()


@asynccontextmanager
async def way(folder: Path, files: Files, script: str = "", **settings: Any) -> AsyncIterator[Way]:
    """Run it all against a simulator with `script`; `settings` are fields of the carrier's profile."""
    async with simulated(files, script) as simulator, way_to(simulator, folder, files, **settings) as made:
        yield made


@asynccontextmanager
async def way_to(simulator: Simulator, folder: Path, files: Files, **settings: Any) -> AsyncIterator[Way]:
    """Run it all against a simulator that runs; a store that is in `folder` is taken up."""
    given: dict[str, Any] = {"name": CARRIER, "host": "localhost", "port": simulator.port, "system_id": "user"}
    profile = CarrierProfile(**given, password=Secret(b"secret"), tls=CarrierTls(ca_file=files.ca), **settings)
    store = SqliteStore(folder / "smsgw.db")
    await store.open()
    made = Way(store, folder, profile, simulator)
    await made.pipeline.recover()
    stopping = asyncio.Event()
    task = asyncio.create_task(made.pipeline.run([made.link], stopping, 5.0))
    try:
        yield made
    finally:
        stopping.set()
        await asyncio.wait_for(task, _WITHIN_S)
        await store.close()
