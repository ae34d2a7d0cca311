"""Reads smsgw.yaml once, whole, into frozen `Settings`, or says everything that is wrong with it.

Only the carriers' password files are opened here besides the configuration itself, and Vault is asked for what is named
there; keys and certificates belong to the
parts that use them (`smsgw check` looks at all of them).
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import NamedTuple

from carrier.profile import CarrierProfile
from gateway.config.audit_settings import AuditSettings
from gateway.config.carrier_profile import profile_of
from gateway.config.errors import ConfigError
from gateway.config.failover_settings import rules_of
from gateway.config.held_secrets import HELD
from gateway.config.reader import Reader, Wrong
from gateway.config.route_rules import routes_of
from gateway.config.rules import findings
from gateway.config.schema import Document, Settings
from gateway.config.secret_kinds import secret_settings
from gateway.config.vault_secrets import VaultRefused, fetch
from gateway.config.yaml_tree import read_tree


class Loaded(NamedTuple):
    """A configuration, and the line of each key path that stands in its file."""

    settings: Settings
    lines: Mapping[str, int]

    def line_of(self, key: str) -> int:
        """Return the line of a setting, or of the nearest section above it that is in the file; 0 for none."""
        while key and key not in self.lines:
            key = key.rpartition(".")[0]
        return self.lines.get(key, 0)


def load(path: Path) -> Settings:
    """Return the configuration in `path`. Raises ConfigError with every problem found, in the order of the file.

    Relative paths are taken from the folder of the file, `store.file` from `node.data_dir`.
    """
    return read(path).settings


def read(path: Path) -> Loaded:
    """Return the configuration in `path`, with its lines. Raises like `load`."""
    file = Path(path)
    tree = read_tree(file)
    reader = Reader(file.absolute(), credentials=os.environ.get("CREDENTIALS_DIRECTORY"), held=HELD)
    try:
        document = reader.section(Document, tree, "")
    except Wrong:
        document = None
    if document is not None:
        for key, text in findings(document):
            reader.note(key, text)
        if not reader.problems:
            _fetch(document, reader)
        carriers = tuple(profile_of(carrier, at, reader) for at, carrier in enumerate(document.carriers))
        if not reader.problems:
            return Loaded(_settings(file.absolute(), document, carriers), reader.lines)
    raise ConfigError(
        tuple(problem._replace(file=file) for problem in sorted(reader.problems, key=lambda problem: problem.line))
    )


def _fetch(document: Document, reader: Reader) -> None:
    """Put the secrets from Vault where the settings have them; what cannot be had is noted."""
    fields = sorted(reader.vault_fields)
    if not fields:
        return
    if document.vault is None:
        reader.note("vault", f"is missing: {fields[0]} is named, and no address")
        return
    try:
        secrets = fetch(document.vault, fields)
    except VaultRefused as error:
        reader.note("vault", str(error))
        return
    for field, octets in secrets.items():
        HELD.put(str(field), octets)


def _settings(file: Path, document: Document, carriers: tuple[CarrierProfile, ...]) -> Settings:
    return Settings(
        file=file,
        secrets=tuple(secret_settings(Document, document)),
        node=document.node,
        api=document.api,
        admin=document.admin,
        identity=document.identity,
        revocation=document.revocation,
        tenants=document.tenants,
        store=dataclasses.replace(document.store, file=document.node.data_dir / document.store.file),
        audit=_audit(document),
        keys=document.keys,
        payload=document.payload,
        vault=document.vault,
        policy=document.policy,
        limits=document.limits,
        usage=document.usage,
        messages=document.messages,
        retention=document.retention,
        pipeline=document.pipeline,
        carriers=carriers,
        breakers=MappingProxyType({carrier.name: rules_of(carrier.breaker) for carrier in document.carriers}),
        routes=routes_of(document.routes, document.policy.timezone),
        log=document.log,
        telemetry=document.telemetry,
    )


def _audit(document: Document) -> AuditSettings:
    """Return the audit's settings, its folder in the data folder."""
    audit, log = document.audit, document.audit.log
    if log is None:
        return audit
    return dataclasses.replace(audit, log=dataclasses.replace(log, dir=document.node.data_dir / log.dir))
