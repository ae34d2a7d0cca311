"""Federation in a node: what it is built from, and what the node says of it: log, alerts, audit.

The fetching itself is `certs.federation`; here events become lines, alerts and records. A bundle counts from the next
call on, as `CallerResolver` goes by the version of what is trusted.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Final

from certs.bundle import Bundle
from certs.errors import BundleError
from certs.federation import alerting
from certs.federation.authentication import web_context
from certs.federation.federation import Event, Federation, Happening
from certs.federation.fetching import BundleOf
from gateway.audit.journal import Journal
from gateway.config.federation_settings import FederationSettings
from gateway.config.schema import Environment, Settings
from gateway.identity import utc_now
from gateway.own_identity import is_development
from visibility.alerts import Alerts

log = logging.getLogger(__name__)

FOLDER: Final = "federation"  # below the data folder
_LOOK_S: Final = 1.0
_LEVELS: Final = {
    Happening.TAKEN: logging.INFO,
    Happening.BACK: logging.INFO,
    Happening.ODD: logging.WARNING,
    Happening.FAILED: logging.WARNING,
    Happening.NOT_KEPT: logging.ERROR,
    Happening.STALE: logging.ERROR,
}


class FederationVoice:
    """Turns events into lines of the log, alerts and records."""

    def __init__(self, alerts: Alerts, journal: Journal) -> None:
        self._alerts, self._journal = alerts, journal

    def tell(self, event: Event) -> None:
        """Say what happened."""
        domain = event.trust_domain.name
        log.log(
            _LEVELS[event.kind],
            "federation",
            extra={"what": event.kind.value, "trust_domain": domain, "why": event.text, "reason": event.reason},
        )
        if event.kind is Happening.TAKEN:
            self._journal.loaded(what_of(domain), event.digest)
        alerting.tell(event, self._alerts)


class FederationWatch:
    """Keeps the federation running, and the alerts of what lasts."""

    def __init__(self, federation: Federation, alerts: Alerts) -> None:
        self._federation, self._alerts = federation, alerts

    async def run(self) -> None:
        """Fetch and look until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._federation.run())
            while True:
                self.look()
                await asyncio.sleep(_LOOK_S)

    def look(self) -> None:
        """Tell how it stands with each trust domain."""
        alerting.observe(self._federation.standings(), self._alerts)


def what_of(domain: str) -> str:
    """Return what the audit calls the bundle of a trust domain."""
    return f"bundle of {domain}"


def build_federation(settings: Settings, others: BundleOf, tell: Callable[[Event], None]) -> Federation:
    """Return the federation of a node; `others` gives bundles that do not come from endpoints.

    Raises BundleError, SvidFileError for files that cannot be used.
    """
    return Federation(
        [entry.member() for entry in settings.identity.federation],
        folder_of(settings),
        utc_now,
        others=others,
        tell=tell,
        judge=_judge_of(settings),
    )


def folder_of(settings: Settings) -> Path:
    """Return where fetched bundles are kept."""
    return settings.node.data_dir / FOLDER


def looked_at(settings: Settings, entry: FederationSettings) -> str:
    """Return how it stands with one trust domain without a running node, and without asking its endpoint.

    Raises CertsError for files that cannot be used.
    """
    troubles: list[Event] = []
    found = Federation(
        [entry.member()],
        folder_of(settings),
        utc_now,
        others=lambda _: None,
        tell=troubles.append,
        judge=_judge_of(settings),
    )
    for trouble in troubles:
        raise BundleError(trouble.text)
    if entry.ca_file is not None:
        web_context(entry.ca_file)
    (standing,) = found.standings()
    where = f"{standing.url}, {standing.profile}"
    if standing.age_s is None:
        return f"{where}, nothing held yet: nobody of it is believed until it is fetched"
    held = f"{standing.authorities} authorities, seen {standing.age_s / 60:.0f} min ago"
    return f"{where}, {held}" if standing.trusted else f"{where}, {held}: too old, until it is fetched"


def _judge_of(settings: Settings) -> Callable[[Bundle], None]:
    """Return what refuses bundles of development authorities in production."""
    development = settings.node.environment is Environment.DEVELOPMENT

    def judge(bundle: Bundle) -> None:
        if is_development(bundle) and not development:
            raise BundleError(f"the bundle of {bundle.trust_domain} is of a development CA")

    return judge
