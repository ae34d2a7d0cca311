"""Several simulated carriers behind one pipeline, each over TLS: what happens when one of them fails.

    async with carriers(tmp_path, files, "throttle: {rate_s: 5}", "") as site:
        otp = await site.send()
        await site.reach(otp, State.DELIVERED)
        assert site.simulators["b"].received

They are called a, b, ... in the order of their scripts, the first one preferred.
"""

from __future__ import annotations

import asyncio
import string
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

from carrier.contract import Link, LinkState
from carrier.profile import CarrierProfile, CarrierTls, Secret
from carrier.simulator.simulator import Simulator
from gateway.ids import IdSource
from gateway.pipeline.deliveries import DeliveryReader
from gateway.pipeline.encoding import MessageEncoder
from gateway.pipeline.intake import Intake
from gateway.pipeline.lanes import Lanes
from gateway.pipeline.linking import LinkMaker
from gateway.pipeline.outcomes import RetryRules
from gateway.pipeline.permits import Permits
from gateway.pipeline.pipeline import Pipeline, PipelineParts
from gateway.pipeline.router import Routing
from gateway.records import IndexKeys
from gateway.routing.breaker import BreakerRules
from gateway.routing.routes import Route
from gateway.states import FINAL, Category, State
from gateway.store.contract import MessageRow
from gateway.store.sqlite import SqliteStore
from gateway.tenants import TenantEntry, Tenants
from gateway.validation import MessageRules, Validator
from smsgw.v1 import message_pb2
from tests.gateway.callers import caller
from tests.gateway.policy.sets import authorizer
from tests.gateway.sealed.keys import sealed_contents
from tests.gateway.sealing.boxes import sealing_box
from tests.quirks.way import Files, now_us, simulated

TENANT, RECIPIENT = "demo", "+4915112345678"
WITHIN_S = 60.0
_CALLER = caller(tenant=TENANT, spiffe_id="spiffe://example.org/demo/api")
_TENANTS = Tenants([TenantEntry(name=TENANT, spiffe_ids=("spiffe://example.org/demo",))])
_CATEGORIES = frozenset({Category.OTP, Category.TRANSACTIONAL})


class Carriers:
    """What a test holds of them."""

    def __init__(
        self,
        store: SqliteStore,
        folder: Path,
        profiles: Sequence[CarrierProfile],
        simulators: Mapping[str, Simulator],
        routing: Mapping[str, Any],
    ) -> None:
        box, keys, ids = sealing_box(folder), IndexKeys(bytes(32)), IdSource()
        self.store = store
        self.simulators = simulators
        self._validator = Validator(MessageRules(otp_validity_s=60.0))
        encoder = MessageEncoder(box, {profile.name: profile for profile in profiles})
        actions = {profile.name: profile.statuses for profile in profiles}
        self.pipeline = Pipeline(
            PipelineParts(
                store=store,
                lanes=Lanes(1000),
                reader=DeliveryReader(tenants=_TENANTS, keys=keys, box=box, ids=ids, profiles=profiles),
                encode=encoder.encode,
                opening=encoder,
                sealed=sealed_contents(box, encoder, self._validator),
                routing=Routing(number_of=encoder.number_of, actions=actions, **routing),
                rules=RetryRules(resend=_CATEGORIES, retry_min=50_000, retry_max=400_000),
                permits=Permits(authorizer("")),
                now=now_us,
                batch=100,
            )
        )
        self.links = [link for profile in profiles for link in self._links(profile)]
        self._intake = Intake(store=store, pipeline=self.pipeline, box=box, keys=keys, ids=ids, now=now_us)

    def _links(self, profile: CarrierProfile) -> list[Link]:
        make = LinkMaker(self.pipeline)(profile)  # as a node makes them: they share one pace
        return [make(index) for index in range(profile.binds)]

    async def send(
        self, count: int = 1, *, text: str = "hello", category: Category = Category.OTP, sender: str = "ACME"
    ) -> list[bytes]:
        """Accept messages; their ids."""
        message = message_pb2.OutboundMessage(
            recipient=RECIPIENT,
            sender=sender,
            category=int(category),  # type: ignore[arg-type]  # the stubs' enum is a class of its own
            content=message_pb2.Content(text=text),
        )
        drafts = [self._validator.draft(message, now_us(), "message") for _ in range(count)]
        return [answer.id for answer in await self._intake.accept(_CALLER, drafts)]

    async def row(self, message_id: bytes) -> MessageRow:
        """Return a message as it is stored."""
        row = await self.store.get_message(TENANT, message_id)
        assert row is not None
        return row

    async def ended(self, message_ids: Sequence[bytes]) -> list[MessageRow]:
        """Wait until each of the messages is in a final state."""
        rows: dict[bytes, MessageRow] = {}
        async with asyncio.timeout(WITHIN_S):
            while len(rows) < len(message_ids):
                for message_id in message_ids:
                    row = await self.row(message_id)
                    if row.state in FINAL:
                        rows[message_id] = row
                await asyncio.sleep(0.01)
        return [rows[message_id] for message_id in message_ids]

    async def delivered(self, message_ids: Sequence[bytes]) -> list[MessageRow]:
        """Wait until the messages have ended, each of them delivered."""
        rows = await self.ended(message_ids)
        assert {State(row.state) for row in rows} == {State.DELIVERED}
        return rows

    async def until(self, done: Callable[[], bool]) -> None:
        """Wait until `done`."""
        async with asyncio.timeout(WITHIN_S):
            while not done():
                await asyncio.sleep(0.005)

    async def counts(self, prefix: str) -> int:
        """Return how often causes with this prefix have been counted."""
        return sum(value for name, value in (await self.store.counts()).items() if name.startswith(prefix))

    def taken(self) -> dict[str, int]:
        """Return how many PDUs each carrier has accepted."""
        return {name: len(simulator.received) for name, simulator in self.simulators.items()}


@asynccontextmanager
async def carriers(
    folder: Path,
    files: Files,
    *scripts: str,
    routes: Sequence[Route] = (),
    patience: Mapping[int, int] | None = None,
    breakers: Mapping[str, BreakerRules] | None = None,
    profiles: Mapping[str, Mapping[str, Any]] | None = None,
    wait: bool = True,
) -> AsyncIterator[Carriers]:
    """Run a pipeline with a carrier for each script. `profiles`: fields of their profiles, by name; `wait`: until every
    link is bound."""
    names = string.ascii_lowercase[: len(scripts)]
    async with AsyncExitStack() as stack:
        simulators = {
            name: await stack.enter_async_context(simulated(files, script))
            for name, script in zip(names, scripts, strict=True)
        }
        made = [_profile(name, simulators[name], files, (profiles or {}).get(name, {})) for name in names]
        store = SqliteStore(folder / "smsgw.db")
        await store.open()
        stack.push_async_callback(store.close)
        routing = {"routes": routes, "carriers": tuple(names), "patience": patience or {}, "breakers": breakers or {}}
        site = Carriers(store, folder, made, simulators, routing)
        await site.pipeline.recover()
        stopping = asyncio.Event()
        task = asyncio.create_task(site.pipeline.run(site.links, stopping, 5.0))
        try:
            if wait:
                await site.until(lambda: all(link.state is LinkState.BOUND for link in site.links))
            yield site
        finally:
            stopping.set()
            await asyncio.wait_for(task, WITHIN_S)


def _profile(name: str, simulator: Simulator, files: Files, settings: Mapping[str, Any]) -> CarrierProfile:
    given: dict[str, Any] = {
        "name": name, "host": "localhost", "port": simulator.port, "system_id": "user", "password": Secret(b"secret"),
        "tls": CarrierTls(ca_file=files.ca), "reconnect_min_s": 0.05, "reconnect_max_s": 0.2,
    }  # fmt: skip
    return CarrierProfile(**{**given, **settings})
