"""How long what is kept of messages is kept. docs/privacy.md explains it to those who answer for it."""

# ruff: noqa: RUF009 -- `setting` returns a dataclass field, which ruff only knows of `dataclasses.field`

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass

from gateway.config.definitions import setting
from gateway.config.kinds import NAME, Duration, Items, Section

_PERIOD = Duration(low="10m", high="3650d")
# A message outlives the keys of idempotency that lead to it (72 hours).
_METADATA = Duration(low="7d", high="3650d")
# Caps count the present month; what was accepted in it ends within its validity and the grace for receipts.
_USAGE = Duration(low="62d", high="3650d")
CATEGORIES = ("otp", "transactional", "promotional")


@dataclass(frozen=True, slots=True, kw_only=True)
class ContentPeriods:
    """After the final state."""

    otp_s: float = setting(_PERIOD, default="1d", reloadable=True, doc="Of one-time passwords.")
    transactional_s: float = setting(_PERIOD, default="7d", reloadable=True, doc="Of transactional messages.")
    promotional_s: float = setting(_PERIOD, default="7d", reloadable=True, doc="Of promotional messages.")


@dataclass(frozen=True, slots=True, kw_only=True)
class EnvelopePeriods:
    """After the final state."""

    otp_s: float = setting(_PERIOD, default="7d", reloadable=True, doc="Of one-time passwords.")
    transactional_s: float = setting(_PERIOD, default="7d", reloadable=True, doc="Of transactional messages.")
    promotional_s: float = setting(_PERIOD, default="7d", reloadable=True, doc="Of promotional messages.")


@dataclass(frozen=True, slots=True, kw_only=True)
class MetadataPeriods:
    """After the final state."""

    otp_s: float = setting(_METADATA, default="365d", reloadable=True, doc="Of one-time passwords.")
    transactional_s: float = setting(_METADATA, default="365d", reloadable=True, doc="Of transactional messages.")
    promotional_s: float = setting(_METADATA, default="365d", reloadable=True, doc="Of promotional messages.")


@dataclass(frozen=True, slots=True, kw_only=True)
class TenantRetention:
    """The periods of one tenant; they replace those above whole, and what is left out has its default."""

    tenant: str = setting(NAME, doc="Its name, as under tenants.", example="demo")
    content: ContentPeriods = setting(Section(ContentPeriods), doc="As above.")
    envelope: EnvelopePeriods = setting(Section(EnvelopePeriods), doc="As above.")
    metadata: MetadataPeriods = setting(Section(MetadataPeriods), doc="As above.")
    events_s: float = setting(_PERIOD, default="30d", doc="As above.")
    inbound_s: float = setting(_PERIOD, default="7d", doc="As above.")
    usage_s: float = setting(_USAGE, default="400d", doc="As above.")


@dataclass(frozen=True, slots=True, kw_only=True)
class RetentionSettings:
    """How long what is kept of messages is kept, by category."""

    content: ContentPeriods = setting(
        Section(ContentPeriods), doc="What a message says, after its final state. Then its content is gone for good."
    )
    envelope: EnvelopePeriods = setting(
        Section(EnvelopePeriods),
        doc="Its recipient, client reference and labels. Not shorter than content. A data key of a quarter of an hour "
        "is destroyed when the last content and the last envelope under it have gone: what is longer here keeps "
        "contents in old backups readable for as long.",
    )
    metadata: MetadataPeriods = setting(
        Section(MetadataPeriods),
        doc="All the rest of it: the masked recipient, sender, states, times, carrier. Not shorter than envelope.",
    )
    events_s: float = setting(
        _PERIOD,
        default="30d",
        reloadable=True,
        doc="Events, from when they happened. Whoever watches with an older cursor is told CURSOR_EXPIRED.",
    )
    inbound_s: float = setting(
        _PERIOD, default="7d", reloadable=True, doc="What handsets wrote, from when it came. The event stays, empty."
    )
    usage_s: float = setting(
        _USAGE,
        default="400d",
        reloadable=True,
        doc="How much was sent and what it cost, from the end of each UTC day. Reports of earlier days have nothing.",
    )
    tenants: tuple[TenantRetention, ...] = setting(
        Items(Section(TenantRetention), high=1000), reloadable=True, doc="Tenants with periods of their own."
    )


def retention_findings(retention: RetentionSettings, tenants: Collection[str]) -> Iterator[tuple[str, str]]:
    """Yield what is wrong between these settings; `tenants` are the names of those there are."""
    yield from _order("", retention)
    seen: set[str] = set()
    for at, own in enumerate(retention.tenants):
        if own.tenant in seen:
            yield f"tenants[{at}].tenant", f"{own.tenant} stands here a second time"
        elif own.tenant not in tenants:
            yield f"tenants[{at}].tenant", f"there is no tenant {own.tenant} under tenants"
        seen.add(own.tenant)
        yield from _order(f"tenants[{at}].", own)


def _order(path: str, periods: RetentionSettings | TenantRetention) -> Iterator[tuple[str, str]]:
    for category in CATEGORIES:
        content, envelope, metadata = (
            getattr(section, f"{category}_s") for section in (periods.content, periods.envelope, periods.metadata)
        )
        if envelope < content:
            yield f"{path}envelope.{category}", "is shorter than that of content, which cannot be read without it"
        if metadata < envelope:
            yield f"{path}metadata.{category}", "is shorter than that of envelope: the message would be gone before it"
