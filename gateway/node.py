"""The composition root: one node, built from one frozen configuration.

Order of life: the store opens, data keys are made, the pipeline recovers and starts, the links connect, and last the
API listens. It ends the other way round: the API stops taking calls, the links finish what they hold, outcomes are
recorded, the store closes, the keys are dropped. `start`, `run_until` and `stop` drive one background task, which owns
everything.
"""

from __future__ import annotations

import asyncio
import datetime as dt
import hashlib
import logging
import time
import zoneinfo
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict
from importlib.metadata import version

from carrier.link import SmppLink
from carrier.pacing import Pacer
from carrier.profile import CarrierProfile
from certs.errors import CertsError
from certs.spiffe_id import TrustDomain
from certs.tls import BundleFiles, SvidFiles, check_own_svid, server_credentials
from gateway.api.auditing import CallAudit
from gateway.api.authorizing import call_actions
from gateway.api.connections import ConnectionBounds, ConnectionKeeper
from gateway.api.cursors import Cursors
from gateway.api.hub import EventHub
from gateway.api.interceptors import guards
from gateway.api.limiting import CallLimits
from gateway.api.message_service import MessageService, MessageServiceParts
from gateway.api.methods import METHODS
from gateway.api.server import ApiServer, ServerOptions
from gateway.api.telemetry import TelemetryGuard
from gateway.audit.journal import Journal
from gateway.audit.recorder import Recorder
from gateway.audit.socket import SOCKET_NAME as AUDIT_SOCKET
from gateway.audit.socket import AuditSocket
from gateway.config.schema import Settings
from gateway.config.secret_files import read_secret_file
from gateway.countries import load_plans
from gateway.errors import Unavailable
from gateway.identity import CallerResolver, utc_now
from gateway.ids import IdSource
from gateway.limits.assembly import message_limits
from gateway.payload import PayloadBox
from gateway.pipeline.deliveries import DeliveryReader
from gateway.pipeline.encoding import MessageEncoder
from gateway.pipeline.intake import Intake
from gateway.pipeline.lanes import Lanes
from gateway.pipeline.outcomes import RetryRules
from gateway.pipeline.permits import Permits
from gateway.pipeline.pipeline import Pipeline, PipelineParts
from gateway.policy.authorizer import Authorizer, Spend
from gateway.policy.loader import load_policies
from gateway.records import MAX_KEY_BYTES, IndexKeys
from gateway.revocation import DENY_LIST, DenyListFile, RevokedCalls, dump, follow
from gateway.sealing.box import SealingBox
from gateway.sealing.data_keys import DataKeys
from gateway.sealing.keyring import WRAPPED_KEYS, Keyring
from gateway.sealing.providers import FileKeyProvider
from gateway.sealing.upkeep import KeyUpkeep
from gateway.states import Category
from gateway.status_socket import StatusSocket
from gateway.store.sqlite import SqliteStore
from gateway.telemetry.assembly import build_telemetry
from gateway.telemetry.view import NodeSources
from gateway.tenants import TenantEntry, Tenants
from gateway.validation import MessageRules, Validator

log = logging.getLogger(__name__)

_REFRESH_S = 1.0  # how often certificate files are looked at
_SECOND = 1_000_000


def now_us() -> int:
    """Return the time: microseconds since the Unix epoch."""
    return time.time_ns() // 1000


class Node:
    """One gateway node."""

    def __init__(self, settings: Settings) -> None:
        """Build every part. Raises ValueError, CertsError, SecretFileError or OSError for what is wrong."""
        self._settings = settings
        self._svid = SvidFiles(settings.api.svid_file, settings.api.svid_key_file)
        domains = {TrustDomain(domain): path for domain, path in settings.identity.bundles.items()}
        self._bundles = BundleFiles(domains)
        self._limits = CallLimits.of(settings.limits)
        self._authorizer = _authorizer(settings, self._limits.call)
        load_plans()
        self._telemetry = build_telemetry(settings, self._bundles, METHODS, now_us)
        tenants = _tenants(settings)
        key, *older_keys = _index_keys(settings)
        self._data_keys = _data_keys(settings)
        self._upkeep = KeyUpkeep(self._data_keys, [tenant.name for tenant in settings.tenants])
        keys, ids, box = IndexKeys(key, older_keys), IdSource(), SealingBox(self._data_keys)
        grace = round(settings.messages.receipt_grace_s * _SECOND)
        self._store = SqliteStore(settings.store.file, receipt_grace=grace)
        reader = DeliveryReader(tenants=tenants, keys=keys, box=box, ids=ids)
        self._pipeline = self._build_pipeline(box, reader)
        self._intake = Intake(
            store=self._store,
            pipeline=self._pipeline,
            box=box,
            keys=keys,
            ids=ids,
            now=now_us,
            tracing=self._telemetry.tracing,
            meters=self._telemetry.meters,
        )
        hub = EventHub()
        self._store.on_commit(hub.committed)
        self._store.observe(self._telemetry.committed)
        service = MessageService(
            MessageServiceParts(
                intake=self._intake,
                store=self._store,
                box=box,
                validator=Validator(_message_rules(settings)),
                authorizer=self._authorizer,
                limits=message_limits(settings.limits),
                keys=keys,
                cursors=Cursors(key, older_keys),
                hub=hub,
                now=now_us,
                denied=self._telemetry.meters.denied,
            )
        )
        resolver = CallerResolver(self._bundles.bundles, tenants.tenant_of)
        self._denied = DenyListFile(settings.node.data_dir / DENY_LIST)
        self._revoked = RevokedCalls(self._denied.deny)
        self._recorder = Recorder(self._store)
        self._journal = Journal(self._store, settings.node.name, now_us)
        self._data_keys.on_made = self._journal.keys_made
        connections = ConnectionKeeper(_connection_bounds(settings))
        chain = guards(
            TelemetryGuard(self._telemetry.tracing, self._telemetry.meters),
            resolver,
            utc_now,
            self._revoked,
            self._authorizer,
            self._recorder,
            self._limits,
            connections.recognised,
        )
        audit = CallAudit(self._recorder, utc_now)
        self._api = ApiServer(
            service=service,
            guards=chain,
            audit=audit,
            options=_server_options(settings),
            connections=connections,
        )
        self._status = StatusSocket(settings.node.data_dir / "status.sock", self.snapshot)
        self._audit_socket = AuditSocket(settings.node.data_dir / AUDIT_SOCKET, self._store)
        self._started_at = now_us()
        self._port = 0
        self._stopping = asyncio.Event()
        self._ready = asyncio.Event()
        self._life: asyncio.Task[None] | None = None

    def _build_pipeline(self, box: PayloadBox, reader: DeliveryReader) -> Pipeline:
        settings = self._settings
        profiles: Mapping[str, CarrierProfile] = {profile.name: profile for profile in settings.carriers}
        return Pipeline(
            PipelineParts(
                store=self._store,
                lanes=Lanes(settings.pipeline.memory_messages),
                encode=MessageEncoder(box, profiles).encode,
                reader=reader,
                rules=_retry_rules(settings),
                permits=Permits(self._authorizer, [carrier.name for carrier in settings.carriers]),
                now=now_us,
                batch=settings.pipeline.batch,
                tracing=self._telemetry.tracing,
                meters=self._telemetry.meters,
            )
        )

    @property
    def api_address(self) -> str:
        """Where the API listens, once started: host and port."""
        return str(self._settings.api.listen._replace(port=self._port))

    async def start(self) -> None:
        """Open, recover, connect and listen. Raises what made it fail."""
        check_own_svid(self._svid.svid, self._bundles.bundles, utc_now())
        self._life = asyncio.create_task(self._live(), name="node")
        ready = asyncio.create_task(self._ready.wait())
        await asyncio.wait({self._life, ready}, return_when=asyncio.FIRST_COMPLETED)
        if not self._ready.is_set():
            ready.cancel()
            await self._end()
            raise Unavailable("the node ended before it was ready")

    async def run_until(self, stop: asyncio.Event) -> None:
        """Return when `stop` is set. Raises what ended the node, should it end before that."""
        if self._life is None:
            raise Unavailable("the node has not been started")
        waiter = asyncio.create_task(stop.wait())
        try:
            await asyncio.wait({self._life, waiter}, return_when=asyncio.FIRST_COMPLETED)
            if self._life.done():
                await self._end()
        finally:
            waiter.cancel()

    async def stop(self) -> None:
        """Drain and close. Idempotent."""
        self._stopping.set()
        await self._end()

    async def _end(self) -> None:
        """Wait for the end; raise the first of the errors behind it, rather than a group."""
        if self._life is None:
            return
        try:
            await self._life
        except BaseExceptionGroup as group:
            error: BaseException = group
            while isinstance(error, BaseExceptionGroup):
                error = error.exceptions[0]
            raise error from None

    async def _live(self) -> None:
        await self._store.open()
        try:
            await self._telemetry.start(self._sources())
            await self._journal.started(version("smsgw"), self._digests())
            try:
                await self._upkeep.prepare()
                await self._pipeline.recover()
                await self._serve()
            finally:
                await self._recorder.finish()
                await self._journal.stopped()
        finally:
            await self._store.close()
            await self._telemetry.close()
            self._data_keys.forget()

    def _sources(self) -> NodeSources:
        return NodeSources(
            counts=self._store.counts,
            links=self._pipeline.status,
            lanes=self._pipeline.lanes.sizes,
            policy=self._authorizer,
            svid_expires_at=lambda: self._svid.svid.expires_at,
            now=now_us,
        )

    async def _serve(self) -> None:
        grace_s = self._settings.api.drain_timeout_s
        pipeline_stops = asyncio.Event()
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._pipeline.run(self._links(), pipeline_stops, grace_s))
            refresh = tasks.create_task(self._refresh_certificates())
            revocation = tasks.create_task(follow(self._denied, self._revoked, self._revocation_changed))
            upkeep = tasks.create_task(self._upkeep.run())
            telemetry = tasks.create_task(self._telemetry.run())
            audit = [tasks.create_task(self._recorder.run()), tasks.create_task(self._journal.run())]
            credentials = server_credentials(self._svid, self._bundles.bundles)
            self._port = await self._api.start(str(self._settings.api.listen), credentials)
            keeper = tasks.create_task(self._api.keep_connections())
            self._api.set_serving(True)
            await self._status.start()
            await self._audit_socket.start()
            self._ready.set()
            log.info("ready", extra={"api": self.api_address, "version": version("smsgw")})
            try:
                await self._stopping.wait()
            finally:
                await self._status.stop()
                await self._audit_socket.stop()
                await self._api.stop(grace_s)
            await self._intake.drained()
            pipeline_stops.set()
            keeper.cancel()
            refresh.cancel()
            revocation.cancel()
            upkeep.cancel()
            telemetry.cancel()
            for task in audit:
                task.cancel()

    def _digests(self) -> list[tuple[str, str]]:
        """Return what is in force, for the audit: SHA-256 of the configuration file, the policies, the deny list."""
        configuration = hashlib.sha256(self._settings.file.read_bytes()).hexdigest()
        return [("configuration", configuration), ("policies", self._authorizer.epoch), self._deny_list()]

    def _deny_list(self) -> tuple[str, str]:
        return "deny list", hashlib.sha256(dump(self._denied.deny)).hexdigest()

    def _revocation_changed(self, cut: int) -> None:
        _tell_of_revocation(cut)
        if cut >= 0:
            self._journal.loaded(*self._deny_list())

    def _links(self) -> list[SmppLink]:
        links = []
        for profile in self._settings.carriers:
            pacer = Pacer(profile.rate_pdus_s, now_ns=time.monotonic_ns())
            links += [SmppLink(profile, index, self._pipeline, pacer) for index in range(profile.binds)]
        return links

    async def _refresh_certificates(self) -> None:
        """Take up renewed certificates and bundles; a bad file leaves the old ones in force, and is logged."""
        while True:
            await asyncio.sleep(_REFRESH_S)
            for what, files in (("svid", self._svid), ("bundles", self._bundles)):
                try:
                    if files.refresh():
                        log.info("certificates_renewed", extra={"what": what})
                        await self._telemetry.certificates_renewed()
                        self._journal.renewed(what, self._svid.svid.serial if what == "svid" else "")
                except (CertsError, OSError) as error:
                    log.error("certificates_not_renewed", extra={"what": what, "why": str(error)})

    async def snapshot(self) -> dict[str, object]:
        """Return the node as it stands, for `smsgw status`; no personal data."""
        counts: dict[str, int] = {}
        with suppress(Unavailable):
            counts = await self._store.counts()
        return {
            "node": self._settings.node.name,
            "version": version("smsgw"),
            "started_at": self._started_at,
            "api": self.api_address,
            "svid_expires_at": self._svid.svid.expires_at.isoformat(),
            "links": [asdict(link) for link in self._pipeline.status()],
            "memory": self._pipeline.lanes.sizes(),
            "counts": counts,
        }


def _tell_of_revocation(cut: int) -> None:
    if cut < 0:
        log.error("deny_list_not_read", extra={"why": "the list in force stays; smsgw check says what is wrong"})
    else:
        log.warning("deny_list_changed", extra={"calls_cut": cut})


def _tenants(settings: Settings) -> Tenants:
    return Tenants(
        [
            TenantEntry(name=entry.name, spiffe_ids=entry.spiffe_ids, inbound_numbers=entry.inbound_numbers)
            for entry in settings.tenants
        ]
    )


def _index_keys(settings: Settings) -> list[bytes]:
    """Return the index keys, the newest first."""
    files = (settings.store.index_key_file, *settings.store.older_index_key_files)
    return [read_secret_file(file, max_bytes=MAX_KEY_BYTES) for file in files]


def _data_keys(settings: Settings) -> DataKeys:
    return DataKeys(
        node=settings.node.name,
        provider=FileKeyProvider(settings.keys.kek_file, settings.keys.older_kek_files),
        keyring=Keyring(settings.node.data_dir / WRAPPED_KEYS),
        lifetime_s=settings.keys.data_key_lifetime_s,
    )


def _authorizer(settings: Settings, spend: Spend) -> Authorizer:
    """Return who answers for the policies. Raises PoliciesRefused, a ValueError, for a set with a fault."""
    policies = load_policies(settings.policy.dir, call_actions())
    log.info("policies_loaded", extra={"policies": len(policies.policies), "digest": policies.digest})
    name = settings.policy.timezone
    zone = dt.UTC if name == "UTC" else zoneinfo.ZoneInfo(name)
    return Authorizer(policies, zone=zone, spend=spend)


def _server_options(settings: Settings) -> ServerOptions:
    return ServerOptions(
        max_message_bytes=settings.api.max_message_bytes,
        max_concurrent_streams=settings.api.max_concurrent_streams,
        max_metadata_bytes=settings.api.max_metadata_bytes,
        max_connections=settings.api.max_connections,
        handshake_timeout_s=settings.api.handshake_timeout_s,
    )


def _connection_bounds(settings: Settings) -> ConnectionBounds:
    return ConnectionBounds(
        per_address=settings.api.max_connections_per_address,
        silent_per_address=settings.api.max_silent_connections_per_address,
    )


def _message_rules(settings: Settings) -> MessageRules:
    messages = settings.messages
    return MessageRules(
        max_segments=messages.max_segments,
        otp_validity_s=messages.validity.otp_s,
        transactional_validity_s=messages.validity.transactional_s,
        promotional_validity_s=messages.validity.promotional_s,
    )


def _retry_rules(settings: Settings) -> RetryRules:
    pipeline = settings.pipeline
    wanted = {
        Category.OTP: pipeline.resend.otp,
        Category.TRANSACTIONAL: pipeline.resend.transactional,
        Category.PROMOTIONAL: pipeline.resend.promotional,
    }
    return RetryRules(
        resend=frozenset(category for category, yes in wanted.items() if yes),
        retry_min=round(pipeline.retry_min_s * _SECOND),
        retry_max=round(pipeline.retry_max_s * _SECOND),
        receipt_grace=round(settings.messages.receipt_grace_s * _SECOND),
    )
