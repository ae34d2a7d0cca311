"""The room of the audit, built from the configuration: on the disk of this machine, or held on a database server's."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from gateway.audit.ballast import BallastStore
from gateway.audit.ballast_gauge import BallastGauge
from gateway.audit.reserve import Reserve
from gateway.audit.reserve_watch import DiskGauge, Gauge, ReserveWatch, free_on
from gateway.config.schema import Settings
from visibility.alerts import AlertSink


def build_reserve(settings: Settings) -> Reserve:
    """Return the bounds, and how much room there is."""
    return Reserve(reserve_bytes=settings.audit.reserve_bytes, least_bytes=settings.audit.least_bytes)


def build_watch(
    settings: Settings,
    ballast: BallastStore | None,
    reserve: Reserve,
    serve: Callable[[bool], None],
    alerts: AlertSink,
) -> ReserveWatch:
    """Return what looks at the room. `ballast`: of a store whose disk is another machine's; `serve` is told whether the
    node may be called."""
    gauge: Gauge
    if ballast is None:
        gauge = DiskGauge(reserve, partial(free_on, settings.store.file.parent))
    else:
        gauge = BallastGauge(ballast, reserve)
    return ReserveWatch(reserve, gauge, serve, alerts)
