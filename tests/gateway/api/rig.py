"""The API as callers meet it: a server with mutual TLS on loopback, over a real SQLite store, and its clients.

There is no pipeline behind it: the intake here stores what it is given, and tests play the carrier's side with
`Rig.settle` and `Rig.receive`.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import grpc
import grpc.aio
from grpc_health.v1 import health_pb2_grpc

from carrier.inbound import InboundPart, pack_part
from carrier.text.writing import PLAIN
from certs.bundle import Bundle, TrustBundles
from certs.spiffe_id import TrustDomain
from certs.svid import X509Svid
from certs.tls import FixedSvid, server_credentials
from gateway.api.audit_service import AuditService
from gateway.api.auditing import CallAudit
from gateway.api.connections import ConnectionBounds, ConnectionKeeper
from gateway.api.cursors import Cursors
from gateway.api.draining import Draining
from gateway.api.hub import EventHub
from gateway.api.interceptors import guards
from gateway.api.limiting import CallLimits
from gateway.api.message_service import MessageService, MessageServiceParts
from gateway.api.methods import METHODS
from gateway.api.proving import Proving
from gateway.api.sending import MessageIntake
from gateway.api.server import ApiServer, ServerOptions
from gateway.api.telemetry import TelemetryGuard
from gateway.api.usage_service import UsageService
from gateway.audit.recorder import Recorder
from gateway.audit.records import Record
from gateway.commitments import commitment
from gateway.identity import Caller, CallerResolver
from gateway.ids import IdSource, from_text
from gateway.limits.messages import MessageLimits, MessageRates
from gateway.limits.rate import Rate
from gateway.records import IndexKeys, add_salt
from gateway.revocation.calls import RevokedCalls
from gateway.revocation.entries import DenyList
from gateway.sealed.keys import PayloadKey, PayloadKeys
from gateway.sealing.box import SealingBox
from gateway.states import Category, State
from gateway.store.contract import Accepted, Idempotency, NewInboundPart, NewMessage, Sending, Settlement
from gateway.store.sqlite import SqliteStore
from gateway.telemetry.meters import Meters
from gateway.telemetry.telemetry import Telemetry
from gateway.telemetry.tracing import Tracing
from gateway.tenants import TenantEntry, Tenants
from gateway.usage.caps import CapRules, Caps
from gateway.validation import Draft, MessageRules, Validator
from smsgw.v1.audit_service_pb2_grpc import AuditServiceStub
from smsgw.v1.message_pb2 import Content, OutboundMessage
from smsgw.v1.message_service_pb2 import SendMessageRequest
from smsgw.v1.message_service_pb2_grpc import MessageServiceStub
from smsgw.v1.usage_service_pb2_grpc import UsageServiceStub
from tests.certificates import IssuedSvid, TestAuthority
from tests.gateway.policy.sets import authorizer
from tests.gateway.proving.logs import MemoryLog
from tests.gateway.sealing.boxes import memory_box

if TYPE_CHECKING:
    from smsgw.v1.audit_service_pb2_grpc import AuditServiceAsyncStub  # there are only types of them
    from smsgw.v1.message_service_pb2_grpc import MessageServiceAsyncStub
    from smsgw.v1.usage_service_pb2_grpc import UsageServiceAsyncStub

SECOND = 1_000_000
NOW = 1_800_000_000 * SECOND
KEY = b"k" * 32
AUTHORITY = TestAuthority("example.org")
TENANTS = Tenants(
    [
        TenantEntry(name="payments", spiffe_ids=("spiffe://example.org/payments",), inbound_numbers=("12345",)),
        TenantEntry(name="shop", spiffe_ids=("spiffe://example.org/shop",)),
    ]
)
TIMEOUT_S = 20.0


class Clock:
    """A clock in microseconds that tests set; each look moves it on by one, as real time would."""

    def __init__(self, now: int) -> None:
        self.now = now

    def __call__(self) -> int:
        self.now += 1
        return self.now


class IdentityClock:
    """The clock of the identity guard: real time plus what a test adds."""

    def __init__(self) -> None:
        self.ahead = dt.timedelta()

    def __call__(self) -> dt.datetime:
        return dt.datetime.now(dt.UTC) + self.ahead


class StoreIntake:
    """An intake that stores: nothing is claimed, nothing is sent. `failure` is raised instead when set."""

    def __init__(self, store: SqliteStore, keys: IndexKeys, box: SealingBox, ids: IdSource, now: Clock) -> None:
        self.store, self.keys, self.box, self.ids, self.now = store, keys, box, ids, now
        self.failure: Exception | None = None
        self.calls: list[int] = []

    async def accept(self, caller: Caller, drafts: Sequence[Draft], audit: Sequence[Record] = ()) -> list[Accepted]:
        """Store the drafts for the caller."""
        self.calls.append(len(drafts))
        if self.failure is not None:
            raise self.failure
        now = self.now()
        return await self.store.accept([self._message(caller, draft, now) for draft in drafts], audit)

    async def replays(self, caller: Caller, drafts: Sequence[Draft]) -> list[Accepted | None]:
        """Look the drafts up, all of which have keys."""
        now = self.now()
        return await self.store.replays([self._idempotency(caller, draft, now) for draft in drafts], now)

    def _idempotency(self, caller: Caller, draft: Draft, now: int) -> Idempotency:
        return Idempotency(
            self.keys.idempotency_key_hash(caller.tenant, caller.spiffe_id, draft.idempotency_key),
            self.keys.content_hash(draft.fingerprint),
            now + 72 * 3600 * SECOND,
        )

    def _message(self, caller: Caller, draft: Draft, now: int) -> NewMessage:
        message_id, box = self.ids.new(), self.box
        idempotency = self._idempotency(caller, draft, now) if draft.idempotency_key else None
        return NewMessage(
            tenant=caller.tenant,
            id=message_id,
            owner=caller.spiffe_id,
            category=draft.category,
            sender=draft.sender,
            masked_recipient=draft.masked_recipient,
            recipient_hash=self.keys.recipient_hash(draft.recipient),
            envelope=box.put(caller.tenant, message_id, "envelope", add_salt(draft.envelope, SALT)),
            content=box.put(caller.tenant, message_id, "content", draft.content),
            encoding=draft.encoding,
            segments=draft.segments,
            accepted_at=now,
            due_at=draft.due_at,
            expires_at=draft.expires_at,
            claimed=False,
            idempotency=idempotency,
            country=draft.country,
            commitment=commitment(SALT, caller.tenant, draft.sender, draft.category, draft.envelope, draft.content),
        )


SALT = bytes(16)
ENDLESS = Rate.a_second(1_000_000, 1_000_000)


def rates(*, caller: Rate = ENDLESS, tenant: Rate = ENDLESS, recipient: Rate = ENDLESS) -> MessageRates:
    """Return rates that nobody reaches, but for those given."""
    return MessageRates(caller=caller, tenant=tenant, recipient=recipient)


@dataclass(frozen=True, slots=True, kw_only=True)
class Bounds:
    """What a rig lets its callers do; by default more than any test tries."""

    calls: Rate = ENDLESS
    certificates: Rate = ENDLESS
    open_calls: int = 10_000
    places: int = 20_000
    look_every_s: float = 0.25
    messages: MessageRates = field(default_factory=rates)
    tenants: Mapping[str, MessageRates] = field(default_factory=dict)
    connections: ConnectionBounds = field(default_factory=ConnectionBounds)
    server: ServerOptions = field(default_factory=ServerOptions)


class Rig:
    """A running API and what stands behind it."""

    def __init__(
        self,
        store: SqliteStore,
        policy: str = "",
        bounds: Bounds | None = None,
        *,
        now: Clock | None = None,
        telemetry: Telemetry | None = None,
        intake: Callable[[Rig], MessageIntake] | None = None,
    ) -> None:
        """`policy`: the text of other policies than the default ones. `bounds`: others than such as no test reaches.
        `telemetry`: another than none. `intake`: makes another one than that which stores only."""
        self.store = store
        bounds = bounds or Bounds()
        self.ticks = Clock(0)
        self.limits = CallLimits(
            calls=bounds.calls, certificates=bounds.certificates, open_calls=bounds.open_calls, places=bounds.places,
            clock=self.ticks,
        )  # fmt: skip
        self.connections = ConnectionKeeper(bounds.connections, every_s=bounds.look_every_s)
        self.draining = Draining()
        self.authorizer = authorizer(policy, spend=self.limits.call)
        self.now = now or Clock(NOW)
        self.meters = Meters((), METHODS) if telemetry is None else telemetry.meters
        self.tracing = Tracing.off() if telemetry is None else telemetry.tracing
        self.identity_clock = IdentityClock()
        self.keys = IndexKeys(KEY)
        self.cursors = Cursors(KEY)
        self.ids = IdSource()
        self.hub = EventHub()
        self.log = MemoryLog()
        self.box = memory_box()
        self.payload_keys = PayloadKeys()
        self.validator = Validator(MessageRules(), payload_key=self.payload_keys.opening)
        self.intake = StoreIntake(store, self.keys, self.box, self.ids, self.now)
        store.on_commit(self.hub.committed)
        bundle = Bundle.from_pem(TrustDomain(AUTHORITY.trust_domain), AUTHORITY.bundle_pem)
        self.bundles = TrustBundles([bundle])
        self.service = self._service(bounds, self.intake if intake is None else intake(self))
        self.revoked = RevokedCalls(DenyList())
        self.recorder = Recorder(store)
        resolver = CallerResolver(self.bundles, TENANTS.tenant_of, self.identity_clock)
        self.server = self._server(resolver, bounds.server)
        self.port = 0
        self.channels: list[grpc.aio.Channel] = []

    def _service(self, bounds: Bounds, intake: MessageIntake) -> MessageService:
        return MessageService(
            MessageServiceParts(
                intake=intake, store=self.store, box=self.box,
                validator=self.validator, payload_keys=self.payload_keys.published,
                authorizer=self.authorizer, keys=self.keys, cursors=self.cursors, hub=self.hub, now=self.now,
                denied=self.meters.denied, ticks=self.ticks, limits=MessageLimits(bounds.messages, bounds.tenants),
            )
        )  # fmt: skip

    def _server(self, resolver: CallerResolver, options: ServerOptions) -> ApiServer:
        return ApiServer(
            service=self.service,
            audit_service=AuditService(Proving(store=self.store, box=self.box, log=self.log)),
            usage=UsageService(self.store, Caps(CapRules(), self.now())),
            guards=guards(
                TelemetryGuard(self.tracing, self.meters),
                resolver,
                self.identity_clock,
                self.revoked,
                self.authorizer,
                self.recorder,
                self.limits,
                self.connections.recognised,
                self.draining,
            ),
            audit=CallAudit(self.recorder, self.identity_clock),
            options=options,
            connections=self.connections,
            draining=self.draining,
        )

    def have_keys(self, keys: Sequence[PayloadKey]) -> None:
        """Publish these payload keys from now on, and take sealed content."""
        self.payload_keys.use(keys)
        self.validator.use(MessageRules(sealed=True), PLAIN)

    async def start(self) -> None:
        """Listen on a free port."""
        self.port = await self.server.start("127.0.0.1:0", self.credentials())

    def credentials(self) -> grpc.ServerCredentials:
        """Return the server's credentials: mutual TLS, an SVID of its own."""
        own = AUTHORITY.svid("/gateway", dns=("localhost",))
        source = FixedSvid(X509Svid.from_pem(own.presented_pem, own.key_pem))
        return server_credentials(source, self.bundles, self.connections.handshake)

    def channel(self, svid: IssuedSvid) -> grpc.aio.Channel:
        """Return a connection of its own for a client with this SVID."""
        credentials = grpc.ssl_channel_credentials(AUTHORITY.bundle_pem, svid.key_pem, svid.presented_pem)
        options = (("grpc.use_local_subchannel_pool", 1),)
        channel = grpc.aio.secure_channel(f"localhost:{self.port}", credentials, options=options)
        self.channels.append(channel)
        return channel

    def client(self, path: str, **mutations: Any) -> MessageServiceAsyncStub:
        """Return a client whose identity is `spiffe://example.org<path>`."""
        return MessageServiceStub(self.channel(AUTHORITY.svid(path, **mutations)))

    def audit_client(self, path: str) -> AuditServiceAsyncStub:
        """Return a client of the audit service with this identity."""
        return AuditServiceStub(self.channel(AUTHORITY.svid(path)))

    def usage_client(self, path: str) -> UsageServiceAsyncStub:
        """Return a client of the usage service with this identity."""
        return UsageServiceStub(self.channel(AUTHORITY.svid(path)))

    def health(self, path: str) -> Any:
        """Return a client of the health service."""
        return health_pb2_grpc.HealthStub(self.channel(AUTHORITY.svid(path)))

    async def stop(self) -> None:
        """End clients and server."""
        for channel in self.channels:
            await channel.close(None)
        await self.server.stop(0)

    async def settle(self, tenant: str, message_id: str, state: State, **changes: Any) -> None:
        """Play the carrier's side: commit a message to a link, and settle it."""
        identity = from_text(message_id)
        for category in Category:
            await self.store.claim(category, 100, self.now())
        await self.store.sending([Sending(tenant, identity, "acme", self.now())])
        settlement = Settlement(
            tenant=tenant, id=identity, state=state, at=self.now(), carrier="acme", carrier_ids="id-1",
            part_states="S", queue=None, due_at=self.now(), reason_code="", reason_text="", smpp_status=None, cause="",
        )  # fmt: skip
        await self.store.settle([settlement._replace(**changes)])

    async def receive(self, tenant: str, parts: Sequence[InboundPart]) -> None:
        """Play the carrier's side: a message from a handset."""
        for part in parts:
            packed = pack_part(part)
            inbound_id = self.ids.new()
            group = b"" if part.total == 1 else b"g" * 16
            await self.store.inbound(
                [
                    NewInboundPart(
                        tenant, inbound_id, "acme", group, part.part, part.total,
                        inbound_id + self.box.put(tenant, inbound_id, "inbound", packed),
                        self.keys.inbound_fingerprint("acme", packed, 0), self.now() + 600 * SECOND,
                        self.now(), self.now() + 3600 * SECOND,
                    )
                ]
            )  # fmt: skip


@asynccontextmanager
async def running_rig(folder: Path, policy: str = "", bounds: Bounds | None = None) -> AsyncIterator[Rig]:
    """Run an API over a new database in `folder`, with the default policies or the text of others."""
    store = SqliteStore(folder / "smsgw.db")
    await store.open()
    rig = Rig(store, policy, bounds=bounds)
    try:
        await rig.start()
        yield rig
    finally:
        await rig.stop()
        await store.close()


def message(**changes: Any) -> OutboundMessage:
    """Return a good message with some fields changed."""
    good: dict[str, Any] = {
        "recipient": "+4915112345678",
        "sender": "ACME",
        "category": 1,
        "content": Content(text="Your code is 123456"),
    }
    return OutboundMessage(**{**good, **changes})


async def send(client: MessageServiceAsyncStub, **changes: Any) -> str:
    """Send one message; its id."""
    reply = await client.SendMessage(SendMessageRequest(message=message(**changes)), timeout=TIMEOUT_S)
    return reply.accepted.message_id
