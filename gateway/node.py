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
import time
from contextlib import suppress
from dataclasses import asdict
from importlib.metadata import version

from carrier.link import SmppLink
from carrier.pacing import Pacer
from certs.errors import CertsError
from certs.tls import check_own_svid, server_credentials
from gateway.audit.socket import SOCKET_NAME as AUDIT_SOCKET
from gateway.audit.socket import AuditSocket
from gateway.composition import compose, now_us
from gateway.config.schema import Settings
from gateway.errors import Unavailable
from gateway.identity import utc_now
from gateway.revocation import dump, follow
from gateway.status_socket import StatusSocket
from gateway.telemetry.view import NodeSources

log = logging.getLogger(__name__)

_REFRESH_S = 1.0  # how often certificate files are looked at


class Node:
    """One gateway node."""

    def __init__(self, settings: Settings) -> None:
        """Build every part. Raises ValueError, CertsError, SecretFileError or OSError for what is wrong."""
        parts = compose(settings)
        self._settings = settings
        self._svid, self._bundles = parts.guarding.svid, parts.guarding.bundles
        self._authorizer = parts.guarding.authorizer
        self._denied, self._revoked = parts.guarding.denied, parts.guarding.revoked
        self._data_keys, self._upkeep = parts.keys.data, parts.keys.upkeep
        self._telemetry = parts.telemetry
        self._store = parts.store
        self._pipeline = parts.pipeline
        self._intake = parts.intake
        self._recorder, self._journal = parts.recorder, parts.journal
        self._api = parts.api
        self._status = StatusSocket(settings.node.data_dir / "status.sock", self.snapshot)
        self._audit_socket = AuditSocket(settings.node.data_dir / AUDIT_SOCKET, self._store)
        self._started_at = now_us()
        self._port = 0
        self._stopping = asyncio.Event()
        self._ready = asyncio.Event()
        self._life: asyncio.Task[None] | None = None

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
            credentials = server_credentials(self._svid, self._bundles.bundles, self._api.connections.handshake)
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
