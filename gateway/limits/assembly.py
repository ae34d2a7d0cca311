"""From settings to limits."""

from __future__ import annotations

from gateway.config.kinds import Pace
from gateway.config.limit_settings import LimitSettings, TenantLimitSettings
from gateway.limits.messages import MessageLimits, MessageRates
from gateway.limits.rate import Rate


def rate(pace: Pace, burst: int) -> Rate:
    """Return a rate as it is set: a pace, and how many at once."""
    return Rate(count=pace.times, period_us=pace.period_us, burst=burst)


def message_limits(settings: LimitSettings) -> MessageLimits:
    """Return the limits of messages: of all tenants, and of those that have their own."""
    usual, own = message_rates(settings)
    return MessageLimits(usual, own, places=settings.recipient_places)


def message_rates(settings: LimitSettings) -> tuple[MessageRates, dict[str, MessageRates]]:
    """Return the rates of all tenants, and of those that have their own."""
    usual = MessageRates(
        caller=rate(settings.messages_per_caller, settings.messages_per_caller_burst),
        tenant=rate(settings.messages_per_tenant, settings.messages_per_tenant_burst),
        recipient=rate(settings.messages_per_recipient, settings.messages_per_recipient_burst),
    )
    return usual, {entry.tenant: _own_rates(entry, settings) for entry in settings.tenants}


def _own_rates(own: TenantLimitSettings, usual: LimitSettings) -> MessageRates:
    """Return a tenant's rates: its own where it has them."""
    return MessageRates(
        caller=rate(
            own.messages_per_caller or usual.messages_per_caller,
            own.messages_per_caller_burst or usual.messages_per_caller_burst,
        ),
        tenant=rate(
            own.messages_per_tenant or usual.messages_per_tenant,
            own.messages_per_tenant_burst or usual.messages_per_tenant_burst,
        ),
        recipient=rate(
            own.messages_per_recipient or usual.messages_per_recipient,
            own.messages_per_recipient_burst or usual.messages_per_recipient_burst,
        ),
    )
