"""What metrics look at in the rest of the node: links, lanes, queues, policies, certificates.

Everything is read when a reader asks, on whatever thread it asks; what the database has to be asked for is looked up
now and then instead, since a scrape must not wait for it.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from gateway.telemetry.identities import IdentitySources
from gateway.telemetry.instruments import NodeView, Rows
from gateway.telemetry.meters import OTHER, bounded
from visibility.alerts import Alerts

_QUEUE, _OLDEST, _UNMATCHED = "queue.", "oldest_due_at.", "receipts.unmatched"
_BREAKER = {"closed": 0, "half-open": 1, "open": 2}


class LinkView(Protocol):
    """One bind (`gateway.pipeline.pipeline.LinkStatus`)."""

    @property
    def name(self) -> str:
        """Carrier and number of the bind: `acme/0`."""

    @property
    def state(self) -> str:
        """Where it stands; "bound" when it is up."""

    @property
    def window(self) -> int:
        """Unanswered PDUs at most."""

    @property
    def unanswered(self) -> int:
        """Unanswered PDUs."""


class PolicyView(Protocol):
    """The policies' own numbers (`gateway.policy.authorizer`)."""

    @property
    def misses(self) -> int:
        """Decisions made by the engine."""

    @property
    def denials(self) -> Mapping[Any, int]:
        """Denials by (action, reason), both of bounded sets of texts."""


class ShadowView(Protocol):
    """The numbers of a candidate beside the policies (`gateway.policy.shadowing`)."""

    @property
    def counts(self) -> Mapping[tuple[str, str, str], int]:
        """Decisions by (action, live, shadow), all of bounded sets of texts."""

    @property
    def not_compared(self) -> int:
        """Decisions that were not compared."""


class BreakerView(Protocol):
    """The circuit breakers (`gateway.pipeline.breakers`)."""

    def states(self) -> Mapping[str, str]:
        """Return where they stand, by carrier: "closed", "half-open" or "open"."""

    def openings(self) -> Mapping[str, int]:
        """Return how often each has opened."""


class RouterView(Protocol):
    """The router's own numbers (`gateway.pipeline.router`)."""

    @property
    def passed_over(self) -> Mapping[tuple[str, str], int]:
        """Messages that went by another carrier, by (the carrier that was passed over, why)."""

    @property
    def breakers(self) -> BreakerView:
        """The circuit breakers."""


class BundleView(Protocol):
    """How it stands with another trust domain (`certs.federation.federation.Standing`)."""

    @property
    def trust_domain(self) -> str:
        """Its name, as configured."""

    @property
    def trusted(self) -> bool:
        """Whether somebody of it may be believed."""

    @property
    def age_s(self) -> float | None:
        """How long ago its bundle was last seen; None when nothing is held."""


class FederationView(Protocol):
    """The other trust domains (`certs.federation.federation`)."""

    def standings(self) -> Sequence[BundleView]:
        """Return how it stands with each."""

    @property
    def fetches(self) -> Mapping[tuple[str, str], int]:
        """Fetches by (trust domain, outcome)."""


class DenyListView(Protocol):
    """The deny list's own numbers (`gateway.revocation.status`)."""

    @property
    def entries(self) -> int:
        """How many there are in the list in force."""

    @property
    def version(self) -> int:
        """Of the list in force."""

    @property
    def signed_at(self) -> int:
        """When it was signed last, microseconds since the Unix epoch; 0 for never."""

    @property
    def refused(self) -> Mapping[str, int]:
        """Lists that were not taken up, by a bounded set of reasons."""

    @property
    def calls_cut(self) -> int:
        """Calls that were cut since the node's start."""


class CappedView(Protocol):
    """Whose cap it is."""

    @property
    def tenant(self) -> str:
        """By its name in the configuration."""


class CapView(Protocol):
    """One bound of a cap (`gateway.usage.caps.Meter`)."""

    used: int
    limit: int

    @property
    def cap(self) -> CappedView:
        """The cap."""

    @property
    def label(self) -> str:
        """What it bounds, of which messages."""


class ScrubView(Protocol):
    """The walk through the whole log (`gateway.sequencing.scrubbing.ScrubProgress`)."""

    @property
    def walked(self) -> int:
        """Commits of this pass that were looked at."""

    @property
    def size(self) -> int:
        """Commits of this pass."""

    @property
    def done_at(self) -> int:
        """When a pass ended last, microseconds since the Unix epoch; 0 for never."""

    @property
    def findings(self) -> int:
        """What is not as it was signed."""


class AuditLogView(Protocol):
    """How far the log over the audit is (`gateway.sequencing.sequencer.Progress`)."""

    @property
    def holds(self) -> bool:
        """Whether this node is the one that appends."""

    @property
    def size(self) -> int:
        """Commits in the log."""

    @property
    def behind(self) -> int:
        """Commits that are not in it yet."""

    @property
    def checkpoint_size(self) -> int:
        """Commits under the newest signature."""

    @property
    def checkpoint_at(self) -> int:
        """When it was signed, microseconds since the Unix epoch; 0 for never."""

    @property
    def scrub(self) -> ScrubView:
        """The walk through all of it."""

    @property
    def failures(self) -> Mapping[str, int]:
        """Attempts to bring checkpoints to an archive that failed, by its name."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeSources:
    """Where it is looked. `counts` asks the database; the others answer from memory."""

    counts: Callable[[], Awaitable[Mapping[str, int]]]
    links: Callable[[], Sequence[LinkView]]
    lanes: Callable[[], Mapping[str, int]]
    policy: PolicyView
    refused_sets: Callable[[], int]  # of policies, by reloads
    shadow: ShadowView
    router: RouterView
    federation: FederationView
    svid_expires_at: Callable[[], dt.datetime]
    deny_list: DenyListView
    retention_late: Callable[[], int]  # microseconds
    caps: Callable[[], Iterable[CapView]]
    waiting: Callable[[], Mapping[str, tuple[int, int]]]  # by carrier: messages in memory, when the oldest was due
    audit_log: Callable[[], AuditLogView | None]  # None: the node has none
    now: Callable[[], int]  # microseconds since the Unix epoch
    identities: IdentitySources


class Watch:
    """The sources, as rows of values with labels."""

    def __init__(self, sources: NodeSources) -> None:
        self._sources = sources
        self._counts: Mapping[str, int] = {}
        self._waiting: Mapping[str, tuple[int, int]] = {}  # taken in the event loop, read on other threads

    @property
    def counts(self) -> Mapping[str, int]:
        """What the database said when it was last asked."""
        return self._counts

    async def look(self) -> None:
        """Ask the database. Raises what it raises: then the last answer stands."""
        self._waiting = self._sources.waiting()
        self._counts = await self._sources.counts()

    def view(self, exported: Callable[[], Rows], alerts: Alerts) -> NodeView:
        """Return everything there is to look at; `exported` comes from the exporter."""
        return NodeView(
            queues=lambda: self._named(_QUEUE, "queue"),
            queue_ages=self._ages,
            unmatched_receipts=lambda: [(self._counts.get(_UNMATCHED, 0), {})],
            lanes=lambda: [(size, {"category": name}) for name, size in self._sources.lanes().items()],
            windows=lambda: [(link.window, _link_labels(link)) for link in self._sources.links()],
            windows_used=lambda: [(link.unanswered, _link_labels(link)) for link in self._sources.links()],
            links_bound=lambda: [(int(link.state == "bound"), _link_labels(link)) for link in self._sources.links()],
            passed_over=self._passed_over,
            breakers=lambda: [
                (_BREAKER[state], {"carrier": carrier})
                for carrier, state in self._sources.router.breakers.states().items()
            ],
            breakers_opened=lambda: [
                (times, {"carrier": carrier}) for carrier, times in self._sources.router.breakers.openings().items()
            ],
            causes=self._causes,
            policy_denials=self._policy_denials,
            policy_evaluations=lambda: [(self._sources.policy.misses, {})],
            policy_shadow=lambda: [
                (count, {"action": action, "live": live, "shadow": shadow})
                for (action, live, shadow), count in self._sources.shadow.counts.items()
            ],
            policy_shadow_left_out=lambda: [(self._sources.shadow.not_compared, {})],
            policy_refused_sets=lambda: [(self._sources.refused_sets(), {})],
            expiries=self._expiries,
            bundle_ages=self._bundle_ages,
            trusted=lambda: [
                (int(found.trusted), {"trust_domain": found.trust_domain})
                for found in self._sources.federation.standings()
            ],
            fetches=self._fetches,
            deny_list_entries=lambda: [(self._sources.deny_list.entries, {})],
            deny_list_versions=lambda: [(self._sources.deny_list.version, {})],
            deny_list_ages=self._deny_list_ages,
            deny_lists_refused=lambda: [
                (times, {"reason": reason}) for reason, times in list(self._sources.deny_list.refused.items())
            ],
            calls_cut=lambda: [(self._sources.deny_list.calls_cut, {})],
            retention_lags=lambda: [(self._sources.retention_late() * 1e-6, {})],
            carriers_waiting=lambda: [
                (count, {"carrier": carrier or OTHER}) for carrier, (count, _) in self._waiting.items()
            ],
            carriers_ages=lambda: [
                (max(0.0, (self._sources.now() - due_at) * 1e-6), {"carrier": carrier or OTHER})
                for carrier, (_, due_at) in self._waiting.items()
            ],
            caps_used=lambda: [
                (meter.used / max(1, meter.limit), {"tenant": meter.cap.tenant, "cap": meter.label})
                for meter in self._sources.caps()
            ],
            log_sizes=lambda: self._log(
                lambda log: [(log.size, {"of": "log"}), (log.checkpoint_size, {"of": "checkpoint"})]
            ),
            log_behind=lambda: self._log(lambda log: [(log.behind, {})]),
            log_ages=lambda: self._log_ages(lambda log: log.checkpoint_at),
            scrub_commits=lambda: self._log(
                lambda log: [(log.scrub.walked, {"of": "walked"}), (log.scrub.size, {"of": "pass"})]
            ),
            scrub_findings=lambda: self._log(lambda log: [(log.scrub.findings, {})]),
            scrub_ages=lambda: self._log_ages(lambda log: log.scrub.done_at),
            log_holders=lambda: self._log(lambda log: [(int(log.holds), {})], held=False),
            log_failures=lambda: self._log(
                lambda log: [(count, {"archive": name}) for name, count in list(log.failures.items())]
            ),
            exported=exported,
            alerts=alerts.rows,
            alerts_raised=alerts.raised,
        )

    def _named(self, prefix: str, label: str) -> Rows:
        return [
            (value, {label: name.removeprefix(prefix)})
            for name, value in self._counts.items()
            if name.startswith(prefix)
        ]

    def _ages(self) -> Rows:
        now = self._sources.now()
        oldest = dict(self._counts)
        for name in [name for name in oldest if name.startswith(_QUEUE)]:
            queue = name.removeprefix(_QUEUE)
            due_at = oldest.get(f"{_OLDEST}{queue}")
            yield (0.0 if due_at is None else max(0.0, (now - due_at) * 1e-6), {"queue": queue})

    def _passed_over(self) -> Rows:
        counted = list(self._sources.router.passed_over.items())
        return [(count, {"carrier": carrier, "reason": why}) for (carrier, why), count in counted]

    def _causes(self) -> Rows:
        causes: dict[str, int] = {}
        for name, value in self._counts.items():
            if not name.startswith((_QUEUE, _OLDEST, _UNMATCHED)):
                cause = bounded(name, causes)
                causes[cause] = causes.get(cause, 0) + value
        return [(value, {"cause": cause}) for cause, value in causes.items()]

    def _policy_denials(self) -> Rows:
        denials = list(self._sources.policy.denials.items())
        return [(count, {"action": action, "reason": str(reason)}) for (action, reason), count in denials]

    def _deny_list_ages(self) -> Rows:
        signed_at = self._sources.deny_list.signed_at
        return [((self._sources.now() - signed_at) * 1e-6, {})] if signed_at else []

    def _log(self, rows: Callable[[AuditLogView], Rows], *, held: bool = True) -> Rows:
        """Return rows of the log; those that only the node which appends can know, of that one."""
        log = self._sources.audit_log()
        return rows(log) if log is not None and (log.holds or not held) else []

    def _log_ages(self, when: Callable[[AuditLogView], int]) -> Rows:
        now = self._sources.now()
        return self._log(lambda log: [((now - when(log)) * 1e-6, {})] if when(log) else [])

    def _expiries(self) -> Rows:
        now = self._sources.now() * 1e-6
        return [(self._sources.svid_expires_at().timestamp() - now, {"certificate": "svid"})]

    def _bundle_ages(self) -> Rows:
        found = self._sources.federation.standings()
        return [(each.age_s, {"trust_domain": each.trust_domain}) for each in found if each.age_s is not None]

    def _fetches(self) -> Rows:
        counted = list(self._sources.federation.fetches.items())
        return [(count, {"trust_domain": domain, "outcome": outcome}) for (domain, outcome), count in counted]


def _link_labels(link: LinkView) -> dict[str, str]:
    carrier, _, bind = link.name.rpartition("/")
    return {"carrier": carrier or OTHER, "bind": bind}
