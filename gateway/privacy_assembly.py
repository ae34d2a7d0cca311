"""How the parts of privacy are put together, from the configuration; called by the composition root."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from dataclasses import dataclass

from gateway.api.operating import Acts
from gateway.api.privacy_service import PrivacyService, PrivacyServiceParts
from gateway.api.unreadable import Damage
from gateway.config.schema import Role, Settings
from gateway.payload import PayloadBox
from gateway.pipeline.intake import IDEMPOTENCY_LIFETIME
from gateway.privacy.person import Persons
from gateway.privacy.rekeying import Rekeying
from gateway.privacy.retention import Retention
from gateway.privacy.retiring import Retirement
from gateway.privacy.sweeping import KeySweep
from gateway.records import IndexKeys
from gateway.sealing.data_keys import DataKeys
from gateway.store.contract import Store
from visibility.alerts import AlertSink

_SECOND = 1_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class PrivacyNeeds:
    """What is there already."""

    settings: Settings
    store: Store
    box: PayloadBox
    data_keys: DataKeys
    index: IndexKeys
    retention: Retention
    acts: Acts
    now: Callable[[], int]
    alerts: AlertSink


@dataclass(frozen=True, slots=True, kw_only=True)
class Privacy:
    """The parts."""

    service: PrivacyService
    retirement: Retirement
    sweep: KeySweep
    rekeying: Rekeying
    retention: Retention
    opens: bool  # whether the node opens what is sealed, and may delete: one that only accepts does neither

    def works(self) -> tuple[Coroutine[None, None, None], ...]:
        """Return what runs beside calls and messages until the node ends."""
        if not self.opens:
            return ()
        return self.retention.run(), self.retirement.run(), self.sweep.run(), self.rekeying.run()


def _only(settings: Settings) -> str:
    """Return whose keys may be judged by our messages alone: with a shared keyring and a database of our own, ours."""
    apart = settings.keys.wrapped.postgres is not None and settings.store.postgres is None
    return settings.node.name if apart else ""


def build_privacy(needs: PrivacyNeeds) -> Privacy:
    """Build the parts; nothing is opened."""
    settings, opens = needs.settings, needs.settings.node.role is not Role.ACCEPT
    retirement = Retirement(
        store=needs.store,
        box=needs.box,
        keys=needs.data_keys,
        keyring=needs.data_keys.keyring,
        node=settings.node.name,
        now=needs.now,
    )
    persons = Persons(
        store=needs.store,
        box=needs.box,
        keys=needs.index,
        retirement=retirement,
        now=needs.now,
        grace=round(settings.messages.receipt_grace_s * _SECOND),
        keys_for=IDEMPOTENCY_LIFETIME,
    )
    rekeying = Rekeying(store=needs.store, box=needs.box, keys=needs.index, now=needs.now, ages=IDEMPOTENCY_LIFETIME)
    sweep = KeySweep(
        store=needs.store,
        keyring=needs.data_keys.keyring,
        periods=lambda: needs.retention.periods,
        retirement=retirement,
        now=needs.now,
        node=_only(settings),
    )
    service = PrivacyService(
        PrivacyServiceParts(
            persons=persons,
            rekeying=rekeying,
            acts=needs.acts,
            node=settings.node.name,
            late_s=lambda: needs.retention.late * 1e-6,
            opens=opens,
            damage=Damage(needs.alerts),
        )
    )
    return Privacy(
        service=service,
        retirement=retirement,
        sweep=sweep,
        rekeying=rekeying,
        retention=needs.retention,
        opens=opens,
    )
