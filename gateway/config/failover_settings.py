"""The settings of failing over: how long messages wait for a carrier, and when a carrier is given none for a while.

docs/routing.md explains them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from gateway.config.definitions import setting
from gateway.config.kinds import Duration, Integer
from gateway.routing.breaker import BreakerRules
from gateway.states import Category

_SECOND = 1_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class FailoverSettings:
    """How long messages wait for a carrier that has no room for them before they may go by another one."""

    otp_s: float = setting(Duration(low="100ms", high="1h"), default="3s", reloadable=True, doc="One-time passwords.")
    transactional_s: float = setting(
        Duration(low="100ms", high="1d"), default="30s", reloadable=True, doc="Transactional messages."
    )
    promotional_s: float | None = setting(
        Duration(low="100ms", high="7d"),
        optional=True,
        reloadable=True,
        doc="Promotional messages. Left out: they wait as long as the carrier is there.",
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class BreakerSettings:
    """When the carrier is given nothing for a while, because it fails."""

    failures: int = setting(
        Integer(low=1, high=10_000), default="20", doc="So many failures in a row open the breaker."
    )
    error_percent: int = setting(
        Integer(low=1, high=100, unit="%"),
        default="50",
        doc="So does this share of failures among the answers of `window`, when there are `least` of them.",
    )
    least: int = setting(Integer(low=1, high=100_000, unit="answers"), default="50", doc="See error_percent.")
    window_s: float = setting(Duration(low="1s", high="1h"), default="30s", doc="See error_percent.")
    open_for_s: float = setting(
        Duration(low="100ms", high="1h"),
        default="10s",
        doc="How long nothing goes; doubled each time that probes fail, up to sixteen times as long.",
    )
    probes: int = setting(
        Integer(low=1, high=1000, unit="messages"),
        default="3",
        doc="So many messages go after that; so many good answers close the breaker, a failure opens it again.",
    )


def rules_of(breaker: BreakerSettings) -> BreakerRules:
    """Return the rules of a carrier's breaker."""
    return BreakerRules(
        failures=breaker.failures,
        percent=breaker.error_percent,
        least=breaker.least,
        window=round(breaker.window_s * _SECOND),
        open_for=round(breaker.open_for_s * _SECOND),
        probes=breaker.probes,
    )


def patience_of(failover: FailoverSettings) -> Mapping[int, int]:
    """Return by category for how many microseconds messages wait; one that waits without end is not there."""
    waits = {
        Category.OTP: failover.otp_s,
        Category.TRANSACTIONAL: failover.transactional_s,
        Category.PROMOTIONAL: failover.promotional_s,
    }
    return {int(category): round(wait_s * _SECOND) for category, wait_s in waits.items() if wait_s is not None}
