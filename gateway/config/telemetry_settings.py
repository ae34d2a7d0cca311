"""The settings of traces and metrics. See docs/telemetry.md."""

# ruff: noqa: RUF009 -- `setting` returns a dataclass field, which ruff only knows of `dataclasses.field`

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from gateway.config.definitions import setting
from gateway.config.kinds import (
    HOST_NAME,
    SPIFFE_ID,
    Address,
    Duration,
    FileName,
    Flag,
    HostPort,
    Integer,
    Items,
    Section,
    Text,
)
from gateway.config.secret_kinds import SecretFile


@dataclass(frozen=True, slots=True, kw_only=True)
class OtlpSettings:
    """Where traces and metrics are sent, by OTLP over gRPC."""

    endpoint: Address | None = setting(
        HostPort(),
        optional=True,
        doc="The collector. Left out: nothing is traced, and metrics are on Prometheus' page only.",
        example="collector.example:4317",
    )
    ca_file: Path | None = setting(
        FileName(), optional=True, doc="Root certificates, PEM. Left out: the system's.", example="pki/collector-ca.pem"
    )
    server_name: str = setting(
        Text(meaning="a host name", pattern=HOST_NAME.pattern, high=253),
        default="",
        doc="The name in the collector's certificate. Left out: the host.",
        example="collector.example",
    )
    certificate_file: Path | None = setting(
        FileName(),
        optional=True,
        doc="Our client certificate with its chain, PEM, when the collector asks for one; the node's SVID will do. "
        "Read again when it changes.",
        example="pki/gateway.pem",
    )
    key_file: Path | None = setting(
        SecretFile(), optional=True, doc="The private key of certificate_file, PEM.", example="pki/gateway.key"
    )
    insecure: bool = setting(
        Flag(), default="false", doc="Plain text instead of TLS. Accepted for a collector on loopback only."
    )
    metrics_every_s: float = setting(
        Duration(low="1s", high="1h"), default="60s", doc="How often metrics are sent there."
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class MetricsSettings:
    """The page that Prometheus reads: /metrics."""

    listen: Address | None = setting(
        HostPort(),
        optional=True,
        doc="Where the page is. Left out: nowhere. Over TLS it shows the node's SVID and asks for one of readers.",
        example="127.0.0.1:9464",
    )
    readers: tuple[str, ...] = setting(
        Items(SPIFFE_ID, high=100),
        doc="Who may read it over TLS: these SPIFFE IDs of the node's own trust domain, or IDs below one (whole path "
        "segments).",
    )
    insecure: bool = setting(
        Flag(),
        default="false",
        doc="Plain text instead of TLS, for everyone on this machine: the page has no personal data. Accepted on "
        "loopback only.",
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class TelemetrySettings:
    """What the node tells of itself."""

    traces_per_s: int = setting(
        Integer(low=0, high=1000, unit="traces/s"),
        default="10",
        doc="Messages traced in any second at most: all of them while there are no more, a sample of so many when "
        "there are. Calls that send nothing have as many again. A caller's own sampled flag is not asked. 0: none.",
    )
    otlp: OtlpSettings = setting(Section(OtlpSettings), doc="Where traces and metrics are sent.")
    metrics: MetricsSettings = setting(Section(MetricsSettings), doc="The page that Prometheus reads.")
