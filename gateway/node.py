"""The life of a node: what its parts are started and ended with, and in which order.

The store opens, data keys are made, the pipeline recovers and starts, the links connect, and last the API listens. It
ends the other way round: the API stops taking calls, the links finish what they hold, outcomes are recorded, the store
closes, the keys are dropped. `start`, `run_until` and `stop` drive one background task, which owns everything. What the
parts are is `gateway.composition`.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict
from functools import partial
from importlib.metadata import version

import grpc

from carrier.contract import Link
from certs.tls import server_credentials
from gateway import backlog
from gateway.api.server import GuardedServer
from gateway.audit.socket import SOCKET_NAME as AUDIT_SOCKET
from gateway.audit.socket import AuditSocket
from gateway.composition import compose
from gateway.conditions import Conditions, Sources
from gateway.config.schema import Role, Settings
from gateway.errors import Unavailable
from gateway.evidence import odd_receipts
from gateway.federation import FederationWatch, what_of
from gateway.identity import utc_now
from gateway.identity_watch import IdentityWatch
from gateway.parts import now_us
from gateway.pipeline.routing_socket import SOCKET_NAME as ROUTING_SOCKET
from gateway.pipeline.routing_socket import RoutingSocket
from gateway.reserve_assembly import build_watch
from gateway.revocation.standing import DENY_LIST
from gateway.revocation.status import ListStatus
from gateway.status_socket import StatusSocket
from gateway.telemetry.identities import IdentitySources
from gateway.telemetry.view import NodeSources
from visibility.core_log import CoreLog

log = logging.getLogger(__name__)


class Node:
    """One gateway node."""

    def __init__(self, settings: Settings, *, core_log: CoreLog | None = None) -> None:
        """Build every part. `core_log`: what gRPC's core writes, where somebody reads it.

        Raises ValueError, CertsError, SecretFileError or OSError for what is wrong.
        """
        parts = compose(settings)
        self._settings = settings
        self._core_log = core_log
        self._alerts = parts.alerts
        self._identity = parts.guarding.identity
        self._trust, self._federation = parts.guarding.trust, parts.guarding.federation
        serve = partial(parts.api.set_serving, part="identity")
        self._watch = IdentityWatch(self._identity, serve, parts.alerts, utc_now)
        self._authorizer = parts.guarding.authorizer
        self._standing = parts.standing
        self._data_keys, self._upkeep = parts.keys.data, parts.keys.upkeep
        self._telemetry = parts.telemetry
        self._caps = parts.caps
        self.store = parts.store
        self._pipeline = parts.pipeline
        self._payload_keys = parts.sealed.keys
        self._intake = parts.intake
        self._recorder, self._journal = parts.recorder, parts.journal
        self._audit_log = parts.audit_log
        audited = partial(parts.api.set_serving, part="audit")
        self._reserve = build_watch(settings, parts.store.ballast, parts.reserve, audited, parts.alerts)
        self._api, self._admin = parts.api, parts.admin
        self._fleet, self._queues, self._reloader = parts.fleet, parts.queues, parts.reloader
        self._shadowing, self._retention = parts.shadowing, parts.retention
        self._privacy = parts.privacy
        self._status = StatusSocket(settings.node.data_dir / "status.sock", self.snapshot)
        self._audit_socket = AuditSocket(settings.node.data_dir / AUDIT_SOCKET, self.store)
        self._routing_socket = RoutingSocket(settings.node.data_dir / ROUTING_SOCKET, parts.explainer, now_us)
        self._conditions = Conditions(self._watched(), parts.alerts)
        self._started_at = now_us()
        self._port = self._admin_port = 0
        self._stopping = asyncio.Event()
        self._ready = asyncio.Event()
        self._life: asyncio.Task[None] | None = None

    @property
    def api_address(self) -> str:
        """Where the API listens, once started: host and port; "" for a node that only relays."""
        if self._settings.node.role is Role.RELAY:
            return ""
        return str(self._settings.api.listen._replace(port=self._port))

    @property
    def admin_address(self) -> str:
        """Where operators call, once started; "" for nowhere."""
        listen = self._settings.admin.listen
        return "" if listen is None else str(listen._replace(port=self._admin_port))

    @property
    def deny_list(self) -> ListStatus:
        """What the deny list is at the moment."""
        return self._standing.status

    async def start(self) -> None:
        """Open, recover, connect and listen. Raises what made it fail."""
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

    async def reload(self) -> list[str]:
        """Take over what has changed in the configuration file; return what that is. Raises a GatewayError: then
        nothing has been changed."""
        return await self._reloader.reload()

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
        """Be somebody, and live on that."""
        async with asyncio.TaskGroup() as tasks:
            following = tasks.create_task(self._identity.run(self._renewed))
            if await self._recognised():
                await self._live_as_ourselves()
            following.cancel()

    async def _recognised(self) -> bool:
        """Wait until the node has an identity; False when it is to stop before that. Raises CertsError."""
        async with asyncio.TaskGroup() as tasks:
            stop = tasks.create_task(self._stopping.wait())
            ready = tasks.create_task(self._identity.ready())
            await asyncio.wait({stop, ready}, return_when=asyncio.FIRST_COMPLETED)
            stop.cancel()
            ready.cancel()
        return not self._stopping.is_set()

    async def _live_as_ourselves(self) -> None:
        await self.store.open()
        try:
            await self._audit_log.check()
            self._standing.open()
            self._keep_core_log()
            await self._telemetry.start(self._sources())
            await self._journal.started(version("smsgw"), self._digests())
            try:
                await self._upkeep.prepare()
                await self._pipeline.recover()
                await self._queues.prepare()
                await self._standing.prepare()
                await self._serve(await self._fleet.prepare())
            finally:
                await self._standing.finished()
                await self._recorder.finish()
                await self._journal.stopped()
                await self._audit_log.finish()
        finally:
            await self.store.close()
            await self._telemetry.close()
            self._data_keys.close()
            if self._core_log is not None:
                self._core_log.end()

    def _keep_core_log(self) -> None:
        """Have gRPC's core write into the data directory, which is ours alone from here on. What a process before this
        one left there it did not live to tell."""
        if self._core_log is None:
            return
        try:
            left = self._core_log.keep_in(self._settings.node.data_dir)
        except OSError as error:
            log.warning("core_log_not_kept", extra={"why": str(error)})
        else:
            if left:
                log.error("core_log_left_over", extra={"end": left.decode(errors="replace").splitlines()[-20:]})

    def _sources(self) -> NodeSources:
        return NodeSources(
            counts=self.store.counts,
            links=self._pipeline.status,
            lanes=self._pipeline.lanes.sizes,
            policy=self._authorizer,
            refused_sets=lambda: self._reloader.policies_refused,
            shadow=self._shadowing,
            router=self._pipeline.router,
            federation=self._federation,
            svid_expires_at=lambda: self._identity.expires_at,
            deny_list=self._standing.status,
            retention_late=lambda: self._retention.late,
            caps=self._caps.caps.meters,
            waiting=self._pipeline.waiting,
            audit_log=lambda: self._audit_log.progress,
            now=now_us,
            identities=IdentitySources(
                connections={"api": self._api.connections, "admin": self._admin.connections},
                handshakes_failed=lambda: {} if self._core_log is None else dict(self._core_log.failed),
                bundles=self._trust.all,
            ),
        )

    def _watched(self) -> Sources:
        return Sources(
            links=self._pipeline.status,
            paused=lambda: self._pipeline.switches.closed,
            breakers=self._pipeline.router.breakers,
            counts=self._telemetry.counts,
            oldest=self._pipeline.lanes.oldest,
            bundles=self._trust.all,
            payload_keys_end=lambda: self._payload_keys.end,
            refused=self._telemetry.meters.nobodys,
            core_log=self._core_log,
            data_dir=self._settings.node.data_dir,
            now=now_us,
        )

    async def _serve(self, links: Sequence[Link]) -> None:
        grace_s, linger_s = self._settings.api.drain_timeout_s, self._settings.api.drain_linger_s
        pipeline_stops = asyncio.Event()
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._pipeline.run(links, pipeline_stops, grace_s))
            background = self._begin_background(tasks)
            try:
                background += await self._listen(tasks)
                await self._stopping.wait()
            finally:
                await self._status.stop()
                await self._audit_socket.stop()
                await self._routing_socket.stop()
                await asyncio.gather(*(server.stop(grace_s, linger_s) for server in (self._api, self._admin)))
            await self._intake.drained()
            await self._reloader.finished()
            await self._fleet.finished()
            pipeline_stops.set()
            for task in background:
                task.cancel()

    async def _listen(self, tasks: asyncio.TaskGroup) -> list[asyncio.Task[None]]:
        """Open every address and be ready; return the tasks that keep the connections. Raises OSError."""
        await self._caps.count()
        listen, keepers = self._settings.admin.listen, list[asyncio.Task[None]]()
        if self._settings.node.role is not Role.RELAY:
            self._port = await self._api.start(str(self._settings.api.listen), self._credentials(self._api))
            keepers.append(tasks.create_task(self._api.keep_connections()))
        if listen is not None:
            self._admin_port = await self._admin.start(str(listen), self._credentials(self._admin))
            keepers.append(tasks.create_task(self._admin.keep_connections()))
        self._standing.announcer.serve(partial(self._api.set_serving, part=DENY_LIST))
        self._api.set_serving(True)
        await self._status.start()
        await self._audit_socket.start()
        await self._routing_socket.start()
        self._ready.set()
        addresses = {"api": self.api_address, "admin": self.admin_address}
        log.info("ready", extra={**addresses, "version": version("smsgw")})
        return keepers

    def _begin_background(self, tasks: asyncio.TaskGroup) -> list[asyncio.Task[None]]:
        """Begin what runs beside calls and messages until the node ends."""
        works = (
            self._watch.run(),
            FederationWatch(self._federation, self._alerts).run(),
            self._standing.run(),
            self._conditions.run(),
            self._upkeep.run(),
            self._telemetry.run(),
            self._recorder.run(),
            self._journal.run(),
            self._audit_log.run(),
            self._reserve.run(),
            self._shadowing.run(),
            self._caps.run(),
            *self._privacy.works(),
        )
        return [tasks.create_task(work) for work in works]

    def _credentials(self, server: GuardedServer) -> grpc.ServerCredentials:
        """Return the node's credentials for one server: two cannot share them."""
        return server_credentials(self._identity, self._trust, server.connections.handshake)

    def _digests(self) -> list[tuple[str, str]]:
        """Return what is in force, for the audit: SHA-256 of the configuration file, the policies, the deny list, and
        the keys of each other trust domain whose bundle is fetched."""
        configuration = hashlib.sha256(self._settings.file.read_bytes()).hexdigest()
        fetched = [(what_of(domain), digest) for domain, digest in self._federation.digests().items() if digest]
        return [
            ("configuration", configuration),
            ("policies", self._authorizer.epoch),
            (DENY_LIST, self._standing.status.digest),
            *fetched,
        ]

    async def _renewed(self, what: str, serial: str) -> None:
        """Tell of renewed certificates and bundles, which are in force already."""
        log.info("certificates_renewed", extra={"what": what})
        self._telemetry.meters.renewals[what] += 1
        await self._telemetry.certificates_renewed()
        self._journal.renewed(what, serial)

    async def snapshot(self) -> dict[str, object]:
        """Return the node as it stands, for `smsgw status`; no personal data."""
        counts: dict[str, int] = {}
        receipts: dict[str, list[dict[str, object]]] = {}
        waiting: dict[str, list[dict[str, object]]] = {}
        now, links = now_us(), self._pipeline.status()
        with suppress(Unavailable):
            counts = await self.store.counts()
            receipts = await odd_receipts(self.store, now)
            waiting = {
                "lanes": backlog.lanes(await self._queues.sizes(), now),
                "tenants": backlog.tenants(await self.store.backlog(backlog.MOST), now),
            }
        return {
            "node": self._settings.node.name,
            "version": version("smsgw"),
            "started_at": self._started_at,
            "api": self.api_address,
            "admin": self.admin_address,
            "svid_expires_at": self._identity.expires_at.isoformat(),
            "identity": self._watch.snapshot(self._trust),
            "federation": [asdict(standing) for standing in self._federation.standings()],
            "alerts": [alert.as_json() for alert in self._alerts.active()],
            "deny_list": self._standing.status.snapshot(),
            "audit_log": self._audit_log.snapshot(),
            "links": [asdict(link) for link in links],
            "carriers": backlog.carriers(self._pipeline.waiting(), links, now),
            **waiting,
            "breakers": self._pipeline.router.breakers.states(),
            "memory": self._pipeline.lanes.sizes(),
            "counts": counts,
            **receipts,
        }
