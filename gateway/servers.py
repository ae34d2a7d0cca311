"""The two servers of a node, of its callers and of its operators, and the services that need many parts."""

from __future__ import annotations

from collections.abc import Callable

from gateway import assembly
from gateway.api.admin_server import ADMIN_CONNECTIONS, AdminServer, AdminServices
from gateway.api.audit_service import audit_service
from gateway.api.auditing import CallAudit
from gateway.api.connections import ConnectionKeeper
from gateway.api.draining import Draining
from gateway.api.finding import Finding
from gateway.api.hub import EventHub, share_events
from gateway.api.interceptors import guards
from gateway.api.limiting import CallLimits
from gateway.api.message_service import MessageService, MessageServiceParts
from gateway.api.operating import Acts
from gateway.api.queue_service import QueueService, QueueServiceParts
from gateway.api.reading import CancelAtCarrier
from gateway.api.server import ApiServer
from gateway.api.telemetry import TelemetryGuard
from gateway.api.usage_service import UsageService
from gateway.audit.recorder import Recorder
from gateway.config.schema import Settings
from gateway.identity import CallerResolver, utc_now
from gateway.limits.messages import MessageLimits
from gateway.parts import Guarding, Keys, now_us
from gateway.pipeline.intake import Intake
from gateway.pipeline.queues import Queues
from gateway.policy.authorizer import Authorizer
from gateway.proving.log import Asked
from gateway.sealing.box import SealingBox
from gateway.sequencing.assembly import witness_keys
from gateway.store.contract import Store
from gateway.telemetry.telemetry import Telemetry
from gateway.tenants import Tenants
from gateway.usage.caps import Caps
from gateway.validation import Validator
from visibility.alerts import Alerts


def message_service(
    limits: MessageLimits,
    store: Store,
    keys: Keys,
    intake: Intake,
    validator: Validator,
    authorizer: Authorizer,
    telemetry: Telemetry,
    *,
    cancel: CancelAtCarrier,
    caps: Caps,
    payload_keys: Callable[[int], str],
    alerts: Alerts,
) -> MessageService:
    """Return the service of messages, told of what every node commits."""
    hub = EventHub()
    store.on_commit(hub.committed)
    share_events(store, hub)
    return MessageService(
        MessageServiceParts(
            intake=intake,
            store=store,
            box=keys.box,
            validator=validator,
            authorizer=authorizer,
            limits=limits,
            keys=keys.index,
            cursors=keys.cursors,
            hub=hub,
            now=now_us,
            denied=telemetry.meters.denied,
            caps=caps,
            cancel_at_carrier=cancel,
            payload_keys=payload_keys,
            alerts=alerts,
        )
    )


def queue_service(store: Store, keys: Keys, queues: Queues, tenants: Tenants, acts: Acts) -> QueueService:
    """Return the operators' service of queues."""
    return QueueService(
        QueueServiceParts(
            queues=queues,
            finding=Finding(store, keys.cursors, lambda: tenants.names),
            keys=keys.index,
            tenants=lambda: tenants.names,
            acts=acts,
        )
    )


def _asked(settings: Settings) -> Asked | None:
    """Return what is asked of a checkpoint before a receipt is made of it; None without a log."""
    chosen = settings.audit.log
    if chosen is None:
        return None
    return Asked(origin=chosen.origin, witnesses=witness_keys(chosen), required=chosen.witnesses_required)


def api_server(
    settings: Settings,
    store: Store,
    caps: Caps,
    service: MessageService,
    box: SealingBox,
    guarding: Guarding,
    callers: CallerResolver,
    recorder: Recorder,
    telemetry: Telemetry,
    alerts: Alerts,
) -> ApiServer:
    """Return the server of the callers."""
    connections, draining = ConnectionKeeper(assembly.connection_bounds(settings)), Draining()
    chain = guards(
        TelemetryGuard(telemetry.tracing, telemetry.meters, alerts),
        callers,
        utc_now,
        guarding.revoked,
        guarding.authorizer,
        recorder,
        guarding.limits,
        connections.recognised,
        draining,
    )
    return ApiServer(
        service=service,
        audit_service=audit_service(store, box, _asked(settings)),
        usage=UsageService(store, caps),
        guards=chain,
        audit=CallAudit(recorder, utc_now),
        options=assembly.server_options(settings),
        connections=connections,
        draining=draining,
    )


def admin_server(
    settings: Settings,
    services: AdminServices,
    guarding: Guarding,
    limits: CallLimits,
    recorder: Recorder,
    telemetry: Telemetry,
    alerts: Alerts,
) -> AdminServer:
    """Return the server of the operators, whose calls and connections are counted apart from those of the callers."""
    connections, draining = ConnectionKeeper(ADMIN_CONNECTIONS), Draining()
    chain = guards(
        TelemetryGuard(telemetry.tracing, telemetry.meters, alerts, server="admin"),
        CallerResolver(guarding.trust, assembly.admins_of(settings).operators_only),
        utc_now,
        guarding.revoked,
        guarding.authorizer,
        recorder,
        limits,
        connections.recognised,
        draining,
    )
    return AdminServer(
        services, guards=chain, audit=CallAudit(recorder, utc_now), connections=connections, draining=draining
    )
