"""The composition root: every part of a node, built from one frozen configuration and wired together.

Building opens nothing and starts nothing; that, and the order of it, is `gateway.node`. What each part is built with
comes from `gateway.assembly`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from carrier.profile import CarrierProfile
from certs.bundle import JoinedTrust
from gateway import assembly, key_assembly, servers
from gateway.api.admin_server import AdminServer, AdminServices
from gateway.api.carrier_service import CarrierService
from gateway.api.cursors import Cursors
from gateway.api.key_service import KeyService
from gateway.api.limiting import CallLimits, Limits
from gateway.api.methods import METHODS
from gateway.api.node_service import NodeService
from gateway.api.operating import Acts
from gateway.api.policy_service import PolicyService
from gateway.api.revocation_service import RevocationService
from gateway.api.server import ApiServer
from gateway.api.usage_service import UsageReportService
from gateway.audit.journal import Journal
from gateway.audit.recorder import Recorder
from gateway.audit.reserve import Reserve
from gateway.config.schema import Settings
from gateway.countries import load_plans
from gateway.federation import FederationVoice, build_federation
from gateway.identity import CallerResolver
from gateway.ids import IdSource
from gateway.limits.assembly import message_limits
from gateway.limits.slices import sharing_of
from gateway.parts import Guarding, Keys, now_us
from gateway.pipeline.deliveries import DeliveryReader
from gateway.pipeline.encoding import MessageEncoder
from gateway.pipeline.explainer import Explainer
from gateway.pipeline.fleet import Fleet
from gateway.pipeline.intake import Intake
from gateway.pipeline.lanes import Lanes
from gateway.pipeline.linking import LinkMaker
from gateway.pipeline.permits import Permits
from gateway.pipeline.pipeline import Pipeline, PipelineParts
from gateway.pipeline.queues import Queues
from gateway.pipeline.sealed_contents import SealedContents
from gateway.pipeline.sharing import raise_alerts
from gateway.policy.authorizer import Authorizer
from gateway.policy.shadowing import Shadowing
from gateway.privacy.periods import Periods
from gateway.privacy.retention import Retention
from gateway.privacy_assembly import Privacy, PrivacyNeeds, build_privacy
from gateway.records import IndexKeys
from gateway.redaction import redact
from gateway.reloading import Reloadable, Reloader
from gateway.reserve_assembly import build_reserve
from gateway.revocation.assembly import build_standing, dating_of
from gateway.revocation.calls import RevokedCalls
from gateway.revocation.entries import DenyList
from gateway.revocation.standing import Standing
from gateway.sealed_content import SealedContent
from gateway.sealing.box import SealingBox
from gateway.sealing.upkeep import KeyUpkeep
from gateway.sequencing.assembly import AuditLog, build_audit_log
from gateway.store.contract import Store
from gateway.store.engine.engine import Engine
from gateway.store.nodes import News
from gateway.store.sqlite import SqliteStore
from gateway.telemetry.assembly import build_telemetry
from gateway.telemetry.telemetry import Telemetry
from gateway.tenancy import Tenancy
from gateway.tenants import Tenants
from gateway.usage.assembly import build_keeper, price_table
from gateway.usage.keeping import CapKeeper
from gateway.validation import Validator
from visibility.alerts import Alerts
from visibility.catalogue import NODE

_SECOND = 1_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Parts:
    """A node, built and not started."""

    settings: Settings
    alerts: Alerts
    guarding: Guarding
    keys: Keys
    telemetry: Telemetry
    store: Engine
    pipeline: Pipeline
    sealed: SealedContent
    explainer: Explainer
    fleet: Fleet
    queues: Queues
    reloader: Reloader
    standing: Standing
    shadowing: Shadowing
    retention: Retention
    privacy: Privacy
    intake: Intake
    caps: CapKeeper
    recorder: Recorder
    journal: Journal
    audit_log: AuditLog
    reserve: Reserve
    api: ApiServer
    admin: AdminServer


def compose(settings: Settings) -> Parts:
    """Build every part. Raises ValueError, CertsError, SecretFileError or OSError for what is wrong."""
    alerts = Alerts(NODE, now_us, redact=redact)
    store = _store(settings)
    journal = Journal(store, settings.node.name, now_us, alerts=alerts)
    guarding = _guarding(settings, alerts, journal)
    load_plans()
    telemetry = build_telemetry(settings, guarding.identity, METHODS, now_us, alerts)
    tenants = assembly.tenants_of(settings)
    sealed = SealedContent(settings)
    validator = Validator(assembly.message_rules(settings), assembly.counting_of(settings), sealed.keys.opening)
    keys = _keys(settings, alerts)
    ids = IdSource()
    reader = _reader(settings, keys, tenants, ids, telemetry)
    encoder = MessageEncoder(
        keys.box, {profile.name: profile for profile in settings.carriers}, assembly.recounter(settings, alerts, now_us)
    )
    contents = sealed.contents(keys.box, validator, encoder, alerts)
    pipeline = _pipeline(settings, store, encoder, contents, reader, guarding.authorizer, telemetry)
    reserve = build_reserve(settings)
    intake = _intake(store, pipeline, keys, ids, telemetry, reserve)
    store.alert(alerts)
    recorder = Recorder(store, alerts=alerts, reserve=reserve)
    alerts.listen(journal.alerted)
    caps = build_keeper(settings, store, alerts, now_us)
    explainer = _explainer(settings, pipeline, guarding.authorizer)
    fleet = _fleet(settings, store, pipeline, _learner(encoder, reader, pipeline, explainer, telemetry))
    shadowing = Shadowing(guarding.authorizer)
    assembly.use_candidate(settings, assembly.candidate(settings), shadowing, now_us())
    callers = CallerResolver(guarding.trust, assembly.admins_of(settings).tenants_only(tenants.tenant_of))
    limits = Limits(guarding.limits, CallLimits.of(settings.limits), message_limits(settings.limits))
    retention = Retention(store, Periods(settings.retention), now_us, alerts)
    reloadable = Reloadable(
        records=store,
        validator=validator,
        pipeline=pipeline,
        policies=guarding.authorizer,
        shadowing=shadowing,
        tenancy=Tenancy(tenants, callers, keys.upkeep, guarding.revoked),
        limits=limits,
        number_of=encoder.number_of,
        carriers=fleet,
        sealed=sealed,
        keks=keys.sealing,
        retention=retention,
        caps=caps,
    )
    reloader = Reloader(settings, reloadable, now_us, alerts)
    queues = Queues(store, pipeline)
    for refresh in (queues.refresh, fleet.refresh):
        pipeline.sharing.react(News.HOLDS, refresh)
    raise_alerts(pipeline.sharing, alerts)
    pipeline.lease.attach(fleet)
    pipeline.sharing.react(News.PEERS, sharing_of(pipeline.sharing, limits.messages))
    for news in (News.PEERS, News.BACK):
        pipeline.sharing.react(news, fleet.share)
    standing = _standing(settings, guarding, queues, journal, alerts)
    acts = Acts(settings.node.name, now_us, store, journal)
    privacy = build_privacy(
        PrivacyNeeds(
            settings=settings,
            store=store,
            box=keys.box,
            data_keys=keys.data,
            index=keys.index,
            retention=retention,
            acts=acts,
            now=now_us,
            alerts=alerts,
        )
    )
    services = AdminServices(
        carriers=CarrierService(fleet, acts),
        queues=servers.queue_service(store, keys, queues, tenants, acts),
        node=NodeService(reloader, acts),
        keys=KeyService(keys.sealing.custody(settings.node.name, store, intake.settled), acts, lambda: tenants.names),
        revocations=RevocationService(standing, dating_of(settings.revocation), acts),
        policies=PolicyService(guarding.authorizer, shadowing),
        usage=UsageReportService(store, caps.caps),
        privacy=privacy.service,
    )
    keys.data.on_made = journal.keys_made
    service = servers.message_service(
        limits.messages,
        store,
        keys,
        intake,
        validator,
        guarding.authorizer,
        telemetry,
        cancel=pipeline.cancel,
        caps=caps.caps,
        payload_keys=sealed.keys.published,
        alerts=alerts,
    )
    store.observe(telemetry.committed)
    return Parts(
        settings=settings,
        alerts=alerts,
        guarding=guarding,
        keys=keys,
        telemetry=telemetry,
        store=store,
        pipeline=pipeline,
        sealed=sealed,
        explainer=explainer,
        fleet=fleet,
        queues=queues,
        reloader=reloader,
        standing=standing,
        shadowing=shadowing,
        retention=retention,
        privacy=privacy,
        intake=intake,
        caps=caps,
        recorder=recorder,
        journal=journal,
        reserve=reserve,
        audit_log=build_audit_log(settings, store, journal, alerts, now_us),
        api=servers.api_server(
            settings, store, caps.caps, service, keys.box, guarding, callers, recorder, telemetry, alerts
        ),
        admin=servers.admin_server(settings, services, guarding, limits.operators, recorder, telemetry, alerts),
    )


def _explainer(settings: Settings, pipeline: Pipeline, authorizer: Authorizer) -> Explainer:
    return Explainer(
        router=pipeline.router,
        authorizer=authorizer,
        profiles=settings.carriers,
        holds=pipeline.holds,
        running=True,
    )


def _fleet(
    settings: Settings, store: Engine, pipeline: Pipeline, learn: Callable[[Sequence[CarrierProfile]], None]
) -> Fleet:
    maker = LinkMaker(pipeline, store.membership.may_write)
    return Fleet(
        pipeline=pipeline,
        store=store,
        maker=maker,
        pace=maker.pace,
        profiles=settings.carriers,
        grace_s=settings.api.drain_timeout_s,
        learn=learn,
        tell=pipeline.sharing.tell,
    )


def _standing(settings: Settings, guarding: Guarding, queues: Queues, journal: Journal, alerts: Alerts) -> Standing:
    return build_standing(
        settings,
        calls=guarding.revoked,
        svid=guarding.identity,
        trust=guarding.trust,
        messages=queues,
        journal=journal,
        alerts=alerts,
        now=now_us,
    )


def _guarding(settings: Settings, alerts: Alerts, journal: Journal) -> Guarding:
    limits = CallLimits.of(settings.limits)
    identity = assembly.own_identity(settings)
    federation = build_federation(settings, identity.bundles.get, FederationVoice(alerts, journal).tell)
    return Guarding(
        identity=identity,
        federation=federation,
        trust=JoinedTrust(identity.bundles, federation.bundles),
        limits=limits,
        authorizer=assembly.authorizer(settings, limits.call, alerts),
        revoked=RevokedCalls(DenyList()),
    )


def _keys(settings: Settings, alerts: Alerts) -> Keys:
    key, *older = key_assembly.index_keys(settings)
    sealing = key_assembly.sealing_keys(settings, alerts)
    return Keys(
        sealing=sealing,
        data=sealing.data,
        upkeep=KeyUpkeep(sealing.data, [tenant.name for tenant in settings.tenants]),
        box=SealingBox(sealing.data, sealing.openers),
        index=IndexKeys(key, older),
        cursors=Cursors(key, older),
    )


def _reader(settings: Settings, keys: Keys, tenants: Tenants, ids: IdSource, telemetry: Telemetry) -> DeliveryReader:
    return DeliveryReader(
        tenants=tenants,
        keys=keys.index,
        box=keys.box,
        ids=ids,
        profiles=settings.carriers,
        unread_ids=telemetry.meters.unread_ids,
    )


def _store(settings: Settings) -> Engine:
    """Return the store of the configured engine. The driver of another one is not even imported."""
    grace, currency = round(settings.messages.receipt_grace_s * _SECOND), settings.usage.currency or ""
    postgres = settings.store.postgres
    if postgres is None:
        return SqliteStore(settings.store.file, receipt_grace=grace, currency=currency)
    from gateway.store.postgres import PostgresStore

    settings.node.data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)  # for what else the node writes
    target = key_assembly.database(postgres)
    return PostgresStore(target, node=settings.node.name, receipt_grace=grace, currency=currency)


def _intake(
    store: Store, pipeline: Pipeline, keys: Keys, ids: IdSource, telemetry: Telemetry, reserve: Reserve
) -> Intake:
    return Intake(
        store=store,
        pipeline=pipeline,
        box=keys.box,
        keys=keys.index,
        ids=ids,
        now=now_us,
        tracing=telemetry.tracing,
        meters=telemetry.meters,
        require=reserve.require,
    )


def _pipeline(
    settings: Settings,
    store: Store,
    encoder: MessageEncoder,
    sealed: SealedContents,
    reader: DeliveryReader,
    authorizer: Authorizer,
    telemetry: Telemetry,
) -> Pipeline:
    return Pipeline(
        PipelineParts(
            store=store,
            lanes=Lanes(settings.pipeline.memory_messages),
            encode=encoder.encode,
            opening=encoder,
            sealed=sealed,
            routing=assembly.routing(settings, encoder.number_of),
            reader=reader,
            rules=assembly.retry_rules(settings),
            permits=Permits(authorizer),
            now=now_us,
            batch=settings.pipeline.batch,
            profiles=settings.carriers,
            tracing=telemetry.tracing,
            meters=telemetry.meters,
            prices=price_table(settings.usage),
        )
    )


def _learner(
    encoder: MessageEncoder,
    reader: DeliveryReader,
    pipeline: Pipeline,
    explainer: Explainer,
    telemetry: Telemetry,
) -> Callable[[Sequence[CarrierProfile]], None]:
    """Return what tells the parts that go by carriers' profiles of changed ones."""

    def learn(profiles: Sequence[CarrierProfile]) -> None:
        encoder.use(profiles)
        reader.use(profiles)
        pipeline.inquiries.use(profiles)
        explainer.use(profiles)
        telemetry.meters.know(profile.name for profile in profiles)

    return learn
