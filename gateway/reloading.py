"""Taking over a changed configuration while the node runs: validated whole, then applied by part, or refused whole.

Nothing is changed before everything has been read and checked, and the record of it is on disk. A setting that is not
marked reloadable (`gateway.config.definitions`) and differs refuses all of it, by file, line and key; so does a set of
policies with a fault. The policies are read again each time, whether smsgw.yaml is another one or not.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import NamedTuple, Protocol

from carrier.contract import Link
from carrier.errors import CarrierError
from carrier.profile import CarrierProfile
from carrier.text.writing import Counting
from carrier.tls import client_context
from gateway import assembly
from gateway.api.authorizing import call_actions
from gateway.audit.records import ConfigLoaded, OperatorActed, PoliciesReplaced, Record
from gateway.config.differences import differences
from gateway.config.errors import ConfigError, ConfigProblem
from gateway.config.limit_settings import LimitSettings
from gateway.config.loader import Loaded, read
from gateway.config.schema import Settings
from gateway.config.secret_files import SecretFileRefused
from gateway.errors import FieldViolation, GatewayError, InvalidRequest, Unavailable
from gateway.pipeline.outcomes import RetryRules
from gateway.pipeline.router import NumberOf, Routing
from gateway.policy.errors import PoliciesRefused
from gateway.policy.judge import Judge
from gateway.policy.loader import Policies, digest_of, load_policies
from gateway.privacy.periods import Periods
from gateway.sealed.errors import PayloadKeyRefused
from gateway.sealed.keys import PayloadKey
from gateway.sealing.provider_set import ProviderSet
from gateway.tenants import Tenants
from gateway.usage.assembly import cap_rules
from gateway.usage.caps import CapRules
from gateway.usage.prices import PriceTable
from gateway.validation import MessageRules
from visibility.alerts import NOBODY, AlertSink
from visibility.catalogue import CONFIGURATION_REFUSED, POLICIES_REFUSED

log = logging.getLogger(__name__)

_ROUTING = ("routes", "carriers")
REFUSED = "CONFIGURATION_REFUSED"


class Records(Protocol):
    """The part of the store that is needed here."""

    async def audit(self, batch: Sequence[Record]) -> None:
        """Commit records."""


class Validating(Protocol):
    """What is needed of `gateway.validation.Validator`."""

    def use(self, rules: MessageRules, counting: Counting) -> None:
        """Validate by these rules from now on."""


class Sending(Protocol):
    """What is needed of `gateway.pipeline.pipeline.Pipeline`."""

    def use(self, routing: Routing) -> None:
        """Send by these routes from now on."""

    def use_prices(self, table: PriceTable) -> None:
        """Bill by these prices from now on."""

    def use_rules(self, rules: RetryRules) -> None:
        """Settle by these rules from now on."""


class Deciding(Protocol):
    """What is needed of `gateway.policy.authorizer.Authorizer`."""

    @property
    def epoch(self) -> str:
        """The digest of the policies in force."""

    def use(self, judge: Judge) -> None:
        """Decide by another set from now on."""


class Comparing(assembly.Comparing, Protocol):
    """What is needed of `gateway.policy.shadowing.Shadowing`."""

    problem: str

    @property
    def epoch(self) -> str:
        """The digest of the candidate, "" for none."""


class Owning(Protocol):
    """What is needed of `gateway.tenancy.Tenancy`."""

    async def prepare(self, tenants: Tenants) -> None:
        """Make what these tenants need before they are in force. Raises Unavailable."""

    def use(self, tenants: Tenants) -> None:
        """Have these tenants from now on."""


class Limiting(Protocol):
    """What is needed of `gateway.api.limiting.Limits`."""

    def use(self, settings: LimitSettings) -> None:
        """Limit so from now on."""


class Carriers(Protocol):
    """What is needed of `gateway.pipeline.fleet.Fleet`."""

    def make(self, profile: CarrierProfile) -> Callable[[int], Link]:
        """Return what makes the links of a profile."""

    async def replace(self, profiles: Sequence[CarrierProfile]) -> list[str]:
        """Have these carriers from now on; says what was done."""


class Sealed(Protocol):
    """What is needed of `gateway.sealed_content.SealedContent`."""

    def read(self, settings: Settings) -> Sequence[PayloadKey]:
        """Return the payload keys that changed settings name. Raises SecretFileRefused and PayloadKeyRefused."""

    def use(self, settings: Settings, keys: Sequence[PayloadKey]) -> None:
        """Have these from now on."""


class Wrapping(Protocol):
    """What is needed of `gateway.key_assembly.SealingKeys`."""

    def read(self, settings: Settings) -> ProviderSet:
        """Return what wraps data keys by changed settings. Raises SecretFileRefused."""

    def use(self, changed: ProviderSet) -> None:
        """Wrap by these from now on."""


class Keeping(Protocol):
    """What is needed of `gateway.privacy.retention.Retention`."""

    def use(self, periods: Periods) -> None:
        """Keep to these periods from now on."""


class Capping(Protocol):
    """What is needed of `gateway.usage.keeping.CapKeeper`."""

    async def use(self, rules: CapRules) -> None:
        """Cap by these rules from now on."""


class Reloadable(NamedTuple):
    """The parts of a node that take over changes."""

    records: Records
    validator: Validating
    pipeline: Sending
    policies: Deciding
    shadowing: Comparing
    tenancy: Owning
    limits: Limiting
    number_of: NumberOf
    carriers: Carriers
    sealed: Sealed
    keks: Wrapping
    retention: Keeping
    caps: Capping


class _New(NamedTuple):
    """What has been read: the configuration with the digest of its file, and the policies that it names."""

    digest: str
    loaded: Loaded
    policies: Policies
    candidate: assembly.Candidate


class Reloader:
    """Belongs to one event loop. `settings` are those in force."""

    def __init__(
        self, settings: Settings, parts: Reloadable, now: Callable[[], int], alerts: AlertSink = NOBODY
    ) -> None:
        self.settings = settings
        self._alerts = alerts
        self._parts = parts
        self._now = now
        self._lock = asyncio.Lock()
        self._under_way: set[asyncio.Task[list[str]]] = set()
        self.policies_refused = 0  # sets with a fault, which were not taken over

    async def reload(self, audit: Sequence[Record] = ()) -> list[str]:
        """Read the file, and take over what has changed; return what that is, in words. `audit` is committed with it.

        It goes on to its end when whoever asked for it goes away. Raises InvalidRequest (CONFIGURATION_REFUSED) with
        every problem: then nothing has been changed.
        """
        task = asyncio.get_running_loop().create_task(self._reload_alone(audit))
        self._under_way.add(task)
        task.add_done_callback(self._under_way.discard)
        return await asyncio.shield(task)

    async def finished(self) -> None:
        """Return when no change is under way."""
        await asyncio.gather(*self._under_way, return_exceptions=True)

    async def _reload_alone(self, audit: Sequence[Record]) -> list[str]:
        async with self._lock:
            try:
                told = await self._taken_over(audit)
            except GatewayError as error:
                self._alerts.raise_alert(CONFIGURATION_REFUSED, why=str(error))
                raise
            self._alerts.resolve(CONFIGURATION_REFUSED)
            self._alerts.resolve(POLICIES_REFUSED)
            return told

    async def _taken_over(self, audit: Sequence[Record]) -> list[str]:
        found = await asyncio.to_thread(self._read)
        loaded, new = found.loaded, found.loaded.settings
        changed = differences(self.settings, new)
        _refuse(
            ConfigProblem(new.file, loaded.line_of(each.key), each.key, "is changed, and needs a restart")
            for each in changed
            if not each.reloadable
        )
        keys = [each.key for each in changed]
        replaced = found.policies.digest != self._parts.policies.epoch
        if not keys and not replaced and not self._other_candidate(found):
            return []
        if "carriers" in keys:
            await asyncio.to_thread(self._check_carriers, loaded)
        tenants = await self._prepared(loaded) if "tenants" in keys else None
        sealed = any(key.startswith("payload.") for key in keys)
        payload_keys = await asyncio.to_thread(self._payload_keys, loaded) if sealed else None
        keks = await asyncio.to_thread(self._keks, loaded) if any(key.startswith("keys.") for key in keys) else None
        records = list(self._records(found, audit, configuration=bool(keys), policies=replaced))
        await self._parts.records.audit(records)
        if tenants is not None:
            self._parts.tenancy.use(tenants)
        if payload_keys is not None:
            self._parts.sealed.use(new, payload_keys)
        if keks is not None:
            self._parts.keks.use(keks)
        told = await self._apply(found, keys)
        self.settings = new
        log.info("configuration_reloaded", extra={"changed": told, "digest": found.digest})
        return told

    async def _prepared(self, loaded: Loaded) -> Tenants:
        """Return the new tenants, who can be in force from now on. Raises InvalidRequest and Unavailable."""
        try:
            tenants = assembly.tenants_of(loaded.settings)
        except ValueError as error:
            file, line = loaded.settings.file, loaded.line_of("tenants")
            raise _refusal((ConfigProblem(file, line, "tenants", str(error)),)) from None
        await self._parts.tenancy.prepare(tenants)
        return tenants

    def _payload_keys(self, loaded: Loaded) -> Sequence[PayloadKey]:
        """Return the payload keys of changed settings. Raises InvalidRequest."""
        try:
            return self._parts.sealed.read(loaded.settings)
        except (SecretFileRefused, PayloadKeyRefused) as error:
            key = "payload.key_files" if loaded.settings.payload.key_files else "payload.public_key_files"
            problem = ConfigProblem(loaded.settings.file, loaded.line_of(key), key, str(error))
            raise _refusal((problem,)) from None

    def _keks(self, loaded: Loaded) -> ProviderSet:
        """Return the key-encryption keys of changed settings. Raises InvalidRequest."""
        try:
            return self._parts.keks.read(loaded.settings)
        except SecretFileRefused as error:
            raise _refusal((ConfigProblem(loaded.settings.file, loaded.line_of("keys"), "keys", str(error)),)) from None

    def _records(
        self, found: _New, audit: Sequence[Record], *, configuration: bool, policies: bool
    ) -> Iterator[Record]:
        """Yield what is committed before anything changes: how it was permitted, and what is in force then."""
        now, node = self._now(), self.settings.node.name
        yield from audit
        if configuration:
            yield ConfigLoaded(now, node, "configuration", found.digest)
        if policies:
            by = next((record.by for record in audit if isinstance(record, OperatorActed)), "")
            yield PoliciesReplaced(
                now, node, by, self._parts.policies.epoch, found.policies.digest, len(found.policies.policies)
            )
        if found.candidate.digest and self._other_candidate(found):
            yield ConfigLoaded(now, node, "shadow policies", found.candidate.digest)

    def _read(self) -> _New:
        """Return what is in the files now. Raises InvalidRequest, and Unavailable for what changes meanwhile."""
        digest, loaded = self._read_configuration()
        folder = loaded.settings.policy.dir
        try:
            policies = load_policies(folder, call_actions())
            again = digest_of(folder)
        except PoliciesRefused as error:
            raise self._policies_at_fault(error) from None
        if again != policies.digest:
            raise Unavailable(f"{folder} was changed while it was read: reload again")
        return _New(digest, loaded, policies, assembly.candidate(loaded.settings))

    def _policies_at_fault(self, error: PoliciesRefused) -> InvalidRequest:
        """Count, log and raise the alert of a set with a fault; return the refusal."""
        self.policies_refused += 1
        in_force = self._parts.policies.epoch
        log.error("policies_refused", extra={"why": str(error), "in_force": in_force})
        first = error.problems[0]
        why = f"{first.file.name}:{first.line}: {first.text}"
        self._alerts.raise_alert(POLICIES_REFUSED, why=f"{why}; {in_force[:12]} stays in force")
        return _refusal([ConfigProblem(at.file, at.line, "policy.dir", at.text) for at in error.problems])

    def _read_configuration(self) -> tuple[str, Loaded]:
        file = self.settings.file
        try:
            digest = hashlib.sha256(file.read_bytes()).hexdigest()
            loaded = read(file)
            again = hashlib.sha256(file.read_bytes()).hexdigest()
        except ConfigError as error:
            raise _refusal(error.problems) from None
        except OSError as error:
            raise _refusal((ConfigProblem(file, 0, "", error.strerror or "cannot be read"),)) from error
        if again != digest:
            raise Unavailable(f"{file} was changed while it was read: reload again")
        return digest, loaded

    def _check_carriers(self, loaded: Loaded) -> None:
        """Try what only shows when a link is made: files for TLS, and credentials that fit into a bind."""
        known = {profile.name: profile for profile in self.settings.carriers}
        problems = []
        for at, profile in enumerate(loaded.settings.carriers):
            if profile == known.get(profile.name):
                continue
            try:
                self._parts.carriers.make(profile)(0)
                if profile.tls is not None:
                    client_context(profile.tls)
            except (CarrierError, ValueError) as error:
                key = f"carriers[{at}]"
                problems.append(ConfigProblem(loaded.settings.file, loaded.line_of(key), key, str(error)))
        _refuse(problems)

    async def _apply(self, found: _New, keys: Sequence[str]) -> list[str]:
        parts, new = self._parts, found.loaded.settings
        told = [key for key in keys if key != "carriers"]
        told += self._use_policies(found, keys)
        if not keys:
            return told
        parts.validator.use(assembly.message_rules(new), assembly.counting_of(new))
        if any(key.startswith("limits.") for key in keys):
            parts.limits.use(new.limits)
        parts.pipeline.use_rules(assembly.retry_rules(new))
        if any(key.startswith("retention.") for key in keys):
            parts.retention.use(Periods(new.retention))
        logging.getLogger().setLevel(new.log.level.upper())
        if any(key in _ROUTING or key.startswith("pipeline.failover") for key in keys):  # before carriers go
            parts.pipeline.use(assembly.routing(new, parts.number_of))
        if any(key.startswith("usage.") for key in keys):
            rules = cap_rules(new.usage)
            parts.pipeline.use_prices(rules.prices)
            await parts.caps.use(rules)
        if "carriers" in keys:
            told += await parts.carriers.replace(new.carriers)
        return told

    def _use_policies(self, found: _New, keys: Sequence[str]) -> list[str]:
        """Let another set decide, at this moment, or the same one by another clock, and compare the candidate with it;
        return what to tell of it."""
        parts, policies, settings = self._parts, found.policies, found.loaded.settings
        before, other = parts.policies.epoch, self._other_candidate(found)
        anew = policies.digest != before or "policy.timezone" in keys
        told = []
        if anew:
            parts.policies.use(assembly.judge(settings, policies, self._alerts))
        if anew or other:
            assembly.use_candidate(settings, found.candidate, parts.shadowing, self._now())
        if policies.digest != before:
            count = len(policies.policies)
            log.info("policies_loaded", extra={"policies": count, "digest": policies.digest, "before": before})
            told.append(f"policies {before[:12]} → {policies.digest[:12]}: {count} policies")
        return told + ([found.candidate.text] if other and found.candidate.text else [])

    def _other_candidate(self, found: _New) -> bool:
        shadowing, candidate = self._parts.shadowing, found.candidate
        return (candidate.digest, candidate.problem) != (shadowing.epoch, shadowing.problem)


def _refuse(problems: Iterable[ConfigProblem]) -> None:
    """Raise InvalidRequest when there are any."""
    found = tuple(problems)
    if found:
        raise _refusal(found)


def _refusal(problems: Sequence[ConfigProblem]) -> InvalidRequest:
    return InvalidRequest(
        tuple(
            FieldViolation(
                problem.key or "configuration",
                f"{problem.file}:{problem.line}: {problem.text}" if problem.line else f"{problem.file}: {problem.text}",
                REFUSED,
            )
            for problem in problems
        )
    )
