"""From the sections of the configuration to what each part of the node is built with.

One function a part; none keeps anything. Who gets what is `gateway.composition`.
"""

from __future__ import annotations

import datetime as dt
import logging
import os
import zoneinfo
from collections.abc import Callable, Sequence
from typing import NamedTuple, Protocol

from carrier.text.writing import Counting, counting
from certs.spiffe_id import SpiffeId, TrustDomain
from certs.tls import BundleFiles, SvidFiles
from certs.workload.endpoint import Endpoint
from certs.workload.source import X509Source
from certs.workload.state import Pick
from gateway.admins import Admins
from gateway.api.authorizing import call_actions
from gateway.api.connections import ConnectionBounds
from gateway.api.server import ServerOptions
from gateway.config.carrier_text_settings import text_profile
from gateway.config.failover_settings import patience_of
from gateway.config.identity_settings import FROM_ENVIRONMENT, WorkloadApiSettings
from gateway.config.schema import Environment, Role, Settings
from gateway.errors import StoreCorrupt
from gateway.identity import utc_now
from gateway.limits.assembly import rate
from gateway.limits.rate import Rate
from gateway.own_identity import IdentityFiles, IdentityFromWorkloadApi, OwnIdentity, fit_to_serve
from gateway.pipeline.explainer import Explainer
from gateway.pipeline.holds import Holds
from gateway.pipeline.outcomes import RetryRules
from gateway.pipeline.recounting import Recounter
from gateway.pipeline.router import NumberOf, Router, Routing
from gateway.pipeline.switches import CarrierSwitches
from gateway.policy.authorizer import Authorizer, Spend, spend_nothing
from gateway.policy.cache import DEFAULT_DECISIONS, DecisionCache
from gateway.policy.engine import Decision
from gateway.policy.errors import PoliciesRefused
from gateway.policy.judge import Judge
from gateway.policy.loader import Policies, load_policies
from gateway.sealed.keys import PayloadKey
from gateway.states import Category
from gateway.store.contract import Waiting
from gateway.tenants import TenantEntry, Tenants
from gateway.validation import MessageRules
from visibility.alerts import NOBODY, AlertSink

log = logging.getLogger(__name__)

_SECOND = 1_000_000
_SHADOW_DECISIONS = 4096  # of one tenant: half of what the set in force remembers


def own_identity(settings: Settings) -> OwnIdentity:
    """Return who the node is. Raises CertsError for files that cannot be used, or no address."""
    files = BundleFiles({TrustDomain(domain): path for domain, path in settings.identity.bundles.items()})
    api = settings.identity.workload_api
    if api is None:
        return IdentityFiles(SvidFiles(settings.api.svid_file, settings.api.svid_key_file), files, utc_now)
    development = settings.node.environment is Environment.DEVELOPMENT
    source = X509Source(
        workload_endpoint(api),
        workload_pick(settings.node.trust_domain, api),
        frozenset(map(TrustDomain, api.federated)),
        fit_to_serve(development=development),
    )
    return IdentityFromWorkloadApi(source, files, wait_s=api.wait_s, development=development, clock=utc_now)


def workload_endpoint(api: WorkloadApiSettings) -> Endpoint:
    """Return where the Workload API is. Raises BadEndpoint when the environment is to say it, and does not."""
    if api.endpoint == FROM_ENVIRONMENT:
        return Endpoint.from_environment(os.environ)
    return Endpoint.parse(api.endpoint)


def workload_pick(trust_domain: str, api: WorkloadApiSettings) -> Pick:
    """Return which identity is the node's."""
    return Pick(
        spiffe_id=None if api.spiffe_id is None else SpiffeId.parse(api.spiffe_id),
        hint=api.hint or "",
        trust_domain=TrustDomain(trust_domain),
    )


def tenants_of(settings: Settings) -> Tenants:
    """Return the tenants, checked. Raises ValueError."""
    return Tenants(
        [
            TenantEntry(name=entry.name, spiffe_ids=entry.spiffe_ids, inbound_numbers=entry.inbound_numbers)
            for entry in settings.tenants
        ]
    )


def authorizer(settings: Settings, spend: Spend, alerts: AlertSink = NOBODY) -> Authorizer:
    """Return who answers for the policies. Raises PoliciesRefused, a ValueError, for a set with a fault."""
    policies = load_policies(settings.policy.dir, call_actions())
    log.info("policies_loaded", extra={"policies": len(policies.policies), "digest": policies.digest})
    return Authorizer(judge(settings, policies, alerts), spend=spend)


class Comparing(Protocol):
    """What is needed of `gateway.policy.shadowing.Shadowing`."""

    def use(self, judge: Judge | None, now: int, problem: str = "") -> None:
        """Compare with another candidate from now on, or with none."""


class Candidate(NamedTuple):
    """The set that is configured beside the one in force: none, one that can be used, or why it cannot."""

    policies: Policies | None
    problem: str

    @property
    def digest(self) -> str:
        """The set's, "" for none."""
        return "" if self.policies is None else self.policies.digest

    @property
    def text(self) -> str:
        """What to tell of it, "" where there is none."""
        if self.policies is not None:
            return f"shadow policies {self.digest[:12]}: {len(self.policies.policies)} policies"
        return f"shadow policies: not used, {self.problem}" if self.problem else ""


def candidate(settings: Settings) -> Candidate:
    """Return the candidate. Raises nothing for one with a fault: it decides nothing, and stops nothing."""
    if settings.policy.shadow is None:
        return Candidate(None, "")
    try:
        return Candidate(load_policies(settings.policy.shadow, call_actions()), "")
    except PoliciesRefused as error:
        more = len(error.problems) - 1
        return Candidate(None, f"{error.problems[0]}{f', and {more} more' if more else ''}")


def use_candidate(settings: Settings, found: Candidate, shadowing: Comparing, now: int) -> None:
    """Have a candidate compared from now on, or none."""
    beside = None if found.policies is None else judge(settings, found.policies, NOBODY, decisions=_SHADOW_DECISIONS)
    shadowing.use(beside, now, found.problem)


def judge(settings: Settings, policies: Policies, alerts: AlertSink, *, decisions: int = DEFAULT_DECISIONS) -> Judge:
    """Return who decides by a set of policies; `decisions` is how many of a tenant are remembered."""
    name = settings.policy.timezone
    zone = dt.UTC if name == "UTC" else zoneinfo.ZoneInfo(name)
    cache: DecisionCache[Decision] = DecisionCache(decisions=decisions)
    return Judge(policies, zone=zone, home=settings.node.trust_domain, alerts=alerts, cache=cache)


def server_options(settings: Settings) -> ServerOptions:
    """Return the bounds of the API's server."""
    return ServerOptions(
        max_message_bytes=settings.api.max_message_bytes,
        max_concurrent_streams=settings.api.max_concurrent_streams,
        max_metadata_bytes=settings.api.max_metadata_bytes,
        max_connections=settings.api.max_connections,
        handshake_timeout_s=settings.api.handshake_timeout_s,
    )


def connection_bounds(settings: Settings) -> ConnectionBounds:
    """Return how many connections an address may have."""
    return ConnectionBounds(
        per_address=settings.api.max_connections_per_address,
        silent_per_address=settings.api.max_silent_connections_per_address,
        handshakes=rate(settings.api.handshakes_per_address, settings.api.handshakes_per_address_burst),
    )


def admins_of(settings: Settings) -> Admins:
    """Return who operates the node, and which other nodes call it."""
    return Admins(settings.admin.prefixes(settings.node.trust_domain), settings.revocation.followers)


def message_rules(settings: Settings) -> MessageRules:
    """Return the bounds and defaults of messages."""
    messages = settings.messages
    return MessageRules(
        max_segments=messages.max_segments,
        otp_validity_s=messages.validity.otp_s,
        transactional_validity_s=messages.validity.transactional_s,
        promotional_validity_s=messages.validity.promotional_s,
        sealed=bool(settings.payload.key_files or settings.payload.public_key_files),
    )


def payload_keys(settings: Settings) -> Sequence[PayloadKey]:
    """Return the keys that callers seal to: their public halves on a node that only accepts. Raises SecretFileRefused,
    and PayloadKeyRefused, a ValueError."""
    payload = settings.payload
    if not payload.key_files and not payload.public_key_files:
        return ()
    from gateway.sealed.key_files import read_keys, read_public_keys  # it loads the library: not without such keys

    return read_keys(payload.key_files) or read_public_keys(payload.public_key_files)


def opening_rate(settings: Settings) -> Rate:
    """Return how much content sealed by RSA is opened for each tenant."""
    payload = settings.payload
    return rate(payload.rsa_openings_per_tenant, payload.rsa_openings_per_tenant_burst)


def routing(settings: Settings, number_of: NumberOf) -> Routing:
    """Return which carrier a message goes by, and when another one."""
    return Routing(
        routes=settings.routes,
        number_of=number_of,
        carriers=[carrier.name for carrier in settings.carriers],
        patience=patience_of(settings.pipeline.failover_after),
        breakers=settings.breakers,
        actions={carrier.name: carrier.statuses for carrier in settings.carriers},
    )


def counting_of(settings: Settings) -> Counting:
    """Return what knows how the carriers write texts: this node's, or those it is told of where it only accepts."""
    told = (text_profile(carrier.text) for carrier in settings.messages.counted_for)
    return counting((*(carrier.text for carrier in settings.carriers), *told))


def recounter(settings: Settings, alerts: AlertSink, now: Callable[[], int]) -> Recounter | None:
    """Return what counts messages again, where other nodes have counted them."""
    return Recounter(settings.carriers, alerts, now) if settings.node.role is Role.RELAY else None


def retry_rules(settings: Settings) -> RetryRules:
    """Return what becomes of messages in doubt and of temporary errors."""
    pipeline = settings.pipeline
    wanted = {
        Category.OTP: pipeline.resend.otp,
        Category.TRANSACTIONAL: pipeline.resend.transactional,
        Category.PROMOTIONAL: pipeline.resend.promotional,
    }
    return RetryRules(
        resend=frozenset(category for category, yes in wanted.items() if yes),
        retry_min=round(pipeline.retry_min_s * _SECOND),
        retry_max=round(pipeline.retry_max_s * _SECOND),
        receipt_grace=round(settings.messages.receipt_grace_s * _SECOND),
    )


def no_number(message: Waiting) -> str:
    """Raise StoreCorrupt: where there are no messages, no number is asked for."""
    del message
    raise StoreCorrupt("there is no message here")


def offline_explainer(settings: Settings) -> Explainer:
    """Return who explains routes without a running node. Raises PoliciesRefused, a ValueError."""
    return Explainer(
        router=Router(routing(settings, no_number), CarrierSwitches()),
        authorizer=authorizer(settings, spend_nothing),
        profiles=settings.carriers,
        holds=Holds(),
        running=False,
    )
