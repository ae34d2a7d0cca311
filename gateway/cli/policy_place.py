"""Where the policies are that a command is about, and what the configuration says around them."""

from __future__ import annotations

import datetime as dt
import zoneinfo
from dataclasses import dataclass
from pathlib import Path

from certs.spiffe_id import SpiffeId
from gateway.cli.manners import Misused
from gateway.config.errors import ConfigError
from gateway.config.loader import load
from gateway.config.schema import Settings
from gateway.tenants import TenantEntry, Tenants

_DEFAULT_DIR = Path("policy")


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where the policies are, and what the configuration says around them, if there is one."""

    folder: Path
    settings: Settings | None
    trust_domain: str = ""  # of the node, where it is said apart from the configuration

    @property
    def zone_name(self) -> str:
        """The time zone in which policies are told the time."""
        return self.settings.policy.timezone if self.settings else "UTC"

    @property
    def zone(self) -> dt.tzinfo:
        """The same as a zone."""
        return dt.UTC if self.zone_name == "UTC" else zoneinfo.ZoneInfo(self.zone_name)

    def home(self, spiffe_id: str) -> str:
        """Return the trust domain of the node; without a configuration that of who asks, who is then not federated."""
        if self.trust_domain or self.settings is None:
            return self.trust_domain or SpiffeId.parse(spiffe_id).trust_domain.name
        return self.settings.node.trust_domain

    def tenant_of(self, spiffe_id: str) -> str:
        """Return the tenant of a SPIFFE ID. Raises ValueError when it has none here."""
        if self.settings is None:
            raise ValueError("say which tenant the caller belongs to (--tenant), since there is no configuration")
        entries = [TenantEntry(name=entry.name, spiffe_ids=entry.spiffe_ids) for entry in self.settings.tenants]
        found = Tenants(entries).tenant_of(SpiffeId.parse(spiffe_id))
        if found is None:
            raise ValueError(f"{spiffe_id} belongs to no tenant of {self.settings.file}: every call of it is refused")
        return found


def find_place(config: Path, folder: Path | None) -> Place:
    """Return the place that a command is about: the configuration's, or `folder`. Raises Misused."""
    if folder is not None and not config.is_file():
        return Place(folder=folder, settings=None)
    if folder is None and not config.exists() and _DEFAULT_DIR.is_dir():
        return Place(folder=_DEFAULT_DIR, settings=None)
    try:
        settings = load(config)
    except ConfigError as error:
        raise Misused(str(error), reason="BAD_CONFIGURATION") from error
    return Place(folder=folder or settings.policy.dir, settings=settings)
