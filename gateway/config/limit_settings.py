"""The settings of limits: rates with their bursts, for all and for single tenants. See docs/limits.md."""

# ruff: noqa: RUF009 -- `setting` returns a dataclass field, which ruff only knows of `dataclasses.field`

from __future__ import annotations

from dataclasses import dataclass

from gateway.config.definitions import setting
from gateway.config.kinds import NAME, Integer, Items, Pace, PerTime, Section

BURST = Integer(low=1, high=10_000_000, unit="at once")


@dataclass(frozen=True, slots=True, kw_only=True)
class TenantLimitSettings:
    """The limits of one tenant that are not those of all."""

    tenant: str = setting(NAME, doc="The tenant's name, as under tenants.", example="demo")
    messages_per_caller: Pace | None = setting(
        PerTime(), optional=True, doc="For each of its callers. Left out: as for all.", example="50/s"
    )
    messages_per_caller_burst: int | None = setting(
        BURST, optional=True, doc="How many of these at once. Left out: as for all.", example="100"
    )
    messages_per_tenant: Pace | None = setting(
        PerTime(), optional=True, doc="For all of its callers together. Left out: as for all.", example="200/s"
    )
    messages_per_tenant_burst: int | None = setting(
        BURST, optional=True, doc="How many of these at once. Left out: as for all.", example="1000"
    )
    messages_per_recipient: Pace | None = setting(
        PerTime(), optional=True, doc="From it to each recipient. Left out: as for all.", example="10/h"
    )
    messages_per_recipient_burst: int | None = setting(
        BURST, optional=True, doc="How many of these at once. Left out: as for all.", example="5"
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class LimitSettings:
    """How much callers may do, see docs/limits.md. Each rate has a burst: how much of it may come at once."""

    calls: Pace = setting(
        PerTime(),
        default="2000/s",
        reloadable=True,
        doc="Calls, and requests on a stream, of one identity. Costlier methods take more than one.",
    )
    calls_burst: int = setting(
        Integer(low=100, high=10_000_000, unit="calls"), default="4000", reloadable=True, doc="At once."
    )
    open_calls: int = setting(
        Integer(low=1, high=10_000, unit="calls"),
        default="2000",
        reloadable=True,
        doc="Calls and streams of one identity that may be open at once, of the 10,000 of the whole node. All callers "
        "of a tenant together may have as many as are left free.",
    )
    new_certificates: Pace = setting(
        PerTime(),
        default="200/s",
        reloadable=True,
        doc="Certificates from one address that are not known yet, and have to be verified: refused ones count each "
        "time. Behind a load balancer all callers have its address.",
    )
    new_certificates_burst: int = setting(BURST, default="1000", reloadable=True, doc="At once.")
    messages_per_caller: Pace = setting(PerTime(), default="5000/s", reloadable=True, doc="Messages of one identity.")
    messages_per_caller_burst: int = setting(BURST, default="10000", reloadable=True, doc="At once.")
    messages_per_tenant: Pace = setting(PerTime(), default="20000/s", reloadable=True, doc="Messages of one tenant.")
    messages_per_tenant_burst: int = setting(BURST, default="40000", reloadable=True, doc="At once.")
    messages_per_recipient: Pace = setting(
        PerTime(),
        default="60/h",
        reloadable=True,
        doc="Messages from one tenant to one recipient: what keeps a defect, or somebody who asks for codes in "
        "another's name, from flooding a telephone.",
    )
    messages_per_recipient_burst: int = setting(BURST, default="10", reloadable=True, doc="At once.")
    recipient_places: int = setting(
        Integer(low=1024, high=268_435_456, unit="places"),
        default="2097152",
        doc="The memory for recipients, eight bytes a place. Four times as many as messages are sent in one interval "
        "of messages_per_recipient (60/h: a minute) is plenty; with too few, recipients are refused too early.",
    )
    tenants: tuple[TenantLimitSettings, ...] = setting(
        Items(Section(TenantLimitSettings), high=1000), reloadable=True, doc="Tenants that have limits of their own."
    )
