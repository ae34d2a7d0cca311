"""What lasts in federation, and what was odd, as alerts: the same for nodes and for authorities."""

from __future__ import annotations

from collections.abc import Iterable

from certs.errors import Reason
from certs.federation.federation import Event, Happening, Standing
from visibility.alerts import Alerts
from visibility.catalogue import FEDERATION_FAILING, FEDERATION_ODD, FEDERATION_UNTRUSTED


def observe(standings: Iterable[Standing], alerts: Alerts) -> None:
    """Tell how it stands with each trust domain, and that it stands so with no others."""
    found = list(standings)
    alerts.observe(FEDERATION_UNTRUSTED, {(each.trust_domain,): _why(each) for each in found if not each.trusted})
    alerts.observe(FEDERATION_FAILING, {(each.trust_domain,): each.failure for each in found if each.failures})


def tell(event: Event, alerts: Alerts) -> None:
    """Tell of an event, if somebody has to know of it although it is over."""
    if event.kind is Happening.ODD or event.reason == Reason.SEQUENCE.value:
        alerts.raise_alert(FEDERATION_ODD, event.trust_domain.name, why=event.text)


def _why(found: Standing) -> str:
    if found.age_s is None:
        return found.failure or "no bundle of it has been fetched yet"
    return f"its bundle was seen {found.age_s / 60:.0f} minutes ago: {found.failure}"
