"""A pipeline under test: a real store, and links that do what the test says."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from carrier.operation_rules import USUAL_OPERATIONS, OperationRules
from carrier.profile import CarrierProfile, Secret
from carrier.smpp.pdu import DeliverSm
from gateway.ids import IdSource
from gateway.limits.rate import Rate
from gateway.payload import PayloadBox
from gateway.pipeline.deliveries import DeliveryReader
from gateway.pipeline.encoding import MessageEncoder
from gateway.pipeline.intake import Intake
from gateway.pipeline.lanes import Lanes
from gateway.pipeline.outcomes import RetryRules
from gateway.pipeline.permits import Permits
from gateway.pipeline.pipeline import Pipeline, PipelineParts
from gateway.pipeline.router import Routing
from gateway.pipeline.switches import CarrierSwitches
from gateway.records import IndexKeys
from gateway.routing.breaker import BreakerRules
from gateway.routing.routes import Route
from gateway.sealed.keys import PayloadKeys
from gateway.states import Category, State
from gateway.store.contract import Accepted
from gateway.store.sqlite import SqliteStore
from gateway.tenants import TenantEntry, Tenants
from gateway.validation import MessageRules, Validator
from smsgw.v1 import message_pb2
from tests.gateway.callers import caller
from tests.gateway.pipeline.fake_link import FakeLink
from tests.gateway.policy.sets import authorizer
from tests.gateway.sealed.keys import UNUSED_RATE, sealed_contents
from tests.gateway.sealing.boxes import sealing_box
from visibility.alerts import Alerts
from visibility.catalogue import NODE

SECOND = 1_000_000
START = 1_790_000_000 * SECOND
TENANTS = Tenants(
    [
        TenantEntry(name="demo", spiffe_ids=("spiffe://example.org/demo",), inbound_numbers=("80800",)),
        TenantEntry(name="other", spiffe_ids=("spiffe://example.org/other",)),
    ]
)
CALLER = caller(tenant="demo", spiffe_id="spiffe://example.org/demo/api")


@dataclass
class Rig:
    """A pipeline under test."""

    store: SqliteStore
    folder: Path
    policy: str = ""
    routes: Sequence[Route] = ()
    patience: Mapping[int, int] = field(default_factory=dict)
    breakers: Mapping[str, BreakerRules] = field(default_factory=dict)
    memory: int = 1000
    window: int = 10
    now: int = START
    ids: IdSource = field(default_factory=IdSource)
    links: list[FakeLink] = field(default_factory=list)
    box: PayloadBox | None = None
    keys: IndexKeys = field(default_factory=lambda: IndexKeys(bytes(32)))
    switches: CarrierSwitches = field(default_factory=CarrierSwitches)
    operations: OperationRules = USUAL_OPERATIONS
    payload_keys: PayloadKeys = field(default_factory=PayloadKeys)
    rsa_rate: Rate = UNUSED_RATE
    alerts: Alerts = field(default_factory=lambda: Alerts(NODE, lambda: START))

    def __post_init__(self) -> None:
        box, keys = self.box or sealing_box(self.folder), self.keys
        self.sealing: PayloadBox = box
        profile = CarrierProfile(
            name="acme", host="h", port=1, system_id="s", password=Secret(b""), operations=self.operations
        )
        encoder = MessageEncoder(box, {"acme": profile, "other": profile})
        self.routing = Routing(self.routes, encoder.number_of, patience=self.patience, breakers=self.breakers)
        self.validator = Validator(MessageRules(sealed=True), payload_key=lambda _header, _now: None)
        self.pipeline = Pipeline(
            PipelineParts(
                store=self.store,
                lanes=Lanes(self.memory),
                encode=encoder.encode,
                opening=encoder,
                sealed=sealed_contents(box, encoder, self.validator, self.payload_keys, self.rsa_rate, self.alerts),
                routing=self.routing,
                reader=DeliveryReader(tenants=TENANTS, keys=keys, box=box, ids=self.ids),
                rules=RetryRules(resend=frozenset({Category.OTP, Category.TRANSACTIONAL})),
                permits=Permits(authorizer(self.policy)),
                now=lambda: self.now,
                batch=100,
                profiles=[profile],
                switches=self.switches,
            )
        )
        self.link = FakeLink(self.pipeline, window=self.window)
        self.intake = Intake(
            store=self.store, pipeline=self.pipeline, box=box, keys=keys, ids=self.ids, now=lambda: self.now
        )

    async def send(
        self,
        count: int = 1,
        category: Category = Category.OTP,
        text: str = "hello",
        key: str = "",
        recipient: str = "+4915112345678",
    ) -> list[Accepted]:
        """Accept messages."""
        drafts = [
            self.validator.draft(
                message_pb2.OutboundMessage(
                    recipient=recipient,
                    sender="ACME",
                    category=int(category),  # type: ignore[arg-type]  # the stubs' enum is a class of its own
                    content=message_pb2.Content(text=text),
                    idempotency_key=key,
                ),
                self.now,
                "message",
            )
            for _ in range(count)
        ]
        return await self.intake.accept(CALLER, drafts)

    async def state(self, message_id: bytes) -> State:
        """Return where a message stands."""
        row = await self.store.get_message("demo", message_id)
        return State(row.state) if row else State(0)

    async def until(self, done: Callable[[], bool]) -> None:
        """Let the pipeline work until `done`; at most 10 s."""
        async with asyncio.timeout(10):
            while not done():
                await asyncio.sleep(0.001)

    async def reach(self, message_id: bytes, state: State) -> None:
        """Let the pipeline work until a message is in a state; at most 10 s."""
        async with asyncio.timeout(10):
            while await self.state(message_id) is not state:
                await asyncio.sleep(0.001)


@asynccontextmanager
async def running(folder: Path, **options: Any) -> AsyncIterator[Rig]:
    """A pipeline that has recovered and runs; `options` are fields of the rig."""
    async with _opened(folder, options) as rig, at_work(rig, [rig.link]):
        yield rig


@asynccontextmanager
async def two_carriers(folder: Path, **options: Any) -> AsyncIterator[tuple[Rig, FakeLink]]:
    """As `running`, with two carriers: the rig's link is acme's, the second one other's."""
    async with _opened(folder, options) as rig:
        other = FakeLink(rig.pipeline, carrier="other", window=rig.window)
        async with at_work(rig, [rig.link, other]):
            yield rig, other


@asynccontextmanager
async def _opened(folder: Path, options: Mapping[str, Any]) -> AsyncIterator[Rig]:
    store = SqliteStore(folder / "smsgw.db")
    await store.open()
    try:
        yield Rig(store, folder, **options)
    finally:
        await store.close()


@asynccontextmanager
async def at_work(rig: Rig, links: Sequence[FakeLink]) -> AsyncIterator[None]:
    await rig.pipeline.recover()
    stopping = asyncio.Event()
    task = asyncio.create_task(rig.pipeline.run(links, stopping, 5.0))
    try:
        yield
    finally:
        stopping.set()
        await asyncio.wait_for(task, 20)


def receipt(carrier_id: str, stat: str = "DELIVRD", source: bytes = b"4915112345678") -> DeliverSm:
    """Return a receipt as most carriers write it."""
    text = f"id:{carrier_id} sub:001 dlvrd:001 submit date:2609211413 done date:2609211414 stat:{stat} err:000 text:"
    return DeliverSm(
        source_addr_ton=1, source_addr_npi=1, source_addr=source, esm_class=0x04, short_message=text.encode()
    )
