"""client.yaml: how the commands of this machine reach a node (`smsgw send --dir DIR` reads DIR/client.yaml)."""

# ruff: noqa: RUF009 -- `setting` returns a dataclass field, which ruff only knows of `dataclasses.field`

from __future__ import annotations

import os
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from gateway.config.definitions import definitions, setting
from gateway.config.errors import ConfigError
from gateway.config.identity_settings import WorkloadEndpoint
from gateway.config.kinds import HOST_NAME, SPIFFE_ID, Address, FileName, HostPort, Items, Section, Table
from gateway.config.reader import Reader, Wrong
from gateway.config.secret_kinds import SecretFile
from gateway.config.yaml_tree import read_tree


@dataclass(frozen=True, slots=True, kw_only=True)
class OperatorSettings:
    """Where operators call, and as whom. Server name and bundle are those of the API."""

    target: Address = setting(HostPort(), doc="The node's administrative address: admin.listen of its smsgw.yaml.")
    spiffe_id: str | None = setting(
        SPIFFE_ID, optional=True, doc="Which identity of the Workload API is the operator's. Left out: the first one."
    )
    svid_file: Path | None = setting(
        FileName(), optional=True, doc="The operator's X.509-SVID with its intermediates, PEM."
    )
    svid_key_file: Path | None = setting(
        SecretFile(), optional=True, doc="Its private key, PEM. Nobody else may read it."
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class CaSettings:
    """Where the certificate authority is, for `smsgw revoke`. The operator's identity and bundle are those of above."""

    target: Address = setting(HostPort(), doc="The address of its service: --listen of `smsgw ca serve`.")
    server_name: str | None = setting(
        HOST_NAME, optional=True, doc="The DNS name in its certificate. Left out: ca.TRUST_DOMAIN of what is revoked."
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class ClientSettings:
    """Where the node is, who calls it, and whom the caller believes."""

    target: Address = setting(HostPort(), doc="Address of the node's API.")
    server_name: str = setting(HOST_NAME, doc="The DNS name in the node's certificate, which the node has to prove.")
    server_id: str | None = setting(
        SPIFFE_ID, optional=True, doc="The node's SPIFFE ID, which it has to prove too. Left out: its name will do."
    )
    workload_api: str | None = setting(
        WorkloadEndpoint(),
        optional=True,
        doc="The SPIFFE Workload API that gives identity and bundles, instead of files: unix:///PATH, or environment "
        "for what SPIFFE_ENDPOINT_SOCKET says.",
    )
    spiffe_id: str | None = setting(
        SPIFFE_ID, optional=True, doc="Which identity of the Workload API is the caller's. Left out: the first one."
    )
    svid_file: Path | None = setting(
        FileName(), optional=True, doc="The caller's X.509-SVID with its intermediates, PEM."
    )
    svid_key_file: Path | None = setting(
        SecretFile(), optional=True, doc="Its private key, PEM. Nobody else may read it."
    )
    bundle_file: Path | None = setting(
        FileName(), optional=True, doc="The trust bundle of the caller's trust domain, PEM."
    )
    admin: OperatorSettings | None = setting(
        Section(OperatorSettings, optional=True), doc="For those who operate the node: `smsgw carrier` and the like."
    )
    ca: CaSettings | None = setting(
        Section(CaSettings, optional=True), doc="A certificate authority at which `smsgw revoke` revokes too."
    )


def load_client(path: Path) -> ClientSettings:
    """Return the settings in `path`. Raises ConfigError with every problem found."""
    tree = read_tree(path)
    reader = Reader(path.absolute(), credentials=os.environ.get("CREDENTIALS_DIRECTORY"))
    try:
        settings = reader.section(ClientSettings, tree, "")
    except Wrong:
        settings = None
    if settings is not None:
        for key, text in _findings(settings):
            reader.note(key, text)
    if settings is None or reader.problems:
        raise ConfigError(tuple(problem._replace(file=path) for problem in reader.problems))
    return settings


def _findings(settings: ClientSettings) -> Iterator[tuple[str, str]]:
    """Yield what is wrong between settings: an identity comes from files or from a Workload API."""
    files = [("svid_file", settings.svid_file), ("svid_key_file", settings.svid_key_file)]
    files.append(("bundle_file", settings.bundle_file))
    yield from _sources(files, settings.workload_api, settings.spiffe_id, "")
    if settings.admin is not None:
        admin = settings.admin
        own = [("admin.svid_file", admin.svid_file), ("admin.svid_key_file", admin.svid_key_file)]
        yield from _sources(own, settings.workload_api, admin.spiffe_id, "admin.")


def _sources(
    files: Sequence[tuple[str, Path | None]], workload_api: str | None, spiffe_id: str | None, prefix: str
) -> Iterator[tuple[str, str]]:
    for key, file in files:
        if workload_api is None and file is None:
            yield key, "is missing, and there is no workload_api"
        elif workload_api is not None and file is not None:
            yield key, "is not read beside workload_api: remove one of the two"
    if workload_api is None and spiffe_id is not None:
        yield f"{prefix}spiffe_id", "picks an identity of a Workload API, and there is no workload_api"


def client_text(values: Mapping[str, str]) -> str:
    """Return the commented text of a client.yaml; `values` has a text for each key, `admin.target` being that of
    target in admin. Without any of admin's it has no such section; what may be left out may be left out here too."""
    head = "# How `smsgw send`, `watch`, `get` and `cancel` reach the node. Paths are relative to this file."
    return "\n".join([head, *_lines(ClientSettings, values, "", "")]) + "\n"


def _lines(schema: type, values: Mapping[str, str], path: str, indent: str) -> Iterator[str]:
    for definition in definitions(schema):
        kind, where = definition.kind, path + definition.key
        if isinstance(kind, Section):
            if any(key.startswith(f"{where}.") for key in values):
                yield f"{indent}# {definition.doc}"
                yield f"{indent}{definition.key}:"
                yield from _lines(kind.schema, values, f"{where}.", f"{indent}  ")
        elif not isinstance(kind, Items | Table):
            if where not in values and not definition.required:
                continue
            yield from (f"{indent}# {line}" for line in textwrap.wrap(definition.doc, 98))
            yield f"{indent}{definition.key}: {kind.show(kind.read(values[where]))}"
