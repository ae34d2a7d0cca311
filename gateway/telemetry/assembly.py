"""From the configuration to the node's telemetry: what the composition root would otherwise have to know of it."""

from __future__ import annotations

import datetime as dt
import ssl
from collections.abc import Callable, Iterable
from importlib.metadata import version

from certs.readers import may_read, server_context
from certs.spiffe_id import TrustDomain
from gateway.config.schema import Settings
from gateway.own_identity import OwnIdentity
from gateway.telemetry.telemetry import Telemetry, TelemetryParts
from visibility.alerts import Alerts
from visibility.metrics_server import Security


def build_telemetry(
    settings: Settings, identity: OwnIdentity, methods: Iterable[str], now: Callable[[], int], alerts: Alerts
) -> Telemetry:
    """Return the telemetry of a node; `now` gives microseconds since the Unix epoch. Opens nothing."""
    return Telemetry(
        TelemetryParts(
            settings=settings.telemetry,
            resource={
                "service.name": "smsgw",
                "service.version": version("smsgw"),
                "service.instance.id": settings.node.name,
                "deployment.environment.name": str(settings.node.environment),
            },
            carriers=[carrier.name for carrier in settings.carriers],
            methods=methods,
            now=now,
            alerts=alerts,
            security=None if settings.telemetry.metrics.insecure else _security(settings, identity),
        )
    )


def _security(settings: Settings, identity: OwnIdentity) -> Security:
    """Return mutual TLS by the node's SVID, for readers of its own trust domain."""
    domain = settings.node.trust_domain

    def context() -> ssl.SSLContext:
        bundle = identity.bundles.get(TrustDomain(domain))
        if bundle is None:
            raise OSError(f"there is no bundle of {domain}")
        return server_context(identity.svid, bundle.to_pem().decode())

    def admit(leaf_der: bytes) -> bool:
        return may_read(leaf_der, domain, settings.telemetry.metrics.readers, dt.datetime.now(dt.UTC))

    return Security(context, admit)
