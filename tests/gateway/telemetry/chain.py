"""The whole way of a message under telemetry: API over mutual TLS, pipeline, a carrier that tests play, a collector.

The clock is the test's: a receipt may come hours later.
"""

from __future__ import annotations

import asyncio
import datetime as dt
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from opentelemetry.proto.trace.v1.trace_pb2 import Span

from carrier.profile import CarrierProfile, Secret
from carrier.smpp.pdu import DeliverSm
from certs.federation.federation import Federation
from gateway.api.methods import METHODS
from gateway.config.kinds import Address
from gateway.config.telemetry_settings import MetricsSettings, OtlpSettings, TelemetrySettings
from gateway.pipeline.deliveries import DeliveryReader
from gateway.pipeline.encoding import MessageEncoder
from gateway.pipeline.intake import Intake
from gateway.pipeline.lanes import Lanes
from gateway.pipeline.outcomes import RetryRules
from gateway.pipeline.permits import Permits
from gateway.pipeline.pipeline import Pipeline, PipelineParts
from gateway.pipeline.router import Routing
from gateway.policy.shadowing import Shadowing
from gateway.revocation.status import ListStatus
from gateway.states import Category
from gateway.store.sqlite import SqliteStore
from gateway.telemetry.identities import IdentitySources
from gateway.telemetry.telemetry import Telemetry, TelemetryParts
from gateway.telemetry.view import NodeSources
from gateway.usage.caps import Cap, CapRules, Caps
from gateway.validation import MessageRules, Validator
from tests.certificates import TestAuthority
from tests.gateway.api.rig import NOW, TENANTS, Clock, Rig
from tests.gateway.pipeline.fake_link import FakeLink
from tests.gateway.sealed.keys import sealed_contents
from tests.gateway.sealing.boxes import sealing_box
from tests.gateway.telemetry.receiver import Receiver, collector_credentials, listening, otlp_settings
from visibility.alerts import Alerts
from visibility.catalogue import NODE

COLLECTORS = TestAuthority("example.org")
CARRIER = "acme"
_WAIT_S = 20.0

CAPS = Caps(CapRules(caps=[Cap(tenant="acme", category=1, messages_per_day=8)]), 0)


class Chain:
    """A running node, as far as a message meets it."""

    def __init__(
        self, folder: Path, store: SqliteStore, telemetry: Telemetry, clock: Clock, receiver: Receiver
    ) -> None:
        self.folder = folder
        self.store = store
        self.telemetry = telemetry
        self.now = clock
        self.receiver = receiver
        self.api = Rig(store, now=clock, telemetry=telemetry, intake=self._intake)
        self.link = FakeLink(self.pipeline, carrier=CARRIER, window=500)
        store.observe(telemetry.committed)

    def _intake(self, rig: Rig) -> Intake:
        box = sealing_box(self.folder)  # the next process opens what this one has sealed
        profile = CarrierProfile(name=CARRIER, host="h", port=1, system_id="s", password=Secret(b""))
        encoder = MessageEncoder(box, {CARRIER: profile})
        self.pipeline = Pipeline(
            PipelineParts(
                store=self.store,
                lanes=Lanes(1000),
                encode=encoder.encode,
                opening=encoder,
                sealed=sealed_contents(box, encoder, Validator(MessageRules())),
                routing=Routing((), encoder.number_of),
                reader=DeliveryReader(tenants=TENANTS, keys=rig.keys, box=box, ids=rig.ids),
                rules=RetryRules(resend=frozenset(Category)),
                permits=Permits(rig.authorizer),
                now=self.now,
                batch=100,
                tracing=self.telemetry.tracing,
                meters=self.telemetry.meters,
            )
        )
        return Intake(
            store=self.store,
            pipeline=self.pipeline,
            box=box,
            keys=rig.keys,
            ids=rig.ids,
            now=self.now,
            tracing=self.telemetry.tracing,
            meters=self.telemetry.meters,
        )

    async def until(self, done: Callable[[], bool]) -> None:
        """Let everything work until `done`."""
        async with asyncio.timeout(_WAIT_S):
            while not done():
                await asyncio.sleep(0.001)

    async def taken(self, count: int) -> list[str]:
        """Wait until the link holds so many submissions; answer them with success; return the carrier's ids."""
        await self.until(lambda: len(self.link.held) >= count)
        ids = self.link.finish(len(self.link.held))
        await asyncio.wait_for(self.pipeline._settler.drained(), _WAIT_S)
        return ids

    async def receipts(self, *carrier_ids: str, stat: str = "DELIVRD", text: str = "") -> None:
        """Have the carrier deliver receipts, with the beginning of the message in them, and wait for our answers."""
        rest = f"sub:001 dlvrd:001 stat:{stat} err:000 text:{text}"
        pdus = [
            DeliverSm(
                source_addr_ton=1,
                source_addr_npi=1,
                source_addr=b"4915112345678",
                esm_class=0x04,
                short_message=f"id:{one} {rest}".encode(),
            )
            for one in carrier_ids
        ]
        answered = len(self.link.answers) + len(pdus)
        self.link.deliver(*pdus)
        await self.until(lambda: len(self.link.answers) >= answered)

    async def exported(self) -> list[Span]:
        """End the telemetry, which sends what is left; return everything that the collector got."""
        await self.telemetry.close()
        return self.receiver.spans

    def sources(self) -> NodeSources:
        """Return what metrics look at."""
        return NodeSources(
            counts=self.store.counts,
            links=self.pipeline.status,
            lanes=self.pipeline.lanes.sizes,
            policy=self.api.authorizer,
            refused_sets=lambda: 0,
            shadow=Shadowing(self.api.authorizer),
            router=self.pipeline.router,
            federation=NO_FEDERATION,
            svid_expires_at=lambda: dt.datetime.fromtimestamp(NOW / 1_000_000 + 3600, dt.UTC),
            deny_list=ListStatus(self.api.revoked, "", lambda: NOW),
            retention_late=lambda: 0,
            caps=CAPS.meters,
            waiting=lambda: {"acme": (3, 0)},
            audit_log=lambda: None,
            now=self.now,
            identities=IdentitySources(connections={}, handshakes_failed=dict, bundles=list),
        )


NO_FEDERATION = Federation([], Path(), lambda: dt.datetime.now(dt.UTC), others=lambda _: None, tell=lambda _: None)


def telemetry_of(otlp: OtlpSettings, now: Callable[[], int], rate: int = 10) -> Telemetry:
    """Return telemetry that exports to `otlp`, with a page."""
    page = MetricsSettings(listen=Address("127.0.0.1", 0), readers=(), insecure=True)
    return Telemetry(
        TelemetryParts(
            settings=TelemetrySettings(traces_per_s=rate, otlp=otlp, metrics=page),
            resource={"service.name": "smsgw", "service.instance.id": "node-1"},
            carriers=[CARRIER],
            methods=METHODS,
            now=now,
            alerts=Alerts(NODE, now),
            security=None,
        )
    )


@asynccontextmanager
async def running(folder: Path, *, rate: int = 10, **otlp: Any) -> AsyncIterator[Chain]:
    """Run everything on a database in `folder`."""
    with listening(collector_credentials(COLLECTORS)) as (receiver, port):
        clock = Clock(NOW)
        telemetry = telemetry_of(otlp_settings(folder, COLLECTORS, port, **otlp), clock, rate)
        store = SqliteStore(folder / "smsgw.db")
        await store.open()
        chain = Chain(folder, store, telemetry, clock, receiver)
        await telemetry.start(chain.sources())
        await chain.pipeline.recover()
        stopping = asyncio.Event()
        work = asyncio.create_task(chain.pipeline.run([chain.link], stopping, 5.0))
        await chain.api.start()
        try:
            yield chain
        finally:
            await chain.api.stop()
            stopping.set()
            await asyncio.wait_for(work, _WAIT_S)
            await store.close()
            await telemetry.close()
