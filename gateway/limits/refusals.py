"""How a limit is told: which one, how much it allows, when there is room again. Nothing about whom it protects."""

from __future__ import annotations

from gateway.errors import Overloaded, RateLimited
from gateway.limits.rate import Rate

_WORDS = {
    "calls_per_caller": ("CALL_RATE", "calls of this caller"),
    "unknown_certificates_per_address": ("CERTIFICATE_RATE", "unknown certificates from this address"),
    "handshakes_per_address": ("HANDSHAKE_RATE", "TLS handshakes of this address"),
    "messages_per_caller": ("CALLER_RATE", "messages of this caller"),
    "messages_per_tenant": ("TENANT_RATE", "messages of this tenant"),
    "messages_per_recipient": ("RECIPIENT_RATE", "messages of this tenant to one recipient"),
}
_PERIODS = {1_000_000: "a second", 60_000_000: "a minute", 3_600_000_000: "an hour", 86_400_000_000: "a day"}
_FULL_RETRY_S = 10.0


def refusal(limit: str, rate: Rate, wait_us: int) -> RateLimited:
    """Return the error for a limit that is reached; `wait_us` is when there is room again."""
    reason, what = _WORDS[limit]
    text = f"{what}: {rate_text(rate)} are allowed, {rate.burst} at once"
    return RateLimited(text, reason=reason, limit=limit, retry_after_s=wait_us / 1e6)


def table_full() -> Overloaded:
    """Return the error for a caller, tenant or address that there is no room to remember."""
    return Overloaded(
        "this node limits as many callers as it can remember: use another node, or retry",
        retry_after_s=_FULL_RETRY_S,
        reason="LIMIT_TABLE_FULL",
    )


def rate_text(rate: Rate) -> str:
    """Return a rate for people: `60 an hour`."""
    period = _PERIODS.get(rate.period_us, f"in {rate.period_us / 1e6:g} s")
    return f"{rate.count} {period}"
