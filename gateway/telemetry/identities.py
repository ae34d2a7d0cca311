"""What metrics tell of identities: handshakes and calls that were refused, connections, the bundles that are trusted.

Of a handshake that fails nobody is told but gRPC's core, whose log gives the reason and no address
(`visibility.core_log`): so handshakes that began and those that failed are counted apart, and what is neither proven
nor failed has ended without a word, or has not said one yet.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from opentelemetry.metrics import Meter

from certs.bundle import Bundle
from gateway.telemetry.instruments import Rows, instruments
from gateway.telemetry.meters import Meters


class ConnectionsView(Protocol):
    """The connections of one server (`gateway.api.connections`)."""

    @property
    def handshakes(self) -> int:
        """How many have begun."""

    @property
    def proven(self) -> int:
        """Over how many connections a caller has been recognised."""

    @property
    def ended(self) -> int:
        """How many connections were ended for being too many, too fast or silent."""

    @property
    def seen(self) -> int:
        """How many are open."""

    @property
    def spoken(self) -> int:
        """Over how many of those a caller has been recognised."""


@dataclass(frozen=True, slots=True, kw_only=True)
class IdentitySources:
    """Where it is looked, on any thread."""

    connections: Mapping[str, ConnectionsView]  # by server: "api", "admin"
    handshakes_failed: Callable[[], Mapping[str, int]]  # by reason; empty where the core's log is not read
    bundles: Callable[[], Sequence[Bundle]]


def register_identities(meter: Meter, meters: Meters, sources: IdentitySources) -> None:
    """Make their counters and gauges."""
    counter, gauge = instruments(meter)
    servers = sources.connections
    counter("smsgw.handshakes", "{handshake}", "TLS handshakes begun.", lambda: _of(servers, lambda s: s.handshakes))
    counter(
        "smsgw.handshakes.failed", "{handshake}", "TLS handshakes refused, by reason.",
        lambda: [(count, {"reason": reason}) for reason, count in list(sources.handshakes_failed().items())],
    )  # fmt: skip
    counter(
        "smsgw.connections.proven", "{connection}", "Connections over which a caller was recognised.",
        lambda: _of(servers, lambda server: server.proven),
    )  # fmt: skip
    counter(
        "smsgw.connections.ended", "{connection}", "Connections ended by the node's bounds.",
        lambda: _of(servers, lambda server: server.ended),
    )  # fmt: skip
    gauge("smsgw.connections", "{connection}", "Open connections.", lambda: _open(servers))
    counter("smsgw.calls.refused", "{call}", "Calls refused by a guard, by code and reason.", lambda: _refused(meters))
    counter(
        "smsgw.certificates.renewed", "{renewal}", "Renewed SVIDs and bundles that were taken up.",
        lambda: [(count, {"certificate": what}) for what, count in list(meters.renewals.items())],
    )  # fmt: skip
    gauge("smsgw.bundle.remaining", "s", "Until the last authority of a bundle expires.", lambda: _left(sources))
    gauge(
        "smsgw.bundle.authorities", "{authority}", "Authorities of a trust bundle.",
        lambda: [(len(bundle.authorities), _domain(bundle)) for bundle in sources.bundles()],
    )  # fmt: skip


def expires_at(bundle: Bundle) -> dt.datetime | None:
    """Return when the last authority of a bundle expires; None when it has none."""
    return max((authority.not_valid_after_utc for authority in bundle.authorities), default=None)


def _of(servers: Mapping[str, ConnectionsView], count: Callable[[ConnectionsView], int]) -> Rows:
    return [(count(server), {"server": name}) for name, server in servers.items()]


def _open(servers: Mapping[str, ConnectionsView]) -> Rows:
    for name, server in servers.items():
        yield server.spoken, {"server": name, "state": "proven"}
        yield max(0, server.seen - server.spoken), {"server": name, "state": "silent"}


def _refused(meters: Meters) -> Rows:
    return [
        (count, {"server": server, "code": code, "reason": reason})
        for (server, code, reason), count in list(meters.refusals.items())
    ]


def _left(sources: IdentitySources) -> Rows:
    now = dt.datetime.now(dt.UTC)
    ends = ((bundle, expires_at(bundle)) for bundle in sources.bundles())
    return [((end - now).total_seconds(), _domain(bundle)) for bundle, end in ends if end is not None]


def _domain(bundle: Bundle) -> dict[str, str]:
    return {"trust_domain": bundle.trust_domain.name}
