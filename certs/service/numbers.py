"""The authority in numbers: read from its record now and then, so that a page never waits for the record.

What came about is counted by the record itself, whichever process did it: the counts go on where they were after a
restart.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import Metric
from prometheus_client.registry import Collector

from certs.ca import crls
from certs.ca.authority import Authority
from certs.ca.events import counts
from certs.ca.jwt_keys import jwt_keys, signing_key
from certs.ca.ledger import Ledger
from certs.ca.states import State
from certs.federation.federation import Standing
from visibility.alerts import Alerts
from visibility.families import counter, gauge, of_alerts

# Identities whose newest certificate has less than a quarter of its life left: renewals come at half of it.
_IDENTITIES = """
SELECT count(*), coalesce(sum((ends - :now) * 4 < ends - begun), 0) FROM (
    SELECT max(not_after) AS ends, max(issued_at) AS begun FROM issued WHERE not_after >= :now GROUP BY spiffe_id
)
"""

JUDGED_EVERY = dt.timedelta(seconds=15)


@dataclass(frozen=True, slots=True, kw_only=True)
class Numbers:
    """Everything that is shown. Times are those left, in seconds, at `at`.

    Attributes:
        events: how many there have been, by what and reason.
        authorities: by kind, state and key id, of those that are not revoked.
        jwt_keys: until each leaves the bundle, by key id and what it does now.
        lists: until the next revocation list is due at the latest, by key id.
        certificates: how many have not expired; `revoked` of them are revoked.
        identities: how many have one; of `late` ones the renewal has not come. Counted at `judged_at`.
        tokens: join tokens that can still be used.
    """

    at: dt.datetime
    events: Mapping[tuple[str, str], int] = field(default_factory=dict)
    authorities: Mapping[tuple[str, str, str], float] = field(default_factory=dict)
    jwt_keys: Mapping[tuple[str, str], float] = field(default_factory=dict)
    lists: Mapping[str, float] = field(default_factory=dict)
    certificates: int = 0
    revoked: int = 0
    identities: int = 0
    late: int = 0
    judged_at: dt.datetime | None = None
    tokens: int = 0


def read_numbers(authority: Authority, now: dt.datetime, before: Numbers | None = None) -> Numbers:
    """Return the numbers as they are now. Raises AuthorityError.

    To judge 50,000 identities takes a tenth of a second: those of `before` stay for a while.
    """
    ledger, at = authority.ledger, int(now.timestamp())
    judged = before is not None and before.judged_at is not None and now - before.judged_at < JUDGED_EVERY
    with ledger.reading() as db:
        certificates = int(db.execute("SELECT count(*) FROM issued WHERE not_after >= ?", (at,)).get)
        revoked = int(db.execute("SELECT count(*) FROM revoked WHERE not_after >= ?", (at,)).get)
        if before is None or not judged:
            ((identities, late),) = db.execute(_IDENTITIES, {"now": at}).fetchall()
        else:
            identities, late = before.identities, before.late
        sql = "SELECT count(*) FROM tokens WHERE used_at IS NULL AND expires_at >= ?"
        tokens = int(db.execute(sql, (at,)).get)
    used = [record for record in authority.records if record.state is not State.REVOKED]
    return Numbers(
        at=now,
        events=counts(ledger),
        authorities={
            (record.kind.value, record.state.value, record.key_id): _left(record.certificate.not_valid_after_utc, now)
            for record in used
        },
        jwt_keys=_jwt_keys(ledger, now),
        lists={
            record.key_id: _left(crl.next_update, now)
            for record in used
            if (crl := crls.current(ledger, record.key_id)) is not None
        },
        certificates=certificates,
        revoked=revoked,
        identities=int(str(identities)),
        late=int(str(late)),
        judged_at=now if before is None or not judged else before.judged_at,
        tokens=tokens,
    )


def _jwt_keys(ledger: Ledger, now: dt.datetime) -> dict[tuple[str, str], float]:
    keys = jwt_keys(ledger)
    signs = signing_key(keys, now)
    return {
        (key.key_id, "signs" if key is signs else "next" if key.active_at > now else "over"): _left(key.ends_at, now)
        for key in keys
    }


def _left(end: dt.datetime, now: dt.datetime) -> float:
    return (end - now).total_seconds()


class Page(Collector):
    """The numbers as Prometheus reads them. `numbers` is exchanged as a whole; `render` is called on any thread."""

    def __init__(self, alerts: Alerts, handshakes_failed: Mapping[str, int]) -> None:
        self.numbers = Numbers(at=dt.datetime.fromtimestamp(0, dt.UTC))
        self.standings: Sequence[Standing] = ()  # of other trust domains
        self.bundle_requests: Mapping[tuple[str, str], int] = {}  # by profile and outcome
        self._alerts, self._failed = alerts, handshakes_failed
        self._registry = CollectorRegistry()
        self._registry.register(self)

    def render(self) -> bytes:
        """Return the page."""
        return generate_latest(self._registry)

    def collect(self) -> Iterator[Metric]:
        """Yield every metric."""
        now = self.numbers
        yield counter(
            "smsgw_ca_events", "What the authority did and refused.", ("event", "reason"),
            ((key, count) for key, count in now.events.items()),
        )  # fmt: skip
        yield gauge(
            "smsgw_ca_authority_remaining_seconds", "Until an authority expires.", ("kind", "state", "authority"),
            now.authorities.items(),
        )  # fmt: skip
        yield gauge(
            "smsgw_ca_jwt_key_remaining_seconds", "Until a JWT key leaves the bundle.", ("key", "state"),
            now.jwt_keys.items(),
        )  # fmt: skip
        yield gauge(
            "smsgw_ca_crl_remaining_seconds", "Until a revocation list is out of date.", ("authority",),
            (((key_id,), left_s) for key_id, left_s in now.lists.items()),
        )  # fmt: skip
        yield gauge("smsgw_ca_certificates", "Certificates that have not expired.", (), [((), now.certificates)])
        yield gauge("smsgw_ca_certificates_revoked", "Those that are revoked.", (), [((), now.revoked)])
        identities = {("in_time",): now.identities - now.late, ("late",): now.late}
        yield gauge("smsgw_ca_identities", "Identities by their renewal.", ("renewal",), identities.items())
        yield from self._federation()
        yield gauge("smsgw_ca_tokens_open", "Join tokens that can be used.", (), [((), now.tokens)])
        failed = [((reason,), count) for reason, count in list(self._failed.items())]
        yield counter("smsgw_handshakes_failed", "TLS handshakes refused, by reason.", ("reason",), failed)
        yield from of_alerts(self._alerts)

    def _federation(self) -> Iterator[Metric]:
        found = self.standings
        yield gauge(
            "smsgw_federation_bundle_age_seconds", "Since a bundle was last seen at its endpoint.", ("trust_domain",),
            (((each.trust_domain,), each.age_s) for each in found if each.age_s is not None),
        )  # fmt: skip
        yield gauge(
            "smsgw_federation_trusted", "1 when another trust domain's bundle counts.", ("trust_domain",),
            (((each.trust_domain,), float(each.trusted)) for each in found),
        )  # fmt: skip
        yield counter(
            "smsgw_ca_bundle_requests", "Connections to the bundle endpoints.", ("profile", "outcome"),
            self.bundle_requests.items(),
        )  # fmt: skip
