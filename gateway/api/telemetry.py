"""The first guard: what a call costs and how it ends is counted, and one that is sampled gets its span.

It stands before the others, so that what they refuse is counted too, and it refuses nothing itself. Names follow the
semantic conventions for RPC; docs/telemetry.md has them.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from gateway.api.methods import METHODS, AuditClass, Method, Permission
from gateway.api.status import code_name
from gateway.errors import GatewayError, Overloaded, PermissionDenied, Unauthenticated
from gateway.telemetry.meters import Meters
from gateway.telemetry.tracing import CallKind, Tracing
from visibility.alerts import NOBODY, AlertSink
from visibility.catalogue import STORED_DATA_CORRUPT, UNEXPECTED_ERROR

if TYPE_CHECKING:  # the guard is one of those that it imports
    from gateway.api.interceptors import Call

# What nobody should ever be answered with.
_ALERTS = {"DATA_LOSS": STORED_DATA_CORRUPT, "INTERNAL": UNEXPECTED_ERROR}
_DENIALS = (Unauthenticated, PermissionDenied, Overloaded)


def call_kind(method: Method) -> CallKind | None:
    """Return what a method means for traces; None for one that is never traced: health checks."""
    if method.permission is Permission.HEALTH:
        return None
    if method.permission is not Permission.SEND or method.audit is not AuditClass.CHANGE:  # keys are asked for, too
        return CallKind.OTHER
    if method.request_stream:
        return CallKind.STREAM
    return CallKind.SINGLE if method.name.endswith("/SendMessage") else CallKind.BATCH


class TelemetryGuard:
    """Counts every call, and traces the sampled ones."""

    def __init__(self, tracing: Tracing, meters: Meters, alerts: AlertSink = NOBODY, *, server: str = "api") -> None:
        self._server = server
        self._alerts = alerts
        self._tracing = tracing
        self._meters = meters
        self._kinds = {name: call_kind(method) for name, method in METHODS.items()}

    def enter(self, call: Call) -> None:
        """Set `call.began` and `call.trace`."""
        call.began = time.perf_counter()
        kind = self._kinds.get(call.name)
        call.trace = None if kind is None else self._tracing.call(call.name, kind, call.context.invocation_metadata)

    def message(self, call: Call) -> None:
        """Nothing to do: the messages of a stream are counted and sampled where they are stored."""

    def leave(self, call: Call, error: BaseException | None) -> None:
        """Count the call, and end its span."""
        code = "OK" if error is None else code_name(error)
        self._meters.call(call.name, code, time.perf_counter() - call.began)
        reason = error.reason if isinstance(error, GatewayError) else ""
        if isinstance(error, _DENIALS):
            self._meters.denied(reason)
            self._meters.refused(self._server, code, reason)
        if code in _ALERTS and error is not None:
            self._alerts.raise_alert(_ALERTS[code], why=f"{call.name}: {type(error).__name__}")
        if call.trace is not None:
            call.trace.end(code, reason)
