"""Every setting of smsgw.yaml: its kind, range, default and meaning, and the frozen classes they are read into.

Each part of the node gets its own section only. Attributes carry their unit (`retry_min_s`), keys do not
(`retry_min: 1s`). Relative paths are resolved by the loader.
"""

# ruff: noqa: RUF009 -- `setting` returns a dataclass field, which ruff only knows of `dataclasses.field`

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from carrier.profile import CarrierProfile
from gateway.config.admin_settings import AdminSettings
from gateway.config.audit_settings import AuditSettings
from gateway.config.carrier_settings import CarrierSettings
from gateway.config.carrier_text_settings import CountedSettings
from gateway.config.definitions import setting
from gateway.config.failover_settings import FailoverSettings
from gateway.config.identity_settings import IdentitySettings
from gateway.config.key_settings import KeySettings
from gateway.config.kinds import (
    NAME,
    SPIFFE_ID,
    TRUST_DOMAIN,
    Address,
    Choice,
    Duration,
    FileName,
    Flag,
    HostPort,
    Integer,
    Items,
    Pace,
    PerTime,
    Section,
    Text,
)
from gateway.config.limit_settings import LimitSettings
from gateway.config.payload_settings import PayloadSettings
from gateway.config.retention_settings import RetentionSettings
from gateway.config.revocation_settings import RevocationSettings
from gateway.config.route_settings import RouteSettings
from gateway.config.secret_kinds import SecretFile, SecretSetting
from gateway.config.store_settings import StoreSettings
from gateway.config.telemetry_settings import TelemetrySettings
from gateway.config.usage_settings import UsageSettings
from gateway.config.vault_settings import VaultSettings
from gateway.routing.breaker import BreakerRules
from gateway.routing.routes import Route

INBOUND_NUMBER = Text(
    meaning="a number in E.164 with its plus sign, or a short code of 3 to 8 digits",
    pattern=r"\+[1-9][0-9]{6,14}|[0-9]{3,8}",
    low=3,
    high=16,
)
TIME_ZONE = Text(meaning="a time zone, as UTC or Europe/Berlin", pattern=r"[A-Za-z0-9_+/-]+", low=1, high=64)
VALIDITY = Duration(low="5s", high="7d")


class Environment(enum.StrEnum):
    """Where the node runs: development allows a development CA."""

    PRODUCTION = "production"
    DEVELOPMENT = "development"


class Role(enum.StrEnum):
    """What a node does: it accepts messages by the API, relays them to carriers, or both."""

    BOTH = "both"
    ACCEPT = "accept"
    RELAY = "relay"


class LogLevel(enum.StrEnum):
    """The least severe event that is logged."""

    DEBUG = "debug"
    INFO = "info"
    WARNING = "warning"
    ERROR = "error"


class LogFormat(enum.StrEnum):
    """How a log line looks."""

    JSON = "json"
    TEXT = "text"


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeSettings:
    """This node."""

    name: str = setting(NAME, default="node-1", doc="How this node is called in logs, counters and its ready line.")
    trust_domain: str = setting(
        TRUST_DOMAIN,
        doc="The SPIFFE trust domain of this node. Its bundle is in identity.bundles, or comes from the Workload API.",
        example="example.org",
    )
    data_dir: Path = setting(
        FileName(), default="data", doc="The folder of the database and of what else the node writes. Mode 0700."
    )
    role: Role = setting(
        Choice(Role),
        default="both",
        doc="accept: the API, no carriers; it seals, and has no key that opens. relay: carriers, and no API for "
        "callers. Both share one PostgreSQL with the others, see docs/roles.md.",
    )
    environment: Environment = setting(
        Choice(Environment),
        default="production",
        doc="production refuses a development CA (one whose root says so); development accepts it.",
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class ApiSettings:
    """The gRPC API, over mutual TLS only."""

    listen: Address = setting(
        HostPort(),
        default="127.0.0.1:7443",
        doc="Where services call. Port 0 takes a free one, see the ready line.",
    )
    svid_file: Path = setting(
        FileName(),
        default="pki/gateway.pem",
        doc="The node's X.509-SVID with its intermediates, PEM. Read again when it changes. Not read with "
        "identity.workload_api.",
    )
    svid_key_file: Path = setting(
        SecretFile(), default="pki/gateway.key", doc="The private key of svid_file, PEM. Nobody else may read it."
    )
    max_concurrent_streams: int = setting(
        Integer(low=1, high=100_000, unit="calls"),
        default="1000",
        doc="Calls and streams that one connection may have open at a time.",
    )
    max_message_bytes: int = setting(
        Integer(low=65_536, high=67_108_864, unit="bytes"),
        default="4194304",
        doc="The largest request, serialized. 1,000 messages of ten segments take about 2 MB.",
    )
    max_metadata_bytes: int = setting(
        Integer(low=4096, high=1_048_576, unit="bytes"),
        default="16384",
        doc="The largest metadata of one call; from half of it on some calls are refused, beyond it all.",
    )
    max_connections: int = setting(
        Integer(low=1, high=1_000_000, unit="connections"),
        default="10000",
        doc="Connections open at a time, those in their TLS handshake included.",
    )
    max_connections_per_address: int = setting(
        Integer(low=1, high=1_000_000, unit="connections"),
        default="1000",
        doc="How many of them one address may have (an IPv4 address, the /64 of an IPv6 one). Behind a load balancer "
        "all callers have its address.",
    )
    max_silent_connections_per_address: int = setting(
        Integer(low=1, high=1_000_000, unit="connections"),
        default="100",
        doc="How many of those may be silent: in their TLS handshake, or without a call of a recognised caller yet.",
    )
    handshakes_per_address: Pace = setting(
        PerTime(),
        default="50/s",
        doc="New connections of one address: each begins a TLS handshake, which costs about a millisecond. What is "
        "beyond it is ended. Behind a load balancer all callers have its address.",
    )
    handshakes_per_address_burst: int = setting(
        Integer(low=1, high=1_000_000, unit="at once"), default="500", doc="How many of these at once."
    )
    handshake_timeout_s: float = setting(
        Duration(low="1s", high="2m"), default="10s", doc="How long a TLS handshake may take before it is cut off."
    )
    drain_timeout_s: float = setting(
        Duration(low="0s", high="10m"),
        default="10s",
        doc="After SIGTERM: how long calls and unanswered PDUs may take to finish before the node closes them.",
    )
    drain_linger_s: float = setting(
        Duration(low="0s", high="1m"),
        default="2s",
        doc="How much of that the node goes on to refuse new calls with SHUTTING_DOWN and RetryInfo, with health at "
        "NOT_SERVING, before it closes connections. Longer than a load balancer takes to notice.",
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class TenantSettings:
    """A tenant: who belongs to it, and which numbers it owns."""

    name: str = setting(NAME, doc="The tenant's name. Stored with each message: do not change it.", example="demo")
    spiffe_ids: tuple[str, ...] = setting(
        Items(SPIFFE_ID, low=1, high=1000),
        doc="Callers with one of these SPIFFE IDs, or an ID below one (whole path segments), belong to the tenant.",
        example="spiffe://{TRUST_DOMAIN}/demo",
    )
    inbound_numbers: tuple[str, ...] = setting(
        Items(INBOUND_NUMBER, high=10_000),
        doc="Numbers and short codes whose inbound messages this tenant gets. Each belongs to one tenant.",
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class ValiditySettings:
    """How long a delivery is of use when the caller does not say."""

    otp_s: float = setting(VALIDITY, default="5m", reloadable=True, doc="For one-time passwords.")
    transactional_s: float = setting(VALIDITY, default="1d", reloadable=True, doc="For transactional messages.")
    promotional_s: float = setting(VALIDITY, default="4h", reloadable=True, doc="For promotional messages.")


@dataclass(frozen=True, slots=True, kw_only=True)
class PolicySettings:
    """Who may do what: Cedar policies, see docs/policy.md."""

    dir: Path = setting(
        FileName(),
        default="policy",
        reloadable=True,
        doc="The folder of the policies (*.cedar). Only its owner may write to them. What no policy permits is denied. "
        "A set with a fault stops the node from starting; while it runs, a reload refuses it, and the old one stays.",
    )
    shadow: Path | None = setting(
        FileName(),
        optional=True,
        reloadable=True,
        doc="The folder of a candidate set, asked beside the one in force without a say in anything: `smsgw policy "
        "shadow` shows what it would decide otherwise. One with a fault is left out, and logged.",
        example="policy-candidate",
    )
    timezone: str = setting(
        TIME_ZONE,
        default="UTC",
        reloadable=True,
        doc="Where weekday and minute of the day are told that policies ask for.",
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class MessageSettings:
    """Bounds and defaults of messages."""

    max_segments: int = setting(
        Integer(low=1, high=255, unit="segments"),
        default="10",
        reloadable=True,
        doc="A text that takes more segments is refused, never cut.",
    )
    counted_for: tuple[CountedSettings, ...] = setting(
        Items(Section(CountedSettings), high=100),
        reloadable=True,
        doc="How the carriers of the relaying nodes write texts, on a node that only accepts: the name and the section "
        "text of each, as they stand there. Texts are counted by the one that needs the most segments, as on nodes "
        "that have the carriers. Without any the plain GSM alphabet is counted by.",
    )
    validity: ValiditySettings = setting(
        Section(ValiditySettings), doc="The default validity of each category; a caller may ask for 5s to 7d."
    )
    receipt_grace_s: float = setting(
        Duration(low="0s", high="7d"),
        default="1h",
        reloadable=True,
        doc="How long after the end of its validity a submitted message waits for its receipt before it is closed.",
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class ResendSettings:
    """What happens to a message whose outcome at the carrier is in doubt."""

    otp: bool = setting(Flag(), default="true", reloadable=True, doc="Send one-time passwords again.")
    transactional: bool = setting(Flag(), default="true", reloadable=True, doc="Send transactional messages again.")
    promotional: bool = setting(
        Flag(), default="false", reloadable=True, doc="Send promotional messages again; otherwise wait for a receipt."
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class PipelineSettings:
    """The way from the store to the carriers."""

    memory_messages: int = setting(
        Integer(low=100, high=1_000_000, unit="messages"),
        default="20000",
        doc="Waiting messages that are kept in memory at most; beyond that they wait in the database.",
    )
    batch: int = setting(
        Integer(low=1, high=10_000, unit="messages"),
        default="500",
        doc="How many messages one transaction of the pipeline takes at most.",
    )
    resend: ResendSettings = setting(
        Section(ResendSettings),
        doc="Whether a message is sent again, within its validity, when the link was lost before the carrier's answer. "
        "It may then arrive twice.",
    )
    failover_after: FailoverSettings = setting(
        Section(FailoverSettings),
        doc="How long messages wait for a carrier that is there and has no room for them before they may go by the "
        "next one of their route. Keep it well below their validity.",
    )
    retry_min_s: float = setting(
        Duration(low="100ms", high="1h"),
        default="1s",
        reloadable=True,
        doc="The first wait after a temporary error of the carrier; it doubles from there.",
    )
    retry_max_s: float = setting(
        Duration(low="100ms", high="1d"), default="60s", reloadable=True, doc="The longest wait between two attempts."
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class LogSettings:
    """The log, on standard error."""

    level: LogLevel = setting(Choice(LogLevel), default="info", reloadable=True, doc="The least severe event logged.")
    format: LogFormat = setting(
        Choice(LogFormat), default="json", doc="json: one object a line, for machines; text: for people."
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Document:
    """The whole file, as it is written."""

    node: NodeSettings = setting(Section(NodeSettings), doc="This node.")
    api: ApiSettings = setting(Section(ApiSettings), doc="The gRPC API, over mutual TLS only.")
    admin: AdminSettings = setting(Section(AdminSettings), doc="The administrative API, for operators.")
    identity: IdentitySettings = setting(Section(IdentitySettings), doc="Who the node is, and whom it believes.")
    revocation: RevocationSettings = setting(
        Section(RevocationSettings), doc="The deny list: who signs it, and who follows. See docs/revocation.md."
    )
    tenants: tuple[TenantSettings, ...] = setting(
        Items(Section(TenantSettings), high=1000),
        reloadable=True,
        doc="Who may call. A caller that belongs to no tenant is refused.",
    )
    store: StoreSettings = setting(Section(StoreSettings), doc="Where messages are kept.")
    audit: AuditSettings = setting(
        Section(AuditSettings), doc="The record of what was decided and changed. See docs/audit.md."
    )
    keys: KeySettings = setting(Section(KeySettings), doc="The keys under which stored messages are sealed.")
    payload: PayloadSettings = setting(
        Section(PayloadSettings), doc="Content that callers have sealed themselves, see docs/sealed-content.md."
    )
    vault: VaultSettings | None = setting(
        Section(VaultSettings, optional=True),
        doc="Where secrets are fetched that are written as vault:PATH#FIELD. See docs/operating.md.",
    )
    policy: PolicySettings = setting(Section(PolicySettings), doc="Who may do what, and where that is written.")
    limits: LimitSettings = setting(Section(LimitSettings), doc="How much callers may do.")
    usage: UsageSettings = setting(
        Section(UsageSettings), doc="What messages cost, and how much tenants may use. See docs/usage.md."
    )
    messages: MessageSettings = setting(Section(MessageSettings), doc="Bounds and defaults of messages.")
    retention: RetentionSettings = setting(
        Section(RetentionSettings), doc="How long what is kept of messages is kept. See docs/privacy.md."
    )
    pipeline: PipelineSettings = setting(Section(PipelineSettings), doc="The way from the database to the carriers.")
    carriers: tuple[CarrierSettings, ...] = setting(
        Items(Section(CarrierSettings), high=100),
        reloadable=True,
        doc="SMPP accounts, the preferred one first. Without any, messages are accepted and wait.",
    )
    routes: tuple[RouteSettings, ...] = setting(
        Items(Section(RouteSettings), high=1000),
        reloadable=True,
        doc="Which messages go by which carriers, see docs/routing.md. A message has one route, the narrowest that "
        "fits; one that none fits is rejected. Without any route, all carriers in their order are everybody's.",
    )
    log: LogSettings = setting(Section(LogSettings), doc="The log, on standard error.")
    telemetry: TelemetrySettings = setting(Section(TelemetrySettings), doc="What the node tells of itself.")


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """The configuration of a node: checked as a whole, paths absolute, passwords read."""

    file: Path
    secrets: tuple[SecretSetting, ...]  # every file that the settings name for a secret
    node: NodeSettings
    api: ApiSettings
    admin: AdminSettings
    identity: IdentitySettings
    revocation: RevocationSettings
    tenants: tuple[TenantSettings, ...]
    store: StoreSettings
    audit: AuditSettings
    keys: KeySettings
    payload: PayloadSettings
    vault: VaultSettings | None
    policy: PolicySettings
    limits: LimitSettings
    usage: UsageSettings
    messages: MessageSettings
    retention: RetentionSettings
    pipeline: PipelineSettings
    carriers: tuple[CarrierProfile, ...]
    breakers: Mapping[str, BreakerRules]  # by carrier
    routes: tuple[Route, ...]
    log: LogSettings
    telemetry: TelemetrySettings
