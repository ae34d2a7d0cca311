"""How it stands with the node's own identity: its alerts, its readiness, and what `smsgw status` shows of it.

A node whose SVID has ended, or was taken away, is not SERVING: handshakes fail at every caller that verifies it, so a
load balancer does better to ask another one. Calls over live connections go on while the callers are believed.
"""

from __future__ import annotations

import asyncio
import datetime as dt
import enum
from collections.abc import Callable
from typing import Final

from certs.bundle import Trust
from gateway.own_identity import OwnIdentity
from visibility.alerts import Alerts
from visibility.catalogue import CERTIFICATES_UNREADABLE, IDENTITY_SOURCE_FAILING, SVID_EXPIRED, SVID_EXPIRING

_LOOK_S: Final = 1.0


class Validity(enum.StrEnum):
    """How long the node's SVID lasts."""

    GOOD = "good"
    EXPIRING = "expiring"  # it should have been renewed by now
    ENDED = "ended"  # nobody connects any more


def validity(identity: OwnIdentity, now: dt.datetime) -> Validity:
    """Return how it stands: an SVID is renewed at half its life, so that a third left says that nobody did."""
    left = identity.expires_at - now
    if left <= dt.timedelta():
        return Validity.ENDED
    life = identity.svid.expires_at - identity.svid.facts.not_before
    return Validity.EXPIRING if left < life / 3 else Validity.GOOD


class IdentityWatch:
    """Looks once a second. `serve` is told when the node may serve, and when not."""

    def __init__(
        self,
        identity: OwnIdentity,
        serve: Callable[[bool], None],
        alerts: Alerts,
        clock: Callable[[], dt.datetime],
    ) -> None:
        self._identity, self._serve, self._alerts, self._clock = identity, serve, alerts, clock
        self._serving = True

    async def run(self) -> None:
        """Look until cancelled."""
        while True:
            self.look()
            await asyncio.sleep(_LOOK_S)

    def look(self) -> None:
        """Look once."""
        found, until = validity(self._identity, self._clock()), f"{self._identity.expires_at:%Y-%m-%dT%H:%M:%SZ}"
        ended, expiring = found is Validity.ENDED, found is Validity.EXPIRING
        self._alerts.observe(SVID_EXPIRED, {(): f"it could be presented until {until}"} if ended else {})
        self._alerts.observe(SVID_EXPIRING, {(): f"it expires at {until}"} if expiring else {})
        self._faults()
        if self._serving is ended:
            self._serving = not ended
            self._serve(self._serving)

    def _faults(self) -> None:
        faults = self._identity.faults
        source = faults.get("source", "")
        self._alerts.observe(IDENTITY_SOURCE_FAILING, {(): source} if source else {})
        for what in ("svid", "bundles"):
            if what in faults:
                self._alerts.raise_alert(CERTIFICATES_UNREADABLE, what, why=faults[what])
            else:
                self._alerts.resolve(CERTIFICATES_UNREADABLE, what)

    def snapshot(self, trust: Trust) -> dict[str, object]:
        """Return what operators are shown; `trust` is whom the node believes, other trust domains among them."""
        identity = self._identity
        return {
            "spiffe_id": str(identity.svid.spiffe_id),
            "source": identity.source,
            "serial": identity.svid.serial,
            "validity": str(validity(identity, self._clock())),
            "expires_at": identity.expires_at.isoformat(),
            "believes": ", ".join(bundle.trust_domain.name for bundle in trust.all()),
            "trouble": "; ".join(identity.faults.values()),
        }
