"""The rules that concern more than one setting: pure functions over the document as it was read.

Each yields (key, what is wrong and what to do). None opens a file.
"""

from __future__ import annotations

import zoneinfo
from collections.abc import Iterator

from gateway.config.audit_settings import audit_findings
from gateway.config.carrier_rules import carrier_findings, is_loopback
from gateway.config.key_settings import key_findings
from gateway.config.retention_settings import retention_findings
from gateway.config.revocation_rules import revocation_findings
from gateway.config.role_rules import role_findings
from gateway.config.route_rules import route_findings
from gateway.config.schema import Document
from gateway.config.store_settings import store_findings
from gateway.config.telemetry_settings import MetricsSettings, OtlpSettings
from gateway.config.usage_rules import usage_findings

Finding = tuple[str, str]


def findings(document: Document) -> Iterator[Finding]:
    """Yield everything that is wrong between settings."""
    yield from _identity(document)
    for key, text in document.identity.federation_findings(document.node.trust_domain):
        yield f"identity.{key}", text
    yield from _tenants(document)
    yield from _admin(document)
    yield from revocation_findings(document)
    yield from _connections(document)
    yield from _store(document)
    for key, text in audit_findings(document.audit):
        yield f"audit.{key}", text
    yield from _policy(document)
    yield from _limits(document)
    for key, text in retention_findings(document.retention, {tenant.name for tenant in document.tenants}):
        yield f"retention.{key}", text
    yield from _pipeline(document)
    yield from _carriers(document)
    yield from route_findings(
        document.routes,
        [carrier.name for carrier in document.carriers],
        [tenant.name for tenant in document.tenants],
    )
    yield from usage_findings(
        document.usage,
        [carrier.name for carrier in document.carriers],
        [tenant.name for tenant in document.tenants],
    )
    yield from _telemetry(document)


def _identity(document: Document) -> Iterator[Finding]:
    """Each trust domain has its bundle from one place."""
    domain, bundles, api = document.node.trust_domain, document.identity.bundles, document.identity.workload_api
    if api is None:
        if domain not in bundles:
            yield "identity.bundles", f"has no bundle of this node's trust domain: add `{domain}: pki/bundle.pem`"
        return
    if domain in bundles:
        yield f"identity.bundles.{domain}", "comes from the Workload API: remove it here"
    for index, name in enumerate(api.federated):
        where = f"identity.workload_api.federated[{index}]"
        if name == domain:
            yield where, "is this node's own trust domain, whose bundle comes with its SVID: remove it here"
        elif name in bundles:
            yield where, f"{name} has a file under identity.bundles: remove one of the two"
        elif name in api.federated[:index]:
            yield where, f"{name} stands here a second time"
    if api.spiffe_id is not None and not api.spiffe_id.startswith(f"spiffe://{domain}/"):
        yield "identity.workload_api.spiffe_id", f"{api.spiffe_id} is not of this node's trust domain, {domain}"


def _tenants(document: Document) -> Iterator[Finding]:
    """A name, a caller and a number have one tenant each; a caller's trust domain has a bundle."""
    yield from _twice("tenants", "name", [tenant.name for tenant in document.tenants])
    known, missing = _known(document)
    callers: dict[str, str] = {}
    numbers: dict[str, str] = {}
    for at, tenant in enumerate(document.tenants):
        for index, spiffe_id in enumerate(tenant.spiffe_ids):
            where = f"tenants[{at}].spiffe_ids[{index}]"
            if spiffe_id in callers:
                yield where, f"{spiffe_id} belongs to tenant {callers[spiffe_id]} already"
            callers.setdefault(spiffe_id, tenant.name)
            domain = spiffe_id.removeprefix("spiffe://").partition("/")[0]
            if domain not in known:
                yield where, f"{missing} of {domain}: nobody with this ID could call"
        for index, number in enumerate(tenant.inbound_numbers):
            if number in numbers:
                where = f"tenants[{at}].inbound_numbers[{index}]"
                yield where, f"this number belongs to tenant {numbers[number]} already; a number has one owner"
            numbers.setdefault(number, tenant.name)


def _admin(document: Document) -> Iterator[Finding]:
    """Operators have a bundle, and are nobody's tenant."""
    prefixes = document.admin.prefixes(document.node.trust_domain)
    known, missing = _known(document)
    for index, spiffe_id in enumerate(document.admin.spiffe_ids):
        domain = spiffe_id.removeprefix("spiffe://").partition("/")[0]
        if domain not in known:
            yield f"admin.spiffe_ids[{index}]", f"{missing} of {domain}: nobody could call"
    for at, tenant in enumerate(document.tenants):
        for index, spiffe_id in enumerate(tenant.spiffe_ids):
            if any(spiffe_id == prefix or spiffe_id.startswith(prefix + "/") for prefix in prefixes):
                text = f"{spiffe_id} belongs to those who operate the node (admin.spiffe_ids), and sends no messages"
                yield f"tenants[{at}].spiffe_ids[{index}]", text
    listen, api = document.admin.listen, document.api.listen
    if listen is not None and listen == api and listen.port:
        yield "admin.listen", "is the address of the API: it has to be another one"


def _known(document: Document) -> tuple[frozenset[str], str]:
    """Return the trust domains that have a bundle, and what is to be said of one that has none."""
    missing = "identity.bundles has no bundle"
    if document.identity.workload_api is not None:
        missing = "neither identity.bundles nor identity.workload_api.federated has a bundle"
    return document.identity.domains(document.node.trust_domain), missing


def _connections(document: Document) -> Iterator[Finding]:
    api = document.api
    if api.max_connections_per_address > api.max_connections:
        yield "api.max_connections_per_address", "is more than max_connections: one address could take every place"
    if api.max_silent_connections_per_address > api.max_connections_per_address:
        yield "api.max_silent_connections_per_address", "is more than max_connections_per_address"


def _store(document: Document) -> Iterator[Finding]:
    for key, text in store_findings(document.store):
        yield f"store.{key}", text
    yield from role_findings(document)
    for key, text in key_findings(document.keys, document.store, vault=document.vault is not None):
        yield f"keys.{key}", text


def _limits(document: Document) -> Iterator[Finding]:
    """Limits of a tenant name one that there is, once."""
    own = [limits.tenant for limits in document.limits.tenants]
    yield from _twice("limits.tenants", "tenant", own)
    tenants = {tenant.name for tenant in document.tenants}
    for at, name in enumerate(own):
        if name not in tenants:
            yield f"limits.tenants[{at}].tenant", f"there is no tenant {name} under tenants"


def _policy(document: Document) -> Iterator[Finding]:
    name = document.policy.timezone
    if name == "UTC":  # known without the system's table
        return
    try:
        zoneinfo.ZoneInfo(name)
    except (zoneinfo.ZoneInfoNotFoundError, ValueError, OSError):
        yield "policy.timezone", f"{name} is no time zone that this system knows; is the package tzdata installed?"


def _pipeline(document: Document) -> Iterator[Finding]:
    pipeline = document.pipeline
    if pipeline.retry_max_s < pipeline.retry_min_s:
        yield "pipeline.retry_max", "is shorter than retry_min"


def _carriers(document: Document) -> Iterator[Finding]:
    yield from _twice("carriers", "name", [carrier.name for carrier in document.carriers])
    for at, carrier in enumerate(document.carriers):
        for key, text in carrier_findings(carrier):
            yield f"carriers[{at}].{key}", text


def _telemetry(document: Document) -> Iterator[Finding]:
    for section, findings in (
        ("otlp", _otlp(document.telemetry.otlp)),
        ("metrics", _metrics(document.telemetry.metrics, document.node.trust_domain)),
    ):
        for key, text in findings:
            yield f"telemetry.{section}.{key}", text


def _otlp(otlp: OtlpSettings) -> Iterator[Finding]:
    if (otlp.certificate_file is None) != (otlp.key_file is None):
        yield "key_file", "wants certificate_file and key_file together, or neither"
    if otlp.endpoint is not None and otlp.endpoint.port == 0:
        yield "endpoint", "wants the collector's port"
    if not otlp.insecure:
        return
    if otlp.endpoint is not None and not is_loopback(otlp.endpoint.host):
        yield (
            "insecure",
            f"{otlp.endpoint.host} is not on loopback: what is sent there could be read on its way",
        )
    if otlp.ca_file or otlp.server_name or otlp.certificate_file or otlp.key_file:
        yield "insecure", "turns TLS off, yet there are settings for it; remove one of the two"


def _metrics(metrics: MetricsSettings, domain: str) -> Iterator[Finding]:
    for index, reader in enumerate(metrics.readers):
        if not reader.startswith(f"spiffe://{domain}/"):
            yield f"readers[{index}]", f"{reader} is not of this node's trust domain, {domain}: it could not read"
    if metrics.listen is None:
        return
    if metrics.insecure and not is_loopback(metrics.listen.host):
        yield "insecure", f"{metrics.listen.host} is not on loopback: leave it out, and name readers"
    if metrics.insecure and metrics.readers:
        yield "insecure", "turns TLS off, and with it the readers; remove one of the two"
    if not metrics.insecure and not metrics.readers:
        text = "names nobody, so nobody could read the page: name SPIFFE IDs, or set insecure: true on loopback"
        yield "readers", text


def _twice(path: str, key: str, names: list[str]) -> Iterator[Finding]:
    for at, name in enumerate(names):
        if name in names[:at]:
            yield f"{path}[{at}].{key}", f"{name} stands here a second time"
