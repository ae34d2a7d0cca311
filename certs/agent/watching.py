"""What an agent tells of itself: what it holds and for how long, whom it served and refused, since when it is alone.

Looked at after each round, and when somebody reads the page. It must not know the authority, nor who the workloads are:
a process that is refused is a number here, and a line in the log.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Iterator

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import Metric
from prometheus_client.registry import Collector

from certs.agent.holdings import Holder
from certs.agent.keeper import Round
from certs.agent.server import Tally
from certs.svid import X509Svid
from visibility.alerts import Alerts
from visibility.catalogue import AUTHORITY_AWAY, IDENTITIES_ENDING
from visibility.families import counter, gauge, of_alerts


class AgentWatch(Collector):
    """Of one agent. `told` belongs to its event loop; `render` may be called on any thread."""

    def __init__(
        self,
        holder: Holder,
        tally: Tally,
        alerts: Alerts,
        clock: Callable[[], dt.datetime],
        own: Callable[[], X509Svid | None],
    ) -> None:
        """`own`: the SVID of the node itself, None before it has one."""
        self._holder, self._tally, self._alerts, self._clock, self._own = holder, tally, alerts, clock, own
        self._away_since: dt.datetime | None = None
        self._registry = CollectorRegistry()
        self._registry.register(self)

    def told(self, done: Round) -> None:
        """Hear of a round: raise and resolve."""
        now = self._clock()
        if done.error:
            self._away_since = self._away_since or now
            lasts = "nothing is held" if done.lasts_until is None else f"what is held lasts until {done.lasts_until}"
            self._alerts.raise_alert(AUTHORITY_AWAY, why=f"{done.error}; {lasts}")
        else:
            self._away_since = None
            self._alerts.resolve(AUTHORITY_AWAY)
        ending = sorted(str(svid.spiffe_id) for svid in self._svids() if _is_ending(svid, now))
        why = f"{len(ending)}: {', '.join(ending[:3])}"
        self._alerts.observe(IDENTITIES_ENDING, {(): why} if ending else {})
        self._alerts.look()

    def render(self) -> bytes:
        """Return Prometheus' page."""
        return generate_latest(self._registry)

    def collect(self) -> Iterator[Metric]:
        """Yield every metric."""
        now, holdings = self._clock(), self._holder.now
        registered = len({entry.spiffe_id for entry in holdings.entries})
        valid = sum(now < svid.expires_at for svid in holdings.svids.values())
        states = ((("registered",), registered), (("served",), valid))
        yield gauge("smsgw_agent_identities", "Registered here, and with an SVID that is valid.", ("state",), states)
        first = holdings.lasts_until(now)
        left = [] if first is None else [(("first",), (first - now).total_seconds())]
        own = self._own()
        left += [] if own is None else [(("node",), (own.expires_at - now).total_seconds())]
        yield gauge("smsgw_agent_svid_remaining_seconds", "Until SVIDs end.", ("svid",), left)
        away = 0.0 if self._away_since is None else (now - self._away_since).total_seconds()
        yield gauge("smsgw_agent_authority_away_seconds", "Since the authority was heard last.", (), [((), away)])
        served = [((method,), count) for method, count in list(self._tally.served.items())]
        yield counter("smsgw_agent_served", "Messages of the Workload API.", ("method",), served)
        refused = list(self._tally.refused.items())
        yield counter("smsgw_agent_refused", "Calls refused, by code.", ("method", "code"), refused)
        yield from of_alerts(self._alerts)

    def _svids(self) -> Iterator[X509Svid]:
        yield from self._holder.now.svids.values()


def _is_ending(svid: X509Svid, now: dt.datetime) -> bool:
    """Say whether less than a third of its life is left."""
    life = svid.expires_at - svid.facts.not_before
    return svid.expires_at - now < life / 3
