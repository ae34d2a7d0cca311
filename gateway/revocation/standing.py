"""The deny list as one part of a node: publisher or follower, what it is told to, and its tasks."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Protocol

from gateway.audit.records import Record
from gateway.revocation.calls import RevokedCalls, UnderWay
from gateway.revocation.entries import DenyList
from gateway.revocation.following import Follower
from gateway.revocation.publishing import Publisher
from gateway.revocation.queued import QueuedMessages
from gateway.revocation.status import ListStatus
from visibility.alerts import NOBODY, AlertSink
from visibility.catalogue import DENY_LIST_STALE, DENY_LIST_UNREADABLE

log = logging.getLogger(__name__)

DENY_LIST = "deny list"  # what the audit calls it


class ListJournal(Protocol):
    """What is needed of `gateway.audit.journal.Journal`."""

    def loaded(self, what: str, digest: str) -> None:
        """Note that something is in force from now on."""

    def note(self, record: Record) -> None:
        """Note a record."""


class Announcer:
    """Tells log, journal and the rest of the node of lists in force and refused, and of staleness."""

    def __init__(
        self, status: ListStatus, queued: QueuedMessages, journal: ListJournal, alerts: AlertSink = NOBODY
    ) -> None:
        self._alerts = alerts
        self.status = status
        self._queued = queued
        self._journal = journal
        self.recording = False  # the start of the node records what is in force then
        self._serve: Callable[[bool], None] = lambda _: None

    def serve(self, tell: Callable[[bool], None]) -> None:
        """Tell whether the list lets the node serve, now and whenever that changes."""
        self._serve = tell
        tell(not self.status.stale)

    def in_force(self, deny: DenyList, digest: str, cut: int) -> None:
        """A list is in force from now on, with this digest; so many calls were cut."""
        self.status.in_force(deny, digest, cut)
        self.read()
        self._queued.look(deny)
        if self.recording:
            self._journal.loaded(DENY_LIST, self.status.digest)
        log.warning(
            "deny_list_in_force", extra={"entries": len(deny.entries), "version": deny.version, "calls_cut": cut}
        )

    def read(self) -> None:
        """What is in force was read, or signed, anew."""
        self._alerts.resolve(DENY_LIST_UNREADABLE)

    def not_read(self, error: Exception) -> None:
        """A list was not taken up: the one before stays."""
        self.status.not_read(error)
        self._alerts.raise_alert(DENY_LIST_UNREADABLE, why=str(error))
        log.error("deny_list_not_taken_up", extra={"why": str(error), "kind": type(error).__name__})

    def stale(self, why: str, cut: int) -> None:
        """The list is too old: the node refuses."""
        self._alerts.raise_alert(DENY_LIST_STALE, why=why)
        log.error("deny_list_stale", extra={"why": why, "calls_cut": cut})
        self._serve(False)

    def fresh(self) -> None:
        """The list has been refreshed: the node serves again."""
        self._alerts.resolve(DENY_LIST_STALE)
        log.warning("deny_list_fresh")
        self._serve(True)


class Standing:
    """What is revoked on this node, from its start to its end. `role`: whoever signs, or follows."""

    def __init__(
        self, role: Publisher | Follower, queued: QueuedMessages, announcer: Announcer, calls: RevokedCalls
    ) -> None:
        self._role = role
        self._calls = calls
        self._queued = queued
        self.announcer = announcer

    @property
    def status(self) -> ListStatus:
        """What the list is at the moment."""
        return self.announcer.status

    @property
    def publisher(self) -> Publisher | None:
        """Who signs here; None on a node that follows."""
        return self._role if isinstance(self._role, Publisher) else None

    def spare(self, call: UnderWay) -> None:
        """Let one call finish, whatever it makes of its own caller."""
        self._calls.end(call)

    def open(self) -> None:
        """Put the list in force, before anything else. Raises DenyListError: then the node must not start."""
        self._role.open()

    async def prepare(self) -> None:
        """Take up the newest list, and deal with what waits, before anything is sent and anybody calls."""
        self.announcer.recording = True
        if isinstance(self._role, Follower):
            await self._role.prepare()
        await self._queued.prepare()

    async def finished(self) -> None:
        """Return when what was taken up is on disk."""
        if isinstance(self._role, Follower):
            await self._role.finished()

    async def run(self) -> None:
        """Work until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._role.run())
            tasks.create_task(self._queued.run())
