"""Looks at everything that a configuration names, without starting anything: keys, certificates, database, TLS files.

Each look is a `Finding`: what was looked at, whether it is fine, what was found, and what to do. `smsgw check` shows
them all; `smsgw serve` refuses to start when one of `before_start` is a problem.
"""

from __future__ import annotations

import datetime as dt
import os
import stat
from collections.abc import Iterator
from pathlib import Path

from carrier.endpoint import endpoints_of
from carrier.errors import TlsRefused
from carrier.profile import CarrierProfile
from carrier.tls import client_context
from certs.bundle import Bundle, TrustBundles
from certs.errors import CertsError, NotValidNow
from certs.spiffe_id import TrustDomain
from certs.svid import MAX_KEY_BYTES, X509Svid
from certs.tls import BundleFiles, check_own_svid
from certs.workload.blocking import BlockingX509Source
from gateway.api.authorizing import call_actions
from gateway.assembly import workload_endpoint, workload_pick
from gateway.cli.database import look_at
from gateway.cli.finding import Finding
from gateway.cli.index_keys import look_at_index_keys
from gateway.cli.log_inspection import look_at_log
from gateway.cli.payload_inspection import look_at_payload_keys
from gateway.cli.secret_inspection import look_at_secrets
from gateway.config.identity_settings import WorkloadApiSettings
from gateway.config.schema import Environment, Role, Settings
from gateway.config.secret_files import SecretFileRefused, read_secret_file
from gateway.config.telemetry_settings import OtlpSettings
from gateway.errors import StoreCorrupt, Unavailable
from gateway.federation import looked_at
from gateway.key_assembly import keyring, provider
from gateway.own_identity import is_development
from gateway.policy.errors import PoliciesRefused
from gateway.policy.loader import load_policies
from gateway.records import MIN_KEY_BYTES
from gateway.revocation.codec import key_id_of
from gateway.revocation.errors import DenyListError
from gateway.revocation.keys import read_public_keys, read_signing_key
from gateway.sealing.envelope import KEY_BYTES, KEY_ID_BYTES
from gateway.sealing.keyring import EVERY_KEY, Keyring, KeyringUnavailable, Selection, WrappedKey, wrap_context
from gateway.sealing.openers import Openers
from gateway.sealing.provider_set import ProviderSet
from gateway.sealing.providers import ProviderUnavailable

_KEY_BYTES_AT_MOST = 64
_ASK_S = 10.0  # how long a Workload API may take to answer
_PROBE = wrap_context(bytes(KEY_ID_BYTES), "", "", 0, 0)  # of no data key: see whether one could be wrapped
_WAITING_DAYS = 16  # a message may wait for 7 days, and then be valid for 7: keys of older days send nothing any more


def before_start(settings: Settings, now: dt.datetime) -> list[Finding]:
    """Return what a node needs to be right before it starts; the database looks after itself when it is opened, and for
    a Workload API the node waits."""
    findings = [
        *_index_keys(settings),
        *_sealing(settings, _WAITING_DAYS),
        *_identity(settings, now, ask=False),
        *look_at_payload_keys(settings, now),
        *_federation(settings),
        *_deny_list(settings),
        *map(_carrier, settings.carriers),
        *_telemetry(settings),
        *_policies(settings.policy.dir),
    ]
    return [*findings, *look_at_secrets(settings.secrets, findings)]


def everything(settings: Settings, now: dt.datetime) -> list[Finding]:
    """Return a finding for each thing that the configuration names."""
    findings = [
        *_index_keys(settings),
        *_sealing(settings, None),
        *_identity(settings, now, ask=True),
        *look_at_payload_keys(settings, now),
        *_federation(settings),
        *_deny_list(settings),
        *map(_carrier, settings.carriers),
        *_telemetry(settings),
        *_policies(settings.policy.dir),
        *(_policies(settings.policy.shadow, "shadow policies") if settings.policy.shadow is not None else ()),
        _data_dir(settings.node.data_dir),
        look_at(settings.store),
        *look_at_log(settings),
        *look_at_index_keys(settings, now),
    ]
    return [*findings, *look_at_secrets(settings.secrets, findings)]


def _deny_list(settings: Settings) -> Iterator[Finding]:
    """Look at the keys of the deny list."""
    revocation = settings.revocation
    try:
        keys = read_public_keys(revocation.public_key_files)
        if revocation.publisher is None:
            key = read_signing_key(revocation.signing_key_file).public_key()
            yield Finding("deny list", f"signed here, key {key_id_of(key).hex()[:12]}")
        else:
            pinned = ", ".join(key_id_of(key).hex()[:12] for key in keys)
            yield Finding("deny list", f"followed from {revocation.publisher}, signed by {pinned}")
    except DenyListError as error:
        yield Finding("deny list", "", str(error), "docs/revocation.md says which node has which key")


def _policies(folder: Path, subject: str = "policies") -> Iterator[Finding]:
    try:
        policies = load_policies(folder, call_actions())
    except PoliciesRefused as error:
        for problem in error.problems:
            yield Finding(subject, "", str(problem), "smsgw policy check shows all of it; docs/policy.md teaches it")
    else:
        yield Finding(subject, f"{folder}, {len(policies.policies)} policies, {policies.digest[:12]}")


def _index_keys(settings: Settings) -> Iterator[Finding]:
    yield _index_key("index key", settings.store.index_key_file)
    for file in settings.store.older_index_key_files:
        yield _index_key("older index key", file)


def _index_key(subject: str, file: Path) -> Finding:
    try:
        size = len(read_secret_file(file, max_bytes=_KEY_BYTES_AT_MOST))
    except SecretFileRefused as error:
        return Finding(subject, "", str(error), "smsgw init makes one; restore it from a backup if there are messages")
    if size < MIN_KEY_BYTES:
        return Finding(subject, "", f"{file} has {size} bytes", f"it has to hold {MIN_KEY_BYTES} random bytes")
    return Finding(subject, f"{file}, private, {size} bytes")


def _sealing(settings: Settings, days: int | None) -> Iterator[Finding]:
    """Look at the key-encryption keys, then at the data keys they wrapped, in the newest `days` files or in all."""
    keys = settings.keys
    try:
        wrapping = provider(settings)
    except SecretFileRefused as error:
        advice = (
            "restore it from its copy: without it no stored message can be opened; "
            f"a node that has none yet: (umask 077; head -c 32 /dev/urandom > {keys.kek_file})"
        )
        yield Finding("sealing key", "", str(error), advice)
        return
    yield _wrapping(settings, wrapping)
    if settings.node.role is Role.ACCEPT:
        yield Finding("data keys", f"added to {keyring(settings).name}; a node that only accepts reads none")
    else:
        yield _data_keys(keyring(settings), wrapping, days)


def _wrapping(settings: Settings, wrapping: ProviderSet) -> Finding:
    """Say whether the key-encryption key wraps, by asking it to."""
    keys, subject = settings.keys, "sealing key"
    older = len(keys.older_kek_files) + len(keys.older_keks)
    try:
        kek_id = wrapping.wrap(bytes(KEY_BYTES), _PROBE).kek_id
    except ProviderUnavailable as error:
        return Finding(
            subject, "", str(error), "without it no message can be accepted; docs/keys.md says what each needs"
        )
    where = f"{keys.kek_file}, private, id {kek_id}" if keys.kek is None else kek_id
    return Finding(subject, where + (f", {older} older" if older else ""))


def _data_keys(ring: Keyring, wrapping: ProviderSet, days: int | None) -> Finding:
    """Say whether the data keys can be unwrapped: one for each key-encryption key, since any of them proves it."""
    subject, count, newest = "data keys", 0, dict[str, WrappedKey]()
    try:
        for record in ring.records(_last(ring, days)):
            if isinstance(record, WrappedKey):
                count += 1
                newest[record.wrapped.kek_id] = record
        openers = Openers(provider=wrapping, keyring=ring)
        for record in newest.values():
            openers.get(record.key_id)
    except (StoreCorrupt, Unavailable, KeyringUnavailable) as error:
        why = str(error.__cause__ or error) if isinstance(error, Unavailable) else str(error)
        return Finding(subject, "", why, "without its data key a stored message cannot be read or sent")
    finally:
        ring.close()
    keys = f"{len(newest)} key{'' if len(newest) == 1 else 's'}"
    return Finding(subject, f"{ring.name}, {count} wrapped by {keys}" if count else f"{ring.name}, none yet")


def _last(ring: Keyring, days: int | None) -> Selection:
    """Return the selection of the keys of so many days, the newest ones; of all without a number."""
    found = [] if days is None else ring.newest_days(days)
    return Selection(first_day=found[0]) if found else EVERY_KEY


def _identity(settings: Settings, now: dt.datetime, *, ask: bool) -> Iterator[Finding]:
    """Look at the bundles in files, then at the SVID with them; with `ask`, at what a Workload API gives."""
    found: dict[TrustDomain, Bundle] = {}
    for name, file in settings.identity.bundles.items():
        domain = TrustDomain(name)
        try:
            bundle = BundleFiles({domain: file}).bundles.get(domain)
        except CertsError as error:
            yield Finding(f"bundle of {name}", "", str(error), f"smsgw ca bundle --dir ca --out {file}")
            continue
        if bundle is not None:
            found[domain] = bundle
            yield _bundle(name, str(file), bundle, settings.node.environment)
    if settings.identity.workload_api is None:
        yield _svid(settings, TrustBundles(found.values()), now)
    elif ask:
        yield from _asked(settings, settings.identity.workload_api, now)


def _federation(settings: Settings) -> Iterator[Finding]:
    """Look at what is held of other trust domains; their endpoints are not asked."""
    for entry in settings.identity.federation:
        subject = f"federation with {entry.trust_domain}"
        try:
            yield Finding(subject, looked_at(settings, entry))
        except CertsError as error:
            yield Finding(subject, "", str(error), "docs/federation.md says what each side needs")


def _asked(settings: Settings, api: WorkloadApiSettings, now: dt.datetime) -> Iterator[Finding]:
    """Fetch from the Workload API, as this user and this program, what a node would get."""
    subject, own = "SVID", settings.node.trust_domain
    advice = (
        f"is the agent running, and is spiffe://{own}/gateway registered for the user that runs smsgw, with the DNS "
        f"name gateway.{own}? docs/workload-identity.md shows how"
    )
    try:
        endpoint = workload_endpoint(api)
        source = BlockingX509Source(endpoint, workload_pick(own, api), frozenset(map(TrustDomain, api.federated)))
        with source:
            source.ready(min(api.wait_s, _ASK_S))
    except CertsError as error:
        yield Finding(subject, "", str(error), advice)
        return
    for name in (own, *api.federated):
        bundle = source.bundles.get(TrustDomain(name))
        if bundle is None:
            text = f"the Workload API at {endpoint} has none: nobody of {name} can call"
            yield Finding(f"bundle of {name}", "", text, f"federate with {name} there, or name a file")
        else:
            yield _bundle(name, f"Workload API {endpoint}", bundle, settings.node.environment)
    svid = source.svid
    if not svid.facts.dns_names:
        yield Finding(subject, "", f"{svid.spiffe_id} has no DNS name: callers could not check it", advice)
        return
    yield Finding(subject, f"{svid.spiffe_id}, {svid.facts.dns_names[0]}, {_span(source.expires_at - now)} left")


def _bundle(name: str, place: str, bundle: Bundle, environment: Environment) -> Finding:
    subject = f"bundle of {name}"
    if is_development(bundle) and environment is not Environment.DEVELOPMENT:
        return Finding(
            subject,
            "",
            f"{place}: of a development CA, and node.environment is {environment}",
            "use the bundle of a real CA; or, on a developer's machine, set node.environment: development",
        )
    count = len(bundle.authorities)
    return Finding(subject, f"{place}, {count} root{'' if count == 1 else 's'}")


def _svid(settings: Settings, bundles: TrustBundles, now: dt.datetime) -> Finding:
    subject, api = "SVID", settings.api
    issue = (
        f"smsgw ca issue --dir ca --spiffe-id spiffe://{settings.node.trust_domain}/gateway "
        f"--dns gateway.{settings.node.trust_domain} --out {api.svid_file.with_suffix('')}"
    )
    try:
        svid = X509Svid.load(api.svid_file, api.svid_key_file)
        check_own_svid(svid, bundles, now)
    except NotValidNow as error:
        return Finding(subject, "", f"{api.svid_file}: {error}", f"{issue}; `smsgw ca serve` renews it from then on")
    except CertsError as error:
        return Finding(subject, "", str(error), issue)
    if svid.spiffe_id.trust_domain.name != settings.node.trust_domain:
        return Finding(subject, "", f"{svid.spiffe_id} is not in {settings.node.trust_domain}", issue)
    if not svid.facts.dns_names:
        return Finding(subject, "", f"{api.svid_file} has no DNS name: callers could not check it", issue)
    left = svid.expires_at - now
    return Finding(subject, f"{svid.spiffe_id}, {svid.facts.dns_names[0]}, {_span(left)} left")


def _span(left: dt.timedelta) -> str:
    minutes = int(left.total_seconds() // 60)
    return f"{minutes} min" if minutes < 120 else f"{minutes // 60} h"


def _carrier(profile: CarrierProfile) -> Finding:
    subject = f"carrier {profile.name}"
    endpoints = endpoints_of(profile)
    where = " and ".join(f"{each.role.value} {each.where}" for each in endpoints)
    if profile.tls is None:
        return Finding(subject, f"{where}, insecure: plain text on loopback")
    try:
        client_context(profile.tls)
    except TlsRefused as error:
        return Finding(subject, "", str(error), "correct the carrier's tls settings or the file")
    names = dict.fromkeys(each.expected_name for each in endpoints)
    return Finding(subject, f"{where}, TLS, expects {' and '.join(names)}")


def _telemetry(settings: Settings) -> Iterator[Finding]:
    """Look at what traces and metrics need; nothing is asked of the collector."""
    otlp, metrics = settings.telemetry.otlp, settings.telemetry.metrics
    if otlp.endpoint is not None:
        yield _collector(otlp)
    if metrics.listen is not None:
        how = "plain text on loopback" if metrics.insecure else f"mutual TLS, {len(metrics.readers)} readers"
        yield Finding("metrics page", f"{metrics.listen}, {how}")


def _collector(otlp: OtlpSettings) -> Finding:
    subject = "collector"
    if otlp.insecure:
        return Finding(subject, f"{otlp.endpoint}, plain text on loopback")
    try:
        for file in (otlp.ca_file, otlp.certificate_file):
            if file is not None and b"-----BEGIN CERTIFICATE-----" not in file.read_bytes():
                return Finding(subject, "", f"{file} has no certificate", "name a PEM file in telemetry.otlp")
        if otlp.key_file is not None:
            read_secret_file(otlp.key_file, max_bytes=MAX_KEY_BYTES)
    except OSError as error:
        return Finding(subject, "", f"{error.filename}: {error.strerror}", "correct the file under telemetry.otlp")
    except SecretFileRefused as error:
        return Finding(subject, "", str(error), "correct telemetry.otlp.key_file")
    return Finding(subject, f"{otlp.endpoint}, TLS, expects {otlp.server_name or otlp.endpoint}")


def _data_dir(folder: Path) -> Finding:
    subject = "data folder"
    try:
        mode = folder.stat().st_mode
    except FileNotFoundError:
        if os.access(_first_existing(folder), os.W_OK | os.X_OK):
            return Finding(subject, f"{folder}, will be made")
        return Finding(subject, "", f"{folder} cannot be made", "make it, for the user that runs smsgw")
    except OSError as error:
        return Finding(subject, "", f"{folder}: {error.strerror}", "correct node.data_dir")
    if not stat.S_ISDIR(mode):
        return Finding(subject, "", f"{folder} is no folder", "correct node.data_dir")
    if mode & 0o077:
        return Finding(subject, "", f"{folder} is open to others (mode {mode & 0o777:04o})", f"chmod 700 {folder}")
    if not os.access(folder, os.W_OK | os.X_OK):
        return Finding(subject, "", f"{folder} cannot be written", "chown it to the user that runs smsgw")
    return Finding(subject, f"{folder}, private")


def _first_existing(folder: Path) -> Path:
    return next(parent for parent in folder.parents if parent.exists())
