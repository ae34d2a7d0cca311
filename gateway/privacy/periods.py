"""How long what is kept of messages is kept: the configuration, as the store's rules. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType

from gateway.config.retention_settings import RetentionSettings, TenantRetention
from gateway.states import Category
from gateway.store.retention import Rule, Stage

_SECOND = 1_000_000
_NAMES = {category: category.name.lower() for category in Category}


@dataclass(frozen=True, slots=True, kw_only=True)
class TenantPeriods:
    """Those of one tenant, in microseconds."""

    keeps: Mapping[tuple[int, int], int]  # by category and stage, from the final state on
    events: int
    inbound: int
    usage: int


class Periods:
    """Those of all tenants: the ones that are named, and what holds for all others, whoever is stored."""

    def __init__(self, settings: RetentionSettings) -> None:
        self._general = _periods(settings)
        self._own = {own.tenant: _periods(own) for own in settings.tenants}

    def of(self, tenant: str) -> TenantPeriods:
        """Return the periods of a tenant."""
        return self._own.get(tenant, self._general)

    def rules(self, tenants: Iterable[str]) -> list[Rule]:
        """Return the rules of these tenants: categories with the same period are one."""
        return [rule for tenant in tenants for rule in self._rules(tenant)]

    def keeps(self, tenants: Iterable[str]) -> dict[tuple[str, int, int], int]:
        """Return the same by tenant, category and stage."""
        return {(tenant, *key): keep for tenant in tenants for key, keep in self.of(tenant).keeps.items()}

    def _rules(self, tenant: str) -> Iterator[Rule]:
        keeps = self.of(tenant).keeps
        for stage in Stage:
            together: dict[int, int] = {}
            for category in Category:
                keep = keeps[category, stage]
                together[keep] = together.get(keep, 0) | 1 << category
            for keep, categories in together.items():
                yield Rule(tenant, categories, int(stage), keep)


def _periods(settings: RetentionSettings | TenantRetention) -> TenantPeriods:
    sections = {Stage.CONTENT: settings.content, Stage.ENVELOPE: settings.envelope, Stage.MESSAGE: settings.metadata}
    keeps = {
        (int(category), int(stage)): round(getattr(section, f"{name}_s") * _SECOND)
        for stage, section in sections.items()
        for category, name in _NAMES.items()
    }
    return TenantPeriods(
        keeps=MappingProxyType(keeps),
        events=round(settings.events_s * _SECOND),
        inbound=round(settings.inbound_s * _SECOND),
        usage=round(settings.usage_s * _SECOND),
    )
