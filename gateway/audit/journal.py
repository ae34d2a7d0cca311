"""What a node says of itself in the audit: its start and end, what it loaded, its keys and certificates.

A node whose start cannot be recorded does not start. What happens beside the event loop's work (a key is made in a
thread, a certificate is renewed) is kept here until the journal's task commits it, a moment later; while that fails, it
is tried again, and the newest `_KEPT` of what waits are kept.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Iterable, Sequence

from gateway.audit.recorder import AuditStore
from gateway.audit.records import (
    AlertChanged,
    CertificateRenewed,
    ConfigLoaded,
    KeyCreated,
    NodeStarted,
    NodeStopped,
    OperatorActed,
    Record,
)
from gateway.errors import GatewayError
from visibility.alerts import NOBODY, Alert, AlertSink
from visibility.catalogue import AUDIT_FAILING

log = logging.getLogger(__name__)

_KEPT = 10_000
_BATCH = 500
_LOOK_S = 0.5
_NAME = 120  # characters of a name that others chose


class Journal:
    """Of one node. `now` gives microseconds since the Unix epoch. `keys_made`, `renewed` and `alerted` may be called in
    any thread; everything else belongs to the event loop."""

    def __init__(self, store: AuditStore, node: str, now: Callable[[], int], *, alerts: AlertSink = NOBODY) -> None:
        self._store = store
        self._alerts = alerts
        self._node = node
        self._now = now
        self._waiting: deque[Record] = deque(maxlen=_KEPT)

    async def started(self, version: str, digests: Sequence[tuple[str, str]]) -> None:
        """Record a start. `digests`: what was loaded, and its SHA-256; the first is the configuration.

        Raises what the store raises: then the node must not go on.
        """
        now = self._now()
        loaded = [ConfigLoaded(now, self._node, what, digest) for what, digest in digests]
        await self._store.audit([NodeStarted(now, self._node, version, digests[0][1]), *loaded])

    def keys_made(self, keys: Iterable[tuple[bytes, str]]) -> None:
        """Note that data keys were made: their ids and tenants."""
        now = self._now()
        self._waiting.extend(KeyCreated(now, key_id.hex(), tenant) for key_id, tenant in keys)

    def loaded(self, what: str, digest: str) -> None:
        """Note that something is in force from now on: what, and its SHA-256."""
        self._waiting.append(ConfigLoaded(self._now(), self._node, what, digest))

    def acted(self, record: OperatorActed) -> None:
        """Note how something ended that an operator did, and that was recorded when it began."""
        self._waiting.append(record)

    def note(self, record: Record) -> None:
        """Note a record that somebody else has made."""
        self._waiting.append(record)

    def renewed(self, what: str, serial: str = "") -> None:
        """Note that renewed certificates were taken up."""
        self._waiting.append(CertificateRenewed(self._now(), what, serial[:_NAME]))

    def alerted(self, alert: Alert) -> None:
        """Note that an alert which is about security was raised or resolved."""
        if alert.kind.security:
            labels = " ".join(f"{name}={value}" for name, value in alert.labels.items())
            at = alert.resolved_at or alert.raised_at
            self._waiting.append(AlertChanged(at, self._node, alert.kind.name, labels[:_NAME], not alert.resolved_at))

    async def run(self) -> None:
        """Commit what has been noted, until cancelled."""
        while True:
            await self._flush()
            await asyncio.sleep(_LOOK_S)

    async def stopped(self) -> None:
        """Record the end, and what is left: the last thing before the store closes. What cannot be recorded is logged:
        the node ends all the same."""
        self._waiting.append(NodeStopped(self._now(), self._node))
        await self._flush()

    async def _flush(self) -> None:
        while self._waiting:
            batch = [self._waiting.popleft() for _ in range(min(_BATCH, len(self._waiting)))]
            try:
                await self._store.audit(batch)
            except GatewayError as error:
                log.error("journal_not_recorded", extra={"records": len(batch), "why": str(error)})
                self._put_back(batch)
                self._alerts.raise_alert(AUDIT_FAILING, "journal", why=str(error))
                return
            self._alerts.resolve(AUDIT_FAILING, "journal")

    def _put_back(self, batch: Sequence[Record]) -> None:
        """Have them go first again; where more has come meanwhile than there is room for, without the oldest."""
        room = _KEPT - len(self._waiting)
        self._waiting.extendleft(reversed(batch[max(0, len(batch) - room) :]))
