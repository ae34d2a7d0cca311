"""The log of a node, built from its configuration: nothing is opened here but the key."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from gateway.config.audit_settings import AuditLogSettings
from gateway.config.schema import Settings
from gateway.sequencing.files import LogFiles
from gateway.sequencing.keys import read_signer
from gateway.sequencing.notary import Notary
from gateway.sequencing.publishing import Publication
from gateway.sequencing.sequencer import LogStore, Pace, Progress, Sequencer
from visibility.alerts import AlertSink

_LEASE_S = 10.0
# The file of the embedded engine has one node, which nobody takes the lease from: it is kept by few writes.
_LONG_LEASE_S = 3600.0
_ONLY_NODE = "the only node"


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditLog:
    """What of the log a node starts and ends; without a log, nothing."""

    sequencer: Sequencer | None = None

    @property
    def progress(self) -> Progress | None:
        """How far it is; None without a log."""
        return None if self.sequencer is None else self.sequencer.progress

    async def run(self) -> None:
        """Take up what is committed, until cancelled."""
        if self.sequencer is not None:
            await self.sequencer.run()

    async def finish(self) -> None:
        """Take up and publish the rest: the last thing before the store closes."""
        if self.sequencer is not None:
            await self.sequencer.finish()


def build_audit_log(settings: Settings, store: LogStore, alerts: AlertSink, now: Callable[[], int]) -> AuditLog:
    """Return the node's part in the log. Raises LogKeyError."""
    chosen = settings.audit.log
    if chosen is None:
        return AuditLog()
    notary = Notary(read_signer(chosen.signing_key_file, chosen.origin))
    embedded = settings.store.postgres is None
    progress = Progress()
    return AuditLog(
        sequencer=Sequencer(
            store,
            notary,
            Publication(store, LogFiles(chosen.dir), progress.failures, alerts=alerts),
            holder=_ONLY_NODE if embedded else settings.node.name,
            pace=_pace(chosen, embedded=embedded),
            progress=progress,
            now=now,
            alerts=alerts,
        )
    )


def _pace(chosen: AuditLogSettings, *, embedded: bool) -> Pace:
    return Pace(
        checkpoint_s=chosen.checkpoint_interval_s,
        renewal_s=chosen.checkpoint_renewal_s,
        lease_s=_LONG_LEASE_S if embedded else _LEASE_S,
    )
