"""Writes the folder of a node: configuration, keys, and the files that the other commands start from.

    smsgw.yaml     the node's configuration, commented
    client.yaml    how commands on this machine call it
    svids.yaml     the certificates that `smsgw ca serve` keeps fresh
    keys/          index.key, kek.key, deny-list.key (and .pub, for other nodes), audit-log.key (and .vkey, for who
                   verifies the log), and the carriers' passwords
    policy/        who may do what: Cedar policies, and what is expected of them
    data/          the database, and wrapped data keys
    pki/           where SVIDs and bundles go

Nothing that exists is overwritten, and everything is private from its first moment.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from gateway.config.client_file import client_text
from gateway.config.template import Chosen, commented_file
from gateway.policy.default_set import default_files
from gateway.revocation.keys import new_key_pair
from gateway.sequencing.keys import new_key

KEY_BYTES = 32
OPERATOR = "operator"


class InTheWay(Exception):
    """A file that would have to be written exists; nothing was written."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Site:
    """What a new folder is to hold."""

    folder: Path
    trust_domain: str
    tenant: str
    bundle: str  # path of the trust bundle, relative to the folder
    chosen: Chosen  # settings beyond the defaults; see `commented_file`
    target: str = "127.0.0.1:7443"
    passwords: dict[str, bytes] = field(default_factory=dict)  # file name in keys/ → content
    servers: dict[str, str] = field(default_factory=dict)  # beside the node: name in path and files → DNS name
    admin: str = "127.0.0.1:7444"  # where operators call
    metrics: str = "127.0.0.1:9464"  # where the page for Prometheus is, on loopback
    workload_api: str = ""  # who gives all of them their identities; "" for files

    @property
    def server_name(self) -> str:
        """The DNS name in the node's certificate."""
        return f"gateway.{self.trust_domain}"

    @property
    def node_id(self) -> str:
        """The node's SPIFFE ID."""
        return f"spiffe://{self.trust_domain}/gateway"

    @property
    def caller_id(self) -> str:
        """The SPIFFE ID of the caller that client.yaml names."""
        return f"spiffe://{self.trust_domain}/{self.tenant}"

    @property
    def log_origin(self) -> str:
        """The name of the audit's log."""
        return f"{self.trust_domain}/smsgw"

    @property
    def operator_id(self) -> str:
        """The SPIFFE ID of the operator that client.yaml names."""
        return f"spiffe://{self.trust_domain}/admin/{OPERATOR}"


def write_site(site: Site) -> tuple[Path, ...]:
    """Write the folder; returns the files. Raises InTheWay before anything is written, OSError."""
    files = dict(_files(site))
    for file in files:
        if file.exists() or file.is_symlink():
            raise InTheWay(f"{file} exists; it is not overwritten. Move it away, or choose another folder with --dir")
    if not site.folder.exists():
        site.folder.mkdir(mode=0o700, parents=True)
    for name in ("keys", "policy", "data", "pki"):
        (site.folder / name).mkdir(mode=0o700, exist_ok=True)
    for file, content in files.items():
        write_private(file, content)
    return tuple(files)


def _files(site: Site) -> Iterator[tuple[Path, bytes]]:
    chosen: Chosen = {
        "node.trust_domain": site.trust_domain,
        **_identity(site),
        "api.listen": site.target,
        "admin.listen": site.admin,
        "tenants[0].name": site.tenant,
        "tenants[0].spiffe_ids": [site.caller_id],
        "telemetry.metrics.listen": site.metrics,
        "telemetry.metrics.insecure": "true",
        "audit.log.origin": site.log_origin,
        **site.chosen,
    }
    yield site.folder / "smsgw.yaml", commented_file(chosen).encode()
    yield site.folder / "client.yaml", _client(site).encode()
    if not site.workload_api:
        yield site.folder / "svids.yaml", _svids(site).encode()
    for name in ("index.key", "kek.key"):
        yield site.folder / "keys" / name, secrets.token_bytes(KEY_BYTES)
    yield from deny_list_keys(site.folder).items()
    yield from audit_log_keys(site.folder, site.log_origin).items()
    for name, content in default_files().items():
        yield site.folder / "policy" / name, content
    for name, content in site.passwords.items():
        yield site.folder / "keys" / name, content


def deny_list_keys(folder: Path) -> dict[Path, bytes]:
    """Return a new key that signs the deny list, and its public key for other nodes, with their places."""
    signing, public = new_key_pair()
    return {folder / "keys" / "deny-list.key": signing, folder / "keys" / "deny-list.pub": public}


def audit_log_keys(folder: Path, origin: str) -> dict[Path, bytes]:
    """Return a new key that signs the log of the audit, and its public half for who verifies it, with their places."""
    signing, public = new_key(origin)
    return {
        folder / "keys" / "audit-log.key": signing,
        folder / "keys" / "audit-log.vkey": f"{public.vkey}\n".encode(),
    }


def _identity(site: Site) -> dict[str, str | Mapping[str, str]]:
    """Return what smsgw.yaml says of where the node's identity comes from."""
    if not site.workload_api:
        return {"identity.bundles": {site.trust_domain: site.bundle}}
    return {
        "identity.workload_api.endpoint": site.workload_api,
        "identity.workload_api.spiffe_id": site.node_id,
        "identity.bundles": {},
    }


def _client(site: Site) -> str:
    names = {
        "target": site.target,
        "server_name": site.server_name,
        "server_id": site.node_id,
        "admin.target": site.admin,
    }
    if site.workload_api:
        whose = {"spiffe_id": site.caller_id, "admin.spiffe_id": site.operator_id}
        return client_text({**names, "workload_api": site.workload_api, **whose})
    files = {
        "svid_file": f"pki/{site.tenant}.pem",
        "svid_key_file": f"pki/{site.tenant}.key",
        "bundle_file": site.bundle,
        "admin.svid_file": f"pki/{OPERATOR}.pem",
        "admin.svid_key_file": f"pki/{OPERATOR}.key",
    }
    return client_text({**names, **files})


def _svids(site: Site) -> str:
    servers = "".join(
        f"- spiffe_id: spiffe://{site.trust_domain}/{name}\n  dns: {dns}\n  out: pki/{name}\n"
        for name, dns in site.servers.items()
    )
    return (
        "# The SVIDs that `smsgw ca serve --dir ca --svids svids.yaml` keeps fresh. Paths are relative to this file.\n"
        f"- spiffe_id: {site.node_id}\n"
        f"  dns: {site.server_name}\n"
        "  out: pki/gateway\n"
        f"- spiffe_id: {site.caller_id}\n"
        f"  out: pki/{site.tenant}\n"
        f"- spiffe_id: {site.operator_id}\n"
        f"  out: pki/{OPERATOR}\n"
        f"{servers}"
    )


def write_private(file: Path, content: bytes) -> None:
    """Write a new file that only its owner can use, and put it on disk. Raises OSError when it exists."""
    descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    with os.fdopen(descriptor, "wb") as stream:
        stream.write(content)
        stream.flush()
        os.fsync(stream.fileno())
